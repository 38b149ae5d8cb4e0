// Generalized Dice: one ratio for all classes, weighted by volume, so that small structures count as much as large ones.
#pragma once
#include "segmentation_loss.hpp"

namespace ctseg {

struct GeneralizedDiceOptions {
  VolumeWeight w_type = VolumeWeight::square;
  bool include_background = true;   // else channel 0 does not count; one channel always does
  bool sigmoid = false;             // each channel on its own; else the softmax (one channel: always the sigmoid)
  bool batch = false;               // volumes and sums over all images, one ratio
  double smooth_numerator = 1e-5, smooth_denominator = 1e-5;
  std::optional<Index> ignore_label{};
};
inline OverlapTermOptions overlap_term(const GeneralizedDiceOptions& o) {
  return {.weight = 1,
          .sigmoid = o.sigmoid,
          .include_background = o.include_background,
          .batch = o.batch,
          .smooth_numerator = o.smooth_numerator,
          .smooth_denominator = o.smooth_denominator,
          .volume_weight = o.w_type};
}
inline SegmentationLossOptions segmentation_loss(const GeneralizedDiceOptions& o, Index) {
  return {.name = "generalized_dice_loss", .overlap = overlap_term(o), .ignore_label = o.ignore_label};
}
/// Mean over images of 1 - (2 sum_c w_c sum p q + s) / (sum_c w_c (sum p + sum q) + s'), w_c = 1 / V_c^2 (simple: 1 / V_c;
/// uniform: 1), V_c the voxels of class c in the labels of that image. A class without a voxel has the largest weight of the
/// others, so what is wrongly found of it costs most; without any class the loss is 1 - s / s'.
/// Shapes    logits [N, C, D, H, W] and labels -> [1, 1, 1, 1, 1]; forms of labels, numerics and errors: SegmentationLossOp.
/// PyTorch   monai.losses.GeneralizedDiceLoss(softmax=True, to_onehot_y=True)
/// Source    Sudre et al., Generalised Dice overlap, arXiv:1707.03237.
inline SegmentationLoss<GeneralizedDiceOptions> generalized_dice_loss(const GeneralizedDiceOptions& options = {}) {
  return {options};
}

}   // namespace ctseg
