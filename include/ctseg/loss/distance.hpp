// Losses that know how far wrong is wrong, on exact distance transforms: boundary (Kervadec) and Hausdorff (Karimi).
#pragma once
#include "../image/geometry.hpp"
#include "../nn/functional.hpp"

namespace ctseg {

struct DistanceLosses;   // Kernel<DistanceLosses, S>

struct HausdorffOptions {
  double alpha = 2;                  // the power of distances
  bool include_background = false;   // unlike the others
  bool sigmoid = false;              // each channel on its own; else the softmax (one channel: always the sigmoid)
  bool logarithm = false;            // log(1 + loss)
  Xyz<double> spacing_mm{1, 1, 1};   // MONAI counts in voxels
};
struct BoundaryOptions {
  bool include_background = true;
  bool sigmoid = false;
  Xyz<double> spacing_mm{1, 1, 1};
};

/// What the op needs of either.
struct DistanceLossOptions {
  std::string_view name = "hausdorff_loss";
  HausdorffOptions common{};
  bool boundary = false;   // alpha and logarithm are not used then
};

/// Mean over n, c and voxels of a distance field times, hausdorff: (p - q)^2; boundary: p. Hausdorff's field is D(p)^alpha +
/// D(q)^alpha, D the distance to the other side of the mask (p thresholded at 1/2), 0 where it is empty or full. Boundary's is
/// the signed distance to the labels: outside the distance, inside 1 minus it, 0 everywhere where there is no boundary.
/// Shapes    logits [N, C, D, H, W]; labels as SegmentationLossOp takes them -> [1, 1, 1, 1, 1] of Acc
/// Numerics  distances in float, the rest in double; the fields are constants for the gradient.
/// Gradient  dlogits assigned; reads logits and labels again.
/// Cost      exact distance transforms per image and class: boundary's one, hausdorff's two; each allocates a float per voxel.
///           Keeps one number per voxel and class.
/// Errors    bad_argument for alpha below 0, too large for float, or a spacing that is not above 0; those of
///           SegmentationLossOp.
template <AnySpec S> struct DistanceLossOp {
  DistanceLossOptions options;

  std::string_view name() const { return options.name; }
  Inferred<S> infer(const Facts<S>& f) const {
    check_loss(terms(), f.x(), f.labels(1));
    const HausdorffOptions& o = options.common;
    if (!is_finite(o.alpha) || o.alpha < 0)
      throw Error(Code::bad_argument, options.name, text("alpha = ", o.alpha, "; must be 0 or more."));
    for (const double& mm : {o.spacing_mm.x, o.spacing_mm.y, o.spacing_mm.z})
      if (!(mm >= 1e-6 && mm <= 1e6))
        throw Error(Code::bad_argument, options.name, text("spacing_mm = ", o.spacing_mm, "; must be 0.000001 to 1000000 mm."));
    if (const double far = farthest(f.x()); !options.boundary && !(std::pow(far, o.alpha) < 1e30))
      throw Error(Code::bad_argument, options.name,
                  text("alpha = ", o.alpha, " of distances up to ", far, "; their power must stay below 1e30."));
    const auto bytes = Kernel<DistanceLosses, S>::memory(f.x());
    Inferred<S> out{
        .dtype = dtype_of<typename S::Acc>(), .saved = bytes.saved, .forward_scratch = bytes.scratch, .reads_inputs = true};
    out.shape.space.fill(1);
    return out;
  }
  void forward(const Forward<S>& f) const { Kernel<DistanceLosses, S>::forward(options, terms(), f); }
  void backward(const Backward<S>& b) const {
    if (b.wants()) Kernel<DistanceLosses, S>::backward(options, terms(), b);
  }

 private:
  /// No distance is longer than the diagonal.
  double farthest(const Shape<S::kDim>& x) const {
    const Xyz<double>& mm = options.common.spacing_mm;
    double square = 0;
    for (std::size_t d = 0; d < S::kDim; ++d) {
      const double edge = static_cast<double>(x.space[S::kDim - 1 - d]) * (d == 0 ? mm.x : d == 1 ? mm.y : mm.z);
      square += edge * edge;
    }
    return std::sqrt(square);
  }
  SegmentationLossOptions terms() const {
    return {.name = options.name, .overlap = {.weight = 1, .sigmoid = options.common.sigmoid}};
  }
};

struct DistanceLoss {
  DistanceLossOptions options;
  template <AnySpec S> Var<S> operator()(Var<S> logits, Var<S> labels) const {
    return logits.tape->append(DistanceLossOp<S>{options}, {logits, labels});
  }
};
/// Errors weighted by how far they lie from both boundaries.
/// PyTorch   monai.losses.HausdorffDTLoss(softmax=True, to_onehot_y=True), or LogHausdorffDTLoss
/// Source    Karimi and Salcudean, Reducing the Hausdorff distance, IEEE TMI 39(2), 2019.
inline DistanceLoss hausdorff_loss(const HausdorffOptions& options = {}) { return {{"hausdorff_loss", options}}; }
/// Probability times signed distance to the true boundary: below 0 for a good segmentation. Alone it is content with nothing at
/// all; add it to Dice with a weight that grows from 0.01: sum_of(dice_loss(), boundary_loss(), {.second = 0.01}).
/// PyTorch   monai.losses.BoundaryLoss(softmax=True, to_onehot_y=True) (MONAI 1.6)
/// Source    Kervadec et al., Boundary loss for highly unbalanced segmentation, arXiv:1812.07032.
inline DistanceLoss boundary_loss(const BoundaryOptions& o = {}) {
  return {
      {"boundary_loss", {.include_background = o.include_background, .sigmoid = o.sigmoid, .spacing_mm = o.spacing_mm}, true}};
}

}   // namespace ctseg

#include "cpu/distance.hpp"
