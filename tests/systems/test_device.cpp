// --device of the systems: without a card, and on the emulated one, by programs of the same objects (ctseg_NAME_emulated).
#include "tiny.hpp"

namespace fs = std::filesystem;
using nlohmann::json;

namespace {

const char* const kEmulated = "cuda:0, emulated card";
const std::vector<std::pair<std::string, std::string>> kNoCard{{"CUDA_VISIBLE_DEVICES", ""}};

/// Of every step.
std::vector<double> losses_of(const Tiny& system) {
  std::vector<double> all;
  std::ifstream in(system / "log.csv");
  std::string line;
  std::getline(in, line);   // the head
  while (std::getline(in, line)) all.push_back(std::atof(line.c_str() + line.find(',', line.find(',') + 1) + 1));
  return all;
}

const char* const kLiver = R"({
  "recipe": {"network": {"features": [4, 8]}, "sliding_window": {"window": [16, 16, 16], "overlap": 0.1},
    "preprocess": [{"step": "Spacing", "spacing_mm": {"x": 16, "y": 16, "z": 16}},
                   {"step": "WindowHu", "low": -160, "high": 240}]},
  "phantom": {"shape": [24, 24, 24], "spacing_mm": [16, 16, 16], "train": 2, "val": 1, "test": 1},
  "training": {"patch": [16, 16, 16], "batch": 1, "steps": 3, "validate_every": 0, "warm_up": 0, "augment": "light",
    "learning_rate": 0.05}})";   // after three steps a part of the scan is liver
const char* const kSlices = R"({
  "recipe": {"network": {"features": [2, 4]}, "sliding_window": {"window": [32, 32]}},
  "training": {"epochs": 1, "steps_per_epoch": 3, "patch": [32, 32], "validate_every": 0},
  "phantom": {"shape": [32, 32, 8], "spacing_mm": [12, 12, 30], "train": 3, "val": 1, "test": 0}})";
const char* const kNodules = R"({
  "recipe": {"network": {"channels": [4, 8], "strides": [2], "num_res_units": 1}, "decision": {"threshold": 0.3},
    "preprocess": [{"step": "Reorient", "codes": "RAS"}, {"step": "Spacing", "spacing_mm": {"x": 12, "y": 12, "z": 12}},
                   {"step": "ScaleIntensityRange", "a_min": -1000, "a_max": 400, "b_min": 0, "b_max": 1, "clip": true}],
    "sliding_window": {"window": [16, 16, 16]}, "skip_air": null},
  "training": {"epochs": 1, "steps_per_epoch": 2, "patch": [16, 16, 16], "batch": 1, "workers": 0},
  "phantom": {"shape": [32, 32, 24], "spacing_mm": [12, 12, 12], "train": 4, "val": 1, "test": 0}})";

void check_alike(const std::vector<double>& host, const std::vector<double>& card) {
  REQUIRE(host.size() == 3);
  REQUIRE(card.size() == 3);
  for (std::size_t i = 0; i < 3; ++i) CHECK(card[i] == doctest::Approx(host[i]).epsilon(1e-4));
}

}   // namespace

TEST_CASE("--device of every system: no card is an error where it must be one, and another word wrong usage") {
  for (const char* name : {"liver", "lung_nodules", "liver_slices", "coronary", "spine"}) {
    CAPTURE(name);
    const TempFolder out;
    const auto train = [&](const std::string& device) {
      return run_ctseg({"train", "--phantom", "-o", out / "out", "--device", device},
                       {.program = ctseg::text("ctseg_", name), .environment = kNoCard});
    };
    const Ran card = train("cuda"), numbered = train("cuda:1"), word = train("gpu");
    CHECK(card.status == 4);
    CHECK(has(card.err, "Hint: --device cpu, or auto."));
    CHECK(std::count(card.err.begin(), card.err.end(), '\n') == 1);
    CHECK(numbered.status == 4);
    CHECK(word.status == 2);
    CHECK(has(word.err, "gpu; must be auto, cpu, cuda or cuda:N."));
    CHECK(!fs::exists(out / "out"));
  }
}

TEST_CASE("--device auto without a card: the CPU, and why, in run.json of trainings, scans and findings") {
  const Tiny nodules("lung_nodules", kNodules);
  for (const char* command : {"preprocess", "train", "infer"}) nodules.run({command}, {.environment = kNoCard});
  nodules.run({"infer", "--device", "cpu", "-m", nodules / "model.safetensors"});
  CHECK(nodules.read("run.json")["device"] == "cpu");
  CHECK(nodules.read("run.json")["device_reason"].get<std::string>().size() > 10);
  CHECK(nodules.read("phantom_4/run.json")["device"] == "cpu");
  CHECK(!nodules.read("phantom_4/run.json").contains("device_reason"));   // nobody asked for a card
}

TEST_CASE("a card trains, segments and judges the liver as the CPU does") {
  const Tiny host("liver", kLiver), card("liver", kLiver);
  host.run({"train", "--device", "cpu"});
  card.run_on_card({"train"});
  check_alike(losses_of(host), losses_of(card));
  CHECK(host.read("run.json")["device"] == "cpu");
  CHECK(card.read("run.json")["device"] == kEmulated);
  CHECK(!card.read("run.json").contains("device_reason"));
  CHECK(card.read("run.json")["figures"]["best_dice"].get<double>() ==
        doctest::Approx(host.read("run.json")["figures"]["best_dice"].get<double>()).epsilon(0.02));

  const json judged = json::parse(card.run_on_card({"evaluate", "--device", "cuda"}));
  const json by_host = json::parse(card.run({"evaluate", "--device", "cpu"}));   // the same model file
  CHECK(judged["mean"]["volume_ml"].get<double>() == doctest::Approx(by_host["mean"]["volume_ml"].get<double>()).epsilon(0.01));
  CHECK(judged["mean"]["dice"].get<double>() == doctest::Approx(by_host["mean"]["dice"].get<double>()).epsilon(0.01));
  const json made = json::parse(card.run_on_card({"segment", "--device", "cuda:0"}));
  CHECK(made["volume_ml"] == judged["mean"]["volume_ml"]);
  CHECK(card.read("phantom_3/run.json")["device"] == kEmulated);
  CHECK(json::parse(card.run_on_card({"measure"}))["device"] == kEmulated);
  card.run({"train", "--resume", "--device", "cpu"});   // the card's checkpoint is the CPU's: nothing is left to do
  CHECK(losses_of(card).size() == 3);
}

TEST_CASE("slices are trained and segmented on a card as on the CPU") {
  const Tiny host("liver_slices", kSlices), card("liver_slices", kSlices);
  host.run({"prepare"}), card.run_on_card({"prepare"});
  host.run({"train", "--device", "cpu"}), card.run_on_card({"train", "--device", "cuda"});
  check_alike(losses_of(host), losses_of(card));
  card.run_on_card({"segment", (card / "data/ct_scans/phantom_3.nii.gz").string()});
  CHECK(card.read("phantom_3/run.json")["device"] == kEmulated);
}

TEST_CASE("a card with too little memory: auto trains and segments on the CPU, cuda ends") {
  const RunOptions small{.environment = {{"CTSEG_EMULATED_MEMORY", "300000"}}};
  const Tiny liver("liver", kLiver);
  const Ran ended = liver.start_on_card({"train", "--device", "cuda"}, small);
  CHECK(ended.status == 4);
  CHECK(!fs::exists(liver / "model.safetensors"));
  liver.run_on_card({"train"}, small);
  const json run = liver.read("run.json");
  CHECK(run["device"] == "cpu");
  CHECK(has(run["device_reason"].get<std::string>(), "the device has"));
  CHECK(losses_of(liver).size() == 3);
  CHECK(liver.start_on_card({"segment", "--device", "cuda"}, small).status == 4);
  liver.run_on_card({"segment"}, small);
  CHECK(liver.read("phantom_3/run.json")["device"] == "cpu");
  CHECK(has(liver.read("phantom_3/run.json")["device_reason"].get<std::string>(), "are free"));
}
