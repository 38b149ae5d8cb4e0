// The focal loss, alone, and beside Dice or generalized Dice.
#pragma once
#include "dice.hpp"
#include "generalized_dice.hpp"

namespace ctseg {

struct FocalOptions {
  double gamma = 2;                 // 0: cross entropy; more: easy voxels count less
  std::vector<double> alpha{};      // none; one: of label 1, else 1 - alpha (softmax: 1 - alpha for channel 0, so it is not
                                    // used where that does not count); or per channel
  bool use_softmax = false;         // MONAI's default is the sigmoid, for classes too
  bool include_background = true;   // else channel 0 does not count; one channel always does
  std::vector<double> class_weights{};   // of every channel's loss, one for all or one per channel
  std::optional<Index> ignore_label{};
};
/// alpha and class weights as factors of labels 1 and 0 in every channel.
inline VoxelTermOptions voxel_term(const FocalOptions& o, Index channels) {
  VoxelTermOptions out{.weight = 1,
                       .sigmoid = !o.use_softmax,
                       .include_background = o.include_background,
                       .gamma = o.gamma,
                       .positive = o.class_weights,
                       .negative = o.class_weights};
  const bool softmax = o.use_softmax && channels > 1;
  if (o.alpha.empty() || (softmax && !o.include_background && o.alpha.size() == 1)) return out;
  for (const auto* list : {&o.alpha, &o.class_weights})
    if (list->size() > 1 && std::ssize(*list) != channels) return out.positive = *list, out;   // the op refuses it
  out.positive.clear(), out.negative.clear();
  for (Index c = 0; c < channels; ++c) {
    const auto of = [&](const std::vector<double>& list) { return list[list.size() == 1 ? 0 : static_cast<std::size_t>(c)]; };
    const double weight = o.class_weights.empty() ? 1 : of(o.class_weights), alpha = of(o.alpha);
    const bool one = o.alpha.size() == 1;
    out.positive.push_back(weight * (softmax && one && c == 0 ? 1 - alpha : alpha));
    out.negative.push_back(weight * (one ? 1 - alpha : 1));
  }
  return out;
}
inline SegmentationLossOptions segmentation_loss(const FocalOptions& o, Index channels) {
  return {.name = "focal_loss", .voxel = voxel_term(o, channels), .ignore_label = o.ignore_label};
}
/// Mean over voxels and channels of -(1 - p_t)^gamma log p_t, p_t = p where the label is 1, else 1 - p (softmax: of the label's
/// channel alone, still divided by all channels).
/// Shapes    logits [N, C, D, H, W] and labels -> [1, 1, 1, 1, 1]; forms of labels, numerics and errors: SegmentationLossOp.
/// Numerics  ignored voxels leave the divisor too. MONAI 1.6 then divides by voxels alone: C times this value. Its softmax
///           without background is one over the other channels; here it is over all, and background's term is left out.
/// PyTorch   monai.losses.FocalLoss(to_onehot_y=True); weight and ignore_index are class_weights and ignore_label.
/// Source    Lin et al., Focal loss for dense object detection, arXiv:1708.02002.
inline SegmentationLoss<FocalOptions> focal_loss(const FocalOptions& options = {}) { return {options}; }

struct DiceFocalOptions {
  double dice_weight = 1, focal_weight = 1;
  DiceOptions dice{};   // include_background, class_weights and ignore_label are of both terms
  double gamma = 2;
  std::vector<double> alpha{};   // as in FocalOptions
};
inline SegmentationLossOptions segmentation_loss(const DiceFocalOptions& o, Index channels) {
  const DiceOptions& dice = o.dice;
  SegmentationLossOptions out{.name = "dice_focal",
                              .overlap = overlap_term(dice),
                              .voxel = voxel_term({.gamma = o.gamma,
                                                   .alpha = o.alpha,
                                                   .include_background = dice.include_background,
                                                   .class_weights = dice.class_weights},
                                                  channels),
                              .ignore_label = dice.ignore_label};
  out.overlap.weight = o.dice_weight, out.voxel.weight = o.focal_weight;
  return out;
}
/// dice_weight * Dice + focal_weight * focal loss. The focal loss is the sigmoid's even where Dice is the softmax's: as
/// MONAI's.
/// Shapes    logits [N, C, D, H, W] and labels -> [1, 1, 1, 1, 1]; forms of labels, numerics and errors: SegmentationLossOp.
/// PyTorch   monai.losses.DiceFocalLoss(softmax=True, to_onehot_y=True); lambda_dice, lambda_focal are the weights.
inline SegmentationLoss<DiceFocalOptions> dice_focal(const DiceFocalOptions& options = {}) { return {options}; }

struct GeneralizedDiceFocalOptions {
  double dice_weight = 1, focal_weight = 1;
  GeneralizedDiceOptions dice{};   // include_background and ignore_label are of both terms
  double gamma = 2;
  std::vector<double> class_weights{};   // of the focal loss
};
inline SegmentationLossOptions segmentation_loss(const GeneralizedDiceFocalOptions& o, Index channels) {
  SegmentationLossOptions out{
      .name = "generalized_dice_focal",
      .overlap = overlap_term(o.dice),
      .voxel = voxel_term({.gamma = o.gamma, .include_background = o.dice.include_background, .class_weights = o.class_weights},
                          channels),
      .ignore_label = o.dice.ignore_label};
  out.overlap.weight = o.dice_weight, out.voxel.weight = o.focal_weight;
  return out;
}
/// dice_weight * generalized Dice + focal_weight * focal loss of the sigmoid.
/// PyTorch   monai.losses.GeneralizedDiceFocalLoss(softmax=True, to_onehot_y=True); lambda_gdl, lambda_focal are the weights.
inline SegmentationLoss<GeneralizedDiceFocalOptions> generalized_dice_focal(const GeneralizedDiceFocalOptions& options = {}) {
  return {options};
}

}   // namespace ctseg
