// Coronary arteries in a CT with contrast agent, by MONAI's BasicUNet.
//   ctseg_coronary prepare | train | evaluate | segment | export | compare --phantom      README.md has the whole story
#include <cstdlib>

#include "../../ctseg/onnx.hpp"
#include "../common/system.hpp"

namespace {

using namespace systems;

std::string uploaded;   // --upload

/// Which model: the one uploaded with a request, else the path that was given, else what CTSEG_MODEL names, else the last one
/// that was trained here.
fs::path choose_model(const Job& job) {
  const char* named = std::getenv("CTSEG_MODEL");
  if (!uploaded.empty()) return uploaded;
  if (job.arguments.model.empty() && named && *named) return named;
  return job.model();
}
cs::LoadedModel load_chosen(Job& job) {
  job.arguments.model = choose_model(job).string();
  job.console.note("model: " + job.arguments.model);
  return load(job, job.model());
}

/// Dice and clDice (overlap with the other's centre line: broken vessels cost much) of the test cases, and time.
cs::Json scores_of(Job& job) {
  const cs::LoadedModel model = load_chosen(job);
  cs::Json cases = cs::Json::object();
  double seconds = 0;
  const auto add = [&](const Judged& j) {
    const cs::LabelScores& s = j.scores.labels[0];
    cases[j.files.name] = {{"dice", s.dice},           {"cldice", s.cldice},   {"sensitivity", s.sensitivity},
                           {"precision", s.precision}, {"hd95_mm", s.hd95_mm}, {"seconds", j.made.seconds.total}};
    seconds += j.made.seconds.total;
  };
  const cs::EvaluationReport report = evaluate_cases(
      job, model, {.files = judged(find_cases(job)), .scores = {.labels = {1}, .centerlines = true}, .each = add});
  write_text(job.output() / "evaluation" / "cases.csv", cs::to_csv(report));
  const cs::Summary dice = cs::summarize(report, 1, &cs::LabelScores::dice),
                    cldice = cs::summarize(report, 1, &cs::LabelScores::cldice);
  return {{"model", job.model().string()},
          {"cases", cases},
          {"dice", {{"mean", dice.mean}, {"std", dice.std}}},
          {"cldice", {{"mean", cldice.mean}, {"std", cldice.std}}},
          {"seconds_per_case", seconds / static_cast<double>(report.cases.size())}};
}

void evaluate(Job& job) {
  const std::string json = text_of(scores_of(job));
  write_text(job.output() / "evaluation" / "evaluation.json", json);
  job.console.result(json);
}

void segment(Job& job) {
  cli::Staging out = results_of(job);
  const cs::LoadedModel model = load_chosen(job);
  Segmented s = segment_scan(job, model);
  cs::Json json{{"model", job.arguments.model},
                {"device", s.run.device},
                {"inference_seconds", s.made.seconds.total},
                {"network_seconds", s.made.seconds.network},
                {"windows", s.made.windows},
                {"volume_ml", cs::volume_ml(s.mask())}};
  write_results(out, s, {.low = -100, .high = 500}, &json);
  job.console.result(text_of(json));
  for (const std::string& path : out.outputs()) job.console.note(path);
}

void export_model(Job& job) {
  const fs::path file = job.output() / "model.onnx";
  const cs::LoadedModel model = load_chosen(job);
  job.console.keep(job.model());
  job.console.expect_output(file);
  cli::onnx::write(file, model);
  job.console.result(file.string() + "\n");
}

/// The same training without and with augmentation, judged on the same cases. It goes on where it was stopped.
void compare(Job& job) {
  uploaded.clear();   // each arm is judged by its own model
  cs::Json out = cs::Json::object();
  for (const auto& [name, augment] : {std::pair("baseline", "none"), std::pair("augmented", "coronary")}) {
    Job arm(job.arguments, job.config, job.console);
    arm.arguments.output = (job.output() / name).string();
    arm.arguments.resume = true;
    arm.config.training.augment = augment;
    const Trained trained = train_model(arm);
    arm.arguments.model = trained.run.model;
    out[name] = scores_of(arm);
    out[name]["training_seconds"] = trained.seconds;
  }
  std::string table = "case,baseline_dice,augmented_dice,difference,baseline_cldice,augmented_cldice\n";
  double difference = 0;
  for (const auto& [name, baseline] : out["baseline"]["cases"].items()) {
    const cs::Json& augmented = out["augmented"]["cases"][name];
    const double by = augmented["dice"].get<double>() - baseline["dice"].get<double>();
    difference += by / static_cast<double>(out["baseline"]["cases"].size());
    table += text(cs::report::cell(name), ",", baseline["dice"].get<double>(), ",", augmented["dice"].get<double>(), ",", by,
                  ",", baseline["cldice"].get<double>(), ",", augmented["cldice"].get<double>(), "\n");
  }
  out["dice_difference"] = difference;
  write_text(job.output() / "comparison.csv", table);
  write_text(job.output() / "comparison.json", text_of(out));
  job.console.result(job.console.common().json ? text_of(out) : table);
}

/// NUMBER.img.nii.gz and NUMBER.label.nii.gz, as ImageCAS has them; the configuration's shares split them.
std::pair<fs::path, fs::path> phantom_files(const std::string&, Index patient) {
  return {text(patient + 1, ".img.nii.gz"), text(patient + 1, ".label.nii.gz")};
}

}   // namespace

int main(int argc, char** argv) {
  return run(
      {.name = "coronary",
       .what = "Coronary arteries in a CT, by a BasicUNet",
       .phantoms = {.region = cs::Region::heart,
                    .mask = [](const cs::Phantom& p) { return p.coronaries; },
                    .files = phantom_files},
       .commands = {{"prepare", "read, check and preprocess DATA/NUMBER.img.nii.gz and .label.nii.gz", prepare_all, "--seed"},
                    {"train", "train on 80 % of the patients", train, "--device --resume --seed --json"},
                    {"evaluate", "Dice, clDice and time on the others", evaluate, "--model --device --seed --json --upload"},
                    {"segment", "segment one scan, with a model file or an ONNX file", segment,
                     "CASE --model --device --seed --json --upload"},
                    {"export", "write the model as OUTPUT/model.onnx", export_model, "--model --upload"},
                    {"compare", "train without and with augmentation, and judge both", compare, "--device --seed --json"}},
       .extras = {{"--upload", &uploaded, "a model that comes before all others: --model, CTSEG_MODEL, OUTPUT's"}}},
      argc, argv);
}
