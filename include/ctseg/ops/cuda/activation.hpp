// Activations on the card.
#pragma once
#include "../activation.hpp"
#include "array.hpp"
#include "context.hpp"

namespace ctseg {

namespace cuda {
/// Slopes of prelu, in device memory: one, or one per channel.
struct Slopes {
  const float* values = nullptr;
  Index count = 0;
};
struct Activating {
  Activation activation;
  Slopes slopes{};
};
void activate(Stream, const Activating&, const std::array<Array, 2>& x_y);

struct ActivationBackward {
  Array x, dy, dx;            // dx may be dy, or without data: nobody wants it
  float* dslopes = nullptr;   // added to; null: frozen
  void* scratch = nullptr;    // slope_scratch bytes, where there are dslopes
};
void activate_backward(Stream, const Activating&, const ActivationBackward&);
Index slope_scratch(Index channels);
}   // namespace cuda

template <class T, int Dim> struct Kernel<Pointwise, Spec<T, Dim, Cuda>> {
  using S = Spec<T, Dim, Cuda>;

  static Index scratch(const Activation& a, const Shape<Dim>& x) {
    return a.kind == ActivationKind::prelu ? cuda::slope_scratch(x.c) : 0;
  }
  static void forward(Context<Cuda>& ctx, const Activation& a, In<S> x, const Weights<S>& slopes, Out<S> y) {
    cuda::activate(ctx.stream(), made(a, slopes), {cuda::array_of(x), cuda::array_of(y)});
  }
  static void backward(const Backward<S>& b, const Activation& a, const Weights<S>& slopes, std::span<float> dslopes) {
    cuda::activate_backward(b.ctx.stream(), made(a, slopes),
                            {cuda::array_of(b.x()), cuda::array_of(b.dy()), cuda::array_of(b.dx()),
                             dslopes.empty() ? nullptr : dslopes.data(), b.scratch.next});
  }

 private:
  static cuda::Activating made(const Activation& a, const Weights<S>& slopes) {
    return {a, {slopes.empty() ? nullptr : cuda::device_values(slopes), slopes.size()}};
  }
};

}   // namespace ctseg
