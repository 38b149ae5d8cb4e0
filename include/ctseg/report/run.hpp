// run.json: what a run was and what came out, so that a result found later still says how it was made.
#pragma once
#include <sys/resource.h>

#include <chrono>
#include <ctime>

#include "../image/orientation.hpp"
#include "../metrics/report.hpp"
#include "../version.hpp"
#include "measure.hpp"

namespace ctseg {

struct RunStage {
  std::string name;
  double seconds = 0;
};

/// What is said of one run. Empty strings and lists are left out of the file; without a mask there are no labels.
struct RunRecord {
  std::string command{};
  std::vector<std::string> arguments{};
  std::string started{};   // ISO 8601, UTC
  std::vector<std::string> inputs{};
  std::optional<Grid> grid{};                                       // of the scan and its mask
  std::string model{}, model_name{}, model_sha256{};                // the file, what it calls itself, its content
  std::string device = "cpu", device_reason{}, isa{}, accuracy{};   // device_reason: why no card
  int threads = 0;
  std::uint64_t seed = 0;
  std::vector<RunStage> stages{};
  double seconds = 0, peak_memory_mb = 0;
  std::vector<std::pair<std::string, double>> figures{};   // of this command: a loss, a score
  std::vector<LabelMeasure> labels{};
  std::vector<std::string> outputs{}, warnings{};
};

/// The most memory this process has had at once, in 1e6 bytes.
inline double peak_memory_mb() {
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  return static_cast<double>(usage.ru_maxrss) * 1024 / 1e6;
}

/// Keeps a record's times: each stage lasts from the end of the last one.
class RunClock {
 public:
  explicit RunClock(RunRecord& record) : record_(record) {
    const std::time_t now = std::time(nullptr);
    std::tm utc{};
    ::gmtime_r(&now, &utc);
    char words[32];
    std::strftime(words, sizeof words, "%Y-%m-%dT%H:%M:%SZ", &utc);
    record_.started = words;
  }
  /// Ends a stage. One that comes again adds to its time.
  void stage(std::string_view name) {
    const auto now = Clock::now();
    const double seconds = std::chrono::duration<double>(now - std::exchange(last_, now)).count();
    for (RunStage& s : record_.stages)
      if (s.name == name) return void(s.seconds += seconds);
    record_.stages.push_back({std::string(name), seconds});
  }
  /// The last word: all seconds and the peak of memory.
  void finish() {
    record_.seconds = seconds();
    record_.peak_memory_mb = peak_memory_mb();
  }
  double seconds() const { return std::chrono::duration<double>(Clock::now() - begin_).count(); }

 private:
  using Clock = std::chrono::steady_clock;
  RunRecord& record_;
  Clock::time_point begin_ = Clock::now(), last_ = begin_;
};

namespace report {

inline void write_strings(JsonWriter& json, std::string_view name, const std::vector<std::string>& words) {
  json.key(name), json.open('[');
  for (const std::string& word : words) json.item(), json.quote(word);
  json.close(']');
}
/// Shape, spacing, orientation and affine of a grid, as fields: x, y, z and RAS millimetres.
inline void write_grid(JsonWriter& json, const Grid& grid) {
  const Xyz<double> mm = grid.spacing_mm();
  const Eigen::Matrix4d& m = grid.affine.matrix;
  json.list("shape", {static_cast<double>(grid.shape.x), static_cast<double>(grid.shape.y), static_cast<double>(grid.shape.z)});
  json.list("spacing_mm", {mm.x, mm.y, mm.z});
  json.field("orientation", axis_codes(grid));
  json.key("affine"), json.open('[');
  for (int i = 0; i < 4; ++i) json.item(), json.list({m(i, 0) + 0., m(i, 1) + 0., m(i, 2) + 0., m(i, 3) + 0.});   // no -0
  json.close(']');
}
inline void write_measure(JsonWriter& json, const LabelMeasure& m) {
  const auto corner = [&](std::string_view name, Xyz<Index> at) {
    json.list(name, {static_cast<double>(at.x), static_cast<double>(at.y), static_cast<double>(at.z)});
  };
  json.item(), json.open('{');
  json.field("label", int{m.label}), json.field("name", m.name);
  json.field("voxels", m.voxels), json.field("volume_ml", m.volume_ml);
  json.field("hu_mean", m.hu_mean), json.field("hu_sd", m.hu_sd);
  json.key("bbox"), json.open('{');
  corner("first", m.first), corner("last", m.last);
  json.close('}');
  json.list("centroid_voxel", {m.centroid_voxel.x, m.centroid_voxel.y, m.centroid_voxel.z});
  json.list("centroid_lps_mm", {m.centroid_mm.x, m.centroid_mm.y, m.centroid_mm.z});
  json.close('}');
}

}   // namespace report

/// The record as JSON. Coordinates of voxels are x, y, z, counted from 0; world coordinates LPS, as their names say.
inline std::string to_json(const RunRecord& r) {
  report::JsonWriter json;
  const auto words = [&](const char* name, const std::string& value) {
    if (!value.empty()) json.field(name, value);
  };
  json.open('{');
  json.field("schema", 1), json.field("tool", "ctseg"), json.field("version", kVersion);
  words("command", r.command);
  if (!r.arguments.empty()) report::write_strings(json, "arguments", r.arguments);
  words("started", r.started);
  report::write_strings(json, "inputs", r.inputs);
  if (r.grid) report::write_grid(json, *r.grid);
  if (!r.model.empty()) {
    json.key("model"), json.open('{');
    json.field("path", r.model), words("name", r.model_name), words("sha256", r.model_sha256);
    json.close('}');
  }
  json.field("device", r.device), json.field("threads", r.threads);
  words("device_reason", r.device_reason), words("isa", r.isa), words("accuracy", r.accuracy);
  json.field("seed", r.seed);
  json.key("stages_s"), json.open('{');
  for (const RunStage& s : r.stages) json.field(s.name, s.seconds);
  json.close('}');
  json.field("seconds", r.seconds), json.field("peak_memory_mb", r.peak_memory_mb);
  if (!r.figures.empty()) {
    json.key("figures"), json.open('{');
    for (const auto& [name, value] : r.figures) json.field(name, value);
    json.close('}');
  }
  json.key("labels"), json.open('[');
  for (const LabelMeasure& m : r.labels) report::write_measure(json, m);
  json.close(']');
  report::write_strings(json, "outputs", r.outputs);
  report::write_strings(json, "warnings", r.warnings);
  json.close('}');
  return json.take();
}

}   // namespace ctseg
