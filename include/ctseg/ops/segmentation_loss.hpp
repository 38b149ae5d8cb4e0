// Losses made of sums over voxels, as one op: the overlap of regions (Dice, Tversky, ...) plus a mean over voxels (cross
// entropy, focal), from logits, in one pass. The headers of loss/ say which numbers make which loss.
#pragma once
#include <optional>
#include <utility>
#include <vector>

#include "../core/finite.hpp"
#include "op.hpp"

namespace ctseg {

struct SegmentationLosses;                   // Kernel<SegmentationLosses, S>
inline constexpr Index kMostClasses = 512;   // the probabilities of one voxel are kept on the stack

/// Generalized Dice: how a class counts, by its volume V in the labels: 1 / V^2, 1 / V or 1. none: every class on its own.
enum class VolumeWeight { none, square, simple, uniform };

/// With M = sum p q, P = sum p and Q = sum q of one class (p probability, q label):
/// (numerator * M + s) / (meet * M + predicted * P + labelled * Q + s'). The numbers here are Dice's.
struct OverlapRatioOptions {
  double numerator = 2, meet = 0, predicted = 1, labelled = 1;
};

/// weight * mean over (n, c) of class_weights[c] * (1 - ratio).
struct OverlapTermOptions {
  double weight = 0;   // 0: no such term
  bool sigmoid = false, include_background = true, batch = false;
  bool squared_pred = false;   // P = sum p^2
  bool negative = false;       // -ratio in place of 1 - ratio
  OverlapRatioOptions ratio{};
  double smooth_numerator = 1e-5, smooth_denominator = 1e-5, least_denominator = 0;
  VolumeWeight volume_weight = VolumeWeight::none;
  std::vector<double> class_weights{};   // none, one for all, or one per channel
};

/// weight * mean over voxels of, softmax: -positive[c] * t[c] * (1 - p[c])^gamma * log p[c], summed over channels; sigmoid, for
/// every channel: -positive[c] * t * (1 - p)^gamma * log p - negative[c] * (1 - t) * p^gamma * log(1 - p). t is the label, 0
/// or 1, moved by label_smoothing towards 1 / C (sigmoid: towards 1/2).
struct VoxelTermOptions {
  double weight = 0;   // 0: no such term
  bool sigmoid = false, include_background = true;
  bool weighted_mean = false;   // softmax: divides by the sum of positive[label], as cross entropy does; else by channels
  double gamma = 0, label_smoothing = 0;
  std::vector<double> positive{}, negative{};   // none, one for all, or one per channel
};

struct SegmentationLossOptions {
  std::string_view name = "segmentation_loss";   // of the loss, in errors and summaries
  OverlapTermOptions overlap{};
  VoxelTermOptions voxel{};
  std::optional<Index> ignore_label{};   // voxels with it count nowhere
};

/// All shape and argument errors of a loss on `x` and `labels`.
/// Errors    see SegmentationLossOp.
template <int Dim> void check_loss(const SegmentationLossOptions& o, const Shape<Dim>& x, const Shape<Dim>& labels) {
  const OverlapTermOptions& overlap = o.overlap;
  const VoxelTermOptions& voxel = o.voxel;
  const auto refuse = [&](Code code, const std::string& message) { throw Error(code, o.name, message); };
  if (x.c > kMostClasses)
    refuse(Code::unsupported, text("logits ", x, " have ", x.c, " channels; at most ", kMostClasses, " classes."));
  const bool wide = labels == x && x.c > 1;
  if (labels != x.with_channels(1) && !wide)
    refuse(Code::shape_mismatch, text("labels are ", labels, ", logits ", x, " ask for ", x.with_channels(1), "."));
  if (wide && ((overlap.weight > 0 && !overlap.sigmoid) || (voxel.weight > 0 && !voxel.sigmoid)))
    refuse(Code::shape_mismatch, text("labels ", labels, " have a channel per class, softmax asks for class indices, ",
                                      x.with_channels(1), ". Hint: sigmoid = true for structures that may overlap."));
  const std::pair<const char*, double> kept[] = {{"the weight of Dice", overlap.weight},
                                                 {"smooth_numerator", overlap.smooth_numerator},
                                                 {"smooth_denominator", overlap.smooth_denominator},
                                                 {"the least denominator", overlap.least_denominator},
                                                 {"the factor of predicted", overlap.ratio.predicted},
                                                 {"the factor of labelled", overlap.ratio.labelled},
                                                 {"the weight of cross entropy", voxel.weight},
                                                 {"gamma", voxel.gamma}};
  for (const auto& [name, v] : kept)
    if (!is_finite(v) || v < 0)
      refuse(Code::bad_argument, text("a weight or smoothing is ", v, " (", name, "); must be 0 or more."));
  for (const double v : {overlap.ratio.numerator, overlap.ratio.meet})
    if (!is_finite(v)) refuse(Code::bad_argument, text("a factor of the overlap is ", v, "; must be a number."));
  if (!is_finite(voxel.label_smoothing) || voxel.label_smoothing < 0 || voxel.label_smoothing > 1)
    refuse(Code::bad_argument, text("label_smoothing = ", voxel.label_smoothing, "; must be 0 to 1."));
  for (const auto* weights : {&overlap.class_weights, &voxel.positive, &voxel.negative}) {
    if (const Index n = std::ssize(*weights); n > 1 && n != x.c)
      refuse(Code::bad_argument, text(n, " weights for ", x.c, " channels; must be none, 1 or one per channel."));
    for (const double& w : *weights)
      if (!is_finite(w) || w < 0) refuse(Code::bad_argument, text("a class weight is ", w, "; must be 0 or more."));
  }
  if (o.ignore_label && (*o.ignore_label < 0 || *o.ignore_label > 65535))
    refuse(Code::bad_argument, text("ignore_label = ", *o.ignore_label, "; labels are 0 .. 65535. Hint: 255 fits u8."));
}

/// overlap.weight * mean of (1 - overlap ratio) + voxel.weight * mean of a voxel's loss: Dice, Tversky, cross entropy, focal.
/// Shapes    logits [N, C, D, H, W]; labels u8 or u16: [N, 1, D, H, W] with classes 0 .. C-1 (C = 1: 0 or 1), or, for sigmoid,
///           [N, C, D, H, W] with 0 or 1 for every channel -> [1, 1, 1, 1, 1] of Acc
/// Numerics  probabilities and sums in double, in blocks cut by shape. One channel is always a sigmoid, and never background.
///           Voxels of ignore_label are in no sum (labels with C channels: in none of that channel); where nothing is left a
///           voxel mean is 0. volume_weight: sums over classes, weighted, then one ratio per image; a class without a voxel
///           gets the largest weight of the others. class_weights multiply and are not normalised; they are not used where one
///           class is left. A mean over (n, c) counts the channels that are there, batch: sums over n first.
/// Gradient  dlogits assigned; reads logits and labels again. Volume weights are constants.
/// Cost      one softmax or sigmoid per voxel forward, one backward, never stored. Keeps logits, labels and 2 N C + 1 doubles.
/// Errors    shape_mismatch for other labels; unsupported for C > 512; bad_input for a label that is not a class; bad_argument
///           for weights, smoothing or gamma below 0 or not a number, or as many weights as there are not channels.
/// PyTorch   monai.losses; which is which: docs/losses.md
template <AnySpec S> struct SegmentationLossOp {
  SegmentationLossOptions options;

  std::string_view name() const { return options.name; }
  Inferred<S> infer(const Facts<S>& f) const {
    const Shape<S::kDim>& x = f.x();
    check_loss(options, x, f.labels(1));
    const auto bytes = Kernel<SegmentationLosses, S>::memory(x);
    Inferred<S> out{
        .dtype = dtype_of<typename S::Acc>(), .saved = bytes.saved, .forward_scratch = bytes.scratch, .reads_inputs = true};
    out.shape.space.fill(1);
    return out;
  }
  void forward(const Forward<S>& f) const { Kernel<SegmentationLosses, S>::forward(options, f); }
  void backward(const Backward<S>& b) const {
    if (b.wants()) Kernel<SegmentationLosses, S>::backward(options, b);
  }
};

}   // namespace ctseg
