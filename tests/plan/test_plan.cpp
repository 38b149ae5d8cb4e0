// Plans against those of nnU-Net itself, to the last digit, and what the planner refuses.
#include "plan_fixtures.hpp"

using namespace ctseg;
using namespace ctseg::nnunet;
using namespace plan_fixtures;

namespace {

/// "configurations.2d.patch_size[1]: 160, expected 192" for the first place where two documents differ; empty if none does.
std::string difference(const Json& found, const Json& expected, const std::string& at = "") {
  if (found.is_object() && expected.is_object()) {
    auto e = expected.items().begin();
    for (const auto& [key, value] : found.items()) {
      if (e == expected.items().end() || e.key() != key) return at + ": key " + key + " is not where it is expected";
      if (const std::string d = difference(value, e.value(), at + "." + key); !d.empty()) return d;
      ++e;
    }
    return e == expected.items().end() ? "" : at + ": has no key " + e.key();
  }
  if (found.is_array() && expected.is_array() && found.size() == expected.size()) {
    for (std::size_t i = 0; i < found.size(); ++i)
      if (const std::string d = difference(found[i], expected[i], text(at, "[", i, "]")); !d.empty()) return d;
    return "";
  }
  return found.dump() == expected.dump() ? "" : at + ": " + found.dump() + ", expected " + expected.dump();
}

DatasetFingerprint one_case(std::array<double, 3> spacing, std::array<Index, 3> shape) {
  return {.spacings = {spacing}, .shapes_after_crop = {shape}, .foreground = {{}}};
}
const DatasetFacts kFacts{.name = "Dataset001_Test", .channel_names = {"CT"}, .labels = 2, .training_cases = 10};

}   // namespace

TEST_CASE("plans equal nnU-Net's: every key, in its order, every number to the last digit") {
  int compared = 0;
  for (const Planned& p : all_planned())
    for (const Json& expected : p.plans) {
      INFO(p.facts.name << " " << expected["preset"] << " " << expected["options"].dump());
      const Json found = to_json(plan_experiment(p.fingerprint, p.facts, options_of(expected)));
      CHECK(difference(found, expected["plans"]) == "");
      ++compared;
    }
  CHECK(compared >= 26);
}

TEST_CASE("the fixtures hold every kind of plan") {
  int cascades = 0, flat = 0, turned = 0, masked = 0, batch_dice = 0, kernels_of_one = 0;
  for (const Planned& p : all_planned()) {
    const Json& plan = p.plans[0]["plans"];
    const Json& all = plan["configurations"];
    cascades += all.contains("3d_cascade_fullres");
    flat += !all.contains("3d_fullres");
    turned += plan["transpose_forward"][0] != 0;
    masked += all["2d"]["use_mask_for_norm"][0] == true;
    if (!all.contains("3d_fullres")) continue;
    batch_dice += all["3d_fullres"]["batch_dice"] == true;
    kernels_of_one += all["3d_fullres"]["architecture"]["arch_kwargs"]["kernel_sizes"][0][0] == 1;
  }
  CHECK(cascades >= 2);
  CHECK(batch_dice == cascades);
  CHECK(flat >= 1);
  CHECK(turned >= 2);
  CHECK(masked >= 1);
  CHECK(kernels_of_one >= 3);
}

TEST_CASE("topologies worked out by hand") {
  const NetworkTopology cube = topology_of({1, 1, 1}, {128, 128, 128});
  CHECK(cube.patch_size == std::vector<Index>{128, 128, 128});
  CHECK(cube.stages() == 6);
  CHECK(cube.divisible_by == std::vector<Index>{32, 32, 32});
  CHECK(features_of(cube) == std::vector<Index>{32, 64, 128, 256, 320, 320});
  const NetworkTopology thick = topology_of({5, 1, 1}, {20, 250, 256});   // y and x are halved twice before z comes along
  CHECK(thick.strides[1] == std::vector<Index>{1, 2, 2});
  CHECK(thick.kernel_sizes[0] == std::vector<Index>{1, 3, 3});
  CHECK(thick.kernel_sizes[2] == std::vector<Index>{3, 3, 3});
  CHECK(thick.patch_size == std::vector<Index>{20, 256, 256});
  CHECK(topology_of({1, 1}, {7, 7}).stages() == 1);
  CHECK(topology_of({1, 1}, {7, 11}).stages() == 1);   // one axis alone needs 12
  CHECK(topology_of({1, 1}, {7, 12}).strides[1] == std::vector<Index>{1, 2});
  CHECK(features_of(topology_of({1, 1}, {512, 512})).back() == 512);
  // Two stages of 8 and 4 voxels: 2 * 32 * 8 + 2 * 64 * 4 down, (2 + 1) * 32 * 8 up, 3 classes.
  const NetworkTopology small{.strides = {{1, 1}, {2, 1}}, .kernel_sizes = {{3, 3}, {3, 3}}, .patch_size = {4, 2}};
  CHECK(feature_map_elements(small, {false}, 3) == 2 * 32 * 8 + 2 * 64 * 4 + 3 * 32 * 8 + 3 * 8);
  // Residual: the stem, one block of two, three blocks of two and a shortcut, one convolution up.
  CHECK(feature_map_elements(small, {true}, 3) == 32 * 8 + 2 * 32 * 8 + 7 * 64 * 4 + 2 * 32 * 8 + 3 * 8);
}

TEST_CASE("percentiles and medians as NumPy's") {
  using namespace planning;
  CHECK(percentile({4, 1, 3, 2}, 50) == 2.5);
  CHECK(percentile({10, 5, 7}, 10) == 5 + 2 * 0.2);
  CHECK(percentile({3}, 99.5) == 3);
  CHECK(median({4, 1, 3, 2}) == 2.5);
  CHECK(median({9, 1, 3}) == 3);
  CHECK(rounded(2.5) == 2);
  CHECK(rounded(3.5) == 4);
}

TEST_CASE("a patch has a voxel or more, however thick the slices") {
  CHECK(planning::first_patch({1000, 0.01, 0.01}, {3, 500, 500}) == std::vector<double>{1, 500, 500});
  CHECK(plan_experiment(one_case({1000, 0.01, 0.01}, {3, 500, 500}), kFacts).plan_3d_fullres->batch_size >= 2);
}

TEST_CASE("the smallest data sets have plans, and plans that nnU-Net can read keep their keys") {
  const ExperimentPlan plan = plan_experiment(one_case({1, 1, 1}, {1, 1, 1}), kFacts);
  CHECK_FALSE(plan.plan_3d_fullres);
  CHECK(plan.plan_2d->network.stages() == 1);
  CHECK(plan.plan_2d->batch_size == 2);
  const Json j = to_json(plan);
  CHECK(j["configurations"]["2d"]["architecture"]["arch_kwargs"]["n_stages"] == 1);
  CHECK(j["dataset_name"] == "Dataset001_Test");
}

TEST_CASE("what the planner refuses") {
  const auto fails = [](const DatasetFingerprint& f, const DatasetFacts& d, const PlannerOptions& o, const char* words) {
    try {
      plan_experiment(f, d, o);
    } catch (const Error& e) {
      CHECK_MESSAGE(std::string(e.what()).find(words) != std::string::npos, e.what());
      return;
    }
    FAIL_CHECK("expected: " << words);
  };
  const DatasetFingerprint good = one_case({1, 1, 1}, {64, 64, 64});
  fails({}, kFacts, {}, "0 spacings and 0 shapes");
  fails(good, {.channel_names = {"T1", "T2"}}, {}, "2 channel names, statistics of 1 channels");
  fails(good, {.channel_names = {"CT"}, .labels = 0}, {}, "0 labels");
  fails(one_case({0, 1, 1}, {64, 64, 64}), kFacts, {}, "not above 0");
  fails(good, kFacts, {.gpu_memory_gb = -1}, "-1 GB");
  fails(good, kFacts, {.spacing_mm = {{1, -1, 1}}}, "not above 0");
  fails(good, kFacts, {.gpu_memory_gb = 1e-9}, "no patch is small enough");
}
