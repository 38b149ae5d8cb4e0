// ctseg segment: a scan, a model, a mask on the scan's grid.
#include <ctseg/io/preview.hpp>
#include <ctseg/io/reading.hpp>
#include <ctseg/nnunet/cascade.hpp>
#include <ctseg/post/nodules.hpp>
#include <ctseg/report/case_info.hpp>
#include <ctseg/report/run.hpp>
#include <ctseg/report/sha256.hpp>

#include "commands.hpp"
#include "device.hpp"
#include "learning.hpp"
#include "models.hpp"
#include "nnunet_options.hpp"

namespace cli {

namespace {

std::string labels_csv(const std::vector<cs::LabelMeasure>& labels) {
  std::string out = "label,name,voxels,volume_ml,hu_mean,hu_sd,centroid_x_lps_mm,centroid_y_lps_mm,centroid_z_lps_mm\n";
  for (const cs::LabelMeasure& m : labels) {
    out += text(int{m.label}, ",", cs::report::cell(m.name), ",", m.voxels);
    for (const double v : {m.volume_ml, m.hu_mean, m.hu_sd, m.centroid_mm.x, m.centroid_mm.y, m.centroid_mm.z}) {
      out += ',';
      if (!cs::is_nan(v)) cs::report::append_number(out, v);
    }
    out += '\n';
  }
  return out;
}

std::string table_of(const cs::RunRecord& run) {
  std::string out;
  char line[160];
  for (const cs::LabelMeasure& m : run.labels) {   // names may have any length
    std::snprintf(line, sizeof line, "%3d ", m.label);
    out += line + m.name + std::string(24 - std::min<std::size_t>(m.name.size(), 24), ' ');
    std::snprintf(line, sizeof line, " %10.2f ml  %7.1f HU (sd %.1f)\n", m.volume_ml, m.hu_mean, m.hu_sd);
    out += line;
  }
  if (run.labels.empty()) out += "nothing was found: the mask is empty\n";
  std::snprintf(line, sizeof line, "%.1f s, %.0f MB at most\n", run.seconds, run.peak_memory_mb);
  out += line;
  if (run.device != "cpu") out += "on " + run.device + "\n";
  for (const std::string& path : run.outputs) out += path + "\n";
  return out;
}

bool is_volume_file(const std::string& path) {
  for (const char* ending : {".nii", ".nii.gz", ".mha", ".mhd", ".npy"})
    if (cs::io::ends_with(path, ending)) return true;
  return false;
}

std::string nodules_csv(const std::vector<cs::MeasuredNodule>& nodules) {
  std::string out =
      "x_lps_mm,y_lps_mm,z_lps_mm,voxel_x,voxel_y,voxel_z,diameter_mm,volume_mm3,voxels,"
      "first_x,first_y,first_z,last_x,last_y,last_z,probability\n";
  for (const cs::MeasuredNodule& n : nodules) {
    for (const double v : {n.centre.x, n.centre.y, n.centre.z, n.centre_voxel.x, n.centre_voxel.y, n.centre_voxel.z,
                           n.diameter_mm, n.volume_mm3})
      cs::report::append_number(out, v), out += ',';
    out += text(n.voxels, ",", n.low.x, ",", n.low.y, ",", n.low.z, ",", n.high.x, ",", n.high.y, ",", n.high.z, ",");
    cs::report::append_number(out, n.probability);
    out += '\n';
  }
  return out;
}

/// The name of a case in LUNA16's tables: the series, or the file's name without its endings.
std::string series_of(const SegmentArguments& a, const Scan& scan) {
  if (!scan.dicom.uid.empty()) return scan.dicom.uid;
  std::string name = fs::path(a.input.path).filename().string();
  for (const char* ending : {".gz", ".nii", ".mhd", ".mha", ".npy"})
    if (cs::io::ends_with(name, ending)) name.resize(name.size() - std::string_view(ending).size());
  return name;
}

/// Model files, in the order of their ensemble: those that are named, or all of a folder.
std::vector<std::string> model_files(const std::vector<std::string>& models) {
  std::vector<std::string> out;
  for (const std::string& path : models) {
    if (!fs::is_directory(path)) {
      out.push_back(path);
      continue;
    }
    const std::size_t before = out.size();
    for (const auto& entry : fs::directory_iterator(path)) {
      fs::path weights = entry.path();   // what an .onnx may have been written from: that counts once
      weights.replace_extension(".safetensors");
      if (entry.path() == weights || (entry.path().extension() == ".onnx" && !fs::exists(weights)))
        out.push_back(entry.path().string());
    }
    if (out.size() == before)
      throw cs::Error(cs::Code::bad_input, path,
                      "is a folder without .safetensors or .onnx files. Hint: a folder of nnU-Net is named by --nnunet-model.");
    std::sort(out.begin() + static_cast<std::ptrdiff_t>(before), out.end());
  }
  return out;
}

/// The models with the files that they came from.
struct Models {
  cs::nnunet::Cascade all{};
  std::vector<std::string> files{};

  /// Hashes only where somebody will see them: checkpoints are large.
  void describe(cs::RunRecord& run, bool hashes) const {
    const auto add = [](std::string& list, const std::string& one) { list += (list.empty() ? "" : ", ") + one; };
    for (const std::string& file : files) {
      add(run.model, file);
      if (hashes) add(run.model_sha256, cs::sha256_of(file));
    }
    for (const cs::LoadedModel& m : all.folds) add(run.model_name, m.recipe.about.name);
  }
};
Models load_models(const SegmentArguments& a, cs::Executor& executor) {
  if (a.models.empty() == a.nnunet.path.empty())
    throw cs::Error(cs::Code::bad_argument, "segment",
                    "a model is needed, and one kind of them: -m FILE, or --nnunet-model FOLDER.");
  Models models{.files = model_files(a.models)};
  for (const std::string& path : models.files)
    models.all.folds.push_back(load_model_file(path, {.recipe = a.recipe, .executor = &executor}));
  if (!a.models.empty()) return models;
  if (!a.recipe.empty())
    throw cs::Error(cs::Code::bad_argument, "--recipe", "is for -m; a folder of nnU-Net says itself how its model is used.");
  const cs::nnunet::FolderOptions o = folder_options(a.nnunet);
  if (a.previous.empty())
    models.all = cs::nnunet::load_cascade(a.nnunet.path, o);
  else   // the first network's mask is there, the network need not be
    models.all.folds = cs::nnunet::load_folder(a.nnunet.path, o);
  for (const fs::path& path : cs::nnunet::find_folder(a.nnunet.path, o).checkpoints) models.files.push_back(path.string());
  return models;
}

/// Channels of a scan behind the first one, and the mask of a first network.
struct More {
  std::vector<Scan> channels{};
  std::optional<cs::Volume<std::uint8_t>> previous{};

  More(const SegmentArguments& a, const Scan& scan, Console& console) {
    for (const std::string& path : a.channels)
      channels.push_back(read_scan({path, a.input.spacing_mm, a.input.series}, console));
    if (!a.previous.empty()) previous = read_mask_on(scan.volume.grid(), {a.previous, a.input.spacing_mm, {}}, console);
  }
  cs::SegmentInput with(const Scan& scan) const {
    cs::SegmentInput all{.channels = {&scan.volume}};
    for (const Scan& s : channels) all.channels.push_back(&s.volume);
    if (previous) all.previous = &*previous;
    return all;
  }
};

/// Whether a scan that cannot be in Hounsfield units is worth a warning: models of other modalities have other steps.
bool expects_hu(const cs::ModelRecipe& recipe) {
  for (const cs::PreprocessStep& step : recipe.preprocess)
    if (std::holds_alternative<cs::WindowHu>(step) || std::holds_alternative<cs::CtNormalization>(step)) return true;
  return false;
}

/// A mask alone, or a folder with everything that is said of it.
void write_results(const SegmentArguments& a, const Scan& scan, const cs::Segmentation& result, cs::RunRecord& run,
                   cs::RunClock& clock, Console& console) {
  const cs::Volume<std::uint8_t>& mask = *result.labels;
  if (is_volume_file(a.output)) {
    run.outputs = {a.output};
    console.check_cancelled();
    write_mask(a.output, mask);
    clock.stage("write");
    return clock.finish();
  }
  Staging out(a.output, console);
  write_mask(out / "mask.nii.gz", mask);
  cs::io::write_png(out / "preview.png", cs::io::preview(scan.volume, mask, {.window_hu = {a.window_hu[0], a.window_hu[1]}}));
  out.write("labels.csv", labels_csv(run.labels));
  for (const char* name : {"nodules.csv", "candidates.csv"}) out.supersede(name);
  if (a.nodules) {
    const auto nodules = cs::measure_nodules(mask, result.probability, {.label = *a.nodules});
    out.write("nodules.csv", nodules_csv(nodules));
    cs::write_luna16_results(out / "candidates.csv", cs::luna16_rows(series_of(a, scan), nodules));
  }
  const fs::path last = out / "run.json";
  clock.stage("write");
  clock.finish();
  run.outputs = out.outputs();
  const std::string json = cs::to_json(run);
  cs::io::write_file(last, std::as_bytes(std::span(json)));
  console.check_cancelled();
  out.commit();
}

}   // namespace

void segment(const SegmentArguments& a, Console& console) {
  cs::RunRecord run{.command = "segment", .inputs = {a.input.path}, .accuracy = a.accuracy};
  cs::RunClock clock(run);
  for (const std::string& input : {a.input.path, a.recipe}) console.keep(input);
  for (const std::string& model : a.models) console.keep(model);
  for (const std::string& channel : a.channels) console.keep(channel), run.inputs.push_back(channel);
  if (!a.previous.empty()) console.keep(a.previous), run.inputs.push_back(a.previous);
  if (a.nodules && is_volume_file(a.output))
    throw cs::Error(cs::Code::bad_argument, "--nodules", text("-o ", a.output, " is one file; lists need a folder."));
  if (is_volume_file(a.output))
    expect_place_of(a.output, console);   // before the work
  else
    expect_folder_name(a.output, "mask, picture and tables; a mask alone is a .nii.gz, .nii, .mha, .mhd or .npy");
  for (const char* name : {"mask.nii.gz", "preview.png", "labels.csv", "nodules.csv", "candidates.csv", "run.json"})
    console.expect_output(fs::path(a.output) / name);
  Device device(device_named(a.device), {.threads = console.common().threads,
                                         .accuracy = accuracy_named(a.accuracy),
                                         .cancel = console.cancel(),
                                         .log = console.log()});
  cs::Context<cs::Cpu>& ctx = device.host();
  run.threads = ctx.executor().threads(), run.isa = text(ctx.traits().isa);

  cs::SegmentOptions options{.max_memory = bytes_of("--max-memory", a.max_memory), .dry_run = a.dry_run};
  for (const char axis : a.mirror) (axis == 'x' ? options.mirror.x : axis == 'y' ? options.mirror.y : options.mirror.z) = true;
  options.recipe_mirror = a.mirroring;
  if (a.overlap >= 0) options.overlap = a.overlap;
  if (a.step_size > 0) options.overlap = 1 - a.step_size;
  options.scales = a.scales, options.skip_air = a.skip_air, options.probability_of = a.nodules;
  if (a.average == "probabilities") options.average = cs::Averaged::probabilities;

  const Models models = load_models(a, ctx.executor());
  models.describe(run, console.common().json || !is_volume_file(a.output));
  const cs::ModelRecipe& recipe = models.all.folds.front().recipe;
  clock.stage("load model");
  const Scan scan = read_scan(a.input, console);
  if (expects_hu(recipe))
    for (const std::string& odd : cs::describe(scan.volume).warnings) console.warn(text(a.input.path, ": warning: ", odd));
  const More more(a, scan, console);
  run.grid = scan.volume.grid();
  clock.stage("read");

  Progress progress(console, "%", 100);
  options.progress = {[](void* user, double done) { static_cast<Progress*>(user)->done(static_cast<Index>(100 * done)); },
                      &progress};
  if (a.dry_run) options.progress = {};
  const cs::Segmentation result = cs::nnunet::segment_by(
      models.all, {more.with(scan), options},
      [&](const auto& networks, const auto& input, const auto& part) { return device.segment(networks, input, part); });
  run.device = device.name(), run.device_reason = device.reason();
  clock.stage("segment");
  if (!result.labels) return console.result(result.plan);
  run.stages.pop_back();   // said more exactly
  run.stages.push_back({"preprocess", result.seconds.preprocess});
  run.stages.push_back({"network", result.seconds.network});
  run.stages.push_back({"stitch", result.seconds.stitch});
  run.stages.push_back({"resample", result.seconds.resample});
  if (!recipe.postprocess.empty()) run.stages.push_back({"postprocess", result.seconds.postprocess});

  run.labels =
      cs::measure_labels(*result.labels, {.ct = &scan.volume, .names = label_names(recipe), .executor = &ctx.executor()});
  clock.stage("measure");
  run.warnings = console.warnings();
  write_results(a, scan, result, run, clock, console);
  console.result(console.common().json ? cs::to_json(run) : table_of(run));
}

}   // namespace cli
