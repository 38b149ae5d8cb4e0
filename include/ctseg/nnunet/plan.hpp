// nnU-Net's automatic configuration: from a fingerprint to spacings, patches, networks and batches. The same rules in the same
// order of arithmetic, for a patch that is one voxel larger on one side already is another plan.
#pragma once
#include <optional>

#include "fingerprint.hpp"
#include "plan_topology.hpp"

namespace ctseg::nnunet {

/// nnU-Net's planners: the one it takes by itself, and its residual encoders for cards of 8 to 40 GB. `resenc` is the older one
/// of these, which keeps a batch below 5 % of the data set.
enum class PlannerPreset { standard, resenc, resenc_m, resenc_l, resenc_xl };

inline std::span<const json::Name<PlannerPreset>> names_of(PlannerPreset) {
  static constexpr json::Name<PlannerPreset> kNames[] = {{"default", PlannerPreset::standard},
                                                         {"resenc", PlannerPreset::resenc},
                                                         {"resenc_m", PlannerPreset::resenc_m},
                                                         {"resenc_l", PlannerPreset::resenc_l},
                                                         {"resenc_xl", PlannerPreset::resenc_xl}};
  return kNames;
}

struct PlannerOptions {
  PlannerPreset preset = PlannerPreset::standard;
  double gpu_memory_gb = 0;                            // 0: what the preset is made for
  std::optional<std::array<double, 3>> spacing_mm{};   // z, y, x of 3d_fullres; unset: found
  std::string plans_name{};                            // empty: nnU-Net's name for the preset
};

/// What a data set says of itself beside its images: dataset.json and the name of its folder.
struct DatasetFacts {
  std::string name{};
  std::vector<std::string> channel_names{};
  Index labels = 2;           // entries of "labels", background, regions and an ignored one included
  Index training_cases = 1;   // "numTraining", as written
  std::string image_reader_writer = "SimpleITKIO";
};

/// One of 2d, 3d_fullres, 3d_lowres. Lists have an entry per axis, in the order after transposing.
struct PlannedConfiguration {
  std::string name{}, data_identifier{};
  Index batch_size = 2;
  std::vector<double> median_image_size_in_voxels{}, spacing{};
  NetworkTopology network{};
  bool batch_dice = false;
};

struct ExperimentPlan {
  DatasetFacts dataset{};
  DatasetFingerprint fingerprint{};
  PlannerOptions options{};
  std::array<std::size_t, 3> transpose_forward{0, 1, 2}, transpose_backward{0, 1, 2};
  std::vector<std::string> normalization_schemes{};   // one per channel
  std::vector<bool> use_mask_for_norm{};
  std::optional<PlannedConfiguration> plan_2d{}, plan_3d_lowres{}, plan_3d_fullres{};   // 3-D ones for 3-D data
};

namespace planning {

/// What a preset stands for: numbers of nnU-Net's planner classes.
struct Budget {
  const char* planner;
  const char* plans_name;
  bool residual;
  double reference_2d, reference_3d;   // feature_map_elements of a batch of 12, and of 2, on a card of gpu_gb
  double gpu_gb;
  double most_covered;   // share of the data set's voxels in a batch
};
inline Budget budget_of(PlannerPreset preset) {
  switch (preset) {
    case PlannerPreset::resenc:
      return {"ResEncUNetPlanner", "nnUNetResEncUNetPlans", true, 135e6, 680e6, 8, 0.05};
    case PlannerPreset::resenc_m:
      return {"nnUNetPlannerResEncM", "nnUNetResEncUNetMPlans", true, 135e6, 680e6, 8, 1};
    case PlannerPreset::resenc_l:
      return {"nnUNetPlannerResEncL", "nnUNetResEncUNetLPlans", true, 380e6, 2100e6, 24, 1};
    case PlannerPreset::resenc_xl:
      return {"nnUNetPlannerResEncXL", "nnUNetResEncUNetXLPlans", true, 560e6, 3600e6, 40, 1};
    case PlannerPreset::standard:
      break;
  }
  return {"ExperimentPlanner", "nnUNetPlans", false, 85e6, 560e6, 8, 0.05};
}
inline std::string plans_name(const PlannerOptions& o) {
  return o.plans_name.empty() ? budget_of(o.preset).plans_name : o.plans_name;
}

/// Python's round(): halves to the even neighbour.
inline double rounded(double v) { return std::nearbyint(v); }
template <class C> double product(const C& values) {
  double out = 1;
  for (const auto v : values) out *= static_cast<double>(v);
  return out;
}
template <class Row> std::vector<double> column(const std::vector<Row>& rows, std::size_t axis) {
  std::vector<double> out;
  for (const Row& row : rows) out.push_back(static_cast<double>(row[axis]));
  return out;
}

/// The median spacing; but where slices are more than three times as thick as voxels are wide, and few, the tenth percentile of
/// their thickness: thick cases are interpolated rather than thin ones blurred.
template <class = void> std::array<double, 3> target_spacing(const DatasetFingerprint& f) {
  constexpr double kAnisotropic = 3;
  std::array<double, 3> target{}, size{};
  for (std::size_t d = 0; d < 3; ++d) {
    target[d] = percentile(column(f.spacings, d), 50);
    size[d] = percentile(column(f.shapes_after_crop, d), 50);
  }
  const auto worst = static_cast<std::size_t>(std::max_element(target.begin(), target.end()) - target.begin());
  const std::size_t a = worst == 0 ? 1 : 0, b = worst == 2 ? 1 : 2;
  const double others = std::max(target[a], target[b]);
  if (target[worst] > kAnisotropic * others && size[worst] * kAnisotropic < std::min(size[a], size[b])) {
    const double thin = percentile(column(f.spacings, worst), 10);
    target[worst] = thin < others ? others + 1e-5 : thin;
  }
  return target;
}

/// CT by its name, and a few others; all else is standardised.
inline std::string normalization_of(std::string channel_name) {
  for (char& c : channel_name) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  if (channel_name == "ct") return "CTNormalization";
  if (channel_name == "nonorm") return "NoNormalization";
  if (channel_name == "rescale_to_0_1") return "RescaleTo01Normalization";
  if (channel_name == "rgb_to_0_1") return "RGBTo01Normalization";
  return "ZScoreNormalization";
}

/// A patch in proportion to 1 / spacing, larger than any card holds, but no larger than the median case.
template <class = void>
std::vector<double> first_patch(const std::vector<double>& spacing_mm, const std::vector<double>& median_shape) {
  std::vector<double> inverse;
  for (const double mm : spacing_mm) inverse.push_back(1 / mm);
  const bool flat = spacing_mm.size() == 2;
  const double scale = std::pow((flat ? 2048. * 2048 : 256. * 256 * 256) / product(inverse), flat ? 1. / 2 : 1. / 3);
  std::vector<double> out;
  for (std::size_t d = 0; d < inverse.size(); ++d)
    out.push_back(std::max(1., std::min(rounded(inverse[d] * scale), median_shape[d])));
  return out;
}

/// The axis that is longest next to the median case; the last of equal ones.
template <class = void> std::size_t axis_to_reduce(const std::vector<Index>& patch, const std::vector<double>& median_shape) {
  std::size_t most = 0;
  const auto ratio = [&](std::size_t d) { return static_cast<double>(patch[d]) / median_shape[d]; };
  for (std::size_t d = 1; d < patch.size(); ++d)
    if (ratio(d) >= ratio(most)) most = d;
  return most;
}

/// One step down: first by what the smaller patch divides, so that no valid size is passed over.
template <class = void>
NetworkTopology reduced(const NetworkTopology& t, const std::vector<double>& spacing_mm, const std::vector<double>& median) {
  const std::size_t axis = axis_to_reduce(t.patch_size, median);
  std::vector<double> patch(t.patch_size.begin(), t.patch_size.end());
  std::vector<double> tried = patch;
  tried[axis] -= static_cast<double>(t.divisible_by[axis]);
  patch[axis] -= static_cast<double>(topology_of(spacing_mm, tried).divisible_by[axis]);
  if (patch[axis] < 1)
    throw Error(Code::bad_input, "plan",
                text("no patch is small enough for the memory. Hint: set PlannerOptions::gpu_memory_gb higher."));
  return topology_of(spacing_mm, patch);
}

/// What one configuration is planned from.
struct ConfigurationTask {
  std::string name;
  std::vector<double> spacing_mm, median_shape;
  double voxels_in_dataset;
};
template <class = void>
PlannedConfiguration configuration_of(const ConfigurationTask& task, const PlannerOptions& o, const DatasetFacts& dataset) {
  const Budget budget = budget_of(o.preset);
  const StageBlocks blocks{budget.residual};
  const bool flat = task.spacing_mm.size() == 2;
  const double gpu_gb = o.gpu_memory_gb == 0 ? budget.gpu_gb : o.gpu_memory_gb;
  const double reference = (flat ? budget.reference_2d : budget.reference_3d) * (gpu_gb / budget.gpu_gb);
  const double reference_batch = flat ? 12 : 2, least_batch = 2;
  NetworkTopology network = topology_of(task.spacing_mm, first_patch(task.spacing_mm, task.median_shape));
  double elements = feature_map_elements(network, blocks, dataset.labels);
  // The plain planner leaves room for two samples, the residual ones for reference_batch.
  while ((budget.residual ? elements : elements / reference_batch * 2) > reference) {
    network = reduced(network, task.spacing_mm, task.median_shape);
    elements = feature_map_elements(network, blocks, dataset.labels);
  }
  const double fits = rounded(reference / elements * reference_batch);
  const double covers = rounded(task.voxels_in_dataset * budget.most_covered / product(network.patch_size));
  const bool shared = budget.residual && task.name != "3d_lowres";   // prepared data of the plain planner serve here too
  return {.name = task.name,
          .data_identifier = (shared ? "nnUNetPlans" : plans_name(o)) + "_" + task.name,
          .batch_size = static_cast<Index>(std::max(std::min(fits, covers), least_batch)),
          .median_image_size_in_voxels = task.median_shape,
          .spacing = task.spacing_mm,
          .network = network};
}

/// 3d_lowres where a patch of 3d_fullres sees less than a quarter of the median case: voxels grow by 3 % until it sees that
/// much, the finer axes first while they are less than half as long. None if that more than halves nothing.
template <class = void> std::optional<PlannedConfiguration> lowres_of(const PlannedConfiguration& full, const PlannerOptions& o,
                                                                      const DatasetFacts& dataset) {
  constexpr double kGrowth = 1.03, kLeastSeen = 0.25;
  const std::vector<double>& median = full.median_image_size_in_voxels;
  std::optional<PlannedConfiguration> low;
  std::vector<double> mm = full.spacing, smaller = median;
  double voxels = product(median), seen = product(full.network.patch_size);
  while (seen / voxels < kLeastSeen) {
    const double most = *std::max_element(mm.begin(), mm.end());
    const bool uneven = std::any_of(mm.begin(), mm.end(), [&](double v) { return most / v > 2; });
    for (double& v : mm)
      if (!uneven || most / v > 2) v *= kGrowth;
    for (std::size_t d = 0; d < 3; ++d) smaller[d] = full.spacing[d] / mm[d] * median[d];
    voxels = product(smaller);
    for (double& n : smaller) n = rounded(n);
    low = configuration_of({"3d_lowres", mm, smaller, voxels * static_cast<double>(dataset.training_cases)}, o, dataset);
    seen = product(low->network.patch_size);
  }
  if (product(median) / voxels < 2) low.reset();
  return low;
}

/// The coarsest axis first, the others in their order.
inline void transpose(const std::array<double, 3>& spacing_mm, ExperimentPlan& plan) {
  const auto first = static_cast<std::size_t>(std::max_element(spacing_mm.begin(), spacing_mm.end()) - spacing_mm.begin());
  std::size_t next = 0;
  plan.transpose_forward[next++] = first;
  for (std::size_t d = 0; d < 3; ++d)
    if (d != first) plan.transpose_forward[next++] = d;
  for (std::size_t d = 0; d < 3; ++d) plan.transpose_backward[plan.transpose_forward[d]] = d;
}

template <class = void> void check(const DatasetFingerprint& f, const DatasetFacts& dataset, const PlannerOptions& o) {
  if (f.spacings.empty() || f.spacings.size() != f.shapes_after_crop.size())
    throw Error(Code::bad_argument, "plan",
                text(f.spacings.size(), " spacings and ", f.shapes_after_crop.size(), " shapes; must be one per case."));
  if (dataset.channel_names.empty() || dataset.channel_names.size() != f.foreground.size())
    throw Error(Code::bad_argument, "plan",
                text(dataset.channel_names.size(), " channel names, statistics of ", f.foreground.size(),
                     " channels; must be as many, and 1 or more."));
  if (dataset.labels < 1 || dataset.training_cases < 1 || !is_finite(o.gpu_memory_gb) || o.gpu_memory_gb < 0)
    throw Error(Code::bad_argument, "plan",
                text(dataset.labels, " labels, ", dataset.training_cases, " training cases, ", o.gpu_memory_gb,
                     " GB; must be 1 or more, 1 or more, and 0 (the preset's) or more."));
  const auto positive = [](const auto& row) { return std::all_of(row.begin(), row.end(), [](auto v) { return v > 0; }); };
  if (!std::all_of(f.spacings.begin(), f.spacings.end(), positive) || (o.spacing_mm && !positive(*o.spacing_mm)) ||
      !std::all_of(f.shapes_after_crop.begin(), f.shapes_after_crop.end(), positive))
    throw Error(Code::bad_argument, "plan", "a spacing or a shape is not above 0 on every axis.");
}

}   // namespace planning

/// Plans a data set as nnU-Net v2 does: 2d always, 3d_fullres for 3-D data, 3d_lowres and a cascade where patches are small.
/// Numerics  the same arithmetic in double as nnU-Net's in NumPy. Of axes that are equally long next to the median case the
///           last is cut; NumPy leaves that to its sort.
/// Errors    bad_argument for a fingerprint that does not fit the facts; bad_input where no patch fits the memory.
/// Source    Isensee et al., nnU-Net, Nature Methods 2021; Isensee et al., nnU-Net Revisited, MICCAI 2024 (residual encoders).
template <class = void>
ExperimentPlan plan_experiment(const DatasetFingerprint& f, const DatasetFacts& dataset, const PlannerOptions& o = {}) {
  planning::check(f, dataset, o);
  ExperimentPlan plan{.dataset = dataset, .fingerprint = f, .options = o};
  const std::array<double, 3> target = o.spacing_mm ? *o.spacing_mm : planning::target_spacing(f);
  planning::transpose(target, plan);
  std::vector<std::array<double, 3>> resampled;
  for (std::size_t i = 0; i < f.spacings.size(); ++i)
    for (std::size_t d = 0; d < 3; ++d) {
      if (d == 0) resampled.emplace_back();
      resampled[i][d] = planning::rounded(f.spacings[i][d] / target[d] * static_cast<double>(f.shapes_after_crop[i][d]));
    }
  std::vector<double> spacing, shape;
  for (const std::size_t d : plan.transpose_forward) {
    spacing.push_back(target[d]);
    shape.push_back(planning::median(planning::column(resampled, d)));
  }
  const double voxels = planning::product(shape) * static_cast<double>(dataset.training_cases);
  if (shape[0] != 1) {
    plan.plan_3d_fullres = planning::configuration_of({"3d_fullres", spacing, shape, voxels}, o, dataset);
    plan.plan_3d_lowres = planning::lowres_of(*plan.plan_3d_fullres, o, dataset);
    plan.plan_3d_fullres->batch_dice = plan.plan_3d_lowres.has_value();
  }
  plan.plan_2d = planning::configuration_of(
      {"2d", {spacing.begin() + 1, spacing.end()}, {shape.begin() + 1, shape.end()}, voxels}, o, dataset);
  plan.plan_2d->batch_dice = true;
  const bool masked = f.median_relative_size_after_cropping < 0.75;
  for (const std::string& name : dataset.channel_names) {
    plan.normalization_schemes.push_back(planning::normalization_of(name));
    plan.use_mask_for_norm.push_back(masked && plan.normalization_schemes.back() == "ZScoreNormalization");
  }
  return plan;
}

}   // namespace ctseg::nnunet
