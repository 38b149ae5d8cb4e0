// Dice and cross entropy on logits, as one op: the softmax is never stored.
#pragma once
#include "../core/finite.hpp"
#include "op.hpp"

namespace ctseg {

struct DiceCrossEntropy;                     // Kernel<DiceCrossEntropy, S>
inline constexpr Index kMostClasses = 512;   // the probabilities of one voxel are kept on the stack

/// MONAI's names and defaults. A weight of 0 switches a term off.
struct DiceCeOptions {
  double dice_weight = 1, ce_weight = 1;
  double smooth_numerator = 1e-5, smooth_denominator = 1e-5;
  bool include_background = true;   // of Dice; cross entropy always sees all classes
  bool batch = false;               // Dice sums over the images first
};

/// dice_weight * (1 - mean over (n, c) of (2 sum p q + s) / (sum p + sum q + s')) + ce_weight * mean over voxels of
/// -log p[label], with p the softmax of the logits, q the one-hot labels, s and s' the smoothing; batch: sums over n as well.
/// Shapes    logits [N, C >= 2, D, H, W], labels u8 or u16 [N, 1, D, H, W] with values 0 .. C-1 -> [1, 1, 1, 1, 1] of Acc
/// Numerics  softmax and sums in double, in blocks cut by shape.
/// Gradient  dlogits assigned; reads logits and labels again.
/// Cost      one softmax per voxel forward, one backward, never stored; reads logits and labels, backward writes dlogits.
///           Keeps logits, labels and 2 N C doubles.
/// Errors    shape_mismatch for other labels or C < 2; unsupported for C > 512; bad_input for a label that is not a class;
///           bad_argument for a weight or smoothing below 0 or not a number.
/// PyTorch   monai.losses.DiceCELoss(softmax=True, to_onehot_y=True)(logits, labels)
/// Source    Milletari et al., V-Net, arXiv:1606.04797; MONAI DiceCELoss.
template <AnySpec S> struct DiceCeOp {
  DiceCeOptions options;

  std::string_view name() const { return "DiceCE"; }
  Inferred<S> infer(const Facts<S>& f) const {
    const auto &x = f.x(), &labels = f.labels(1);
    for (const double v : {options.dice_weight, options.ce_weight, options.smooth_numerator, options.smooth_denominator})
      if (!is_finite(v) || v < 0)
        throw Error(Code::bad_argument, "dice_ce", text("a weight or smoothing is ", v, "; must be 0 or more."));
    if (labels != x.with_channels(1))
      throw Error(Code::shape_mismatch, "dice_ce",
                  text("labels are ", labels, ", logits ", x, " ask for ", x.with_channels(1), "."));
    if (x.c < 2)
      throw Error(Code::shape_mismatch, "dice_ce",
                  text("logits ", x, " have ", x.c,
                       " channel, softmax needs 2 or more. Hint: out_channels = 2 for one structure and background."));
    if (x.c > kMostClasses)
      throw Error(Code::unsupported, "dice_ce",
                  text("logits ", x, " have ", x.c, " channels; at most ", kMostClasses, " classes."));
    const auto bytes = Kernel<DiceCrossEntropy, S>::memory(x);
    Inferred<S> out{
        .dtype = dtype_of<typename S::Acc>(), .saved = bytes.saved, .forward_scratch = bytes.scratch, .reads_inputs = true};
    out.shape.space.fill(1);
    return out;
  }
  void forward(const Forward<S>& f) const { Kernel<DiceCrossEntropy, S>::forward(options, f); }
  void backward(const Backward<S>& b) const {
    if (b.wants()) Kernel<DiceCrossEntropy, S>::backward(options, b);
  }
};

}   // namespace ctseg
