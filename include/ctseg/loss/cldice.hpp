// Soft clDice, for vessels and airways: overlap of each mask with the other's centre line, which soft morphology makes.
#pragma once
#include "dice.hpp"
#include "labels.hpp"
#include "weighted_sum.hpp"

namespace ctseg {

struct SoftMorphology;   // Kernel<SoftMorphology, S>
struct CenterlineDice;   // Kernel<CenterlineDice, S>

/// Soft erosion: the least of a voxel and those that share a face with it; dilation: the largest of 3 voxels along every axis.
/// Shapes    x [N, C, D, H, W] -> y the same; beyond the border there is nothing.
/// Numerics  exact. Of equals the voxel itself wins erosion and the first in memory dilation (PyTorch's, where it splits a
///           gradient among equals of different voxels, is another one of the possible slopes).
/// Gradient  dx assigned: dy at every winner, gathered, summed in T. Reads neither x nor y again.
/// Cost      7 or 27 comparisons per value; training keeps a byte per value.
template <AnySpec S> struct SoftMorphologyOp {
  bool dilate = false;

  std::string_view name() const { return dilate ? "SoftDilate" : "SoftErode"; }
  Inferred<S> infer(const Facts<S>& f) const {
    return {.shape = f.x(), .saved = f.mode == Mode::train ? bytes_of<std::uint8_t>(f.x().elements()) : 0};
  }
  void forward(const Forward<S>& f) const {
    Bytes saved = f.saved;
    auto* winner = f.mode == Mode::train ? take<std::uint8_t>(saved, f.x().shape.elements()) : nullptr;
    Kernel<SoftMorphology, S>::forward(f.ctx, dilate, {f.x(), f.y(), winner});
  }
  void backward(const Backward<S>& b) const {
    if (!b.wants()) return;
    Bytes saved = b.saved;
    Kernel<SoftMorphology, S>::backward(b.ctx, dilate, {b.dy(), b.dx(), take<std::uint8_t>(saved, b.dx().shape.elements())});
  }
};
template <AnySpec S> Var<S> soft_erode(Var<S> x) { return x.tape->append(SoftMorphologyOp<S>{false}, {x}); }
template <AnySpec S> Var<S> soft_dilate(Var<S> x) { return x.tape->append(SoftMorphologyOp<S>{true}, {x}); }

/// The centre lines of soft masks: what opening takes away, of the mask and of its erosions.
template <AnySpec S> Var<S> soft_skeleton(Var<S> x, int iterations) {
  Var<S> eroded = soft_erode(x), skeleton = relu(add(x, soft_dilate(eroded), -1));
  for (int i = 0; i < iterations; ++i) {
    x = eroded;
    eroded = soft_erode(x);
    const Var<S> more = relu(add(x, soft_dilate(eroded), -1));
    skeleton = add(skeleton, relu(add(more, multiply(skeleton, more), -1)));
  }
  return skeleton;
}

struct ClDiceOptions {
  int iterations = 3;   // about the radius of the thickest vessel, in voxels
  double smooth_numerator = 1, smooth_denominator = 1, smooth = 1e-4;
  bool include_background = true;   // else channel 0 does not count; one channel always does
  bool sigmoid = false;             // each channel on its own; else the softmax (one channel: always the sigmoid)
};

/// Mean over images of 1 - 2 T S / (T + S + smooth), T = (sum a q + s) / (sum a + s'), S = (sum b p + s) / (sum b + s'), with a
/// the skeleton of p and b that of q; sums over all channels and voxels of an image.
/// Shapes    a, p, b, q, all [N, C, D, H, W] -> [1, 1, 1, 1, 1] of Acc
/// Numerics  sums in double, in blocks cut by shape.
/// Gradient  of all four, assigned; reads them again. Keeps 4 N doubles.
/// Errors    shape_mismatch if shapes differ; bad_argument for smoothing below 0 or not a number.
template <AnySpec S> struct CenterlineDiceOp {
  ClDiceOptions options;

  std::string_view name() const { return "CenterlineDice"; }
  Inferred<S> infer(const Facts<S>& f) const {
    for (std::size_t k = 1; k < 4; ++k)
      if (f.x(k) != f.x())
        throw Error(Code::shape_mismatch, "cldice_loss", text("input ", k, " is ", f.x(k), ", the first ", f.x(), "."));
    for (const double& v : {options.smooth_numerator, options.smooth_denominator, options.smooth})
      if (!is_finite(v) || v < 0)
        throw Error(Code::bad_argument, "cldice_loss", text("a smoothing is ", v, "; must be 0 or more."));
    const auto bytes = Kernel<CenterlineDice, S>::memory(f.x());
    Inferred<S> out{
        .dtype = dtype_of<typename S::Acc>(), .saved = bytes.saved, .forward_scratch = bytes.scratch, .reads_inputs = true};
    out.shape.space.fill(1);
    return out;
  }
  void forward(const Forward<S>& f) const { Kernel<CenterlineDice, S>::forward(options, f); }
  void backward(const Backward<S>& b) const { Kernel<CenterlineDice, S>::backward(options, b); }
};

struct ClDiceLoss {
  ClDiceOptions options;

  template <AnySpec S> Var<S> operator()(Var<S> logits, Var<S> labels) const {
    const Index channels = logits.shape().c;
    if (options.iterations < 0 || options.iterations > 100)
      throw Error(Code::bad_argument, "cldice_loss", text("iterations = ", options.iterations, "; must be 0 to 100."));
    Var<S> p = options.sigmoid || channels == 1 ? sigmoid(logits) : softmax(logits);
    Var<S> q = labels.tape->append(OneHotOp<S>{channels, options.sigmoid}, {labels});
    if (channels > 1 && !options.include_background)
      p = slice_channels(p, 1, channels - 1), q = slice_channels(q, 1, channels - 1);
    const Var<S> a = soft_skeleton(p, options.iterations), b = soft_skeleton(q, options.iterations);
    return labels.tape->append(CenterlineDiceOp<S>{options}, {a, p, b, q});
  }
};
/// Soft clDice: 1 minus the harmonic mean of how much of the found centre line lies in the true mask, and of the true one in
/// the found mask. It knows connections, not surfaces: use it beside Dice (dice_cldice).
/// Shapes    logits [N, C, D, H, W]; labels as SegmentationLossOp takes them -> [1, 1, 1, 1, 1]
/// Numerics  skeletons in S::T: in bf16 they have three digits.
/// PyTorch   monai.losses.SoftclDiceLoss(softmax=True, to_onehot_y=True) of MONAI 1.6; iter_ is iterations, smooth_nr and
///           smooth_dr smooth_numerator and smooth_denominator. MONAI 1.5 always dropped channel 0.
/// Source    Shit et al., clDice, arXiv:2003.07311, whose own code ran 10 iterations whatever it was told.
inline ClDiceLoss cldice_loss(const ClDiceOptions& options = {}) { return {options}; }

struct DiceClDiceOptions {
  double alpha = 0.5;   // the share of clDice
  ClDiceOptions cldice{};
};
/// (1 - alpha) * Dice + alpha * clDice, Dice with the smoothing of clDice.
/// Errors    bad_argument unless 0 <= alpha <= 1.
/// PyTorch   monai.losses.SoftDiceclDiceLoss(softmax=True, to_onehot_y=True)
inline SumOfLosses<SegmentationLoss<DiceOptions>, ClDiceLoss> dice_cldice(const DiceClDiceOptions& o = {}) {
  const ClDiceOptions& c = o.cldice;
  if (!(o.alpha >= 0 && o.alpha <= 1))
    throw Error(Code::bad_argument, "dice_cldice", text("alpha = ", o.alpha, "; must be 0 to 1."));
  return sum_of(dice_loss({.include_background = c.include_background,
                           .sigmoid = c.sigmoid,
                           .smooth_numerator = c.smooth_numerator,
                           .smooth_denominator = c.smooth_denominator}),
                cldice_loss(c), {1 - o.alpha, o.alpha});
}

}   // namespace ctseg

#include "cpu/cldice.hpp"
