// Boundary and Hausdorff losses on the card, exact distance transforms included.
#pragma once
#include "../../ops/cuda/segmentation_loss.hpp"

namespace ctseg {

struct DistanceLosses;

namespace cuda {

/// DistanceLossOptions, as the kernels take them.
struct DistanceTerms {
  bool boundary, logarithm, sigmoid;
  int first;   // class that counts
  float alpha;
  std::array<double, 3> squared;   // of the spacing along z, y, x
};
Index distance_loss_saved_bytes(const Array& logits);
Index distance_loss_scratch_bytes(const Array& logits);
/// Assigns *loss, and keeps the fields.
void distance_loss_forward(Stream, const DistanceTerms&, const LossValues&, float* loss, std::byte* scratch);
void distance_loss_backward(Stream, const DistanceTerms&, const LossValues&, const float* seed, const Array& dlogits);

}   // namespace cuda

template <class T, int Dim> struct Kernel<DistanceLosses, Spec<T, Dim, Cuda>> {
  using S = Spec<T, Dim, Cuda>;

  struct LossMemory {
    Index saved, scratch;
  };
  static LossMemory memory(const Shape<Dim>& x) {
    const cuda::Array logits = cuda::array_of(AnyView<Dim>(nullptr, {x, dtype_of<T>()}, x.c));
    return {cuda::distance_loss_saved_bytes(logits), cuda::distance_loss_scratch_bytes(logits)};
  }
  template <class Options> static void forward(const Options& o, const SegmentationLossOptions&, const Forward<S>& f) {
    cuda::distance_loss_forward(f.ctx.stream(), terms(o, f.x().shape.c),
                                {cuda::array_of(f.inputs[0]), cuda::array_of(f.inputs[1]), f.saved.next},
                                f.output.template as<float>().data, f.scratch.next);
  }
  template <class Options> static void backward(const Options& o, const SegmentationLossOptions&, const Backward<S>& b) {
    cuda::distance_loss_backward(b.ctx.stream(), terms(o, b.x().shape.c),
                                 {cuda::array_of(b.inputs[0]), cuda::array_of(b.inputs[1]), b.saved.next},
                                 b.output_gradient.template as<const float>().data, cuda::array_of(b.input_gradients[0]));
  }

 private:
  static cuda::DistanceTerms terms(const auto& o, Index classes) {
    const auto& mm = o.common.spacing_mm;
    return {.boundary = o.boundary,
            .logarithm = o.common.logarithm && !o.boundary,
            .sigmoid = o.common.sigmoid || classes == 1,
            .first = classes > 1 && !o.common.include_background ? 1 : 0,
            .alpha = static_cast<float>(o.common.alpha),
            .squared = {mm.z * mm.z, mm.y * mm.y, mm.x * mm.x}};
  }
};

}   // namespace ctseg
