// The liver, slice by slice, by a 2-D U-Net so narrow that a clinic's computer answers within a second: PNGs to look at, STL to
// hold.
//   ctseg_liver_slices prepare | train | evaluate | segment --phantom      README.md beside this file has the whole story
#include <ctseg/image/crop.hpp>
#include <ctseg/io/mesh.hpp>
#include <ctseg/io/preview.hpp>
#include <ctseg/post/surface.hpp>
#include <ctseg/report/distribution.hpp>

#include "../common/system.hpp"

namespace {

using namespace systems;
using cs::Json;

constexpr cs::WindowHu kWindow{-160, 240};

/// Slices of a scan, from the feet to the head, whatever order its file has them in.
double slices_of(const cs::Grid& grid) {
  const std::array<int, 3> axes = cs::axis_order(grid.affine).world;
  const std::array<Index, 3> n{grid.shape.x, grid.shape.y, grid.shape.z};
  return static_cast<double>(n[static_cast<std::size_t>(std::find(axes.begin(), axes.end(), 2) - axes.begin())]);
}

/// What is known of the training patients, and who they are: 70/30 by patient, never by slice.
struct Statistics {
  double mean = 0, deviation = 1;   // HU
  std::vector<std::string> train{}, validation{};
};
template <class F> void fields(Statistics& s, F& f) {
  f.required("mean", s.mean);
  f.required("deviation", s.deviation);
  f.required("train", s.train);
  f.required("validation", s.validation);
}
fs::path statistics_file(const Job& job) { return job.output() / "statistics.json"; }

/// The recipe's step that maps HU to what the network sees.
cs::CtNormalization& normalization(Config& config) {
  for (cs::PreprocessStep& step : config.recipe.preprocess)
    if (auto* found = std::get_if<cs::CtNormalization>(&step)) return *found;
  throw cs::Error(cs::Code::bad_input, "recipe.preprocess", "has no CtNormalization, whose mean and deviation prepare finds.");
}
void use(const Statistics& s, Config& config) {
  normalization(config).mean = s.mean, normalization(config).deviation = s.deviation;
}

/// Mean and deviation of all voxels of the training patients, within the HU that count. Of the others nothing is looked at.
void prepare(Job& job) {
  const cs::CaseSplit parts = find_cases(job);
  const cs::CtNormalization& n = normalization(job.config);
  Statistics s;
  double voxels = 0, sum = 0, squares = 0;
  for (const cs::CaseFiles& f : parts.train) {
    job.console.check_cancelled();
    const Scan scan = cli::read_scan({f.image.string()}, job.console);
    for (const float v : scan.volume.voxels()) {
      if (!cs::is_finite(v)) continue;
      const double hu = std::clamp(double{v}, n.low, n.high);
      voxels += 1, sum += hu, squares += hu * hu;
    }
    s.train.push_back(f.name);
  }
  for (const cs::CaseFiles& f : parts.val) s.validation.push_back(f.name);
  if (voxels == 0) throw cs::Error(cs::Code::bad_input, job.data().string(), "has no patient to train on.");
  s.mean = sum / voxels, s.deviation = std::sqrt(std::max(squares / voxels - sum / voxels * sum / voxels, 0.0));
  write_text(statistics_file(job), text_of(cs::json::write(s)));
  use(s, job.config);
  prepare_all(job);
  job.console.result(text("mean ", s.mean, " HU, deviation ", s.deviation, " HU\n"));
}

void train_slices(Job& job) {
  const std::string file = statistics_file(job).string();
  if (!fs::exists(file)) throw cs::Error(cs::Code::io, file, "is not there. Hint: ctseg_liver_slices prepare comes first.");
  const auto bytes = cs::io::read_file(file, {.max_bytes = Index{1} << 20});
  Statistics s;
  cs::json::Reader::take(cs::json::parse({reinterpret_cast<const char*>(bytes.data()), bytes.size()}, file), {file}, s);
  std::vector<std::string> names;
  for (const cs::CaseFiles& f : find_cases(job).train) names.push_back(f.name);
  if (text_of(names) != text_of(s.train))   // as they were written
    throw cs::Error(cs::Code::bad_argument, file,
                    "is of other training patients. Hint: prepare again, or take its --seed and --data.");
  use(s, job.config);
  train(job);
}

/// The patients that were held out: Dice and more of each, a picture of each, how the scores spread, and the time of a slice.
void evaluate(Job& job) {
  const fs::path out = job.output() / "evaluation";
  fs::create_directories(out);
  double seconds = 0, slices = 0;
  const auto look = [&](const Judged& j) {
    seconds += j.made.seconds.total, slices += slices_of(j.mask.grid());
    cs::io::write_png(out / (j.files.name + ".png"),
                      cs::io::preview(j.scan.volume, j.mask, {.window_hu = kWindow, .truth = &j.truth}));
  };
  const cs::EvaluationReport report =
      evaluate_cases(job, load(job, job.model()), {.files = judged(find_cases(job)), .scores = {.labels = {1}}, .each = look});
  write_text(out / "cases.csv", cs::to_csv(report));
  write_text(out / "distribution.svg", cs::distribution_svg(report));
  Json summary{{"patients", report.cases.size()}, {"slices", slices}, {"seconds_per_slice", seconds / slices}};
  for (const auto& [name, score] :
       {std::pair("dice", &cs::LabelScores::dice), std::pair("iou", &cs::LabelScores::iou),
        std::pair("sensitivity", &cs::LabelScores::sensitivity), std::pair("precision", &cs::LabelScores::precision),
        std::pair("hd95_mm", &cs::LabelScores::hd95_mm)}) {
    const cs::Summary s = cs::summarize(report, 1, score);
    summary[name] = {{"mean", s.mean}, {"std", s.std}};
  }
  write_text(out / "evaluation.json", text_of(summary));
  job.console.result(text_of(summary));
}

/// A PNG of every slice with liver in it, counted from the feet.
void write_slices(cli::Staging& out, const Segmented& s) {
  const auto ct = cs::reorient(s.scan.volume, "LPS");
  const auto mask = cs::reorient(s.mask(), "LPS");
  const cs::Xyz<Index> n = ct.shape();
  out.supersede("slices/slice_*.png");
  for (Index z = 0; z < n.z; ++z) {
    const cs::Box slice{{0, 0, z}, {n.x, n.y, z + 1}};
    const auto liver = cs::crop(mask, slice);
    if (std::count(liver.voxels().begin(), liver.voxels().end(), 1) == 0) continue;
    char name[40];
    std::snprintf(name, sizeof name, "slices/slice_%03d.png", static_cast<int>(z));
    cs::io::write_png(out / name,
                      cs::io::overlay(cs::crop(ct, slice), liver, {.look = {.window_hu = kWindow, .panel_pixels = 512}}));
  }
}

/// One scan: its mask, slices, the liver as a surface in millimetres of the patient, and how long a slice took.
void segment(Job& job) {
  cli::Staging out = results_of(job);
  Segmented s = segment_scan(job, load(job, job.model()));
  const double slices = slices_of(s.mask().grid()), volume = cs::volume_ml(s.mask());
  const double per_slice = s.made.seconds.total / slices;
  s.run.figures = {{"slices", slices}, {"seconds_per_slice", per_slice}, {"liver_ml", volume}};
  write_slices(out, s);
  out.supersede("liver.stl");
  if (volume > 0)
    cs::io::write_stl(out / "liver.stl", cs::surface_of(s.mask(), {.label = 1}));
  else
    job.console.warn("no liver was found: there is no liver.stl.");
  write_results(out, s, kWindow);
  if (job.console.common().json) return job.console.result(cs::to_json(s.run));
  job.console.result(text("liver ", cs::report::brief(volume, 0), " ml, ", cs::report::brief(per_slice, 4), " s a slice\n"));
  for (const std::string& path : out.outputs()) job.console.result(path + "\n");
}

/// The time of a slice with the configuration's network; random weights take as long as trained ones.
void measure(Job& job) {
  cs::LoadedModel model{job.config.recipe, cs::make_model(job.config.recipe.network)};
  model.model.initialize(job.ctx);
  const Segmented s = segment_scan(job, model);
  const double slices = slices_of(s.mask().grid());
  const Json out{{"network", job.config.recipe.about.name},
                 {"parameters", model.model.parameter_count()},
                 {"slices", slices},
                 {"seconds_per_slice", s.made.seconds.total / slices},
                 {"network_seconds_per_slice", s.made.seconds.network / slices},
                 {"device", s.run.device},
                 {"threads", s.run.threads},
                 {"peak_memory_mb", s.run.peak_memory_mb}};
  job.console.result(text_of(out));
}

std::pair<fs::path, fs::path> phantom_files(const std::string&, Index patient) {
  const std::string name = text("phantom_", patient, ".nii.gz");
  return {fs::path("ct_scans") / name, fs::path("masks") / name};
}

}   // namespace

int main(int argc, char** argv) {
  return run(
      {.name = "liver_slices",
       .what = "The liver in a CT, slice by slice, by a 2-D U-Net",
       .phantoms = {.region = cs::Region::abdomen,
                    .mask = [](const cs::Phantom& p) { return cs::mask_of(p, cs::Organ::liver); },
                    .files = phantom_files},
       .commands = {{"prepare", "split DATA by patient, find mean and deviation of the training part", prepare, "--seed"},
                    {"train", "train on 70 % of the patients", train_slices, "--device --resume --seed --json"},
                    {"evaluate", "score the model on the others, and time a slice", evaluate, "--model --device --seed --json"},
                    {"segment", "one scan: mask, PNGs, STL", segment, "CASE --model --device --seed --json"},
                    {"measure", "time of a slice of CASE, with random weights", measure, "CASE --device --seed --json"}}},
      argc, argv);
}
