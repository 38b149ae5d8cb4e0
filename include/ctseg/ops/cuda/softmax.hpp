// Softmax over channels on the card.
#pragma once
#include "../softmax.hpp"
#include "array.hpp"
#include "context.hpp"

namespace ctseg {

namespace cuda {
void softmax(Stream, const std::array<Array, 2>& x_y);                // y may be x
void softmax_backward(Stream, const std::array<Array, 3>& y_dy_dx);   // dx may be dy
}   // namespace cuda

template <class T, int Dim> struct Kernel<Softmaxing, Spec<T, Dim, Cuda>> {
  using S = Spec<T, Dim, Cuda>;

  static void forward(Context<Cuda>& ctx, In<S> x, Out<S> y) {
    cuda::softmax(ctx.stream(), {cuda::array_of(x), cuda::array_of(y)});
  }
  static void backward(Context<Cuda>& ctx, In<S> y, In<S> dy, Out<S> dx) {
    cuda::softmax_backward(ctx.stream(), {cuda::array_of(y), cuda::array_of(dy), cuda::array_of(dx)});
  }
};

}   // namespace ctseg
