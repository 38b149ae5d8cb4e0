// Dice and cross entropy on logits, as one op: the softmax is never stored.
#pragma once
#include "segmentation_loss.hpp"

namespace ctseg {

/// MONAI's names and defaults. A weight of 0 switches a term off.
struct DiceCeOptions {
  double dice_weight = 1, ce_weight = 1;
  double smooth_numerator = 1e-5, smooth_denominator = 1e-5;
  bool include_background = true;        // of Dice; cross entropy always sees all classes
  bool batch = false;                    // Dice sums over the images first
  bool squared_pred = false;             // of Dice: sum p^2 + sum q^2 in the denominator
  bool jaccard = false;                  // in place of Dice
  std::vector<double> class_weights{};   // of both terms, one per channel; of one channel: the weight of 1 in cross entropy
  double label_smoothing = 0;            // of cross entropy: labels are this much of 1 / C (one channel: of 1/2)
  std::optional<Index> ignore_label{};   // voxels with it count nowhere
};

/// The sums that make this loss.
inline SegmentationLossOptions segmentation_loss(const DiceCeOptions& o, Index) {
  const auto& w = o.class_weights;
  return {.name = "dice_ce",
          .overlap = {.weight = o.dice_weight,
                      .include_background = o.include_background,
                      .batch = o.batch,
                      .squared_pred = o.squared_pred,
                      .ratio = o.jaccard ? OverlapRatioOptions{2, -2, 2, 2} : OverlapRatioOptions{},
                      .smooth_numerator = o.smooth_numerator,
                      .smooth_denominator = o.smooth_denominator,
                      .class_weights = w},
          .voxel = {.weight = o.ce_weight, .weighted_mean = true, .label_smoothing = o.label_smoothing, .positive = w},
          .ignore_label = o.ignore_label};
}

/// dice_weight * (1 - mean over (n, c) of (2 sum p q + s) / (sum p + sum q + s')) + ce_weight * mean over voxels of
/// -log p[label], with p the softmax of the logits, q the one-hot labels, s and s' the smoothing; batch: sums over n as well.
/// One channel: p is the sigmoid, labels are 0 and 1, and the second term is binary cross entropy.
/// Shapes    logits [N, C, D, H, W], labels u8 or u16 [N, 1, D, H, W] with values 0 .. C-1 -> [1, 1, 1, 1, 1] of Acc
/// Numerics  softmax and sums in double, in blocks cut by shape. class_weights: see SegmentationLossOp; cross entropy is
///           divided by the sum of the weights of its labels, as in PyTorch.
/// Gradient  dlogits assigned; reads logits and labels again.
/// Cost      one softmax per voxel forward, one backward, never stored; reads logits and labels, backward writes dlogits.
///           Keeps logits, labels and 2 N C + 1 doubles.
/// Errors    those of SegmentationLossOp.
/// PyTorch   monai.losses.DiceCELoss(softmax=True, to_onehot_y=True)(logits, labels); one channel: DiceCELoss(sigmoid=True)
/// Source    Milletari et al., V-Net, arXiv:1606.04797; MONAI DiceCELoss.
template <AnySpec S> struct DiceCeOp {
  DiceCeOptions options;

  std::string_view name() const { return "DiceCE"; }
  Inferred<S> infer(const Facts<S>& f) const { return same(f.x().c).infer(f); }
  void forward(const Forward<S>& f) const { same(f.x().shape.c).forward(f); }
  void backward(const Backward<S>& b) const { same(b.x().shape.c).backward(b); }

 private:
  SegmentationLossOp<S> same(Index channels) const { return {segmentation_loss(options, channels)}; }
};

}   // namespace ctseg
