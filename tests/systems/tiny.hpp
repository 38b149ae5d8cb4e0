// A system of examples/systems in a folder of its own, with its phantom task made tiny.
#pragma once
#include <doctest/doctest.h>

#include <fstream>

#include "../cli/run_ctseg.hpp"

class Tiny {
 public:
  /// `changes` to the system's phantom.json, as JSON.
  Tiny(const std::string& name, const std::string& changes) : name_(name) {
    auto config = nlohmann::json::parse(changes);
    config["base"] = (std::filesystem::path(CTSEG_SOURCE_DIR) / "examples" / "systems" / name / "phantom.json").string();
    std::ofstream(config_) << config.dump();
  }
  std::filesystem::path operator/(const std::string& file) const { return folder_ / "out" / file; }
  nlohmann::json read(const std::string& file) const { return nlohmann::json::parse(slurp(*this / file)); }
  const std::string& config() const { return config_; }

  Ran start(const std::vector<std::string>& words, const RunOptions& options = {}) const { return start("", words, options); }
  std::string run(const std::vector<std::string>& words, const RunOptions& options = {}) const {
    return printed(start(words, options));
  }
  /// By the program of the same objects that has an emulated card.
  Ran start_on_card(const std::vector<std::string>& words, const RunOptions& options = {}) const {
    return start("_emulated", words, options);
  }
  std::string run_on_card(const std::vector<std::string>& words, const RunOptions& options = {}) const {
    return printed(start_on_card(words, options));
  }

 private:
  Ran start(const char* suffix, std::vector<std::string> words, RunOptions options) const {
    for (const std::string& word : {std::string("--phantom"), "-c" + config_, "-o" + (folder_ / "out").string(),
                                    std::string("--threads"), std::string("2")})
      words.push_back(word);
    options.program = "ctseg_" + name_ + suffix;
    return run_ctseg(words, options);
  }
  static std::string printed(const Ran& ran) {
    CAPTURE(ran.err);
    CHECK(ran.status == 0);
    return ran.out;
  }

  TempFolder folder_;
  std::string name_, config_ = folder_ / "tiny.json";
};
