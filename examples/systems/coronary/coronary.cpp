// Coronary arteries in a CT with contrast agent, by MONAI's BasicUNet.
//   ctseg_coronary prepare | train | evaluate | segment | export | compare --phantom      README.md has the whole story
#include <cstdlib>

#include "onnx.hpp"

namespace {

using namespace systems;

std::string uploaded;   // --upload

/// Which model: the one uploaded with a request, else the path that was given, else what CTSEG_MODEL names, else the last one
/// that was trained here.
fs::path choose_model(const Arguments& a) {
  if (!uploaded.empty()) return uploaded;
  if (!a.model.empty()) return a.model;
  if (const char* named = std::getenv("CTSEG_MODEL"); named && *named) return named;
  return model_file(a);
}
cs::LoadedModel load_any(const fs::path& file, const Config& config, cs::Context<cs::Cpu>& ctx) {
  return file.extension() == ".onnx" ? load_onnx(file, config.recipe) : load(file, ctx);
}

void prepare(const Arguments& a, const Config& config, Console& console) {
  const cs::CaseSplit parts = find_cases(a.data, config, a.seed);
  for (const auto& [name, files] : {std::pair("train", parts.train), std::pair("val", parts.val), std::pair("test", parts.test)})
    console.result(text(name, "\n", table_of(prepare_cases(files, a, config, console))));
}

void train(const Arguments& a, const Config& config, Console& console) {
  console.result(shown(train_model(a, config, find_cases(a.data, config, a.seed), console), console));
}

/// Dice and clDice (overlap with the other's centre line: broken vessels cost much) of the test cases, and time.
cs::Json scores_of(const Arguments& a, const Config& config, Console& console) {
  cs::Context<cs::Cpu> ctx{context_options(a, console)};
  const fs::path file = choose_model(a);
  const cs::LoadedModel model = load_any(file, config, ctx);
  cs::Json cases = cs::Json::object();
  double seconds = 0;
  const auto report = evaluate_cases(ctx, model, find_cases(a.data, config, a.seed).test, config,
                                     {.options = {.labels = {1}, .centerlines = true},
                                      .each =
                                          [&](const Judged& j) {
                                            const cs::LabelScores& s = j.scores.labels[0];
                                            cases[j.files.name] = {{"dice", s.dice},
                                                                   {"cldice", s.cldice},
                                                                   {"sensitivity", s.sensitivity},
                                                                   {"precision", s.precision},
                                                                   {"hd95_mm", s.hd95_mm},
                                                                   {"seconds", j.made.seconds.total}};
                                            seconds += j.made.seconds.total;
                                          }},
                                     console);
  write_text(fs::path(a.output) / "evaluation" / "cases.csv", cs::to_csv(report));
  const cs::Summary dice = cs::summarize(report, 1, &cs::LabelScores::dice),
                    cldice = cs::summarize(report, 1, &cs::LabelScores::cldice);
  return {{"model", file.string()},
          {"cases", cases},
          {"dice", {{"mean", dice.mean}, {"std", dice.std}}},
          {"cldice", {{"mean", cldice.mean}, {"std", cldice.std}}},
          {"seconds_per_case", seconds / static_cast<double>(report.cases.size())}};
}

void evaluate(const Arguments& a, const Config& config, Console& console) {
  const std::string json = scores_of(a, config, console).dump(2) + "\n";
  write_text(fs::path(a.output) / "evaluation" / "evaluation.json", json);
  console.result(json);
}

void segment(const Arguments& given, const Config& config, Console& console) {
  Arguments a = given;
  a.model = choose_model(given).string();
  console.note("model: " + a.model);
  cs::Context<cs::Cpu> ctx{context_options(a, console)};
  const cs::LoadedModel model = load_any(a.model, config, ctx);
  Segmented s = segment_scan(ctx, model, a, config, console);
  const cs::Json json{{"model", a.model},
                      {"device", "cpu"},
                      {"inference_seconds", s.made.seconds.total},
                      {"network_seconds", s.made.seconds.network},
                      {"windows", s.made.windows},
                      {"volume_ml", cs::volume_ml(s.mask())}};
  cli::Staging out(folder_of(a, s), console);
  out.write("result.json", json.dump(2) + "\n");
  write_results(out, s, {.low = -100, .high = 500}, console);
  console.result(json.dump(2) + "\n");
  for (const std::string& path : out.outputs()) console.note(path);
}

void export_model(const Arguments& a, const Config&, Console& console) {
  cs::Context<cs::Cpu> ctx{context_options(a, console)};
  const fs::path file = fs::path(a.output) / "model.onnx";
  export_onnx(load(choose_model(a), ctx), file);
  console.result(file.string() + "\n");
}

/// The same training without and with augmentation, judged on the same cases. It goes on where it was stopped.
void compare(const Arguments& a, const Config& config, Console& console) {
  cs::Json out = cs::Json::object();
  for (const auto& [name, augment] : {std::pair("baseline", "none"), std::pair("augmented", "coronary")}) {
    Arguments arm = a;
    arm.output = (fs::path(a.output) / name).string(), arm.model.clear(), arm.resume = true;
    Config own = config;
    own.training.augment = augment;
    const fs::path done = fs::path(arm.output) / "evaluation" / "evaluation.json";
    const cs::RunRecord run = train_model(arm, own, find_cases(a.data, config, a.seed), console);
    arm.model = model_file(arm).string();
    out[name] = scores_of(arm, own, console);
    out[name]["training_seconds"] = run.seconds;
    write_text(done, out[name].dump(2) + "\n");
  }
  std::string table = "case,baseline_dice,augmented_dice,difference,baseline_cldice,augmented_cldice\n";
  double difference = 0;
  for (const auto& [name, baseline] : out["baseline"]["cases"].items()) {
    const cs::Json& augmented = out["augmented"]["cases"][name];
    const double by = augmented["dice"].get<double>() - baseline["dice"].get<double>();
    difference += by / static_cast<double>(out["baseline"]["cases"].size());
    table += text(name, ",", baseline["dice"].get<double>(), ",", augmented["dice"].get<double>(), ",", by, ",",
                  baseline["cldice"].get<double>(), ",", augmented["cldice"].get<double>(), "\n");
  }
  out["dice_difference"] = difference;
  write_text(fs::path(a.output) / "comparison.csv", table);
  write_text(fs::path(a.output) / "comparison.json", out.dump(2) + "\n");
  console.result(console.common().json ? out.dump(2) + "\n" : table);
}

/// NUMBER.img.nii.gz and NUMBER.label.nii.gz, as ImageCAS has them; the configuration's shares split them.
std::pair<fs::path, fs::path> phantom_files(const std::string&, Index patient) {
  return {text(patient + 1, ".img.nii.gz"), text(patient + 1, ".label.nii.gz")};
}

}   // namespace

int main(int argc, char** argv) {
  return run({.name = "coronary",
              .what = "Coronary arteries in a CT, by a BasicUNet",
              .phantoms = {.region = cs::Region::heart,
                           .mask = [](const cs::Phantom& p) { return p.coronaries; },
                           .files = phantom_files},
              .commands = {{"prepare", "read, check and preprocess DATA/NUMBER.img.nii.gz and .label.nii.gz", prepare},
                           {"train", "train on 80 % of the patients", train},
                           {"evaluate", "Dice, clDice and time on the others", evaluate},
                           {"segment", "segment one scan, with a model file or an ONNX file", segment},
                           {"export", "write the model as OUTPUT/model.onnx", export_model},
                           {"compare", "train without and with augmentation, and judge both", compare}},
              .extras = {{"--upload", &uploaded, "a model that comes before all others: --model, CTSEG_MODEL, OUTPUT's"}}},
             argc, argv);
}
