// From files to cases as a network sees them, from a model to masks, from masks to scores.
#include "system.hpp"

#include <ctseg/io/preview.hpp>
#include <ctseg/io/torch_file.hpp>

namespace systems {

namespace {

/// The network's class of each id of a mask; ids that the recipe does not name are background.
std::array<std::uint8_t, 256> class_of_id(const cs::ModelRecipe& recipe) {
  std::array<std::uint8_t, 256> classes{};
  if (recipe.decision.kind != cs::Decide::argmax) {
    classes[static_cast<std::size_t>(recipe.decision.regions_order.at(0))] = 1;
    return classes;
  }
  for (std::size_t c = 0; c < recipe.labels.size(); ++c)
    classes[static_cast<std::size_t>(recipe.labels[c].id)] = static_cast<std::uint8_t>(c);
  return classes;
}

cs::Case prepare(const cs::CaseFiles& files, const Config& config, Console& console, cs::Executor& threads) {
  const Scan scan = cli::read_scan({files.image.string()}, console);
  const cs::Volume<std::uint8_t> truth = read_truth(files, scan, config, console);
  cs::Preprocessed seen = cs::apply_steps(scan.volume, config.recipe.preprocess, &threads);
  cs::Volume<std::uint8_t> label = seen.to_prepared(truth, {.executor = &threads});
  const auto classes = class_of_id(config.recipe);
  for (std::uint8_t& v : label.voxels()) v = classes[v];
  return {files.name, std::move(seen.image), std::move(label)};
}

}   // namespace

cs::ContextOptions context_options(const Arguments& a, Console& console) {
  const cs::Accuracy accuracy = one_of<cs::Accuracy>(
      "--accuracy", a.accuracy,
      {{"strict", cs::Accuracy::strict}, {"standard", cs::Accuracy::standard}, {"fast", cs::Accuracy::fast}});
  return {.threads = console.common().threads,
          .seed = a.seed,
          .accuracy = accuracy,
          .cancel = console.cancel(),
          .log = console.log()};
}

std::vector<cs::Case> prepare_cases(const std::vector<cs::CaseFiles>& files, const Arguments& a, const Config& config,
                                    Console& console) {
  cs::ThreadPool threads(console.common().threads);
  const cs::Json recipe = cs::to_json(config.recipe);
  std::string what = recipe["preprocess"].dump() + recipe["labels"].dump() + recipe["decision"].dump();
  for (const Relabel& r : config.data.relabel) what += text(" ", r.from, ">", r.to);
  cs::CaseCache cache(files, [&](const cs::CaseFiles& f) { return prepare(f, config, console, threads); },
                      {.folder = fs::path(a.output) / "prepared", .recipe = what});
  std::vector<cs::Case> cases;
  cli::Progress progress(console, "cases prepared", cache.size());
  for (Index i = 0; i < cache.size(); ++i) {
    console.check_cancelled();
    cases.push_back(*cache.get(i));
    progress.done(i + 1);
  }
  return cases;
}

std::string table_of(const std::vector<cs::Case>& cases) {
  std::string out = "case\tvoxels\tmm\tvalues\tclasses (voxels)\n";
  for (const cs::Case& c : cases) {
    const auto [low, high] = std::minmax_element(c.image.voxels().begin(), c.image.voxels().end());
    std::array<Index, 256> count{};
    for (const std::uint8_t v : c.label.voxels()) ++count[v];
    out += text(c.name, "\t", c.image.shape(), "\t", c.image.spacing_mm(), "\t", double{*low}, " to ", double{*high}, "\t");
    for (std::size_t v = 1; v < count.size(); ++v)
      if (count[v] > 0) out += text(v, " (", count[v], ") ");
    out += '\n';
  }
  return out;
}

fs::path model_file(const Arguments& a) {
  return a.model.empty() ? fs::path(a.output) / "model.safetensors" : fs::path(a.model);
}
cs::LoadedModel load(const fs::path& model, cs::Context<cs::Cpu>& ctx) {
  return cs::load_model(model, {.weights = {.reader = cs::io::torch_reader()}, .executor = &ctx.executor()});
}

cs::Volume<std::uint8_t> read_truth(const cs::CaseFiles& files, const Scan& scan, const Config& config, Console& console) {
  cs::Volume<std::uint8_t> mask = cli::read_mask_on(scan.volume.grid(), {files.label.string()}, console);
  std::array<std::uint8_t, 256> id{};
  for (std::size_t i = 0; i < id.size(); ++i) id[i] = static_cast<std::uint8_t>(i);
  for (const Relabel& r : config.data.relabel) id[static_cast<std::size_t>(r.from)] = static_cast<std::uint8_t>(r.to);
  for (std::uint8_t& v : mask.voxels()) v = id[v];
  return mask;
}

Segmented segment_scan(cs::Context<cs::Cpu>& ctx, const cs::LoadedModel& model, const Arguments& a, const Config& config,
                       Console& console) {
  std::string input = a.input;
  if (input.empty() && a.phantom) {
    const cs::CaseSplit parts = find_cases(a.data, config, a.seed);
    input = (parts.test.empty() ? parts.train : parts.test).at(0).image.string();
  }
  if (input.empty()) throw cs::Error(cs::Code::bad_argument, "segment", "no scan was named. Hint: segment CASE, or --phantom.");
  cs::RunRecord run{.command = "segment", .inputs = {input}, .model = model_file(a).string()};
  run.accuracy = a.accuracy, run.threads = ctx.executor().threads(), run.isa = text(ctx.traits().isa);
  run.model_name = model.recipe.about.name;
  cs::RunClock clock(run);
  console.keep(input), console.keep(run.model);
  Scan scan = cli::read_scan({input}, console);
  clock.stage("read");
  cli::Progress progress(console, "%", 100);
  cs::SegmentOptions options{};
  options.progress = {[](void* p, double done) { static_cast<cli::Progress*>(p)->done(static_cast<Index>(100 * done)); }, &progress};
  cs::Segmentation made = cs::segment(ctx, model, scan.volume, options);
  run.grid = scan.volume.grid();
  run.stages.push_back({"preprocess", made.seconds.preprocess});
  run.stages.push_back({"network", made.seconds.network});
  run.stages.push_back({"resample", made.seconds.resample + made.seconds.stitch});
  run.stages.push_back({"postprocess", made.seconds.postprocess});
  run.labels = cs::measure_labels(*made.labels,
                                  {.ct = &scan.volume, .names = label_names(model.recipe), .executor = &ctx.executor()});
  clock.finish();
  return {std::move(scan), model.recipe, std::move(made), std::move(run)};
}

fs::path folder_of(const Arguments& a, const Segmented& s) {
  std::string name = cs::dataset::stem_of(s.run.inputs[0]);
  if (name.empty()) name = fs::path(s.run.inputs[0]).lexically_normal().stem().string();
  return fs::path(a.output) / (name.empty() ? "scan" : name);
}

void write_results(cli::Staging& out, Segmented& s, cs::WindowHu window, Console& console) {
  cli::write_mask(out / "mask.nii.gz", s.mask());
  cs::io::write_png(out / "preview.png", cs::io::preview(s.scan.volume, s.mask(), {.window_hu = window}));
  const fs::path last = out / "run.json";
  s.run.outputs = out.outputs(), s.run.warnings = console.warnings();
  write_text(last, cs::to_json(s.run));
  console.check_cancelled();
  out.commit();
}

cs::EvaluationReport evaluate_cases(cs::Context<cs::Cpu>& ctx, const cs::LoadedModel& model,
                                    const std::vector<cs::CaseFiles>& files, const Config& config, const EvaluateCases& how,
                                    Console& console) {
  if (files.empty()) throw cs::Error(cs::Code::bad_argument, "evaluate", "there is no case to evaluate on.");
  cs::EvaluationReport report{.options = how.options};
  report.options.label_names = label_names(model.recipe);
  report.options.executor = &ctx.executor();
  cli::Progress progress(console, "cases", std::ssize(files));
  for (const cs::CaseFiles& f : files) {
    console.check_cancelled();
    const Scan scan = cli::read_scan({f.image.string()}, console);
    const cs::Volume<std::uint8_t> truth = read_truth(f, scan, config, console);
    const cs::Segmentation made = cs::segment(ctx, model, scan.volume);
    report.add(f.name, *made.labels, truth);
    if (how.each) how.each({f, scan, truth, *made.labels, made, report.cases.back()});
    progress.done(std::ssize(report.cases));
  }
  return report;
}

std::vector<std::string> label_names(const cs::ModelRecipe& recipe) {
  std::vector<std::string> names;
  for (const cs::LabelInfo& label : recipe.labels) {
    names.resize(std::max(names.size(), static_cast<std::size_t>(label.id) + 1));
    names[static_cast<std::size_t>(label.id)] = label.name;
  }
  return names;
}

void write_text(const fs::path& file, std::string_view words) {
  if (file.has_parent_path()) fs::create_directories(file.parent_path());
  cs::io::write_file(file, std::as_bytes(std::span(words)));
}

}   // namespace systems
