// Losses made of sums over voxels, on the card: one launch for the loss, one for the gradient.
//
// A launch cannot throw. Where a label is not a class the loss is a NaN whose bits tell the label, voxels with it count nowhere,
// and Context<Cuda>::read throws when the host reads the loss.
#pragma once
#include <bit>
#include <cstring>

#include "../segmentation_loss.hpp"
#include "array.hpp"
#include "context.hpp"

namespace ctseg::cuda {

/// What a loss is made of; pointers are into device memory.
struct LossValues {
  Array logits, labels;
  std::byte* saved = nullptr;   // segmentation_loss_saved_bytes
};
Index segmentation_loss_saved_bytes(const Array& logits);
Index segmentation_loss_scratch_bytes(const Array& logits);
/// Assigns *loss and what is saved.
void segmentation_loss_forward(Stream, const SegmentationLossOptions&, const LossValues&, float* loss, std::byte* scratch);
/// Assigns dlogits: *seed times the derivative.
void segmentation_loss_backward(Stream, const SegmentationLossOptions&, const LossValues&, const float* seed,
                                const Array& dlogits);

/// The process group has no way to the sums on the card.
template <class Ctx> void refuse_shared_statistics(const Ctx& ctx, std::string_view where) {
  if constexpr (requires { ctx.statistics_group(); })
    if (ctx.statistics_group())
      throw Error(Code::unsupported, where,
                  "on the card a loss knows the images of its own process alone. Hint: shared_statistics = false.");
}

}   // namespace ctseg::cuda

namespace ctseg {

template <class T, int Dim> struct Kernel<SegmentationLosses, Spec<T, Dim, Cuda>> {
  using S = Spec<T, Dim, Cuda>;

  struct LossMemory {
    Index saved, scratch;
  };
  static LossMemory memory(const Shape<Dim>& x) {
    const cuda::Array logits = cuda::array_of(AnyView<Dim>(nullptr, {x, dtype_of<T>()}, x.c));
    return {cuda::segmentation_loss_saved_bytes(logits), cuda::segmentation_loss_scratch_bytes(logits)};
  }
  static void forward(const SegmentationLossOptions& o, const Forward<S>& f) {
    cuda::refuse_shared_statistics(f.ctx, o.name);
    cuda::segmentation_loss_forward(f.ctx.stream(), o, {cuda::array_of(f.inputs[0]), cuda::array_of(f.inputs[1]), f.saved.next},
                                    f.output.template as<float>().data, f.scratch.next);
  }
  static void backward(const SegmentationLossOptions& o, const Backward<S>& b) {
    cuda::segmentation_loss_backward(b.ctx.stream(), o,
                                     {cuda::array_of(b.inputs[0]), cuda::array_of(b.inputs[1]), b.saved.next},
                                     b.output_gradient.template as<const float>().data, cuda::array_of(b.input_gradients[0]));
  }
};

}   // namespace ctseg
