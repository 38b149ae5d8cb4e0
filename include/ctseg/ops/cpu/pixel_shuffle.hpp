// Pixel shuffle on the CPU: both directions walk over the voxels of the fine side.
#pragma once
#include "../pixel_shuffle.hpp"
#include "rows.hpp"

namespace ctseg {

template <class T, int Dim> struct Kernel<Shuffling, Spec<T, Dim, Cpu>> {
  using S = Spec<T, Dim, Cpu>;

  static void forward(Context<Cpu>& ctx, Index factor, In<S> x, Out<S> y) {
    each(ctx, factor, x.shape, y.shape, [&](Index fine, Index coarse, Index part, Index parts) {
      for (Index c = 0; c < y.shape.c; ++c) y.row(fine)[c] = x.row(coarse)[c * parts + part];
    });
  }
  static void backward(Context<Cpu>& ctx, Index factor, In<S> dy, Out<S> dx) {
    each(ctx, factor, dx.shape, dy.shape, [&](Index fine, Index coarse, Index part, Index parts) {
      for (Index c = 0; c < dy.shape.c; ++c) dx.row(coarse)[c * parts + part] = dy.row(fine)[c];
    });
  }

 private:
  /// f(row of the fine side, row of the coarse side, which of its parts, parts). Every element has one partner.
  template <class F> static void each(Context<Cpu>& ctx, Index factor, const Shape<Dim>& coarse, const Shape<Dim>& fine, F f) {
    cpu::for_rows(ctx, fine.n * fine.voxels(), [&](Index first, Index last) {
      for (Index r = first; r < last; ++r) {
        Index rest = r, voxel = 0, step = 1, part = 0, parts = 1;
        for (int d = Dim - 1; d >= 0; --d) {
          const auto a = static_cast<std::size_t>(d);
          const Index at = rest % fine.space[a];
          rest /= fine.space[a];
          voxel += at / factor * step;
          part += at % factor * parts;
          step *= coarse.space[a];
          parts *= factor;
        }
        f(r, rest * coarse.voxels() + voxel, part, parts);
      }
    });
  }
};

}   // namespace ctseg
