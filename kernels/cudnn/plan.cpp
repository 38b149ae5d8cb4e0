// Heuristics and plans.
#include <algorithm>

#include "graph.hpp"

namespace ctseg::cudnn {

namespace {
namespace at = attribute;

/// What a mode of the heuristics proposes, best first; nothing where it knows no engine.
std::vector<Descriptor> configurations(const Target& target, const Descriptor& graph, cudnnBackendHeurMode_t mode) {
  const Library& library = target.library();
  Descriptor heuristics(library, CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR);
  heuristics.set(at::ENGINEHEUR_OPERATION_GRAPH, graph).set(at::ENGINEHEUR_MODE, mode);
  target.tell(heuristics, nullptr, &at::ENGINEHEUR_DEVICEPROP);
  std::vector<Descriptor> found;
  if (heuristics.try_finalize() != CUDNN_STATUS_SUCCESS) return found;
  std::vector<cudnnBackendDescriptor_t> raw;
  const auto most = heuristics.get_into<cudnnBackendDescriptor_t>(at::ENGINEHEUR_RESULTS, nullptr, 0);
  for (std::int64_t i = 0; i < most; ++i) {
    found.emplace_back(library, CUDNN_BACKEND_ENGINECFG_DESCRIPTOR);
    raw.push_back(found.back().raw());
  }
  const auto count = most > 0 ? heuristics.get_into(at::ENGINEHEUR_RESULTS, raw.data(), most) : 0;
  found.erase(found.begin() + static_cast<std::ptrdiff_t>(count), found.end());
  return found;
}

struct Engine {
  std::int64_t index = 0;
  std::vector<cudnnBackendNumericalNote_t> numerical;
  std::vector<cudnnBackendBehaviorNote_t> behaviour;

  explicit Engine(const Descriptor& configuration) {
    Descriptor engine(configuration.library(), CUDNN_BACKEND_ENGINE_DESCRIPTOR);
    cudnnBackendDescriptor_t raw = engine.raw();
    configuration.get_into(at::ENGINECFG_ENGINE, &raw, 1);
    index = engine.get<std::int64_t>(at::ENGINE_GLOBAL_INDEX);
    numerical = engine.get_all<cudnnBackendNumericalNote_t>(at::ENGINE_NUMERICAL_NOTE);
    behaviour = engine.get_all<cudnnBackendBehaviorNote_t>(at::ENGINE_BEHAVIOR_NOTE);
  }
  bool has(cudnnBackendNumericalNote_t note) const { return std::ranges::find(numerical, note) != numerical.end(); }
  bool has(cudnnBackendBehaviorNote_t note) const { return std::ranges::find(behaviour, note) != behaviour.end(); }

  /// Why the limits forbid it; empty where they do not. Sums are kept in float, and large Winograd tiles lose digits.
  std::string refused(const PlanLimits& limits) const {
    if (limits.deterministic && has(CUDNN_NUMERICAL_NOTE_NONDETERMINISTIC)) return "its bits change from run to run";
    if (has(CUDNN_NUMERICAL_NOTE_DOWN_CONVERT_INPUTS)) return "it rounds its inputs";
    if (!limits.tensor_cores && has(CUDNN_NUMERICAL_NOTE_TENSOR_CORE)) return "it multiplies with TF32";
    if (has(CUDNN_NUMERICAL_NOTE_REDUCED_PRECISION_REDUCTION)) return "its sums are not kept in float";
    if (has(CUDNN_NUMERICAL_NOTE_WINOGRAD_TILE_6x6) || has(CUDNN_NUMERICAL_NOTE_WINOGRAD_TILE_13x13))
      return "its Winograd tiles are large";
    if (!limits.compile && has(CUDNN_BEHAVIOR_NOTE_RUNTIME_COMPILATION)) return "it is compiled at run time";
    return {};
  }
};
constexpr cudnnBackendHeurMode_t kModes[] = {CUDNN_HEUR_MODE_A, CUDNN_HEUR_MODE_B, CUDNN_HEUR_MODE_FALLBACK};
}   // namespace

std::optional<Plan> choose_plan(const Target& target, const Descriptor& graph, const PlanLimits& limits, std::string* why) {
  std::string last = "the heuristics know no engine";
  for (const auto mode : kModes)
    for (const Descriptor& configuration : configurations(target, graph, mode)) {
      const Engine engine(configuration);
      const std::string refused = engine.refused(limits);
      if (!refused.empty()) {
        last = text("engine ", engine.index, ": ", refused);
        continue;
      }
      Descriptor plan(target.library(), CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR);
      target.tell(plan, &at::EXECUTION_PLAN_HANDLE, &at::EXECUTION_PLAN_DEVICEPROP);
      plan.set(at::EXECUTION_PLAN_ENGINE_CONFIG, configuration);
      if (const auto status = plan.try_finalize(); status != CUDNN_STATUS_SUCCESS) {
        last = text("engine ", engine.index, ": ", target.library().error_string(status));
        continue;
      }
      const auto workspace = plan.get<std::int64_t>(at::EXECUTION_PLAN_WORKSPACE_SIZE);
      if (workspace <= limits.workspace)
        return Plan{std::move(plan), workspace, engine.index, engine.has(CUDNN_NUMERICAL_NOTE_TENSOR_CORE)};
      last = text("engine ", engine.index, " wants ", workspace >> 20, " MiB of workspace");
    }
  if (why) *why = last;
  return {};
}

int count_configurations(const Target& target, const Descriptor& graph, const PlanLimits& limits) {
  for (const auto mode : kModes) {
    int count = 0;
    for (const Descriptor& configuration : configurations(target, graph, mode))
      count += Engine(configuration).refused(limits).empty();
    if (count > 0) return count;
  }
  return 0;
}

std::optional<std::string> to_json(const Plan& plan) try {
  const auto letters = plan.descriptor.get_all<char>(at::EXECUTION_PLAN_JSON_REPRESENTATION);
  if (letters.empty()) return {};
  return std::string(letters.begin(), letters.end());
} catch (const Error&) {
  return {};
}

std::optional<Plan> from_json(const Target& target, const std::string& json) try {
  Descriptor plan(target.library(), CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR);
  target.tell(plan, &at::EXECUTION_PLAN_HANDLE, &at::EXECUTION_PLAN_DEVICEPROP);
  plan.set(at::EXECUTION_PLAN_JSON_REPRESENTATION, json.data(), json.size());
  if (plan.try_finalize() != CUDNN_STATUS_SUCCESS) return {};
  const auto workspace = plan.get<std::int64_t>(at::EXECUTION_PLAN_WORKSPACE_SIZE);
  return Plan{std::move(plan), workspace};
} catch (const Error&) {
  return {};
}

}   // namespace ctseg::cudnn
