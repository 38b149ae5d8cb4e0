// Pixel shuffle on the card.
#pragma once
#include "../pixel_shuffle.hpp"
#include "array.hpp"
#include "context.hpp"

namespace ctseg {

namespace cuda {
struct Shuffle {
  std::array<Index, 3> factor{1, 1, 1};   // z, y, x
  Array coarse, fine;
};
void shuffle(Stream, const Shuffle&);        // coarse to fine
void shuffle_back(Stream, const Shuffle&);   // fine to coarse
}   // namespace cuda

template <class T, int Dim> struct Kernel<Shuffling, Spec<T, Dim, Cuda>> {
  using S = Spec<T, Dim, Cuda>;

  static void forward(Context<Cuda>& ctx, Index factor, In<S> x, Out<S> y) {
    cuda::shuffle(ctx.stream(), {along_axes(factor), cuda::array_of(x), cuda::array_of(y)});
  }
  static void backward(Context<Cuda>& ctx, Index factor, In<S> dy, Out<S> dx) {
    cuda::shuffle_back(ctx.stream(), {along_axes(factor), cuda::array_of(dx), cuda::array_of(dy)});
  }

 private:
  static std::array<Index, 3> along_axes(Index factor) { return {Dim == 3 ? factor : 1, factor, factor}; }
};

}   // namespace ctseg
