// What a configuration may say of a training, and where it runs: on the CPU, and on the emulated card by a program of the same
// objects (ctseg_emulated).
#include <doctest/doctest.h>

#include "run_ctseg.hpp"

using namespace ctseg;
using nlohmann::json;

namespace {

/// A tiny network and three phantoms to train it on, one of them for validation.
struct Lab {
  TempFolder folder;
  int runs = 0;

  Lab() { run_ctseg({"phantom", "abdomen", "-o", folder / "data", "--count", "3", "--mask", "liver", "--shape", "24,24,20"}); }

  json config(const json& training) const {
    json c = json::parse(R"({
      "recipe": {"ctseg_recipe": 1,
        "network": {"network": "UNet", "dim": 3, "in_channels": 1, "out_channels": 2, "features": [2, 4]},
        "preprocess": [{"step": "Spacing", "spacing_mm": {"x": 12, "y": 12, "z": 12}},
                       {"step": "WindowHu", "low": -160, "high": 240}],
        "sliding_window": {"window": [16, 16, 16]},
        "labels": [{"id": 0, "name": "background"}, {"id": 1, "name": "liver"}]},
      "data": {"folder": "data", "validation": 0.34},
      "training": {"steps": 2, "batch": 1, "learning_rate": 0.01}})");
    c["training"].update(training);
    return c;
  }
  /// Trains in a new folder, whose path is left in `out`.
  std::string out;
  Ran train(const json& config, const RunOptions& options = {}, const std::vector<std::string>& more = {}) {
    spill(folder / "config.json", config.dump());
    out = folder / text("run", ++runs);
    std::vector<std::string> words{"train", folder / "config.json", "-o", out, "--json"};
    words.insert(words.end(), more.begin(), more.end());
    return run_ctseg(words, options);
  }
  json record() const { return json::parse(slurp(std::filesystem::path(out) / "run.json")); }
  /// Of every step.
  std::vector<double> losses() const {
    std::vector<double> all;
    std::ifstream in(std::filesystem::path(out) / "log.csv");
    std::string line;
    std::getline(in, line);   // the head
    while (std::getline(in, line)) all.push_back(std::atof(line.c_str() + line.find(',', line.find(',') + 1) + 1));
    return all;
  }
  double first_loss(const json& loss) {
    const Ran ran = train(config({{"steps", 1}, {"loss", loss}}), {}, {"--device", "cpu"});
    INFO(ran.err);
    REQUIRE(ran.status == 0);
    REQUIRE(losses().size() == 1);
    return losses()[0];
  }
};

const json kAllTerms = {{"dice", 1}, {"ce", 0.5}, {"focal", 2}, {"tversky", 0.7}, {"boundary", 0.01}, {"cldice", 0.3}};

}   // namespace

TEST_CASE("train: a loss is the sum of its terms by their weights") {
  Lab lab;
  std::map<std::string, double> alone;
  double sum = 0;
  for (const auto& [name, weight] : kAllTerms.items()) {
    json one = {{"dice", 0}, {"ce", 0}};
    one[name] = 1;
    alone[name] = lab.first_loss(one);
    sum += alone[name] * weight.get<double>();
  }
  CHECK(lab.first_loss(kAllTerms) == doctest::Approx(sum).epsilon(1e-5));
  CHECK(lab.first_loss(json::object()) == doctest::Approx(alone["dice"] + alone["ce"]).epsilon(1e-6));

  // Focal without focus is half of the cross entropy of two classes, Tversky of equal costs is Dice.
  CHECK(lab.first_loss({{"dice", 0}, {"ce", 0}, {"focal", 1}, {"gamma", 0}}) == doctest::Approx(alone["ce"] / 2).epsilon(1e-5));
  CHECK(alone["focal"] < 0.9 * alone["ce"] / 2);
  CHECK(lab.first_loss({{"dice", 0}, {"ce", 0}, {"tversky", 1}, {"alpha", 0.5}, {"beta", 0.5}}) ==
        doctest::Approx(alone["dice"]).epsilon(1e-4));
  CHECK(lab.first_loss({{"dice", 0}, {"ce", 0}, {"tversky", 1}, {"background", false}}) > alone["tversky"]);   // liver is hard
  CHECK(lab.first_loss({{"dice", 0}, {"ce", 0}, {"cldice", 1}, {"iterations", 0}}) != alone["cldice"]);
  CHECK(lab.first_loss({{"dice", 0}, {"class_weights", {0.1, 1}}}) != alone["ce"]);
}

TEST_CASE("train: what a configuration says of patches, optimizer and schedule is what is done") {
  Lab lab;
  const Ran ran = lab.train(lab.config({{"epochs", 2},
                                        {"steps_per_epoch", 3},
                                        {"sampling", {0.25, 0.75}},
                                        {"augment", "light"},
                                        {"optimizer", "adam"},
                                        {"schedule", "exponential"},
                                        {"factor", 0.5},
                                        {"checkpoint_every", 6},
                                        {"workers", 1}}));
  INFO(ran.err);
  REQUIRE(ran.status == 0);
  CHECK(lab.record()["figures"]["steps"] == 6);
  CHECK(has(ran.err, "2 cases to train on, 1 to validate"));
  const std::string checkpoint = slurp(std::filesystem::path(lab.out) / "checkpoints/step_000000006.safetensors");
  for (const char* words : {"sampler class_weights\":\"0.25 0.75\"", "sampler augment\":\"4:0.5 8:0.3",   // kinds by number
                            "optimizer\":\"adam\"", "exponential"})
    CHECK_MESSAGE(has(checkpoint, words), text(words, " is not in ", checkpoint.substr(0, 2000)));
  std::ifstream log(std::filesystem::path(lab.out) / "log.csv");
  const std::string all((std::istreambuf_iterator<char>(log)), {});
  CHECK(has(all, "0.01,"));
  CHECK(has(all, "0.005,"));   // the second epoch's rate
}

TEST_CASE("train: stopping early needs somebody to judge by") {
  Lab lab;
  const Ran never = lab.train(lab.config({{"patience", 2}}));
  CHECK(never.status == 2);
  CHECK(has(never.err, "training.patience: is 2, and one validation at the end stops nothing early."));
  CHECK(!std::filesystem::exists(lab.out));
  json config = lab.config({{"patience", 2}, {"validate_every", 1}});
  const Ran judged = lab.train(config);
  CHECK(judged.status == 0);
  CHECK(!has(judged.err, "do nothing"));
  CHECK(lab.record()["figures"]["training_seconds"].get<double>() > 0);
  config["data"]["validation"] = 0;
  CHECK(has(lab.train(config).err, "no patient is kept for validation, so patience and validate_every do nothing."));
  CHECK(lab.record()["warnings"].size() == 1);
}

TEST_CASE("train: names and lists that fit nothing are refused before anything is read") {
  Lab lab;
  const auto refused = [&](const json& training, const std::string& words) {
    const Ran ran = lab.train(lab.config(training));
    CHECK(ran.status == 3);
    CHECK_MESSAGE(has(ran.err, words), ran.err);
    CHECK(!has(ran.err, "cases read"));
    CHECK(!std::filesystem::exists(lab.out));
  };
  refused({{"augment", "liht"}}, "training.augment: is \"liht\"; must be one of none, light, coronary");
  refused({{"optimizer", "sgd"}}, "training.optimizer: is \"sgd\"; must be one of adam, adamw.");
  refused({{"sampling", {1, 1, 1}}}, "training.sampling has 3 numbers for 2 classes with background.");
  refused({{"loss", {{"class_weights", {1}}}}}, "training.loss.class_weights has 1 numbers for 2 channels.");
  refused({{"loss", {{"dice", 0}, {"ce", 0}}}}, "training.loss is a sum of nothing.");
  refused({{"loss", {{"focus", 1}}}}, "focus");
  refused({{"checkpoint_every", -1}}, "training.checkpoint_every is -1");
  for (const char* option : {"--configuration", "--fold", "--epochs", "--steps-per-epoch"}) {   // of a plan
    CAPTURE(option);
    CHECK(lab.train(lab.config(json::object()), {}, {option, "2"}).status == 2);
  }
  CHECK(lab.train(lab.config(json::object()), {}, {"--device", "gpu"}).status == 2);
  CHECK(lab.train(lab.config(json::object()), {}, {"--accuracy", "exact"}).status == 2);
}

TEST_CASE("train --device: on a card as on the CPU, which takes what the card refuses") {
  Lab lab;
  const json config = lab.config({{"steps", 3}, {"loss", kAllTerms}});
  REQUIRE(lab.train(config, {}, {"--device", "cpu"}).status == 0);
  CHECK(lab.record()["device"] == "cpu");
  CHECK(!lab.record().contains("device_reason"));
  const std::vector<double> host = lab.losses();

  const RunOptions emulated{.program = "ctseg_emulated"};
  const Ran ran = lab.train(config, emulated);
  INFO(ran.err);
  REQUIRE(ran.status == 0);
  CHECK(lab.record()["device"] == "cuda:0, emulated card");
  const std::vector<double> card = lab.losses();
  REQUIRE(host.size() == 3);
  REQUIRE(card.size() == 3);
  for (std::size_t i = 0; i < 3; ++i) CHECK(card[i] == doctest::Approx(host[i]).epsilon(1e-4));

  RunOptions small = emulated;
  small.environment = {{"CTSEG_EMULATED_MEMORY", "200000"}};
  CHECK(lab.train(config, small, {"--device", "cuda"}).status == 4);
  CHECK(!std::filesystem::exists(std::filesystem::path(lab.out) / "model.safetensors"));
  REQUIRE(lab.train(config, small).status == 0);
  CHECK(lab.record()["device"] == "cpu");
  CHECK(has(lab.record()["device_reason"].get<std::string>(), "the device has"));
  CHECK(lab.losses() == host);

  const Ran none = lab.train(config, {.environment = {{"CUDA_VISIBLE_DEVICES", ""}}}, {"--device", "cuda"});
  CHECK(none.status == 4);
  CHECK(has(none.err, "Hint: --device cpu, or auto."));
}
