// Tiles of any shape in plain loops: the same sums in the same order as tiles_body.hpp. With the shapes of an instruction set,
// all that decides on tiles (blocks, edges, partial vectors) is tested on processors that lack the set. Slow, and small:
// every user compiles it. Sixteen lanes of tiles_body.hpp in plain instructions, tried first, took two seconds of each.
#pragma once
#include "transforms.hpp"

namespace ctseg::simd::plain {

inline constexpr Index kMostRows = 16, kMostWidth = 32;
typedef float Four __attribute__((vector_size(16), aligned(4), may_alias));   // widths are multiples of it
inline Four* four(float* p) { return reinterpret_cast<Four*>(p); }
inline const Four* four(const float* p) { return reinterpret_cast<const Four*>(p); }

/// Where tile channel c stands: the second of two vectors may stand nearer.
inline Index column(const GatherTile& t, Index c) { return t.overlap > 0 && c >= t.width / 2 ? c - t.overlap : c; }

struct Sums {
  float a[kMostRows * kMostWidth];
  explicit Sums(const GatherTile& t) {
    for (Index i = 0; i < t.rows; ++i)
      for (Index c = 0; c < t.width; ++c) a[i * t.width + c] = t.init[i * t.init_step + column(t, c)];
  }
  void add(const GatherTile& t, Index row, float x, const float* w) {
    for (Index c = 0; c < t.width; c += 4) *four(a + row * t.width + c) += *four(w + c) * x;
  }
  void store(const GatherTile& t) const {
    for (Index i = 0; i < t.rows; ++i)
      for (Index c = 0; c < t.width; ++c) t.out[i * t.out_step + column(t, c)] = a[i * t.width + c];
  }
};

template <bool kEdge> [[gnu::cold]] inline void gather(const GatherTile& t) {
  Sums sums(t);
  for (Index z = 0; z < t.taps_z; ++z)
    for (Index y = 0; y < t.taps_y; ++y)
      for (Index n = 0; n < t.taps_x; ++n) {
        const float* x = t.x + z * t.x_z + y * t.x_y + (kEdge ? 0 : n * t.x_x);
        const float* w = t.w + z * t.w_z + y * t.w_y + n * t.w_x;
        for (Index k = 0; k < t.length; ++k, w += t.width)
          for (Index i = 0; i < t.rows; ++i) {
            if constexpr (kEdge) {
              const Index at = t.at[n * t.rows + i];
              sums.add(t, i, at < 0 ? t.zeros[k] : x[at + k], w);
            } else {
              sums.add(t, i, x[i * t.x_step + k], w);
            }
          }
      }
  sums.store(t);
}

[[gnu::cold]] inline void list(const GatherTile& t) {
  Sums sums(t);
  for (Index k = 0; k < t.length; ++k)
    for (Index i = 0; i < t.rows; ++i) sums.add(t, i, t.x[t.at[k] + i * t.x_step], t.w + k * t.width);
  sums.store(t);
}

[[gnu::cold]] inline void product(const ProductTile& t) {
  alignas(16) constexpr float kZeros[kMostWidth] = {};
  GatherTile g{};
  g.x = t.x, g.x_step = t.x_step, g.taps_z = g.taps_y = g.taps_x = 1, g.length = t.length, g.w = t.w, g.init = kZeros;
  g.out = t.out, g.out_step = t.out_step, g.rows = t.rows, g.width = t.width;
  for (Index block = 0; block < t.blocks; ++block, g.x += t.rows * t.x_step, g.out += t.rows * t.out_step) gather<false>(g);
}

template <bool kListed> [[gnu::cold]] inline void gradient(const GradientTile& t) {
  const Index rows = t.rows, width = t.width, lanes = t.overlap > 0 ? width / 2 : width;
  float a[kMostRows * kMostWidth] = {};
  for (Index z = 0; z < t.count_z; ++z)
    for (Index y = 0; y < t.count_y; ++y)
      for (Index n = 0; n < t.count_x; ++n) {
        const float* x = t.x + z * t.x_z + y * t.x_y + n * t.x_x;
        const float* d = t.dy + z * t.dy_z + y * t.dy_y + n * t.dy_x;
        for (Index i = 0; i < rows; ++i)
          for (Index c = 0; c < width; c += 4)
            *four(a + i * width + c) += *four(d + (c < lanes ? c : c - t.overlap)) * x[kListed ? t.at[i] : i];
      }
  for (Index i = 0; i < rows; ++i)   // each channel once
    for (Index c = 0; c < width; ++c)
      if (c < lanes || c >= lanes + t.overlap) t.out[i * t.out_step + (c < lanes ? c : c - t.overlap)] += a[i * width + c];
}

[[gnu::cold]] inline void add(const float* from, float* to, Index count) {
  for (Index i = 0; i < count; ++i) to[i] += from[i];
}

/// Winograd's transforms for `kLanes` channels by those for four.
template <Index kLanes, Transform kFour> [[gnu::cold]] void transform(const TransformPass& pass) {
  TransformPass four = pass;
  for (Index c = 0; c < kLanes; c += 4, four.from += 4, four.to += 4, four.bias += four.bias ? 4 : 0) kFour(four);
}
#define CTSEG_OF_STRIDE_1(f)                                                                                                   \
  transform<kLanes, f[0]>, transform<kLanes, f[1]>, transform<kLanes, f[2]>, transform<kLanes, f[3]>, transform<kLanes, f[4]>, \
      transform<kLanes, f[5]>
#define CTSEG_OF_ALL(f) \
  { CTSEG_OF_STRIDE_1(f), transform<kLanes, f[6]>, transform<kLanes, f[7]> }
template <Index kLanes, const TransformTable& kFour>
inline constexpr TransformTable kTransforms = {CTSEG_OF_ALL(kFour.input),
                                               CTSEG_OF_ALL(kFour.weights),
                                               CTSEG_OF_ALL(kFour.output),
                                               {CTSEG_OF_STRIDE_1(kFour.output_adjoint)},
                                               {CTSEG_OF_STRIDE_1(kFour.weight_adjoint)}};
#undef CTSEG_OF_ALL
#undef CTSEG_OF_STRIDE_1

template <Index... Rows> inline constexpr TileShape kShapes[] = {
    {Rows, &gather<false>, &gather<true>, &list, &gradient<false>, &gradient<true>, &product}...};

}   // namespace ctseg::simd::plain
