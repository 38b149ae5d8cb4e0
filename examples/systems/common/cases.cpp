// From files to cases as a network sees them, from a model to masks, from masks to scores.
#include <set>

#include <ctseg/io/preview.hpp>

#include "../../ctseg/onnx.hpp"
#include "system.hpp"

namespace systems {

namespace {

cs::Case prepare(Job& job, const cs::CaseFiles& files) {
  const Scan scan = cli::read_scan({files.image.string()}, job.console);
  return cli::prepared_case(files.name, scan, read_truth(job, files.label, scan), job.config.recipe, job.ctx.executor());
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

cs::ContextOptions context_options(const Arguments& a, Console& console) {
  return {.threads = console.common().threads,
          .seed = a.seed,
          .accuracy = cli::accuracy_named(a.accuracy),
          .cancel = console.cancel(),
          .log = console.log()};
}

}   // namespace

Job::Job(Arguments a, Config c, Console& words)
    : arguments(std::move(a)),
      config(std::move(c)),
      console(words),
      device(cli::device_named(arguments.device), context_options(arguments, words)),
      ctx(device.host()),
      find(find_cases),
      read(prepare_cases) {}

void Job::describe(cs::RunRecord& run) const {
  run.device = device.name(), run.device_reason = device.reason();
  run.threads = ctx.executor().threads(), run.isa = text(ctx.traits().isa), run.accuracy = arguments.accuracy;
}

cs::CaseSplit find_cases(const Job& job) { return find_cases(job.data(), job.config, job.arguments.seed); }

std::vector<cs::Case> prepare_cases(Job& job, const std::vector<cs::CaseFiles>& files) {
  const cs::Json recipe = cs::to_json(job.config.recipe);
  std::string what = recipe["preprocess"].dump() + recipe["labels"].dump() + recipe["decision"].dump();
  for (const Relabel& r : job.config.data.relabel) what += text(" ", r.from, ">", r.to);
  cs::CaseCache cache(files, [&](const cs::CaseFiles& f) { return prepare(job, f); },
                      {.max_bytes = 0, .folder = job.output() / "prepared", .recipe = what});   // copied below
  std::vector<cs::Case> cases;
  cli::Progress progress(job.console, "cases prepared", cache.size());
  for (Index i = 0; i < cache.size(); ++i) {
    job.console.check_cancelled();
    cases.push_back(*cache.get(i));
    progress.done(i + 1);
  }
  return cases;
}

void prepare_all(Job& job) {
  const cs::CaseSplit parts = find_cases(job);
  for (const auto& [name, files] :
       {std::pair("train", &parts.train), std::pair("val", &parts.val), std::pair("test", &parts.test)})
    if (!files->empty()) job.console.result(text(name, "\n", table_of(prepare_cases(job, *files))));
}

namespace {

/// A mask of other labels would be taken for what it is not: vertebrae for a liver.
void expect_own_labels(Job& job, const cs::ModelRecipe& model, const fs::path& file) {
  const auto ids = [](const cs::ModelRecipe& r) {
    std::set<Index> all;
    for (const cs::LabelInfo& l : r.labels) all.insert(l.id);
    return all;
  };
  const auto words = [](const cs::ModelRecipe& r) {
    std::string all;
    for (const cs::LabelInfo& l : r.labels)
      if (l.id != 0 && all.size() < 80) all += text(all.empty() ? "" : ", ", l.id, " ", l.name);
    return all;
  };
  const cs::ModelRecipe& own = job.config.recipe;
  const std::string fact = text("has the labels ", words(model), "; the configuration has ", words(own), ".");
  if (ids(model) != ids(own))
    throw cs::Error(cs::Code::bad_input, file.string(),
                    fact + " Hint: is it another system's? If not, -c names the configuration that it was trained with.");
  if (words(model) != words(own)) job.console.warn(text("warning: ", file.string(), " ", fact));
}

}   // namespace

cs::LoadedModel load(Job& job, const fs::path& file) {
  if (file == job.output() / "model.safetensors" && !fs::exists(file))
    throw cs::Error(cs::Code::io, file.string(),
                    "is not there. Hint: train makes it, with the same --output; -m names another.");
  const bool bare = cli::is_onnx(file) && !cli::onnx::metadata_of(file).contains(cs::model_file::kRecipeKey);
  cs::LoadedModel model =
      bare ? cli::onnx::load(file, job.config.recipe) : cli::load_model_file(file, {.executor = &job.ctx.executor()});
  expect_own_labels(job, model.recipe, file);
  return model;
}

cs::Volume<std::uint8_t> read_truth(Job& job, const fs::path& file, const Scan& scan) {
  cs::Volume<std::uint8_t> mask = cli::read_mask_on(scan.volume.grid(), {file.string()}, job.console);
  std::array<std::uint8_t, 256> id{};
  for (std::size_t i = 0; i < id.size(); ++i) id[i] = static_cast<std::uint8_t>(i);
  for (const Relabel& r : job.config.data.relabel) id[static_cast<std::size_t>(r.from)] = static_cast<std::uint8_t>(r.to);
  for (std::uint8_t& v : mask.voxels()) v = id[v];
  return mask;
}

std::string first_scan(const std::vector<cs::CaseFiles>& files) {
  if (files.empty()) throw cs::Error(cs::Code::bad_argument, "segment", "no patient was held out. Hint: segment CASE.");
  return files[0].image.string();
}

namespace {

const std::string& scan_of(Job& job) {
  std::string& input = job.arguments.input;
  if (input.empty() && job.arguments.phantom) input = first_scan(judged(find_cases(job)));
  if (input.empty())
    throw cs::Error(cs::Code::bad_argument, job.arguments.command,
                    text("no scan was named. Hint: ", job.arguments.command, " CASE, or --phantom."));
  return input;
}

}   // namespace

Segmented segment_scan(Job& job, const cs::LoadedModel& model) {
  const std::string input = scan_of(job);
  cs::RunRecord run{.command = job.arguments.command, .inputs = {fs::absolute(input).string()}};
  run.model = job.model().string(), run.model_name = model.recipe.about.name;
  cs::RunClock clock(run);
  job.console.keep(input), job.console.keep(run.model);
  Scan scan = cli::read_scan({input}, job.console);
  clock.stage("read");
  cli::Progress progress(job.console, "%", 100);
  cs::SegmentOptions options{};
  options.progress = {[](void* to, double done) { static_cast<cli::Progress*>(to)->done(static_cast<Index>(100 * done)); },
                      &progress};
  cs::Segmentation made = job.device.segment({&model}, {.channels = {&scan.volume}}, options);
  job.describe(run);
  const cs::SegmentSeconds& t = made.seconds;
  for (const auto& [name, seconds] :
       {std::pair("preprocess", t.preprocess), std::pair("network", t.network), std::pair("stitch", t.stitch),
        std::pair("resample", t.resample), std::pair("postprocess", t.postprocess)})
    run.stages.push_back({name, seconds});
  run.grid = scan.volume.grid();
  run.labels = cs::measure_labels(*made.labels, {.ct = &scan.volume, .names = cli::label_names(model.recipe)});
  run.warnings = job.console.warnings();
  clock.finish();
  return {std::move(scan), model.recipe, std::move(made), std::move(run)};
}

fs::path Job::data() const {
  if (!arguments.data.empty()) return arguments.data;
  throw cs::Error(cs::Code::bad_argument, arguments.command,
                  "no data set was named. Hint: --data FOLDER, or --phantom for synthetic patients.");
}

fs::path folder_of(const Job& job, const fs::path& scan) {
  fs::path whole = fs::absolute(scan).lexically_normal();
  if (!whole.has_filename()) whole = whole.parent_path();   // of "folder/", or "."
  std::error_code ignored;
  std::string name = fs::is_directory(whole, ignored) ? "" : cs::dataset::stem_of(whole);
  if (name.empty()) name = whole.filename().string();
  return job.output() / (name.empty() ? "scan" : name);   // of "/"
}

void expect_own_results(const fs::path& record, const fs::path& scan) {
  if (!fs::exists(record)) {
    const fs::path folder = record.parent_path();
    for (const char* own : {"data", "prepared", "evaluation", "checkpoints", "board"})
      if (folder.filename() == own && fs::exists(folder))
        throw cs::Error(cs::Code::bad_argument, folder.string(),
                        "is a folder of the training, and where results of a scan of that name go. Hint: another --output.");
    return;
  }
  const auto bytes = cs::io::read_file(record, {.max_bytes = Index{64} << 20});
  const cs::Json said = cs::json::parse({reinterpret_cast<const char*>(bytes.data()), bytes.size()}, record.string());
  const cs::Json::json_pointer first("/inputs/0");
  const bool named = said.contains(first) && said[first].is_string();
  const std::string earlier = named ? said[first].get<std::string>() : "an input without a name";
  const auto place = [](const fs::path& p) { return fs::weakly_canonical(fs::absolute(p)); };   // the earlier may be gone
  if (named && place(earlier) == place(scan)) return;
  throw cs::Error(cs::Code::bad_argument, record.parent_path().string(),
                  text("holds results of ", earlier, ", which results of ", fs::absolute(scan).string(),
                       " would replace. Hint: another --output; or, if these are the same scan, delete that folder."));
}

cli::Staging results_of(Job& job) {
  const fs::path scan = scan_of(job), folder = folder_of(job, scan);
  expect_own_results(folder / "run.json", scan);
  return cli::Staging(folder, job.console);
}

void commit_results(cli::Staging& out, const cs::RunRecord& run) {
  const fs::path folder = fs::path(run.outputs.back()).parent_path();
  const cli::FolderLock alone(folder);
  expect_own_results(folder / "run.json", run.inputs[0]);   // of another run that was faster
  out.commit();
}

void write_results(cli::Staging& out, Segmented& s, cs::WindowHu window, cs::Json* answer) {
  cli::write_mask(out / "mask.nii.gz", s.mask());
  cs::io::write_png(out / "preview.png", cs::io::preview(s.scan.volume, s.mask(), {.window_hu = window}));
  const fs::path said = answer ? out / "result.json" : fs::path(), last = out / "run.json";
  s.run.outputs = out.outputs();
  if (answer) {
    (*answer)["outputs"] = s.run.outputs;
    write_text(said, text_of(*answer));
  }
  write_text(last, cs::to_json(s.run));
  commit_results(out, s.run);
}

void warn_of_seen(const Job& job, const fs::path& model, const std::vector<cs::CaseFiles>& files) {
  const fs::path list = model.parent_path() / kTrainedOn;
  if (!fs::exists(list)) return;
  const auto bytes = cs::io::read_file(list);
  const std::string seen = "\n" + std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  const auto count = std::count_if(
      files.begin(), files.end(), [&](const cs::CaseFiles& f) { return seen.find("\n" + f.name + "\n") != std::string::npos; });
  if (count > 0)
    job.console.warn(text(count, " of ", files.size(), " cases have names of those that the model was trained on (",
                          list.string(), "). Hint: evaluate with the --seed and --data of the training."));
}

cs::EvaluationReport evaluate_cases(Job& job, const cs::LoadedModel& model, const EvaluateOptions& options) {
  if (options.files.empty())
    throw cs::Error(cs::Code::bad_argument, job.arguments.command,
                    text("there is no patient to judge by: all ", job.find(job).train.size(), " of ", job.data().string(),
                         " are to train on. Hint: a test/ folder beside train/, or data.test above 0."));
  warn_of_seen(job, job.model(), options.files);
  cs::EvaluationReport report{.options = options.scores};
  report.options.label_names = cli::label_names(model.recipe);
  report.options.executor = &job.ctx.executor();
  cli::Progress progress(job.console, "cases", std::ssize(options.files));
  for (const cs::CaseFiles& files : options.files) {
    job.console.check_cancelled();
    const Scan scan = cli::read_scan({files.image.string()}, job.console);
    const cs::Volume<std::uint8_t> truth = read_truth(job, files.label, scan);
    const cs::Segmentation made = job.device.segment({&model}, {.channels = {&scan.volume}}, {});
    report.add(files.name, *made.labels, truth);
    if (options.each) options.each({files, scan, truth, *made.labels, made, report.cases.back()});
    progress.done(std::ssize(report.cases));
  }
  return report;
}

void write_text(const fs::path& file, std::string_view words) {
  if (file.has_parent_path()) fs::create_directories(file.parent_path());
  cs::io::write_file(file, std::as_bytes(std::span(words)));
}

}   // namespace systems
