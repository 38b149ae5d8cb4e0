// The end of a segmentation network on the card: two passes over its features, see kernels/head.
#pragma once
#include "../../ops/cuda/head.hpp"
#include "../../ops/cuda/segmentation_loss.hpp"
#include "../head_loss.hpp"

namespace ctseg {

template <class T, int Dim> struct Kernel<HeadLosses, Spec<T, Dim, Cuda>> {
  using S = Spec<T, Dim, Cuda>;
  static constexpr bool kThere = true;

  static bool fits(const SegmentationLossOptions& o, Index channels, Index classes) {
    return cuda::head_loss_supports(o, channels, classes);
  }
  static cuda::HeadLossMemory memory(const Shape<Dim>& x, Index classes) {
    const auto bytes = cuda::head_loss_memory(
        {.x = cuda::array_of(AnyView<Dim>(nullptr, {x, dtype_of<T>()}, x.c)), .labels = {}, .classes = classes});
    return {bytes_of<std::byte>(bytes.saved), bytes_of<std::byte>(bytes.forward_scratch),
            bytes_of<std::byte>(bytes.backward_scratch)};   // as an arena counts
  }
  static void forward(const SegmentationLossOptions& o, Index classes, const Forward<S>& f) {
    cuda::refuse_shared_statistics(f.ctx, o.name);
    cuda::head_loss_forward(f.ctx.stream(), o, values(f, classes),
                            {f.output.template as<float>().data, reinterpret_cast<double*>(f.saved.next), f.scratch.next});
  }
  static void backward(const SegmentationLossOptions& o, Index classes, const Backward<S>& b) {
    const auto device = [&](std::size_t k) { return b.dw.size() > k && !b.dw[k].empty() ? b.dw[k].data() : nullptr; };
    cuda::head_loss_backward(b.ctx.stream(), o, values(b, classes),
                             {.seed = b.output_gradient.template as<const float>().data,
                              .saved = reinterpret_cast<const double*>(b.saved.next),
                              .dx = cuda::array_of(b.dx()),
                              .dw = device(0),
                              .db = device(1),
                              .scratch = b.scratch.next});
  }

 private:
  template <class Call> static cuda::HeadLoss values(const Call& call, Index classes) {
    return {cuda::array_of(call.inputs[0]), cuda::array_of(call.inputs[1]), cuda::device_values(call.w[0]),
            call.w.size() > 1 ? cuda::device_values(call.w[1]) : nullptr, classes};
  }
};

}   // namespace ctseg
