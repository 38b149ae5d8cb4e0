// Argmax over channels on the card, where wanted straight from the network's last convolution.
#pragma once
#include "../argmax.hpp"
#include "array.hpp"
#include "context.hpp"

namespace ctseg {

namespace cuda {
/// The 1x1x1 convolution whose results are compared; without weights the input itself is.
struct Head {
  const float *weights = nullptr, *bias = nullptr;   // [in, classes] and [classes] or null, in device memory
  Index classes = 0;
};
void argmax(Stream, const Head&, const std::array<Array, 2>& x_labels);   // labels: u8
}   // namespace cuda

template <class T, int Dim> struct Kernel<Labelling, Spec<T, Dim, Cuda>> {
  using S = Spec<T, Dim, Cuda>;

  /// The head is part of the kernel: it needs neither memory nor weights in another form.
  static void facts(const ConvOp<S>&, const Facts<S>&, Inferred<S>& out) {
    out.choice = 0, out.prepared = out.forward_scratch = out.backward_scratch = 0;
  }
  static void prepare(const ConvOp<S>&, const Prepare<S>&) {}

  static void forward(const std::optional<ConvOp<S>>& head, const Forward<S>& f) {
    cuda::Head h;
    if (head) {
      h = {cuda::device_values(f.w[0]), nullptr, head->out_channels};
      if (f.w.size() > 1 && !f.w[1].empty()) h.bias = cuda::device_values(f.w[1]);
    }
    cuda::argmax(f.ctx.stream(), h, {cuda::array_of(f.inputs[0]), cuda::array_of(f.output)});
  }
};

}   // namespace ctseg
