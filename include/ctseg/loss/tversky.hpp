// The Tversky loss: Dice whose false positives and false negatives cost differently.
#pragma once
#include "segmentation_loss.hpp"

namespace ctseg {

struct TverskyOptions {
  double alpha = 0.5, beta = 0.5;   // what false positives and false negatives cost
  bool include_background = true;   // else channel 0 does not count; one channel always does
  bool sigmoid = false;             // each channel on its own; else the softmax (one channel: always the sigmoid)
  bool batch = false;               // sums over the images first
  double smooth_numerator = 1e-5, smooth_denominator = 1e-5;
  std::optional<Index> ignore_label{};
};
inline SegmentationLossOptions segmentation_loss(const TverskyOptions& o, Index) {
  return {.name = "tversky_loss",
          .overlap = {.weight = 1,
                      .sigmoid = o.sigmoid,
                      .include_background = o.include_background,
                      .batch = o.batch,
                      .ratio = {1, 1 - o.alpha - o.beta, o.alpha, o.beta},
                      .smooth_numerator = o.smooth_numerator,
                      .smooth_denominator = o.smooth_denominator},
          .ignore_label = o.ignore_label};
}
/// Mean over (n, c) of 1 - (TP + s) / (TP + alpha FP + beta FN + s'), TP = sum p q, FP = sum p (1 - q), FN = sum (1 - p) q.
/// beta > alpha finds more and errs towards too much. 0.5 and 0.5 is Dice but for the smoothing, which meets TP, not 2 TP.
/// Shapes    logits [N, C, D, H, W] and labels -> [1, 1, 1, 1, 1]; forms of labels, numerics and errors: SegmentationLossOp.
/// PyTorch   monai.losses.TverskyLoss(softmax=True, to_onehot_y=True)
/// Source    Salehi et al., Tversky loss function, arXiv:1706.05721.
inline SegmentationLoss<TverskyOptions> tversky_loss(const TverskyOptions& options = {}) { return {options}; }

}   // namespace ctseg
