// Cross entropy from logits: of the softmax over classes, and of a sigmoid per channel.
#pragma once
#include "segmentation_loss.hpp"

namespace ctseg {

struct CrossEntropyOptions {
  std::vector<double> class_weights{};   // of the labels, one per channel
  double label_smoothing = 0;            // the label counts 1 - this + this / C, every other class this / C
  std::optional<Index> ignore_label{};
};
inline SegmentationLossOptions segmentation_loss(const CrossEntropyOptions& o, Index) {
  return {.name = "cross_entropy_loss",
          .voxel = {.weight = 1, .weighted_mean = true, .label_smoothing = o.label_smoothing, .positive = o.class_weights},
          .ignore_label = o.ignore_label};
}
/// sum over voxels of -w[label] log p[label], divided by the sum of w[label]; 0 where every voxel is ignored (PyTorch: NaN).
/// Shapes    logits [N, C, D, H, W], labels [N, 1, D, H, W] with classes -> [1, 1, 1, 1, 1]; C = 1: binary_cross_entropy_loss.
/// PyTorch   nn.CrossEntropyLoss(weight=class_weights, label_smoothing, ignore_index=ignore_label)
inline SegmentationLoss<CrossEntropyOptions> cross_entropy_loss(const CrossEntropyOptions& options = {}) { return {options}; }

struct BinaryCrossEntropyOptions {
  std::vector<double> positive_weights{};   // of label 1, one for all or one per channel
  double label_smoothing = 0;               // labels are this much of 1/2
  std::optional<Index> ignore_label{};
};
inline SegmentationLossOptions segmentation_loss(const BinaryCrossEntropyOptions& o, Index) {
  return {.name = "binary_cross_entropy_loss",
          .voxel = {.weight = 1, .sigmoid = true, .label_smoothing = o.label_smoothing, .positive = o.positive_weights},
          .ignore_label = o.ignore_label};
}
/// Mean over voxels and channels of -w q log p - (1 - q) log(1 - p), p the sigmoid.
/// Shapes    logits [N, C, D, H, W]; labels [N, C, D, H, W] of 0 and 1, or class indices [N, 1, D, H, W] -> [1, 1, 1, 1, 1]
/// Numerics  from logits, max(x, 0) - x q + log1p(exp(-|x|)): finite for any finite logit.
/// PyTorch   nn.BCEWithLogitsLoss(pos_weight=positive_weights)
inline SegmentationLoss<BinaryCrossEntropyOptions> binary_cross_entropy_loss(const BinaryCrossEntropyOptions& options = {}) {
  return {options};
}

}   // namespace ctseg
