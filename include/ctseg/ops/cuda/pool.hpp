// Max pooling on the card.
#pragma once
#include "../pool.hpp"
#include "array.hpp"
#include "context.hpp"

namespace ctseg {

namespace cuda {
struct MaxPool {
  ConvWindow window;   // without padding: every tap exists
  Array x, y;          // or dx and dy
  std::uint8_t* winner = nullptr;   // the tap of every maximum, packed like y; null outside training
};
void max_pool(Stream, const MaxPool&);
void max_pool_backward(Stream, const MaxPool&);   // dx assigned
}   // namespace cuda

template <class T, int Dim> struct Kernel<Pooling, Spec<T, Dim, Cuda>> {
  using S = Spec<T, Dim, Cuda>;

  static void forward(Context<Cuda>& ctx, const ConvWindow& window, In<S> x, Out<S> y, std::uint8_t* winner) {
    cuda::max_pool(ctx.stream(), {window, cuda::array_of(x), cuda::array_of(y), winner});
  }
  static void backward(Context<Cuda>& ctx, const ConvWindow& window, const std::uint8_t* winner, In<S> dy, Out<S> dx) {
    cuda::max_pool_backward(ctx.stream(),
                            {window, cuda::array_of(dx), cuda::array_of(dy), const_cast<std::uint8_t*>(winner)});
  }
};

}   // namespace ctseg
