// Dice and Jaccard losses, alone and beside binary cross entropy. (With cross entropy: loss.hpp, with focal: focal.hpp.)
#pragma once
#include "segmentation_loss.hpp"

namespace ctseg {

struct DiceOptions {
  bool include_background = true;   // else channel 0 does not count; one channel always does
  bool sigmoid = false;             // each channel on its own; else the softmax (one channel: always the sigmoid)
  bool batch = false;               // sums over the images first
  bool squared_pred = false;        // sum p^2 + sum q^2 in the denominator
  bool jaccard = false;             // 1 - (2 M + s) / (2 (P + Q - M) + s')
  double smooth_numerator = 1e-5, smooth_denominator = 1e-5;
  std::vector<double> class_weights{};   // one per channel, background included; they multiply before the mean
  std::optional<Index> ignore_label{};
};
inline OverlapTermOptions overlap_term(const DiceOptions& o) {
  return {.weight = 1,
          .sigmoid = o.sigmoid,
          .include_background = o.include_background,
          .batch = o.batch,
          .squared_pred = o.squared_pred,
          .ratio = o.jaccard ? OverlapRatioOptions{2, -2, 2, 2} : OverlapRatioOptions{},
          .smooth_numerator = o.smooth_numerator,
          .smooth_denominator = o.smooth_denominator,
          .class_weights = o.class_weights};
}
inline SegmentationLossOptions segmentation_loss(const DiceOptions& o, Index) {
  return {.name = "dice_loss", .overlap = overlap_term(o), .ignore_label = o.ignore_label};
}
/// Mean over (n, c) of 1 - (2 sum p q + s) / (sum p + sum q + s').
/// Shapes    logits [N, C, D, H, W] and labels -> [1, 1, 1, 1, 1]; forms of labels, numerics and errors: SegmentationLossOp.
/// PyTorch   monai.losses.DiceLoss(softmax=True, to_onehot_y=True); smooth_nr, smooth_dr, weight and ignore_index are
///           smooth_numerator, smooth_denominator, class_weights (there without background's) and ignore_label.
/// Source    Milletari et al., V-Net, arXiv:1606.04797.
inline SegmentationLoss<DiceOptions> dice_loss(const DiceOptions& options = {}) { return {options}; }

struct DiceBceOptions {
  double dice_weight = 1, bce_weight = 1;
  DiceOptions dice{};                       // ignore_label is of both terms; sigmoid is always true
  std::vector<double> positive_weights{};   // of label 1 in cross entropy, one for all or one per channel
  double label_smoothing = 0;               // of cross entropy: labels are this much of 1/2
};
inline SegmentationLossOptions segmentation_loss(const DiceBceOptions& o, Index) {
  SegmentationLossOptions out{
      .name = "dice_bce",
      .overlap = overlap_term(o.dice),
      .voxel = {.weight = o.bce_weight, .sigmoid = true, .label_smoothing = o.label_smoothing, .positive = o.positive_weights},
      .ignore_label = o.dice.ignore_label};
  out.overlap.weight = o.dice_weight;
  out.overlap.sigmoid = true;
  return out;
}
/// dice_weight * Dice + bce_weight * binary cross entropy, both of the sigmoid: one structure, or several that may overlap.
/// Cross entropy is the mean over all voxels and channels, background included.
/// Shapes    logits [N, C, D, H, W]; labels [N, C, D, H, W] of 0 and 1, or class indices [N, 1, D, H, W] -> [1, 1, 1, 1, 1]
/// PyTorch   DiceLoss(sigmoid=True) + nn.BCEWithLogitsLoss(pos_weight=positive_weights)
inline SegmentationLoss<DiceBceOptions> dice_bce(const DiceBceOptions& options = {}) { return {options}; }

}   // namespace ctseg
