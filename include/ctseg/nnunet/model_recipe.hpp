// What plans.json, dataset.json and a checkpoint say together, as the recipe that a model file would carry.
#pragma once
#include "../recipe/recipe.hpp"
#include "checkpoint.hpp"
#include "trained_plans.hpp"

namespace ctseg::nnunet {

namespace model_recipe {

/// The normalisation of one channel.
template <class = void>
std::vector<IntensityStep> normalization_of(const TrainedPlans& plans, const TrainedConfiguration& c, std::size_t channel) {
  const std::string& scheme = c.normalization[channel];
  if (scheme == "CTNormalization") {
    if (channel >= plans.intensities.size())
      throw Error(Code::bad_input, plans.file,
                  text("foreground_intensity_properties_per_channel has no \"", channel, "\", which CTNormalization needs."));
    return {plans.intensities[channel]};
  }
  if (scheme == "ZScoreNormalization") return {ZScore{.voxels = c.use_mask[channel] ? Voxels::mask : Voxels::all}};
  if (scheme == "RescaleTo01Normalization") return {ScaleIntensity{}};
  if (scheme == "RGBTo01Normalization") return {ScaleIntensityRange{.a_max = 255}};
  if (scheme == "NoNormalization") return {};
  throw Error(Code::unsupported, plans.file,
              text("configurations.", c.name, ".normalization_schemes has ", json::shown(Json(scheme)),
                   "; known here are CTNormalization, ZScoreNormalization, RescaleTo01Normalization, RGBTo01Normalization and "
                   "NoNormalization."));
}

/// nnU-Net's order: the reader's turn, transpose, crop, normalise, resample.
template <class = void> std::vector<PreprocessStep> steps_of(const TrainedPlans& plans, const TrainedConfiguration& c) {
  std::vector<PreprocessStep> steps;
  if (plans.to_ras) steps.push_back(Reorient{"RAS"});
  if (plans.transpose_forward != std::array<Index, 3>{0, 1, 2}) steps.push_back(Transpose{plans.transpose_forward});
  steps.push_back(CropNonzero{});
  PerChannel each;
  for (std::size_t i = 0; i < c.normalization.size(); ++i) each.channels.push_back(normalization_of(plans, c, i));
  if (each.channels.size() == 1)
    for (const IntensityStep& step : each.channels[0]) std::visit([&](const auto& s) { steps.push_back(s); }, step);
  else
    steps.push_back(std::move(each));
  if (c.resamples) {
    const std::size_t n = c.spacing.size();
    steps.push_back(Spacing{.spacing_mm = {c.spacing[n - 1], c.spacing[n - 2], n == 3 ? c.spacing[0] : 0},
                            .rule = SizeRule::nnunet,
                            .interpolation = c.interpolation});
  }
  return steps;
}

template <int Dim> SlidingWindowOptions<Dim> windows_of(const TrainedConfiguration& c) {
  SlidingWindowOptions<Dim> o{.rule = WindowRule::nnunet};
  std::copy_n(c.patch_size.begin(), Dim, o.window.value.begin());
  return o;
}

template <class = void> Xyz<bool> mirror_of(const CheckpointInfo& info, Index dim, const std::string& file) {
  Xyz<bool> mirror;
  for (const Index axis : info.mirroring_axes) {
    if (axis < 0 || axis >= dim)
      throw Error(Code::bad_input, file,
                  text("inference_allowed_mirroring_axes has ", axis, "; the patch has the axes 0 to ", dim - 1, "."));
    (axis == dim - 1 ? mirror.x : axis == dim - 2 ? mirror.y : mirror.z) = true;
  }
  return mirror;
}

/// Labels by the channel that decides for them; of regions those that are written.
template <class = void> std::vector<LabelInfo> labels_of(const DatasetJson& dataset) {
  std::vector<LabelInfo> labels{{0, "background"}};
  std::size_t region = 0;
  for (const NamedLabel& l : dataset.labels) {
    if (std::all_of(l.ids.begin(), l.ids.end(), [](Index id) { return id == 0; })) {
      labels[0].name = l.name;
      continue;
    }
    const Index id = dataset.has_regions() ? dataset.regions_class_order[region++] : l.ids[0];
    if (std::none_of(labels.begin(), labels.end(), [&](const LabelInfo& known) { return known.id == id; }))
      labels.push_back({id, l.name});
  }
  std::sort(labels.begin(), labels.end(), [](const LabelInfo& a, const LabelInfo& b) { return a.id < b.id; });
  return labels;
}

}   // namespace model_recipe

/// The three files of one model.
struct TrainedFiles {
  TrainedPlans plans{};
  DatasetJson dataset{};
  CheckpointInfo checkpoint{};
  std::string checkpoint_file{};
};

/// Errors    unsupported and bad_input as those of the files' readers, and where they contradict each other.
template <class = void> ModelRecipe recipe_of(const TrainedFiles& f) {
  const TrainedConfiguration c = f.plans.configuration(f.checkpoint.configuration);
  if (c.normalization.size() != f.dataset.channels.size())
    throw Error(Code::bad_input, f.plans.file,
                text("configurations.", c.name, ".normalization_schemes has ", c.normalization.size(),
                     " entries; dataset.json has ", f.dataset.channels.size(), " channels."));
  ModelRecipe r{.about = {.name = text(f.plans.dataset_name, " ", c.name),
                          .training_data = text("nnU-Net ", io::printable(f.checkpoint.trainer_name), ", ", f.plans.name)}};
  if (!c.previous_stage.empty()) r.previous_labels = f.dataset.foreground();
  const NetworkChannels channels{std::ssize(f.dataset.channels) + std::ssize(r.previous_labels), f.dataset.heads()};
  r.network = c.network(channels, f.checkpoint.trainer_name);
  r.preprocess = model_recipe::steps_of(f.plans, c);
  if (c.dim() == 2)
    r.sliding_window = model_recipe::windows_of<2>(c);
  else
    r.sliding_window = model_recipe::windows_of<3>(c);
  r.mirror = model_recipe::mirror_of(f.checkpoint, c.dim(), f.checkpoint_file);
  r.labels = model_recipe::labels_of(f.dataset);
  if (f.dataset.has_regions()) r.decision = {.kind = Decide::threshold, .regions_order = f.dataset.regions_class_order};
  check(r, f.plans.file);
  return r;
}

}   // namespace ctseg::nnunet
