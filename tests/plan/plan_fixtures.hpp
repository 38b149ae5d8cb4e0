// What make_plan_fixtures.py has written: data sets, and what nnU-Net made of them.
#pragma once
#include <doctest/doctest.h>

#include <ctseg/io/file.hpp>
#include <ctseg/nnunet/plan_json.hpp>

namespace plan_fixtures {

inline std::filesystem::path folder() { return std::filesystem::path(CTSEG_SOURCE_DIR) / "tests" / "plan"; }

inline ctseg::Json read_json(const std::filesystem::path& path) {
  const auto bytes = ctseg::io::read_file(path, {.max_bytes = 1 << 24});
  return ctseg::json::parse({reinterpret_cast<const char*>(bytes.data()), bytes.size()}, path.string());
}

/// One data set of plans.json.
struct Planned {
  ctseg::nnunet::DatasetFacts facts{};
  ctseg::nnunet::DatasetFingerprint fingerprint{};
  ctseg::Json plans{};   // a list of preset, options, plans
};
inline std::vector<Planned> all_planned() {
  std::vector<Planned> out;
  const ctseg::Json all = read_json(folder() / "plans.json");
  for (const ctseg::Json& d : all["datasets"]) {
    const ctseg::Json& about = d["dataset"];
    Planned& p = out.emplace_back();
    p.facts = {.name = d["name"], .labels = std::ssize(about["labels"]), .training_cases = about["numTraining"]};
    if (about["file_ending"] == ".png") p.facts.image_reader_writer = "NaturalImage2DIO";
    for (const auto& [number, name] : about["channel_names"].items()) p.facts.channel_names.push_back(name);
    p.fingerprint = ctseg::nnunet::fingerprint_from_json(d["fingerprint"], p.facts.name);
    p.plans = d["plans"];
  }
  return out;
}

inline ctseg::nnunet::PlannerOptions options_of(const ctseg::Json& planned) {
  ctseg::nnunet::PlannerOptions o;
  ctseg::json::Reader::take(planned["preset"], {"plans.json"}, o.preset);
  const ctseg::Json& said = planned["options"];
  if (said.contains("gpu_memory_target_in_gb")) o.gpu_memory_gb = said["gpu_memory_target_in_gb"];
  if (said.contains("overwrite_target_spacing")) o.spacing_mm = said["overwrite_target_spacing"];
  if (said.contains("plans_name")) o.plans_name = said["plans_name"];
  return o;
}

}   // namespace plan_fixtures
