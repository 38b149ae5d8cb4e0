// Separable linear maps on the card: the host asks the map for a table of taps per axis, every voxel gathers through them. The
// transpose gathers through the transposed tables, so backward needs no atomics.
#pragma once
#include <vector>

#include "../separable.hpp"
#include "array.hpp"
#include "context.hpp"

namespace ctseg {

namespace cuda {
struct alignas(8) AxisTap {
  std::int32_t at;
  float weight;
};
/// Coordinate k of the target reads taps[first[k]] to taps[first[k + 1]], exclusive. On the host.
struct TapTable {
  std::vector<std::int32_t> first;
  std::vector<AxisTap> taps;

  Index coordinates() const { return static_cast<Index>(first.size()) - 1; }
  Index most() const {   // taps of a coordinate
    std::int32_t most = 0;
    for (std::size_t k = 1; k < first.size(); ++k) most = std::max(most, first[k] - first[k - 1]);
    return most;
  }
};
struct Resampling {
  Array from, to;
  std::array<TapTable, 3> axes;   // z, y, x
  float outside = 0;               // of voxels that read nothing
};
/// Sums in float along x, then y, then z. The tables travel as arguments of launches, so that a recording holds them.
void resample(Stream, const Resampling&, Bytes scratch);
Index resample_scratch(const Resampling&);   // looks at shapes, types and tables
}   // namespace cuda

template <class T, int Dim> struct Kernel<Separable, Spec<T, Dim, Cuda>> {
  using S = Spec<T, Dim, Cuda>;

  /// Enough for either direction.
  template <class Map> static Index scratch(const Map& map, const Shape<Dim>& x, const Shape<Dim>& y) {
    const In<S> from{nullptr, x, x.c}, to{nullptr, y, y.c};
    return std::max(cuda::resample_scratch({cuda::array_of(from), cuda::array_of(to), tables(map, x, y, false), 0}),
                    cuda::resample_scratch({cuda::array_of(to), cuda::array_of(from), tables(map, x, y, true), 0}));
  }
  template <class Map> static void forward(Context<Cuda>& ctx, const Map& map, In<S> x, Out<S> y, SeparableMemory m) {
    cuda::resample(ctx.stream(), {cuda::array_of(x), cuda::array_of(y), tables(map, x.shape, y.shape, false), m.outside},
                   m.scratch);
  }
  template <class Map> static void backward(Context<Cuda>& ctx, const Map& map, In<S> dy, Out<S> dx, Bytes scratch) {
    cuda::resample(ctx.stream(), {cuda::array_of(dy), cuda::array_of(dx), tables(map, dx.shape, dy.shape, true), 0}, scratch);
  }

 private:
  template <class Map>
  static std::array<cuda::TapTable, 3> tables(const Map& map, const Shape<Dim>& x, const Shape<Dim>& y, bool transposed) {
    const auto in = cuda::space_of(x), out = cuda::space_of(y);
    std::array<cuda::TapTable, 3> all;
    for (std::size_t d = 0; d < 3; ++d) {
      const auto along = [&](Index o, auto f) {   // an axis that the data lacks has one coordinate, which is copied
        if constexpr (Dim == 3)
          map(d, o, f);
        else
          d == 0 ? f(Index{0}, 1.0) : map(d - 1, o, f);
      };
      all[d] = table(along, out[d], transposed ? in[d] : out[d], transposed);
    }
    return all;
  }
  /// Counts, then places: the outputs in order, so the taps of a coordinate of the transpose are in order too.
  template <class Along> static cuda::TapTable table(const Along& along, Index outputs, Index coordinates, bool transposed) {
    cuda::TapTable t;
    t.first.assign(static_cast<std::size_t>(coordinates) + 1, 0);
    for (Index o = 0; o < outputs; ++o)
      along(o, [&](Index i, double) { ++t.first[static_cast<std::size_t>(transposed ? i : o) + 1]; });
    for (std::size_t k = 1; k < t.first.size(); ++k) t.first[k] += t.first[k - 1];
    t.taps.resize(static_cast<std::size_t>(t.first.back()));
    std::vector<std::int32_t> next = t.first;
    for (Index o = 0; o < outputs; ++o)
      along(o, [&](Index i, double weight) {
        const auto to = static_cast<std::size_t>(next[static_cast<std::size_t>(transposed ? i : o)]++);
        t.taps[to] = {static_cast<std::int32_t>(transposed ? o : i), static_cast<float>(weight)};
      });
    return t;
  }
};

}   // namespace ctseg
