// The liver in a CT, by a 3-D U-Net: DICOM or NIfTI in, a mask and one JSON object out.
//   ctseg_liver prepare | train | evaluate | segment --phantom      README.md beside this file has the whole story
#include <cmath>

#include "../common/system.hpp"

namespace {

using namespace systems;

/// What the system reports, under its names; what needs a true mask and has none is null.
cs::Json metrics(const cs::LabelScores& s, bool judged) {
  const auto number = [&](double v) { return judged && cs::is_finite(v) ? cs::Json(v) : cs::Json(); };
  return {{"dice", number(s.dice)},
          {"iou", number(s.iou)},
          {"sensitivity", number(s.sensitivity)},
          {"specificity", number(s.specificity)},
          {"pixel_accuracy", number(s.accuracy)},
          {"volume_ml", s.volume_ml},
          {"quality_grade", judged ? cs::Json(s.quality_grade) : cs::Json()},
          {"meets_clinical_standards", judged ? cs::Json(s.meets_clinical_standards) : cs::Json()}};
}

/// Scores of the test patients: one object each, and the means, graded by the same rule.
void evaluate(Job& job) {
  cs::Json out = {{"cases", cs::Json::object()}};
  double seconds = 0;
  const auto add = [&](const Judged& j) {
    out["cases"][j.files.name] = metrics(j.scores.labels[0], true);
    seconds += j.made.seconds.total;
  };
  const cs::EvaluationReport report =
      evaluate_cases(job, load(job, job.model()), {.files = judged(find_cases(job)), .scores = {.labels = {1}}, .each = add});
  cs::LabelScores mean;
  for (const auto score : {&cs::LabelScores::dice, &cs::LabelScores::iou, &cs::LabelScores::sensitivity,
                           &cs::LabelScores::specificity, &cs::LabelScores::accuracy, &cs::LabelScores::volume_ml})
    mean.*score = cs::summarize(report, 1, score).mean;
  cs::evaluation::grade(mean, report.options.quality);
  out["mean"] = metrics(mean, true);
  out["seconds_per_case"] = seconds / static_cast<double>(report.cases.size());
  write_text(job.output() / "evaluation" / "cases.csv", cs::to_csv(report));
  write_text(job.output() / "evaluation" / "evaluation.json", text_of(out));
  job.console.result(text_of(out));
}

std::string truth_file;   // --truth

/// One scan: the mask on its own grid, a picture, and the JSON object that a web back end reads.
void segment(Job& job) {
  job.console.keep(truth_file);
  cli::Staging out = results_of(job);
  Segmented s = segment_scan(job, load(job, job.model()));
  cs::LabelScores scores;
  scores.volume_ml = cs::volume_ml(s.mask());
  if (!truth_file.empty()) scores = cs::evaluate(s.mask(), read_truth(job, truth_file, s.scan), {.labels = {1}}).labels[0];
  cs::Json json = metrics(scores, !truth_file.empty());
  write_results(out, s, {.low = -160, .high = 240}, &json);
  job.console.result(text_of(json));
  for (const std::string& path : out.outputs()) job.console.note(path);
}

/// What a network of the configuration costs on a scan: random weights take as long as trained ones.
void measure(Job& job) {
  cs::LoadedModel model{job.config.recipe, cs::make_model(job.config.recipe.network)};
  model.model.initialize(job.ctx);
  const Segmented s = segment_scan(job, model);
  const cs::SegmentSeconds& t = s.made.seconds;
  const cs::Json out{{"config", fs::path(job.arguments.config).stem().string()},
                     {"parameters", model.model.parameter_count()},
                     {"device", s.run.device},
                     {"threads", s.run.threads},
                     {"accuracy", s.run.accuracy},
                     {"windows", s.made.windows},
                     {"windows_of_air", s.made.skipped},
                     {"seconds", t.total},
                     {"preprocess_seconds", t.preprocess},
                     {"network_seconds", t.network},
                     {"resample_seconds", t.stitch + t.resample},
                     {"postprocess_seconds", t.postprocess},
                     {"peak_memory_mb", s.run.peak_memory_mb},
                     {"plan", s.made.plan}};
  job.console.result(text_of(out));
}

/// dataset/{train,val,test}/{ct_scans,masks}
std::pair<fs::path, fs::path> phantom_files(const std::string& part, Index patient) {
  const std::string name = text("phantom_", patient, ".nii.gz");
  return {fs::path(part) / "ct_scans" / name, fs::path(part) / "masks" / name};
}

}   // namespace

int main(int argc, char** argv) {
  return run(
      {.name = "liver",
       .what = "The liver in a CT, by a 3-D U-Net",
       .phantoms = {.region = cs::Region::thorax_abdomen,
                    .mask = [](const cs::Phantom& p) { return cs::mask_of(p, cs::Organ::liver); },
                    .files = phantom_files},
       .commands = {{"prepare", "read, check and preprocess DATA/{train,val,test}/{ct_scans,masks}", prepare_all, "--seed"},
                    {"train", "train on DATA/train, validate on DATA/val", train, "--device --resume --seed --json"},
                    {"evaluate", "score the model on DATA/test", evaluate, "--model --device --seed --json"},
                    {"segment", "segment one scan", segment, "CASE --model --device --seed --json --truth"},
                    {"measure", "time and memory of segmenting CASE, with random weights", measure,
                     "CASE --device --seed --json"}},
       .extras = {{"--truth", &truth_file, "the true mask of CASE, to score the result"}}},
      argc, argv);
}
