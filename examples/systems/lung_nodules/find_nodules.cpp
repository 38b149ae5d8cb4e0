// Scans to nodules: of the patients that were held out, with scores, and of one scan, with pictures.
#include <ctseg/image/morphology.hpp>
#include <ctseg/io/npy.hpp>
#include <ctseg/io/preview.hpp>
#include <ctseg/metrics/froc.hpp>
#include <ctseg/post/nodules.hpp>
#include <ctseg/report/distribution.hpp>

#include <charconv>
#include <sstream>

#include "lung_nodules.hpp"

namespace {

using namespace lung_nodules;

constexpr float kCandidate = 0.1f;   // probability: a FROC curve needs the doubtful findings too
constexpr double kWallMm = 5;        // how far from a lung mask a nodule may still be one: masks leave out some at the wall
constexpr cs::WindowHu kWindow{-1000, 400};

std::vector<std::string> parts_of(const std::string& list) {   // "a,b"
  std::vector<std::string> parts;
  std::istringstream in(list);
  for (std::string part; std::getline(in, part, ',');) parts.push_back(part);
  return parts;
}

/// The files that --model names, or the one that was trained; a path with a comma in it is one file, if there is such.
std::vector<std::string> model_files(const Job& job) {
  return fs::exists(job.model()) ? std::vector{job.model().string()} : parts_of(job.model().string());
}

double number_of(const std::string& flag, const std::string& words) {
  double value = 0;
  const auto [end, error] = std::from_chars(words.data(), words.data() + words.size(), value);
  if (error == std::errc() && end == words.data() + words.size()) return value;
  throw cs::Error(cs::Code::bad_argument, flag, text("has \"", words, "\", which is no number."));
}

/// A scan as it came to its mask, by the mean of all models that are named ("a.safetensors,b.safetensors"), of mirror images
/// and of scales.
class Finder {
 public:
  explicit Finder(Job& job) : device_(job.device) {
    const auto named = [](char axis) { return looks.mirror.find(axis) != std::string::npos; };
    if (looks.mirror.find_first_not_of("xyz") != std::string::npos)
      throw cs::Error(cs::Code::bad_argument, "--mirror", text("is \"", looks.mirror, "\"; must be letters of xyz."));
    options_.mirror = {named('x'), named('y'), named('z')};
    for (const std::string& scale : parts_of(looks.scales)) options_.scales.push_back(number_of("--scales", scale));
    options_.probability_of = 1;
    for (const std::string& file : model_files(job)) models_.push_back(load(job, file));
    for (const cs::LoadedModel& m : models_) pointers_.push_back(&m);
  }
  const std::string& name() const { return models_[0].recipe.about.name; }
  cs::Segmentation operator()(const cs::Volume<float>& ct) const {
    return device_.segment(pointers_, {.channels = {&ct}}, options_);
  }

 private:
  cli::Device& device_;
  std::vector<cs::LoadedModel> models_;
  std::vector<const cs::LoadedModel*> pointers_;
  cs::SegmentOptions options_;
};

/// What was found away from the lungs is no nodule of theirs.
void keep_lungs(Job& job, cs::Segmentation& made, const fs::path& mask) {
  if (mask.empty()) return;
  const auto near = cs::dilate(cli::read_mask_on(made.labels->grid(), {mask.string()}, job.console), {.radius_mm = kWallMm});
  for (std::size_t i = 0; i < near.voxels().size(); ++i)
    if (near.voxels()[i] == 0) made.labels->voxels()[i] = 0, made.probability->voxels()[i] = 0;
}

/// A row for each patient, mean and deviation over patients, and a picture of how they spread.
Json write_scores(const fs::path& out, const cs::EvaluationReport& report, Console& console) {
  const std::pair<const char*, double cs::LabelScores::*> columns[] = {{"dice", &cs::LabelScores::dice},
                                                                       {"sensitivity", &cs::LabelScores::sensitivity},
                                                                       {"precision", &cs::LabelScores::precision},
                                                                       {"recall", &cs::LabelScores::sensitivity}};
  std::string csv = "patient,dice,sensitivity,precision,recall\n";
  for (const cs::CaseScores& c : report.cases) {
    csv += cs::report::cell(c.name);
    for (const auto& [name, score] : columns) csv += ',', cs::report::append_number(csv, c.labels[0].*score);
    csv += '\n';
  }
  write_text(out / "validation.csv", csv);
  write_text(out / "distribution.svg", cs::distribution_svg(report, {.scores = {"dice", "sensitivity", "precision"}}));
  Json all;
  for (const auto& [name, score] : columns) {
    const cs::Summary s = cs::summarize(report, 1, score);
    all[name] = {{"mean", s.mean}, {"std", s.std}, {"patients", s.used}};
    console.result(text(name, "  ", cs::report::brief(s.mean), " +- ", cs::report::brief(s.std), "\n"));
  }
  return all;
}

/// LUNA16's score of all findings: sensitivity at 1/8 to 8 false ones per scan, and its mean, the CPM.
void write_froc(const fs::path& out, const cs::FrocInput& input, Json& summary, Console& console) {
  cs::write_luna16_results(out / "findings.csv", input.candidates);
  const cs::FrocOptions official;
  const cs::FrocResult r = cs::evaluate_froc(input, official);
  std::string csv = "threshold,false_positives_per_scan,sensitivity\n";
  for (const cs::FrocPoint& p : r.curve) csv += text(p.threshold, ",", p.false_positives_per_scan, ",", p.sensitivity, "\n");
  write_text(out / "froc.csv", csv);
  summary["cpm"] = {{"value", r.cpm.value}, {"ci95", {r.cpm.low, r.cpm.high}}};
  for (std::size_t i = 0; i < official.rates.size(); ++i)
    summary["sensitivity_at"][text(official.rates[i])] = r.sensitivity[i].value;
  summary["scans"] = r.scans, summary["nodules"] = r.nodules, summary["found"] = r.found;
  console.result(text("CPM  ", cs::report::brief(r.cpm.value), ", ", r.found, " of ", r.nodules, " nodules found in ", r.scans,
                      " scans, with ", r.false_positives, " false candidates\n"));
}

}   // namespace

void lung_nodules::validate(Job& job) {
  const fs::path out = job.output(), data = job.data();
  const Finder find(job);
  const auto files = judged(prepared_files(job));
  for (const std::string& model : model_files(job)) warn_of_seen(job, model, files);
  cs::FrocInput froc{.nodules = annotations(job)};
  if (const fs::path excluded = data / "annotations_excluded.csv"; fs::exists(excluded))
    froc.excluded = cs::read_luna16_excluded(excluded);
  auto nodules = cs::by_series(froc.nodules);
  std::map<std::string, cs::CaseFiles> scans;   // as they came: what is scored is on their grid
  for (const cs::CaseFiles& f : cs::find_cases(data, cs::layouts::luna16)) scans[f.name] = f;
  cs::EvaluationReport report{.options = {.labels = {1}, .label_names = {"background", "nodule"}, .surfaces = false}};
  cli::Progress progress(job.console, "patients", std::ssize(files));
  for (const cs::CaseFiles& f : files) {
    job.console.check_cancelled();
    if (!scans.count(f.name))
      throw cs::Error(cs::Code::bad_input, data.string(), text("lacks the scan ", f.name, ", which was prepared."));
    const cs::CaseFiles& whole = scans[f.name];
    const Scan scan = cli::read_scan({whole.image.string()}, job.console);
    cs::Segmentation made = find(scan.volume);
    keep_lungs(job, made, whole.label);
    report.add(f.name, *made.labels, cs::nodule_mask(scan.volume.grid(), nodules[f.name]));
    cs::Volume<std::uint8_t> doubtful(scan.volume.grid());
    for (std::size_t i = 0; i < doubtful.voxels().size(); ++i)
      doubtful.voxels()[i] = made.probability->voxels()[i] > kCandidate;
    for (const auto& row : cs::luna16_rows(f.name, cs::measure_nodules(doubtful, made.probability)))
      froc.candidates.push_back(row);
    froc.series.push_back(f.name);
    progress.done(std::ssize(froc.series));
  }
  Json summary = write_scores(out, report, job.console);
  write_froc(out, froc, summary, job.console);
  write_text(out / "validation.json", text_of(summary));
}

/// One scan: mask.npy and mask.nii.gz, pictures of each nodule, nodules.json, and run.json, the summary.
void lung_nodules::infer(Job& job) {
  std::string& input = job.arguments.input;
  if (input.empty() && job.arguments.phantom) input = cs::find_cases(job.data(), cs::layouts::luna16).back().image;
  cli::Staging out = results_of(job);
  cs::RunRecord run{.command = "infer", .inputs = {fs::absolute(input).string()}, .model = job.model().string()};
  cs::RunClock clock(run);
  const Finder find(job);
  job.console.keep(input), job.console.keep(looks.lungs);
  const Scan scan = cli::read_scan({input}, job.console);
  clock.stage("read");
  cs::Segmentation made = find(scan.volume);
  keep_lungs(job, made, looks.lungs);
  clock.stage("segment");
  cs::io::write_npy_volume(out / "mask.npy", *made.labels);
  cli::write_mask(out / "mask.nii.gz", *made.labels);
  cs::io::write_png(out / "overlay.png", cs::io::preview(scan.volume, *made.labels, {.window_hu = kWindow}));
  const auto ct = cs::reorient(scan.volume, "LPS");
  const auto mask = cs::reorient(*made.labels, "LPS");
  out.supersede("nodule_*.png");
  Json list = Json::array();
  for (const cs::MeasuredNodule& n : cs::measure_nodules(*made.labels, made.probability)) {
    list.push_back({{"center_world", xyz(n.centre)},
                    {"center_voxel", zyx(n.centre_voxel)},
                    {"diameter_mm", n.diameter_mm},
                    {"volume_voxels", n.voxels},
                    {"bbox", {n.low.z, n.high.z, n.low.y, n.high.y, n.low.x, n.high.x}},   // both ends inside
                    {"probability", n.probability}});
    const auto z = static_cast<Index>(std::lround(ct.affine().index_of(cs::to_ras(n.centre)).z));
    const cs::Box slice{{0, 0, z}, {ct.shape().x, ct.shape().y, z + 1}};
    cs::io::write_png(
        out / text("nodule_", list.size(), ".png"),
        cs::io::overlay(cs::crop(ct, slice), cs::crop(mask, slice), {.look = {.window_hu = kWindow, .panel_pixels = 512}}));
  }
  const std::string nodules = text_of(Json{{"scan", input}, {"nodules", list}});
  out.write("nodules.json", nodules);
  clock.stage("write");
  clock.finish();
  job.describe(run);
  run.grid = scan.volume.grid(), run.model_name = find.name();
  run.labels = cs::measure_labels(*made.labels, {.ct = &scan.volume, .names = {"background", "nodule"}});
  run.figures = {{"nodules", static_cast<double>(list.size())}, {"windows", static_cast<double>(made.windows)}};
  run.outputs = out.outputs(), run.warnings = job.console.warnings();
  out.write("run.json", cs::to_json(run));
  commit_results(out, run);
  job.console.result(nodules);
}
