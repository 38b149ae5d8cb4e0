// Every option of every command, with its help and examples. Ranges are checked here, meanings by the library.
#include "arguments.hpp"

#include <CLI/CLI.hpp>
#include <ctseg/version.hpp>

namespace cli {

namespace {

/// The commands' own places for what they are told, alive until the command has run.
struct Arguments {
  Common common{};
  InfoArguments info{};
  EvaluateArguments evaluate{};
  ExportArguments export_mask{};
  PreviewArguments preview{};
  PhantomArguments phantom{};
  SegmentArguments segment{};
  ConvertArguments convert{};
  TrainArguments train{};
  PlanArguments plan{};
  BenchArguments bench{};
  ViewArguments view{};
};

/// CLI11 reads -3 as a large number without a sign.
const CLI::Range kSeeds(std::int64_t{0}, std::numeric_limits<std::int64_t>::max());

CLI::App& add_command(CLI::App& program, const std::string& name, const std::string& what, const std::string& examples,
                      Common& common) {
  CLI::App& command = *program.add_subcommand(name, what);
  command.footer("Examples:\n" + examples);
  command.add_flag("--json", common.json, "print one JSON object on stdout instead of text");
  command.add_flag("-q,--quiet", common.quiet, "no progress and no warnings on stderr");
  command.add_option("--threads", common.threads, "threads to use; 0: one per processor")->check(CLI::Range(0, 1024));
  return command;
}

void add_case(CLI::App& command, CaseOptions& input, bool required = true) {
  command.add_option("CASE", input.path, ".nii, .nii.gz, .mha, .mhd, .npy with --spacing, a DICOM folder or one of its files")
      ->required(required);
  command.add_option("--spacing", input.spacing_mm, "voxel size of a .npy file: X,Y,Z in mm")->delimiter(',')->expected(3);
  command.add_option("--series", input.series, "SeriesInstanceUID, where a DICOM folder holds several");
}
void add_window(CLI::App& command, std::vector<double>& window) {
  command.add_option("--window-hu", window, "what is black and what is white in pictures: LOW,HIGH in HU")
      ->delimiter(',')
      ->expected(2)
      ->default_str("-160,240");
}

void add_info(CLI::App& program, Arguments& all) {
  CLI::App& c = add_command(
      program, "info", "Say what a scan is: grid, type, range of HU, and what is odd about it",
      "  ctseg info ct.nii.gz\n  ctseg info dicom_folder --json\n  ctseg info array.npy --spacing 0.8,0.8,1.5", all.common);
  add_case(c, all.info.input);
}

void add_evaluate(CLI::App& program, Arguments& all) {
  EvaluateArguments& a = all.evaluate;
  CLI::App& c = add_command(program, "evaluate", "Compare predicted masks with true ones: Dice, IoU, HD95, ASSD, NSD and more",
                            "  ctseg evaluate -p prediction.nii.gz -g truth.nii.gz --json\n"
                            "  ctseg evaluate -p predictions/ -g labels/ -o report/ --names background,liver,tumour\n"
                            "  ctseg evaluate -p predictions/ -g labels/ -i scans/ -o report/ --empty nnunet --nsd-tolerance 2",
                            all.common);
  c.add_option("-p,--predictions", a.predictions, "a mask, or a folder of masks")->required();
  c.add_option("-g,--truths", a.truths, "the true mask, or a folder with masks of the same names")->required();
  c.add_option("-i,--images", a.images, "the scans, for the pictures in the report");
  c.add_option("-o,--output", a.output, "folder for cases.csv, summary.json, distribution.svg, report.html, run.json");
  c.add_option("--spacing", a.spacing_mm, "voxel size of .npy files: X,Y,Z in mm")->delimiter(',')->expected(3);
  c.add_option("--labels", a.labels, "labels to score; unset: all but 0 that occur")->delimiter(',')->check(CLI::Range(0, 255));
  c.add_option("--names", a.names, "names of labels 0, 1, ...")->delimiter(',');
  c.add_option("--empty", a.empty, "Dice and IoU where the truth is empty")
      ->check(CLI::IsMember({"nan", "one_zero", "nnunet"}))
      ->capture_default_str();
  c.add_option("--empty-surface", a.empty_surface, "distances where a mask is empty")
      ->check(CLI::IsMember({"infinite", "nan", "penalty"}))
      ->capture_default_str();
  c.add_option("--skip", a.skip, "what means leave out")
      ->check(CLI::IsMember({"nan", "not_finite", "nothing"}))
      ->capture_default_str();
  c.add_option("--nsd-tolerance", a.tolerance_mm, "within this many mm surfaces agree")
      ->check(CLI::Range(0.0, 1000.0))
      ->capture_default_str();
  c.add_flag("!--no-surfaces", a.surfaces, "leave the distances out");
  c.add_flag("--centerlines", a.centerlines, "clDice too, for vessels");
  c.add_flag("--common-only", a.common_only, "leave out cases that only one folder has, instead of refusing");
  add_window(c, a.window_hu);
}

void add_export(CLI::App& program, Arguments& all) {
  ExportArguments& a = all.export_mask;
  CLI::App& c =
      add_command(program, "export", "Write a mask as surfaces (STL, OBJ, PLY), as DICOM, or a volume in another format",
                  "  ctseg export mask.nii.gz -o liver.stl --labels 1\n"
                  "  ctseg export mask.nii.gz -o surfaces/ --format ply --names background,liver,tumour\n"
                  "  ctseg export mask.nii.gz -o seg.dcm --dicom dicom_folder --names background,liver\n"
                  "  ctseg export mask.nii.gz -o plan.dcm --format rtstruct --dicom dicom_folder\n"
                  "  ctseg export dicom_folder -o ct.nii.gz",
                  all.common);
  add_case(c, a.input);
  c.add_option("-o,--output", a.output, "the file, or a folder for one surface a label")->required();
  c.add_option("--format", a.format, "what to write; unset: what the output's name says")
      ->check(CLI::IsMember({"stl", "obj", "ply", "nii.gz", "nii", "mha", "mhd", "npy", "seg", "rtstruct"}));
  c.add_option("--labels", a.labels, "these labels only")->delimiter(',')->check(CLI::Range(1, 255));
  c.add_option("--names", a.names, "names of labels 0, 1, ..., for files and segments")->delimiter(',');
  c.add_option("--dicom", a.dicom, "the series a DICOM mask belongs to");
  c.add_option("--smooth", a.smooth, "rounds of smoothing; 0: the voxels' faces")
      ->check(CLI::Range(0, 1000))
      ->capture_default_str();
  c.add_option("--keep", a.keep, "share of the triangles to keep")->check(CLI::Range(0.001, 1.0))->capture_default_str();
  c.add_flag("--ras", a.ras, "surfaces in RAS millimetres instead of LPS");
}

void add_preview(CLI::App& program, Arguments& all) {
  PreviewArguments& a = all.preview;
  CLI::App& c = add_command(program, "preview", "Draw a montage (PNG): 3 x 5 axial slices, one coronal, one sagittal",
                            "  ctseg preview ct.nii.gz -m mask.nii.gz -o preview.png\n"
                            "  ctseg preview dicom_folder -m mask.nii.gz -g truth.nii.gz -o preview.png --window-hu -1000,400",
                            all.common);
  add_case(c, a.input);
  c.add_option("-m,--mask", a.mask, "its mask: filled, with an outline");
  c.add_option("-g,--truth", a.truth, "the true mask: a white outline");
  c.add_option("-o,--output", a.output, "the picture")->required();
  c.add_option("--panel", a.panel_pixels, "longer side of a slice in pixels")
      ->check(CLI::Range(32, 2000))
      ->capture_default_str();
  c.add_option("--fill", a.fill, "opacity of the mask")->check(CLI::Range(0.0, 1.0))->capture_default_str();
  add_window(c, a.window_hu);
}

void add_phantom(CLI::App& program, Arguments& all) {
  PhantomArguments& a = all.phantom;
  CLI::App& c = add_command(program, "phantom", "Make synthetic scans with their masks",
                            "  ctseg phantom abdomen -o phantom/ --shape 128,128,96\n"
                            "  ctseg phantom thorax_abdomen -o data/ --count 20 --mask liver",
                            all.common);
  c.add_option("KIND", a.kind, "what is in view: thorax_abdomen, thorax, abdomen, whole_spine, heart")
      ->required()
      ->check(CLI::IsMember({"thorax_abdomen", "thorax", "abdomen", "whole_spine", "heart"}));
  c.add_option("-o,--output", a.output, "folder for the scans and masks")->required();
  c.add_option("--count", a.count, "make a data set of this many patients: ct_scans/ and masks/; 0: one with all its masks")
      ->check(CLI::Range(0, 100000))
      ->capture_default_str();
  c.add_option("--mask", a.mask,
               "mask of a data set: organs, vertebrae, lesions, nodules, coronaries, or one organ (liver, lung, ...)")
      ->capture_default_str();
  c.add_option("--seed", a.seed, "which patient, or the first")->check(kSeeds)->capture_default_str();
  c.add_option("--shape", a.shape, "voxels: X,Y,Z")
      ->delimiter(',')
      ->expected(3)
      ->check(CLI::Range(1, 2048))
      ->default_str("96,96,80");
  c.add_option("--spacing", a.spacing_mm, "voxel size X,Y,Z in mm; unset: so that the region fits")
      ->delimiter(',')
      ->expected(3)
      ->check(CLI::Range(0.01, 100.0));
  c.add_option("--noise", a.noise_hu, "standard deviation in HU")->check(CLI::Range(0.0, 1000.0))->capture_default_str();
  c.add_option("--blur", a.blur_mm, "standard deviation in mm")->check(CLI::Range(0.0, 100.0))->capture_default_str();
  c.add_option("--oblique", a.oblique_degrees, "turn of the grid in degrees")->check(CLI::Range(-180.0, 180.0));
}

void add_nnunet(CLI::App& command, NnunetArguments& a) {
  command.add_option("--configuration", a.configuration,
                     "of a model of nnU-Net: 2d, 3d_fullres, 3d_lowres, 3d_cascade_fullres");
  command.add_option("--folds", a.folds, "of it: 0,1,2 or all (fold_all); unset: every numbered one")
      ->delimiter(',')
      ->allow_extra_args(false);
  command.add_option("--checkpoint", a.checkpoint, "of it: the file in each fold")->capture_default_str();
  command.add_option("--postprocessing", a.postprocessing, "of it: postprocessing.json or .pkl; unset: none");
}

void add_segment(CLI::App& program, Arguments& all) {
  SegmentArguments& a = all.segment;
  CLI::App& c =
      add_command(program, "segment", "Segment a scan with a model; the mask lies on the scan's own grid",
                  "  ctseg segment ct.nii.gz -m liver.safetensors -o mask.nii.gz\n"
                  "  ctseg segment dicom_folder -m liver.safetensors -o results/ --json\n"
                  "  ctseg segment ct.nii.gz -m liver.safetensors -o results/ --max-memory 3G --dry-run\n"
                  "  ctseg segment ct.nii.gz --nnunet-model Dataset003_Liver --configuration 3d_fullres -o mask.nii.gz",
                  all.common);
  add_case(c, a.input);
  c.add_option("-m,--model", a.models,
               "the model file (.safetensors, .onnx), which carries its recipe; several, or a folder of them, are an ensemble")
      ->take_all();
  c.add_option("--nnunet-model", a.nnunet.path, "instead: a folder of nnUNetv2_train, with plans.json, or the one above it");
  add_nnunet(c, a.nnunet);
  for (const char* of_folder : {"--configuration", "--folds", "--checkpoint", "--postprocessing"})
    c.get_option(of_folder)->needs("--nnunet-model");
  c.add_option("--channel", a.channels, "further channels of the scan, on its grid, in the order of training")
      ->allow_extra_args(false)
      ->take_all();
  c.add_option("--previous", a.previous, "the mask of the first network, for the second of a cascade");
  c.add_option("-o,--output", a.output, "a mask file, or a folder for mask.nii.gz, preview.png, labels.csv, run.json")
      ->required();
  c.add_option("--max-memory", a.max_memory, "work within this much memory, for example 3G; what does not fit goes to a file");
  c.add_option("--accuracy", a.accuracy, "how convolutions may round")
      ->check(CLI::IsMember({"strict", "standard", "fast"}))
      ->capture_default_str();
  c.add_option("--mirror", a.mirror, "average over the scan mirrored along these axes of the network: x, xy, xyz ...")
      ->check(CLI::IsMember({"x", "y", "z", "xy", "xz", "yz", "xyz"}));
  c.add_option("--overlap", a.overlap, "share of a window that the next one covers again; unset: the recipe's")
      ->check(CLI::Range(0.0, 0.99));
  c.add_flag("!--no-mirroring", a.mirroring, "leave out the mirroring that the model asks for");
  c.add_option("--step-size", a.step_size, "step from window to window as a share of it, 1 - overlap: nnU-Net's tile_step_size")
      ->check(CLI::Range(0.01, 1.0))
      ->excludes("--overlap");
  c.add_option("--scales", a.scales, "average over windows resized by these factors, for example 1,0.8")
      ->delimiter(',')
      ->check(CLI::Range(0.25, 4.0));
  c.add_option("--average", a.average, "what mirrored scans, scales and models average")
      ->check(CLI::IsMember({"logits", "probabilities"}))
      ->capture_default_str();
  c.add_option("--skip-air", a.skip_air, "leave out windows without a value above this, after preprocessing");
  c.add_option("--nodules", a.nodules, "list the components of this label: nodules.csv, and candidates.csv as LUNA16 wants it")
      ->check(CLI::Range(1, 255));
  c.add_option("--recipe", a.recipe, "a recipe (JSON) instead of the model file's own, or for weights that have none");
  c.add_option("--device", a.device, "where the network runs: auto (a card if there is one), cpu, cuda or cuda:N")
      ->capture_default_str();
  c.add_flag("--dry-run", a.dry_run, "print the plan (windows, memory) and do nothing");
  add_window(c, a.window_hu);
}

void add_convert(CLI::App& program, Arguments& all) {
  ConvertArguments& a = all.convert;
  CLI::App& c = add_command(program, "convert", "Turn a trained model into one file: weights, recipe, and a test of itself",
                            "  ctseg convert Dataset003_Liver --configuration 3d_fullres --folds 0 -o liver.safetensors\n"
                            "  ctseg convert Dataset003_Liver/nnUNetTrainer__nnUNetPlans__3d_fullres -o folds/\n"
                            "  ctseg convert model.pt --recipe spleen.json -o spleen.safetensors\n"
                            "  ctseg convert liver.safetensors -o liver.onnx",
                            all.common);
  c.add_option("IN", a.input, "a folder of nnU-Net, or weights: .safetensors, .pth, .pt or .onnx")->required();
  c.add_option("-o,--output", a.output, "a .safetensors or .onnx file, or a folder for one file of each fold")->required();
  c.add_option("--recipe", a.recipe, "the recipe (JSON) of weights that have none");
  add_nnunet(c, a.nnunet);
}

void add_train(CLI::App& program, Arguments& all) {
  TrainArguments& a = all.train;
  CLI::App& c = add_command(program, "train", "Train a model as a configuration file says",
                            "  ctseg phantom thorax_abdomen -o data/ --count 20 --mask liver\n"
                            "  ctseg train liver.json -o run/\n  ctseg train liver.json -o run/ --resume\n"
                            "  ctseg train --plan plan/nnUNetPlans.json --data nnUNet_raw/Dataset001_Liver -o run/",
                            all.common);
  c.add_option("CONFIG", a.config, "JSON: recipe, data, training; docs/command_line.md has its fields");
  c.add_option("-o,--output", a.output, "folder for the model, checkpoints and logs")->required();
  c.add_option("--plan", a.plan, "plans of `ctseg plan` or nnU-Net in place of CONFIG: trained as nnU-Net does");
  c.add_option("--data", a.data, "the data set of the plan, in nnU-Net's raw layout");
  c.add_option("--configuration", a.configuration, "which of the plan's: 2d, 3d_fullres, 3d_lowres")->capture_default_str();
  c.add_option("--fold", a.fold, "which of nnU-Net's five folds is kept for validation; all: none")
      ->check(CLI::IsMember({"0", "1", "2", "3", "4", "all"}))
      ->capture_default_str();
  c.add_option("--epochs", a.epochs, "of a plan")->check(CLI::Range(1, 1000000))->capture_default_str();
  c.add_option("--steps-per-epoch", a.steps_per_epoch, "of a plan")->check(CLI::Range(1, 1000000))->capture_default_str();
  for (const char* of_plan : {"--configuration", "--fold", "--epochs", "--steps-per-epoch"})
    c.get_option(of_plan)->needs("--plan");
  c.add_option("--device", a.device, "where the network trains: auto (a card if there is one), cpu, cuda or cuda:N")
      ->capture_default_str();
  c.add_option("--accuracy", a.accuracy, "how convolutions may round")
      ->check(CLI::IsMember({"strict", "standard", "fast"}))
      ->capture_default_str();
  c.add_option("--seed", a.seed, "of weights, samples and augmentation")->check(kSeeds)->capture_default_str();
  c.add_flag("--resume", a.resume, "go on from the last checkpoint in the output folder");
}

void add_plan(CLI::App& program, Arguments& all) {
  PlanArguments& a = all.plan;
  CLI::App& c = add_command(program, "plan", "Plan a training as nnU-Net does: fingerprint, spacings, patches, networks, batches",
                            "  ctseg plan nnUNet_raw/Dataset001_Liver -o plan/\n"
                            "  ctseg plan nnUNet_raw/Dataset001_Liver -o plan/ --preset resenc_l --fingerprint "
                            "plan/dataset_fingerprint.json\n"
                            "  ctseg train --plan plan/nnUNetPlans.json --data nnUNet_raw/Dataset001_Liver -o run/",
                            all.common);
  c.add_option("DATASET", a.dataset, "a folder in nnU-Net's raw layout: dataset.json, imagesTr, labelsTr")->required();
  c.add_option("-o,--output", a.output, "folder for the plans, dataset_fingerprint.json and dataset.json")->required();
  c.add_option("--preset", a.preset, "which of nnU-Net's planners")
      ->check(CLI::IsMember({"default", "resenc", "resenc_m", "resenc_l", "resenc_xl"}))
      ->capture_default_str();
  c.add_option("--gpu-memory", a.gpu_memory_gb, "plan for a card of so many GB; unset: what the preset is made for")
      ->check(CLI::Range(1.0, 4096.0));
  c.add_option("--spacing", a.spacing_mm, "voxel size of 3d_fullres X,Y,Z in mm; unset: found")
      ->delimiter(',')
      ->expected(3)
      ->check(CLI::Range(0.01, 100.0));
  c.add_option("--fingerprint", a.fingerprint, "a dataset_fingerprint.json in place of reading all images again");
  c.add_option("--name", a.name, "name of the plans; unset: nnU-Net's for the preset");
}

void add_bench(CLI::App& program, Arguments& all) {
  BenchArguments& a = all.bench;
  CLI::App& c = add_command(program, "bench", "Measure this machine",
                            "  ctseg bench streaming --json\n"
                            "  ctseg bench streaming --classes 118 --max-memory 3G\n"
                            "  ctseg bench streaming --shape 192,192,192 --network basicunet",
                            all.common);
  c.add_option("NAME", a.name, "streaming: a large volume with many classes in bounded memory")
      ->required()
      ->check(CLI::IsMember({"streaming"}));
  c.add_option("--shape", a.shape, "voxels: X,Y,Z")
      ->delimiter(',')
      ->expected(3)
      ->check(CLI::Range(1, 4096))
      ->default_str("512,512,512");
  c.add_option("--classes", a.classes, "classes of the network")->check(CLI::Range(2, 255))->capture_default_str();
  c.add_option("--max-memory", a.max_memory, "work within this much memory, for example 3G");
  c.add_option("--network", a.network, "a stand-in that costs nothing, or a real one")
      ->check(CLI::IsMember({"stand-in", "basicunet"}))
      ->capture_default_str();
  c.add_option("--how", a.how, "finished logits handed over in blocks or slabs, or all kept at once for comparison")
      ->check(CLI::IsMember({"blocks", "slabs", "whole"}))
      ->capture_default_str();
}

void add_view(CLI::App& program, Arguments& all) {
  ViewArguments& a = all.view;
  CLI::App& c = add_command(program, "view", "Look at scans, segment them and correct masks, in a browser on this machine",
                            "  ctseg view ct.nii.gz -m liver.safetensors\n"
                            "  ctseg view ct.nii.gz --mask mask.nii.gz\n"
                            "  ctseg view --port 8080 --store /data/viewer",
                            all.common);
  add_case(c, a.input, false);
  c.add_option("-m,--model", a.models, "model files to choose from, before that of CTSEG_MODEL")->take_all();
  c.add_option("--mask", a.mask, "a mask of the CASE, to begin with");
  c.add_option("--port", a.port, "of 127.0.0.1; 0: any that is free")->check(CLI::Range(0, 65535))->capture_default_str();
  c.add_option("--store", a.store, "folder of scans, masks and history; unset: ~/.local/share/ctseg");
  c.add_option("--max-upload", a.max_upload, "the largest scan or model that may be uploaded")->capture_default_str();
  c.add_option("--device", a.device, "where networks run: auto (a card if there is one), cpu, cuda or cuda:N")
      ->capture_default_str();
  c.add_option("--token-file", a.token_file, "write the address with its token there, for other programs");
}

/// CLI11 says only that a subcommand is required, of a misspelt one too.
std::string no_command(CLI::App& program, const std::string& word, const std::string& otherwise) {
  if (word.starts_with('-')) return otherwise;
  std::string names;
  for (const CLI::App* command : program.get_subcommands([](CLI::App*) { return true; }))
    names += (names.empty() ? "" : ", ") + command->get_name();
  return (word.empty() ? "a command is needed" : "\"" + word + "\" is no command") + "; there are " + names + ".";
}

}   // namespace

Parsed parse(int argc, const char* const* argv) {
  auto all = std::make_shared<Arguments>();
  CLI::App program("ctseg: segments CT volumes, trains networks for it, and says how good they are", "ctseg");
  program.require_subcommand(1);
  program.set_version_flag("--version", std::string("ctseg ") + ctseg::kVersion);
  program.footer(
      "ctseg COMMAND --help has the options and examples of each.\nExit status: 0 done, 1 internal error, 2 wrong "
      "usage, 3 bad input, 4 out of memory, 130 interrupted.");
  add_info(program, *all), add_segment(program, *all), add_train(program, *all), add_evaluate(program, *all);
  add_convert(program, *all);
  add_export(program, *all), add_preview(program, *all), add_phantom(program, *all), add_bench(program, *all);
  add_plan(program, *all);
  add_view(program, *all);
  Parsed out;
  try {
    program.parse(argc, argv);
  } catch (const CLI::CallForHelp&) {
    const auto chosen = program.get_subcommands();
    out.text = chosen.empty() ? program.help() : chosen.front()->help("ctseg");
    return out;
  } catch (const CLI::CallForVersion& version) {
    out.text = std::string(version.what()) + "\n";
    return out;
  } catch (const CLI::ParseError& error) {
    const auto chosen = program.get_subcommands();
    out.error = chosen.empty() ? no_command(program, argc > 1 ? argv[1] : "", error.what()) : std::string(error.what());
    out.error += std::string(out.error.ends_with('.') ? "" : ".") + " Try: ctseg " +
                 (chosen.empty() ? "" : chosen.front()->get_name() + " ") + "--help";
    return out;
  }
  out.common = all->common;
  const std::string name = program.get_subcommands().front()->get_name();
  out.command = [all, name](Console& console) {
    if (name == "info") return info(all->info, console);
    if (name == "evaluate") return evaluate(all->evaluate, console);
    if (name == "export") return export_mask(all->export_mask, console);
    if (name == "preview") return preview(all->preview, console);
    if (name == "phantom") return phantom(all->phantom, console);
    if (name == "segment") return segment(all->segment, console);
    if (name == "convert") return convert(all->convert, console);
    if (name == "train") return train(all->train, console);
    if (name == "plan") return plan(all->plan, console);
    if (name == "view") return view(all->view, console);
    return bench(all->bench, console);
  };
  return out;
}

}   // namespace cli
