// Plans as nnU-Net writes them: the same keys in the same order, so that its own programs go on from here.
#pragma once
#include "plan.hpp"

namespace ctseg::nnunet {

namespace planning {

template <class = void> Json resampling_json(bool labels, int order) {
  return {{"is_seg", labels}, {"order", order}, {"order_z", 0}, {"force_separate_z", nullptr}};
}

template <class = void> Json architecture_json(const NetworkTopology& t, const StageBlocks& blocks) {
  std::vector<Index> encoder, decoder;
  for (Index s = 0; s < t.stages(); ++s) encoder.push_back(blocks.encoder(s));
  for (Index s = 0; s + 1 < t.stages(); ++s) decoder.push_back(blocks.decoder());
  const std::string dim = t.patch_size.size() == 2 ? "2d" : "3d";
  const std::string network = blocks.residual ? "ResidualEncoderUNet" : "PlainConvUNet";
  Json options = {{"n_stages", t.stages()},
                  {"features_per_stage", features_of(t)},
                  {"conv_op", "torch.nn.modules.conv.Conv" + dim},
                  {"kernel_sizes", t.kernel_sizes},
                  {"strides", t.strides},
                  {blocks.residual ? "n_blocks_per_stage" : "n_conv_per_stage", encoder},
                  {"n_conv_per_stage_decoder", decoder},
                  {"conv_bias", true},
                  {"norm_op", "torch.nn.modules.instancenorm.InstanceNorm" + dim},
                  {"norm_op_kwargs", {{"eps", 1e-5}, {"affine", true}}},
                  {"dropout_op", nullptr},
                  {"dropout_op_kwargs", nullptr},
                  {"nonlin", "torch.nn.LeakyReLU"},
                  {"nonlin_kwargs", {{"inplace", true}}}};
  return {{"network_class_name", "dynamic_network_architectures.architectures.unet." + network},
          {"arch_kwargs", std::move(options)},
          {"_kw_requires_import", {"conv_op", "norm_op", "dropout_op", "nonlin"}}};
}

template <class = void> Json configuration_json(const PlannedConfiguration& c, const ExperimentPlan& plan) {
  const char* resample = "resample_data_or_seg_to_shape";
  Json median = c.median_image_size_in_voxels;
  if (c.name == "3d_lowres") median = std::vector<Index>(median.begin(), median.end());   // a matter of how they are written
  return {{"data_identifier", c.data_identifier},
          {"preprocessor_name", "DefaultPreprocessor"},
          {"batch_size", c.batch_size},
          {"patch_size", c.network.patch_size},
          {"median_image_size_in_voxels", median},
          {"spacing", c.spacing},
          {"normalization_schemes", plan.normalization_schemes},
          {"use_mask_for_norm", plan.use_mask_for_norm},
          {"resampling_fn_data", resample},
          {"resampling_fn_seg", resample},
          {"resampling_fn_data_kwargs", resampling_json(false, 3)},
          {"resampling_fn_seg_kwargs", resampling_json(true, 1)},
          {"resampling_fn_probabilities", resample},
          {"resampling_fn_probabilities_kwargs", resampling_json(false, 1)},
          {"architecture", architecture_json(c.network, {budget_of(plan.options.preset).residual})},
          {"batch_dice", c.batch_dice}};
}

template <class = void> Json configurations_json(const ExperimentPlan& plan) {
  Json out = Json::object();
  if (plan.plan_2d) out["2d"] = configuration_json(*plan.plan_2d, plan);
  if (plan.plan_3d_lowres) {
    out["3d_lowres"] = configuration_json(*plan.plan_3d_lowres, plan);
    out["3d_lowres"]["next_stage"] = "3d_cascade_fullres";
  }
  if (plan.plan_3d_fullres) out["3d_fullres"] = configuration_json(*plan.plan_3d_fullres, plan);
  if (plan.plan_3d_lowres) out["3d_cascade_fullres"] = {{"inherits_from", "3d_fullres"}, {"previous_stage", "3d_lowres"}};
  return out;
}

}   // namespace planning

/// The content of nnU-Net's plans file.
template <class = void> Json to_json(const ExperimentPlan& plan) {
  std::vector<double> spacing;
  std::vector<Index> shape;
  for (const std::size_t d : plan.transpose_forward) {
    spacing.push_back(planning::median(planning::column(plan.fingerprint.spacings, d)));
    shape.push_back(
        static_cast<Index>(planning::rounded(planning::median(planning::column(plan.fingerprint.shapes_after_crop, d)))));
  }
  return {{"dataset_name", plan.dataset.name},
          {"plans_name", planning::plans_name(plan.options)},
          {"original_median_spacing_after_transp", spacing},
          {"original_median_shape_after_transp", shape},
          {"image_reader_writer", plan.dataset.image_reader_writer},
          {"transpose_forward", plan.transpose_forward},
          {"transpose_backward", plan.transpose_backward},
          {"configurations", planning::configurations_json(plan)},
          {"experiment_planner_used", planning::budget_of(plan.options.preset).planner},
          {"label_manager", "LabelManager"},
          {"foreground_intensity_properties_per_channel", planning::foreground_json(plan.fingerprint.foreground)}};
}

}   // namespace ctseg::nnunet
