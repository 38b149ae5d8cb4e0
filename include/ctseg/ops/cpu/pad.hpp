// Replicate padding on the CPU.
#pragma once
#include "../axes.hpp"
#include "../pad.hpp"
#include "rows.hpp"

namespace ctseg {

template <class T, int Dim> struct Kernel<Padding, Spec<T, Dim, Cpu>> {
  using S = Spec<T, Dim, Cpu>;
  using Acc = typename S::Acc;
  using Low = std::array<Index, Dim>;

  static void forward(Context<Cpu>& ctx, const Low& low, In<S> x, Out<S> y) {
    cpu::for_rows(ctx, y.rows(), [&](Index first, Index last) {
      for (Index r = first; r < last; ++r) {
        Index rest = r, voxel = 0, step = 1;
        for (int d = Dim - 1; d >= 0; --d) {
          const auto a = static_cast<std::size_t>(d);
          voxel += std::clamp<Index>(rest % y.shape.space[a] - low[a], 0, x.shape.space[a] - 1) * step;
          rest /= y.shape.space[a];
          step *= x.shape.space[a];
        }
        std::copy_n(x.at(rest, voxel), x.shape.c, y.row(r));
      }
    });
  }

  /// Every input voxel gathers its copies, in a fixed order: along each axis a range that only border voxels have longer than
  /// one.
  static void backward(Context<Cpu>& ctx, const Low& low, In<S> dy, Out<S> dx) {
    const auto from = axes3(dy.shape.space, 1), to = axes3(dx.shape.space, 1), shift = axes3(low, 0);
    cpu::for_rows(ctx, dx.rows(), [&](Index first, Index last) {
      for (Index r = first; r < last; ++r) {
        const Index voxel = r % dx.shape.voxels(), n = r / dx.shape.voxels();
        const std::array<Index, 3> at = {voxel / (to[1] * to[2]), voxel / to[2] % to[1], voxel % to[2]};
        std::array<Index, 3> begin, end;
        for (std::size_t d = 0; d < 3; ++d) {
          begin[d] = at[d] == 0 ? 0 : at[d] + shift[d];
          end[d] = at[d] == to[d] - 1 ? from[d] : at[d] + shift[d] + 1;
        }
        for (Index c = 0; c < dx.shape.c; ++c) {
          Acc sum = 0;
          for (Index z = begin[0]; z < end[0]; ++z)
            for (Index y = begin[1]; y < end[1]; ++y)
              for (Index x = begin[2]; x < end[2]; ++x) sum += Acc(dy.at(n, (z * from[1] + y) * from[2] + x)[c]);
          dx.row(r)[c] = T(sum);
        }
      }
    });
  }

 private:
  static std::array<Index, 3> axes3(const std::array<Index, Dim>& a, Index fill) {
    std::array<Index, 3> out = {fill, fill, fill};
    std::copy(a.begin(), a.end(), out.end() - Dim);
    return out;
  }
};

}   // namespace ctseg
