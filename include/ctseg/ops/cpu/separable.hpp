// Separable linear maps on the CPU: a table of taps per axis, then every voxel gathers. The transpose gathers through the
// transposed table, so backward needs no atomics and threads cannot change a bit.
#pragma once
#include "../separable.hpp"
#include "rows.hpp"

namespace ctseg {

template <class T, int Dim> struct Kernel<Separable, Spec<T, Dim, Cpu>> {
  using S = Spec<T, Dim, Cpu>;
  using Acc = typename S::Acc;

  /// Enough for either direction.
  template <class Map> static Index scratch(const Map& map, const Shape<Dim>& x, const Shape<Dim>& y) {
    Index bytes = 0;
    for (std::size_t d = 0; d < 3; ++d) {
      Index count = 0;
      for (Index o = 0; o < extent(y, d); ++o) along(map, d, o, [&](Index, double) { ++count; });
      bytes += bytes_of<Index>(std::max(extent(x, d), extent(y, d)) + 1) + bytes_of<Tap>(count);
    }
    return bytes;
  }

  template <class Map> static void forward(Context<Cpu>& ctx, const Map& map, In<S> x, Out<S> y, SeparableMemory m) {
    const auto axis = [&](std::size_t d) { return Axis(m.scratch, map, d, extent(y.shape, d), extent(y.shape, d), false); };
    const Axis axes[3] = {axis(0), axis(1), axis(2)};
    gather(ctx, axes, x, y, T(Acc(m.outside)));
  }
  template <class Map> static void backward(Context<Cpu>& ctx, const Map& map, In<S> dy, Out<S> dx, Bytes scratch) {
    const auto axis = [&](std::size_t d) { return Axis(scratch, map, d, extent(dy.shape, d), extent(dx.shape, d), true); };
    const Axis axes[3] = {axis(0), axis(1), axis(2)};
    gather(ctx, axes, dy, dx, T(0));
  }

 private:
  struct Tap {
    Index at;
    Acc weight;
  };
  static Index extent(const Shape<Dim>& s, std::size_t d) { return d + Dim < 3 ? 1 : s.space[d + Dim - 3]; }
  /// The map along one of three axes; an axis that the data lacks has one coordinate, which is copied.
  template <class Map, class F> static void along(const Map& map, std::size_t d, Index o, F f) {
    if (d + Dim < 3)
      f(Index{0}, 1.0);
    else
      map(d + Dim - 3, o, f);
  }

  /// The taps of coordinate k are taps[first[k]] to taps[first[k + 1]], exclusive.
  struct Axis {
    Index* first;
    Tap* taps;

    /// Counts, then places: the outputs in order, so the taps of a coordinate of the transpose are in order too.
    template <class Map> Axis(Bytes& memory, const Map& map, std::size_t d, Index outputs, Index coordinates, bool transposed) {
      first = take<Index>(memory, coordinates + 1);
      std::fill_n(first, coordinates + 1, Index{0});
      for (Index o = 0; o < outputs; ++o) along(map, d, o, [&](Index i, double) { ++first[(transposed ? i : o) + 1]; });
      for (Index k = 0; k < coordinates; ++k) first[k + 1] += first[k];
      taps = take<Tap>(memory, first[coordinates]);
      for (Index o = 0; o < outputs; ++o)
        along(map, d, o, [&](Index i, double weight) {
          taps[first[transposed ? i : o]++] = {transposed ? o : i, static_cast<Acc>(weight)};
        });
      std::copy_backward(first, first + coordinates, first + coordinates + 1);   // every start had moved to the next one's
      first[0] = 0;
    }
    std::span<const Tap> of(Index k) const { return {taps + first[k], taps + first[k + 1]}; }
  };

  /// Sums of sums, axis by axis: a mean over a whole volume loses no digits.
  static void gather(Context<Cpu>& ctx, const Axis (&axes)[3], In<S> from, Out<S> to, T outside) {
    const Index height = extent(to.shape, 1), width = extent(to.shape, 2), voxels = to.shape.voxels();
    const Index from_height = extent(from.shape, 1), from_width = extent(from.shape, 2);
    cpu::for_rows(ctx, to.rows(), [&](Index first, Index last) {
      for (Index r = first; r < last; ++r) {
        const Index n = r / voxels, voxel = r % voxels;
        const auto zs = axes[0].of(voxel / (height * width)), ys = axes[1].of(voxel / width % height),
                   xs = axes[2].of(voxel % width);
        if (zs.empty() || ys.empty() || xs.empty()) {
          std::fill_n(to.row(r), to.shape.c, outside);
          continue;
        }
        cpu::for_pieces(to.shape.c, [&](Index c, auto count) {
          Acc sum[cpu::kPiece] = {};
          for (const Tap& z : zs) {
            Acc plane[cpu::kPiece] = {};
            for (const Tap& y : ys) {
              Acc line[cpu::kPiece] = {};
              for (const Tap& x : xs) {
                const T* value = from.at(n, (z.at * from_height + y.at) * from_width + x.at) + c;
                for (Index k = 0; k < count; ++k) line[k] += x.weight * Acc(value[k]);
              }
              for (Index k = 0; k < count; ++k) plane[k] += y.weight * line[k];
            }
            for (Index k = 0; k < count; ++k) sum[k] += z.weight * plane[k];
          }
          for (Index k = 0; k < count; ++k) to.row(r)[c + k] = T(sum[k]);
        });
      }
    });
  }
};

}   // namespace ctseg
