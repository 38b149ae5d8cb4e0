// Cross entropy of the hardest voxels on the card: the threshold is found four bits at a time.
#pragma once
#include "../../ops/cuda/segmentation_loss.hpp"

namespace ctseg {

struct TopK;

namespace cuda {
Index top_k_saved_bytes(const Array& logits);
Index top_k_scratch_bytes(const Array& logits);
/// *loss is the mean of the `count` largest.
void top_k_forward(Stream, const SegmentationLossOptions&, Index count, const LossValues&, float* loss, std::byte* scratch);
void top_k_backward(Stream, const SegmentationLossOptions&, Index count, const LossValues&, const float* seed,
                    const Array& dlogits);
}   // namespace cuda

template <class T, int Dim> struct Kernel<TopK, Spec<T, Dim, Cuda>> {
  using S = Spec<T, Dim, Cuda>;

  struct LossMemory {
    Index saved, scratch;
  };
  static LossMemory memory(const Shape<Dim>& x) {
    const cuda::Array logits = cuda::array_of(AnyView<Dim>(nullptr, {x, dtype_of<T>()}, x.c));
    return {cuda::top_k_saved_bytes(logits), cuda::top_k_scratch_bytes(logits)};
  }
  static void forward(const SegmentationLossOptions& o, Index count, const Forward<S>& f) {
    cuda::top_k_forward(f.ctx.stream(), o, count, {cuda::array_of(f.inputs[0]), cuda::array_of(f.inputs[1]), f.saved.next},
                        f.output.template as<float>().data, f.scratch.next);
  }
  static void backward(const SegmentationLossOptions& o, Index count, const Backward<S>& b) {
    cuda::top_k_backward(b.ctx.stream(), o, count, {cuda::array_of(b.inputs[0]), cuda::array_of(b.inputs[1]), b.saved.next},
                         b.output_gradient.template as<const float>().data, cuda::array_of(b.input_gradients[0]));
  }
};

}   // namespace ctseg
