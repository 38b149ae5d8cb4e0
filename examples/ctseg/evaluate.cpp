// ctseg evaluate: predictions against truths, files or folders whose cases have the same names.
#include <atomic>
#include <mutex>

#include <ctseg/data/dataset.hpp>
#include <ctseg/io/preview.hpp>
#include <ctseg/report/html.hpp>
#include <ctseg/report/run.hpp>

#include "commands.hpp"

namespace cli {

namespace {

struct Pair {
  std::string name;
  fs::path prediction, truth, image{};   // image: only if scans were given
};

using Found = cs::dataset::Found;   // case name -> file, in natural order

Found files_of(const fs::path& folder) {
  Found found;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(folder, error)) {
    const std::string stem = cs::dataset::stem_of(entry.path());
    if (stem.empty() || stem.starts_with('.') || !entry.is_regular_file()) continue;
    if (!found.emplace(stem, entry.path()).second)
      throw cs::Error(cs::Code::bad_input, folder.string(),
                      text("holds two files of case ", stem, ", with different endings; there must be one."));
  }
  if (error) throw cs::Error(cs::Code::io, folder.string(), text("cannot be listed: ", error.message(), "."));
  if (found.empty())
    throw cs::Error(cs::Code::bad_input, folder.string(), "holds no mask; looked for .nii.gz, .nii, .mha, .mhd, .hdr, .npy.");
  return found;
}

void expect_partners(const Found& files, const Found& partners, const std::string& other) {
  for (const auto& [name, path] : files)
    if (!partners.contains(name))
      throw cs::Error(cs::Code::bad_input, path.string(),
                      text("has no partner of the same name in ", other, " (", files.size(), " and ", partners.size(),
                           " files). Hint: --common-only leaves such cases out."));
}

std::vector<Pair> find_pairs(const EvaluateArguments& a, Console& console) {
  const bool folders = fs::is_directory(a.predictions);
  if (folders != fs::is_directory(a.truths))
    throw cs::Error(cs::Code::bad_argument, folders ? a.predictions : a.truths,
                    text("is a folder and ", folders ? a.truths : a.predictions, " is not; name two files or two folders."));
  std::vector<Pair> pairs;
  if (!folders) {
    std::string name = cs::dataset::stem_of(a.predictions);
    if (name.empty()) name = fs::path(a.predictions).filename().string();
    if (!a.images.empty() && !fs::exists(a.images))   // it is read last, after all the work
      throw cs::Error(cs::Code::io, a.images, "is not there; --images names the scan of the masks.");
    return {{name, a.predictions, a.truths, a.images}};
  }
  const Found predictions = files_of(a.predictions), truths = files_of(a.truths);
  const Found images = a.images.empty() ? Found{} : files_of(a.images);
  if (!a.common_only) expect_partners(truths, predictions, a.predictions), expect_partners(predictions, truths, a.truths);
  for (const auto& [name, truth] : truths)
    if (const auto at = predictions.find(name); at != predictions.end()) {
      const auto image = images.find(name);
      pairs.push_back({name, at->second, truth, image == images.end() ? fs::path() : image->second});
    }
  if (pairs.empty()) throw cs::Error(cs::Code::bad_input, a.predictions, text("and ", a.truths, " have no case of one name."));
  const auto missing = std::count_if(pairs.begin(), pairs.end(), [](const Pair& p) { return p.image.empty(); });
  if (!a.images.empty() && missing > 0)
    console.warn(text(a.images, ": has no scan of the same name for ", missing, " of ", pairs.size(),
                      " cases; pictures of these show masks alone."));
  return pairs;
}

template <class Enum> Enum named(const std::string& word, std::initializer_list<Enum> all) {
  for (const Enum e : all)
    if (text(e) == word) return e;
  throw cs::Error(cs::Code::bad_argument, word, "is not one of the rules.");   // arguments.cpp has checked it
}

cs::EvaluationOptions options_of(const EvaluateArguments& a, cs::Executor& threads) {
  cs::EvaluationOptions o{.label_names = a.names};
  for (const int label : a.labels) o.labels.push_back(static_cast<std::uint8_t>(label));
  o.empty = named(a.empty, {cs::EmptyPolicy::nan, cs::EmptyPolicy::one_zero, cs::EmptyPolicy::nnunet});
  o.empty_surface = named(a.empty_surface, {cs::EmptySurface::infinite, cs::EmptySurface::nan, cs::EmptySurface::penalty});
  o.nsd_tolerance_mm = a.tolerance_mm;
  o.surfaces = a.surfaces, o.centerlines = a.centerlines;
  o.executor = &threads;
  return o;
}

struct Masks {
  cs::Volume<std::uint8_t> prediction, truth;
};
/// Both at once: most of the time goes to decompression.
Masks read_pair(const Pair& pair, const EvaluateArguments& a, Console& console, cs::Executor& threads) {
  std::optional<cs::Volume<std::uint8_t>> prediction, truth;
  const bool segmentation = dicom::is_dicom(pair.prediction);   // needs the truth's grid
  cs::parallel_for(threads, 2, [&](Index which) {
    if (which == 0) truth = read_mask({pair.truth.string(), a.spacing_mm}, console);
    if (which == 1 && !segmentation) prediction = read_mask({pair.prediction.string(), a.spacing_mm}, console);
  });
  if (segmentation) {
    static std::mutex one_at_a_time;   // DCMTK's tables are the whole program's
    const std::lock_guard lock(one_at_a_time);
    prediction = read_mask({pair.prediction.string()}, console, &truth->grid());
  }
  try {
    cs::check_same_grid(*prediction, *truth, pair.prediction.string());
  } catch (const cs::Error& error) {   // a grid that does not fit is the files' fault, so it names both
    throw cs::Error(cs::Code::shape_mismatch, pair.prediction.string(),
                    text("does not lie on the grid of ", pair.truth.string(), ": ",
                         std::string(error.what()).substr(pair.prediction.string().size() + 2)));
  }
  return {std::move(*prediction), std::move(*truth)};
}

/// All cases: side by side, a thread each, where there are enough of them; else one after the other on all threads. The first
/// case that fails ends the run and is the one that is told: cases are begun in order.
void score_all(const std::vector<Pair>& pairs, const EvaluateArguments& a, Console& console, cs::Executor& threads,
               cs::EvaluationReport& report) {
  Progress progress(console, "cases", std::ssize(pairs));
  std::mutex mutex;
  Index done = 0;
  std::atomic<bool> failed = false;
  const auto score = [&](Index i) {
    if (failed) return;
    try {
      const Pair& pair = pairs[static_cast<std::size_t>(i)];
      console.check_cancelled();
      const Masks masks = read_pair(pair, a, console, threads);
      cs::CaseScores& scores = report.cases[static_cast<std::size_t>(i)];
      scores = cs::evaluate(masks.prediction, masks.truth, report.options);
      scores.name = pair.name;
      const std::lock_guard lock(mutex);
      progress.done(++done);
    } catch (...) {
      failed = true;
      throw;
    }
  };
  report.cases.resize(pairs.size());
  if (std::ssize(pairs) >= threads.threads())
    cs::parallel_for(threads, std::ssize(pairs), score);
  else
    for (Index i = 0; i < std::ssize(pairs); ++i) score(i);
}

/// The worst cases once more, as pictures; without their scans on black.
std::vector<cs::ReportPicture> picture_worst(const cs::EvaluationReport& report, const std::vector<Pair>& pairs,
                                             const EvaluateArguments& a, Console& console, cs::Executor& threads) {
  std::vector<cs::ReportPicture> out;
  for (const std::size_t i : cs::worst_cases(report)) {
    console.check_cancelled();
    const Pair& pair = pairs[i];
    const Masks masks = read_pair(pair, a, console, threads);
    cs::Volume<float> ct(masks.truth.grid(), static_cast<float>(a.window_hu[0]));
    if (!pair.image.empty()) ct = read_scan({pair.image.string(), a.spacing_mm}, console).volume;
    std::vector<double> dice;
    for (const cs::LabelScores& s : report.cases[i].labels) dice.push_back(s.dice);
    out.push_back(
        {text(pair.name, ", mean Dice ", cs::report::brief(cs::summarize(dice).mean)),
         cs::io::preview(ct, masks.prediction,
                         {.window_hu = {a.window_hu[0], a.window_hu[1]}, .panel_pixels = 160, .truth = &masks.truth})});
  }
  return out;
}

/// What stdout gets with --json: the labels' means, then every case.
std::string json_of(const cs::EvaluationReport& r, const std::vector<std::string>& outputs) {
  cs::report::JsonWriter json;
  json.open('{');
  json.field("schema", 1);
  json.field("empty_rule", cs::report::empty_rule(r.options));
  cs::report::write_options(json, r);
  json.key("labels"), json.open('[');
  for (const std::uint8_t label : cs::report::labels_of(r)) {
    json.item(), json.open('{');
    json.field("label", int{label});
    for (const cs::report::Column& column : cs::report::kColumns)
      json.field(column.name, cs::summarize(r, label, column.value).mean);
    json.close('}');
  }
  json.close(']');
  json.key("cases"), json.open('[');
  for (const cs::CaseScores& c : r.cases) cs::report::write_case(json, c);
  json.close(']');
  cs::report::write_strings(json, "outputs", outputs);
  json.close('}');
  return json.take();
}

std::string table_of(const cs::EvaluationReport& r) {
  const auto padded = [](std::string words, std::size_t width) {   // names may have any length
    words.resize(std::max(words.size(), width), ' ');
    return words + ' ';
  };
  const auto row = [&](const std::string& name, const std::string& label, const std::array<double, 5>& v) {
    char line[160];
    std::snprintf(line, sizeof line, "%7s %7s %9s %9s %7s\n", cs::report::brief(v[0]).c_str(), cs::report::brief(v[1]).c_str(),
                  cs::report::brief(v[2], 2).c_str(), cs::report::brief(v[3], 2).c_str(), cs::report::brief(v[4]).c_str());
    return padded(name, 28) + padded(label, 14) + line;
  };
  std::string out = "case                         label             dice     iou   hd95_mm   assd_mm     nsd\n";
  for (const cs::CaseScores& c : r.cases)
    for (const cs::LabelScores& s : c.labels) out += row(c.name, s.name, {s.dice, s.iou, s.hd95_mm, s.assd_mm, s.nsd});
  for (const std::uint8_t label : cs::report::labels_of(r)) {
    const auto mean = [&](double cs::LabelScores::*score) { return cs::summarize(r, label, score).mean; };
    using L = cs::LabelScores;
    if (r.cases.size() > 1)
      out +=
          row("mean", text(int{label}), {mean(&L::dice), mean(&L::iou), mean(&L::hd95_mm), mean(&L::assd_mm), mean(&L::nsd)});
  }
  return out + cs::report::empty_rule(r.options) + "\n";
}

}   // namespace

void evaluate(const EvaluateArguments& a, Console& console) {
  cs::RunRecord run{.command = "evaluate", .inputs = {a.predictions, a.truths}};
  cs::RunClock clock(run);
  cs::ThreadPool threads(console.common().threads);
  run.threads = threads.threads();
  const std::vector<Pair> pairs = find_pairs(a, console);
  std::optional<Staging> out;   // before the work: a folder that cannot be written to must not cost an evaluation
  if (!a.output.empty()) {
    expect_folder_name(a.output, "report.html and the tables");
    out.emplace(a.output, console);
  }

  cs::EvaluationReport report{.options = options_of(a, threads)};
  report.skip = named(a.skip, {cs::Skip::nan, cs::Skip::not_finite, cs::Skip::nothing});
  score_all(pairs, a, console, threads, report);
  clock.stage("score");
  if (out) {
    out->write("cases.csv", cs::to_csv(report));
    out->write("summary.json", cs::summary_json(report));
    out->write("distribution.svg", cs::distribution_svg(report));
    out->write("report.html", cs::to_html(report, {.title = "Evaluation of " + fs::path(a.predictions).filename().string(),
                                                   .facts = {"Predictions: " + a.predictions, "Truths: " + a.truths},
                                                   .worst = picture_worst(report, pairs, a, console, threads)}));
    clock.stage("report");
    clock.finish();
    run.warnings = console.warnings();
    const fs::path last = *out / "run.json";
    run.outputs = out->outputs();
    const std::string json = cs::to_json(run);
    cs::io::write_file(last, std::as_bytes(std::span(json)));
    console.check_cancelled();
    out->commit();
  }
  console.result(console.common().json ? json_of(report, out ? out->outputs() : std::vector<std::string>{}) : table_of(report));
}

}   // namespace cli
