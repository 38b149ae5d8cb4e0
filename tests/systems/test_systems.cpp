// The programs of the systems, from phantoms to their reports, with networks of a few channels: what they write and under which
// names. How well they segment is what their reproduce.sh are for.
#include <doctest/doctest.h>

#include <fstream>

#include "../cli/run_ctseg.hpp"

namespace fs = std::filesystem;

namespace {

/// One system in a folder of its own, with a preset that makes its phantom task tiny.
class System {
 public:
  System(const std::string& name, const std::string& changes) : name_(name) {
    const fs::path base = fs::path(CTSEG_SOURCE_DIR) / "examples" / "systems" / name / "phantom.json";
    nlohmann::json config = nlohmann::json::parse(changes);
    config["base"] = base.string();
    std::ofstream(folder_ / "tiny.json") << config.dump();
  }
  fs::path operator/(const std::string& file) const { return folder_ / "out" / file; }
  Ran start(std::vector<std::string> words, RunOptions options = {}) const {
    for (const std::string& word : {std::string("--phantom"), std::string("-q"), "-c" + (folder_ / "tiny.json").string(),
                                    "-o" + (folder_ / "out").string(), std::string("--threads"), std::string("2")})
      words.push_back(word);
    options.program = "ctseg_" + name_;
    return run_ctseg(words, options);
  }
  Ran run(const std::vector<std::string>& words, const RunOptions& options = {}) const {
    const Ran ran = start(words, options);
    CAPTURE(ran.err);
    CHECK(ran.status == 0);
    return ran;
  }
  /// Another preset, on top of the tiny one; its path.
  std::string preset(const std::string& name, const std::string& changes) const {
    nlohmann::json config = nlohmann::json::parse(changes);
    config["base"] = "tiny.json";
    std::ofstream(folder_ / (name + ".json")) << config.dump();
    return folder_ / (name + ".json");
  }
  nlohmann::json json(const std::string& file) const { return nlohmann::json::parse(slurp(*this / file)); }

 private:
  TempFolder folder_;
  std::string name_;
};

std::vector<std::string> keys_of(const nlohmann::json& j) {
  std::vector<std::string> keys;
  for (const auto& [key, value] : j.items()) keys.push_back(key);
  return keys;
}
std::size_t lines_in(const std::string& words) {
  return static_cast<std::size_t>(std::count(words.begin(), words.end(), '\n'));
}

// All three: the same steps, patients and optimizer.
const std::string kTraining = R"("steps": 3, "validate_every": 0, "checkpoint_every": 2, "warm_up": 0)";

TEST_CASE("liver: phantoms to the JSON of a web back end") {
  const System liver("liver",
                     R"({"recipe": {"network": {"features": [4, 4, 8, 8, 8]}, "sliding_window": {"window": [32, 32, 32]}},
    "phantom": {"shape": [40, 40, 40], "spacing_mm": [10, 10, 10], "train": 2, "val": 1, "test": 1},
    "training": {"patch": [32, 32, 32], "batch": 1, )" +
                         kTraining + "}}");
  const Ran prepared = liver.run({"prepare"});
  CHECK(has(prepared.out, "phantom_0\t"));
  CHECK(fs::exists(liver / "data/val/ct_scans/phantom_2.nii.gz"));
  CHECK(fs::exists(liver / "data/test/masks/phantom_3.nii.gz"));
  liver.run({"train"});
  for (const char* file : {"model.safetensors", "log.csv", "curve.svg", "run.json"}) CHECK(fs::exists(liver / file));
  CHECK(fs::exists(liver / "board"));
  CHECK(lines_in(slurp(liver / "log.csv")) == 4);
  CHECK(slurp(liver / "trained_on.txt") == "phantom_0\nphantom_1\n");
  const std::string curve = slurp(liver / "curve.svg");
  CHECK(has(curve, "validation score"));
  const std::string said = slurp(liver / "run.json");
  const Ran again = liver.run({"train", "--resume", "--json"});   // nothing is left to do, nothing is lost
  CHECK(slurp(liver / "curve.svg") == curve);
  CHECK(slurp(liver / "run.json") == said);
  CHECK(again.out == said);
  CHECK(liver.json("run.json")["figures"]["loss"].get<double>() > 0);
  const double seconds = liver.json("run.json")["figures"]["training_seconds"].get<double>();
  CHECK(seconds > 0);
  fs::remove(liver / "run.json");   // as if it had been stopped before it wrote one
  liver.run({"train", "--resume"});
  CHECK(liver.json("run.json")["figures"]["training_seconds"] == doctest::Approx(seconds));
  CHECK(liver.json("run.json")["figures"]["loss"] == nlohmann::json::parse(said)["figures"]["loss"]);

  const std::vector<std::string> keys{"dice",           "iou",           "meets_clinical_standards",
                                      "pixel_accuracy", "quality_grade", "sensitivity",
                                      "specificity",    "volume_ml"};   // sorted by the parser
  const auto judged = json_of(liver.run({"evaluate"}));
  CHECK(keys_of(judged["mean"]) == keys);
  CHECK(keys_of(judged["cases"]["phantom_3"]) == keys);
  CHECK(judged["mean"]["meets_clinical_standards"] == false);   // after three steps
  CHECK(judged["mean"]["pixel_accuracy"].is_number());
  const auto made = json_of(liver.run({"segment"}));
  auto answered = keys;   // the original's, and where the files are
  answered.insert(answered.end() - 5, "outputs");
  CHECK(keys_of(made) == answered);
  CHECK(made["outputs"].size() == 4);
  for (const auto& file : made["outputs"]) CHECK(fs::exists(file.get<std::string>()));
  CHECK(json_of({.out = slurp(liver / "phantom_3/result.json")}) == made);
  CHECK(made["dice"].is_null());
  CHECK(made["volume_ml"] == judged["cases"]["phantom_3"]["volume_ml"]);
  for (const char* file : {"mask.nii.gz", "preview.png", "result.json", "run.json"})
    CHECK(fs::exists(liver / ("phantom_3/" + std::string(file))));
  const Ran fewer =
      run_ctseg({"evaluate", "--phantom", "-c", liver.preset("fewer", R"({"phantom": {"train": 1}})"), "-o", liver / ""},
                {.program = "ctseg_liver"});
  CHECK(fewer.status == 2);   // else the patient lay in two parts, and the folder was of no more use
  CHECK(has(fewer.err, "has patient 1 as train/ct_scans/phantom_1.nii.gz, and as val/"));
  const auto scored = json_of(liver.run({"segment", (liver / "data/test/ct_scans/phantom_3.nii.gz").string(), "--truth",
                                         (liver / "data/test/masks/phantom_3.nii.gz").string()}));
  CHECK(scored["dice"] == judged["cases"]["phantom_3"]["dice"]);

  const std::string same = liver.preset("same", "{}");   // without --phantom, which would make anew what is taken away
  const auto judge = [&] {
    return run_ctseg({"evaluate", "-c", same, "-d", liver / "data", "-o", liver / ""}, {.program = "ctseg_liver"});
  };
  fs::rename(liver / "data/test", liver / "test");
  CHECK(json_of(judge())["cases"].contains("phantom_2"));   // those that chose its weights
  fs::rename(liver / "data/val", liver / "val");
  const Ran nobody = judge();
  CHECK(nobody.status == 2);
  CHECK_MESSAGE(has(nobody.err, "there is no patient to judge by: all 2 of "), nobody.err);
}

TEST_CASE("coronary: model choice, ONNX, with and without augmentation") {
  const System coronary("coronary", R"({"recipe": {"network": {"features": [4, 4, 4, 8, 8, 4]},
      "sliding_window": {"window": [32, 32, 32], "overlap": 0.1},
      "preprocess": [{"step": "ZScore", "voxels": "nonzero"}, {"step": "Spacing", "spacing_mm": {"x": 3, "y": 3, "z": 3}}]},
    "data": {"train": 0.8, "test": 0.2},
    "phantom": {"shape": [40, 40, 40], "spacing_mm": [4, 4, 4], "train": 3, "val": 0, "test": 1},
    "training": {"patch": [32, 32, 32], "batch": 1, )" +
                                        kTraining + "}}");
  CHECK(lines_in(coronary.run({"compare"}).out) == 2);   // of 4 patients 80 % are 3
  const auto compared = coronary.json("comparison.json");
  for (const char* arm : {"baseline", "augmented"}) {
    CHECK(compared[arm]["cases"].size() == 1);
    CHECK(compared[arm]["cldice"].contains("mean"));
    CHECK(compared[arm]["seconds_per_case"].get<double>() > 0);
  }
  CHECK(compared["dice_difference"].is_number());
  const std::string record = slurp(coronary / "augmented/run.json");
  coronary.run({"compare"});   // goes on where it was, which is the end
  CHECK(slurp(coronary / "augmented/run.json") == record);
  CHECK(compared["baseline"]["training_seconds"].get<double>() > 0);
  for (const char* arm : {"baseline", "augmented"})
    CHECK(coronary.json("comparison.json")[arm]["training_seconds"] == compared[arm]["training_seconds"]);
  CHECK(fs::exists(coronary / "data/4.img.nii.gz"));
  CHECK(fs::exists(coronary / "data/4.label.nii.gz"));

  // Which model: the uploaded one, else the path, else the environment, else the one in the output folder.
  const std::string baseline = coronary / "baseline/model.safetensors", augmented = coronary / "augmented/model.safetensors";
  fs::copy_file(baseline, coronary / "model.safetensors");
  const std::vector<std::pair<std::string, std::string>> environment{{"CTSEG_MODEL", augmented}};
  const auto chosen = [&](const std::vector<std::string>& words, const RunOptions& options) {
    return json_of(coronary.run(words, options))["model"].get<std::string>();
  };
  CHECK(chosen({"segment", "-m", baseline, "--upload", augmented}, {}) == augmented);
  CHECK(chosen({"segment", "-m", baseline}, {.environment = environment}) == baseline);
  CHECK(chosen({"segment"}, {.environment = environment}) == augmented);
  const auto made = json_of(coronary.run({"segment"}));
  CHECK(made["model"] == (coronary / "model.safetensors").string());
  CHECK(made["inference_seconds"].get<double>() > 0);
  CHECK(fs::exists(made["outputs"][0].get<std::string>()));

  if (const Ran exported = coronary.start({"export"}); has(exported.err, "built without ONNX")) {
    CHECK(exported.status == 3);
  } else {
    CHECK(exported.status == 0);
    const auto other = json_of(coronary.run({"segment", "-m", coronary / "model.onnx"}));
    CHECK(other["volume_ml"].get<double>() == doctest::Approx(made["volume_ml"].get<double>()).epsilon(1e-3));
  }
}

TEST_CASE("spine: 26 outputs by name, tables by class, part and size, a picture of each plane") {
  const System spine("spine",
                     R"({"recipe": {"network": {"width": 1}, "sliding_window": {"window": [32, 32, 32], "overlap": 0.1},
      "preprocess": [{"step": "Spacing", "spacing_mm": {"x": 12, "y": 12, "z": 12}},
                     {"step": "WindowHu", "low": -200, "high": 800}]},
    "phantom": {"shape": [30, 30, 64], "spacing_mm": [10, 10, 12], "train": 1, "val": 0, "test": 1},
    "training": {"patch": [32, 32, 32], "batch": 1, )" +
                         kTraining + "}}");
  const std::string table = spine.run({"labels"}).out;
  CHECK(lines_in(table) == 27);
  CHECK(has(table, "\n7,C7,cervical,"));
  CHECK(has(table, "\n25,sacrum,other,"));
  spine.run({"train"});
  CHECK(fs::exists(spine / "curve.svg"));
  CHECK(lines_in(spine.run({"evaluate"}).out) == 26);
  const auto judged = spine.json("evaluation/evaluation.json");
  CHECK(judged["classes"].size() == 25);
  CHECK(judged["regions"]["cervical"]["classes"] == 7);
  CHECK(judged["regions"]["thoracic"]["classes"] == 12);
  CHECK(judged["sizes"].contains("small"));
  CHECK(judged["dice_mean"].is_number());
  spine.run({"segment"});
  for (const char* file :
       {"mask.nii.gz", "preview.png", "run.json", "vertebrae.csv", "ids.csv", "axial.png", "coronal.png", "sagittal.png"})
    CHECK(fs::exists(spine / ("sub-phantom1_ct/" + std::string(file))));
  for (const char* file : {"axial.png", "coronal.png", "sagittal.png"})
    CHECK(fs::exists(spine / ("evaluation/sub-phantom1/" + std::string(file))));
}

TEST_CASE("a command has its own options; those of others are wrong usage, and nothing is made") {
  struct Taken {
    std::string system, command, options;
  };
  const std::vector<Taken> all{{"liver", "prepare", "--seed"},
                               {"liver", "train", "--device --accuracy --resume --seed --json"},
                               {"liver", "evaluate", "--model --device --accuracy --seed --json"},
                               {"liver", "segment", "CASE --model --device --accuracy --seed --json --truth"},
                               {"liver", "measure", "CASE --device --accuracy --seed --json"},
                               {"liver_slices", "prepare", "--seed"},
                               {"liver_slices", "segment", "CASE --model --device --accuracy --seed --json"},
                               {"lung_nodules", "preprocess", ""},
                               {"lung_nodules", "validate", "--model --device --accuracy --seed --mirror --scales"},
                               {"lung_nodules", "infer", "CASE --model --device --accuracy --json --mirror --scales --lungs"},
                               {"coronary", "evaluate", "--model --device --accuracy --seed --json --upload"},
                               {"coronary", "export", "--model --upload"},
                               {"coronary", "compare", "--device --accuracy --seed --json"},
                               {"spine", "segment", "CASE --model --device --accuracy --seed --json"},
                               {"spine", "labels", ""}};
  for (const Taken& t : all) {
    const std::string help = run_ctseg({t.command, "--help"}, {.program = "ctseg_" + t.system}).out;
    for (const std::string option : {"CASE", "--model", "--device", "--accuracy", "--resume", "--seed", "--json", "--truth",
                                     "--mirror", "--scales", "--lungs", "--upload"}) {
      CAPTURE(t.system);
      CAPTURE(t.command);
      CAPTURE(option);
      CHECK(has(help, option == "CASE" ? "CASE TEXT" : option) == has(" " + t.options + " ", " " + option + " "));
    }
    for (const char* option : {"--config", "--data", "--output", "--phantom", "--threads", "--quiet"}) CHECK(has(help, option));
  }
  const TempFolder folder;
  for (const std::vector<std::string>& words : std::vector<std::vector<std::string>>{
           {"segment", "--resume"}, {"train", "ct.nii.gz"}, {"train", "-m", "model.safetensors"}, {"train", "--seed", "-1"}}) {
    const Ran ran = run_ctseg(words, {.program = "ctseg_liver", .folder = folder.path.string()});
    CHECK(ran.status == 2);
    CHECK(has(ran.err, "Try: ctseg_liver " + words[0] + " --help"));
    CHECK(fs::is_empty(folder.path));
  }
}

TEST_CASE("presets of all systems are read; mistakes are named") {
  for (const auto& entry : fs::recursive_directory_iterator(fs::path(CTSEG_SOURCE_DIR) / "examples" / "systems")) {
    if (entry.path().extension() != ".json") continue;
    CAPTURE(entry.path());
    const TempFolder out;
    const std::string name = entry.path().parent_path().filename();
    const std::string command = name == "lung_nodules" ? "infer" : "segment";
    const Ran ran =
        run_ctseg({command, "no_scan.nii", "-c", entry.path(), "-o", out / "out", "-q"}, {.program = "ctseg_" + name});
    CHECK(ran.status == 3);   // read, and then there is no model
    CHECK(has(ran.err, "model.safetensors: is not there. Hint: train makes it"));
  }
  const TempFolder folder;
  std::ofstream(folder / "light.json") << R"({"base": ")" << CTSEG_SOURCE_DIR
                                       << R"(/examples/systems/liver/config.json", "training": {"augment": "lihgt"}})";
  const Ran light = run_ctseg({"segment", "no_scan.nii", "-c", folder / "light.json"}, {.program = "ctseg_liver"});
  CHECK(light.status == 3);   // whatever the command is
  CHECK(has(light.err, "light.json: training.augment: is \"lihgt\"; must be one of none, light"));
  std::ofstream(folder / "odd.json") << R"({"recipe": {}, "training": {"setps": 3}})";
  const Ran odd = run_ctseg({"train", "-c", folder / "odd.json"}, {.program = "ctseg_liver"});
  CHECK(odd.status == 3);
  CHECK(has(odd.err, "\"setps\""));
  const Ran nowhere = run_ctseg({"prepare", "-o", folder / "out"}, {.program = "ctseg_liver", .folder = folder.path.string()});
  CHECK(nowhere.status == 2);   // and not what happens to lie in the folder that it runs in
  CHECK(has(nowhere.err, "no data set was named"));
  fs::create_directory(folder / "phantom");   // which has the preset's name, and is none
  const Ran preset = run_ctseg({"segment", "no_scan.nii", "--phantom", "-o", "/proc/nowhere"},
                               {.program = "ctseg_liver", .folder = folder.path.string()});
  CHECK(preset.status == 3);
  CHECK(has(preset.err, "/proc/nowhere"));
  const auto refused = [&](const std::string& system, const std::string& changes) {
    nlohmann::json config = nlohmann::json::parse(changes);
    config["base"] = (fs::path(CTSEG_SOURCE_DIR) / "examples" / "systems" / system / "phantom.json").string();
    std::ofstream(folder / "changed.json") << config.dump();
    const Ran ran =
        run_ctseg({"train", "--phantom", "-c", folder / "changed.json", "-o", folder / "out"}, {.program = "ctseg_" + system});
    CHECK(ran.status == 3);
    return ran.err;
  };
  CHECK(has(refused("liver", R"({"phantom": {"shape": [40, 40]}})"), "phantom.shape is [40,40]; must be a list of 3 entries"));
  CHECK(has(
      refused("liver",
              R"({"training": {"schedule": "lunar"}, "phantom": {"shape": [24, 24, 24], "train": 1, "val": 0, "test": 0}})"),
      "training.schedule: is \"lunar\"; must be one of constant, cosine"));
  CHECK(has(
      refused("liver", R"({"recipe": {"network": {"out_channels": 2}, "decision": {"kind": "sigmoid", "regions_order": [1, 0]}},
                                 "phantom": {"shape": [24, 24, 24], "train": 1, "val": 0, "test": 0}})"),
      "2 regions by sigmoid"));
  fs::create_directory(folder / "own");
  fs::copy_file(folder / "changed.json", folder / "own/run.json");   // where train puts its report
  const std::string own = slurp(folder / "own/run.json");
  const Ran same =
      run_ctseg({"train", "--phantom", "-c", folder / "own/run.json", "-o", folder / "own"}, {.program = "ctseg_liver"});
  CHECK(same.status == 2);
  CHECK(has(same.err, "run.json: is an input too"));
  CHECK(slurp(folder / "own/run.json") == own);
  for (const std::vector<std::string>& words :
       std::vector<std::vector<std::string>>{{}, {"paint"}, {"train", "--stpes", "3"}}) {
    const Ran wrong = run_ctseg(words, {.program = "ctseg_liver"});
    CHECK(wrong.status == 2);
    CHECK(lines_in(wrong.err) == 1);
    CHECK(has(wrong.err, "ctseg_liver: error: "));
    CHECK(has(wrong.err, "Try: ctseg_liver "));
    if (words == std::vector<std::string>{"paint"})
      CHECK(has(wrong.err, "\"paint\" is no command; there are prepare, train, "));
  }
}

}   // namespace
