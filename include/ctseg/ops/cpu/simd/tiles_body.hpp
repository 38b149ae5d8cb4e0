// The tiles, written once and included once per instruction set (see isa.hpp), each time into a namespace of its own.
// Vector extensions instead of intrinsics: the compiler fuses a * b + c, and <immintrin.h> would cost every user 0.9 s.
// Rules that keep this fast everywhere: the target attribute stands on every function (lambdas would lose it), no vector is
// passed or returned, and accumulators are indexed by a parameter pack, so that they are registers at every -O level.
// transforms_body.hpp comes first and says what a Vec is.
// No #pragma once: this file is meant to be included several times.

namespace ctseg::simd::CTSEG_SIMD_NAME {

template <int Vectors, class Rows> struct Tile;
template <int Vectors, Index... I> struct Tile<Vectors, std::integer_sequence<Index, I...>> {
  static constexpr Index kRows = sizeof...(I);
  static constexpr Index kWidth = Vectors * kLanes;
  static constexpr bool kFetches = kWidth >= kWidthThatFetches;

#define LOAD_RESULTS                                                         \
  const Index second = kLanes - t.overlap;                                   \
  Vec a[sizeof...(I)], b[sizeof...(I)];                                      \
  ((a[I] = *reinterpret_cast<const Loose*>(t.init + I * t.init_step)), ...); \
  if constexpr (Vectors == 2) ((b[I] = *reinterpret_cast<const Loose*>(t.init + I * t.init_step + second)), ...)
// x(I): where row I reads its value for the weights at v
#define ADD_PRODUCTS(x)                                         \
  const Vec w0 = *reinterpret_cast<const Loose*>(v);            \
  if constexpr (Vectors == 2) {                                 \
    const Vec w1 = *reinterpret_cast<const Loose*>(v + kLanes); \
    ((a[I] += w0 * x(I), b[I] += w1 * x(I)), ...);              \
  } else {                                                      \
    ((a[I] += w0 * x(I)), ...);                                 \
  }
#define STORE_RESULTS                                            \
  float* out = t.out;                                            \
  const Index out_step = t.out_step;                             \
  ((*reinterpret_cast<Loose*>(out + I * out_step) = a[I]), ...); \
  if constexpr (Vectors == 2) ((*reinterpret_cast<Loose*>(out + I * out_step + second) = b[I]), ...)
#define FETCH_AHEAD(k)                                                                \
  const auto turn = static_cast<Index>(static_cast<unsigned>(k) % sizeof...(I));      \
  const auto line = static_cast<Index>(static_cast<unsigned>(k) / sizeof...(I) * 16); \
  __builtin_prefetch(ahead + turn * step + line);                                     \
  __builtin_prefetch(out_ahead + turn * out_ahead_step + line);
// Five rows per base pointer: 0, 1, 2, 3 and 4 steps are addresses the processor forms for free.
#define STRIDED(I) base[I / 5][k + (I % 5 == 3 ? step3 : I % 5 * step)]

  CTSEG_SIMD_TARGET static void gather(const GatherTile& t) {
    LOAD_RESULTS;
    const Index step = t.x_step, step3 = 3 * step, length = t.length;
    const float* out_ahead = t.ahead.out;
    const Index out_ahead_step = t.out_step;
    for (Index z = 0; z < t.taps_z; ++z)
      for (Index y = 0; y < t.taps_y; ++y) {
        const float* x = t.x + z * t.x_z + y * t.x_y;
        const float* w = t.w + z * t.w_z + y * t.w_y;
        const float* ahead = x + kRows * step;
        Index fetching = z >= t.ahead.fresh_z && y >= t.ahead.fresh_y ? t.ahead.steps : 0;
        for (Index n = t.taps_x; n > 0; --n, x += t.x_x, w += t.w_x) {
          const float* base[3] = {x, x + 5 * step, x + 10 * step};
          const float* v = w;
          Index k = 0;
          if constexpr (kFetches) {
            for (; k < fetching; ++k, v += kWidth) {
              FETCH_AHEAD(k)
              ADD_PRODUCTS(STRIDED)
            }
            fetching = 0;
          }
          for (; k < length; ++k, v += kWidth) {
            ADD_PRODUCTS(STRIDED)
          }
        }
      }
    STORE_RESULTS;
  }

  CTSEG_SIMD_TARGET static void product(const ProductTile& t) {
    const Index step = t.x_step, step3 = 3 * step, length = t.length, out_step = t.out_step;
    const float *x = t.x, *w = t.w;
    float* out = t.out;
    for (Index block = t.blocks; block > 0; --block, x += kRows * step) {
      Vec a[sizeof...(I)], b[sizeof...(I)];
      ((a[I] = Vec{}, b[I] = Vec{}), ...);
      const float* base[3] = {x, x + 5 * step, x + 10 * step};   // as in gather
      const float* v = w;
      for (Index k = 0; k < length; ++k, v += kWidth) {
        const Vec w0 = *reinterpret_cast<const Loose*>(v);
        if constexpr (Vectors == 2) {
          const Vec w1 = *reinterpret_cast<const Loose*>(v + kLanes);
          ((a[I] += w0 * base[I / 5][k + (I % 5 == 3 ? step3 : I % 5 * step)],
            b[I] += w1 * base[I / 5][k + (I % 5 == 3 ? step3 : I % 5 * step)]),
           ...);
        } else {
          ((a[I] += w0 * base[I / 5][k + (I % 5 == 3 ? step3 : I % 5 * step)]), ...);
        }
      }
      if constexpr (Vectors == 2)
        ((*reinterpret_cast<Loose*>(out) = a[I], *reinterpret_cast<Loose*>(out + kLanes) = b[I], out += out_step), ...);
      else
        ((*reinterpret_cast<Loose*>(out) = a[I], out += out_step), ...);
    }
  }

  CTSEG_SIMD_TARGET static void edge(const GatherTile& t) {
    LOAD_RESULTS;
    const Index length = t.length;
    for (Index z = 0; z < t.taps_z; ++z)
      for (Index y = 0; y < t.taps_y; ++y) {
        const float* x = t.x + z * t.x_z + y * t.x_y;
        const float* w = t.w + z * t.w_z + y * t.w_y;
        const Index* at = t.at;
        for (Index n = t.taps_x; n > 0; --n, at += kRows, w += t.w_x) {
          const float* row[sizeof...(I)];
          ((row[I] = at[I] < 0 ? t.zeros : x + at[I]), ...);
          const float* v = w;
#define ROW(I) row[I][k]
          for (Index k = 0; k < length; ++k, v += kWidth) {
            ADD_PRODUCTS(ROW)
          }
#undef ROW
        }
      }
    STORE_RESULTS;
  }

  CTSEG_SIMD_TARGET static void list(const GatherTile& t) {
    LOAD_RESULTS;
    const Index step = t.x_step, step3 = 3 * step, k = 0;
    const Index length = t.length;
    const float* v = t.w;
    for (Index n = 0; n < length; ++n, v += kWidth) {
      const float* x = t.x + t.at[n];
      const float* base[3] = {x, x + 5 * step, x + 10 * step};
      ADD_PRODUCTS(STRIDED)
    }
    STORE_RESULTS;
  }
#undef LOAD_RESULTS
#undef ADD_PRODUCTS
#undef STORE_RESULTS
#undef STRIDED
#undef FETCH_AHEAD

  template <bool kListed> CTSEG_SIMD_TARGET static void gradient(const GradientTile& t) {
    Vec a[sizeof...(I)], b[sizeof...(I)];
    ((a[I] = Vec{}, b[I] = Vec{}), ...);
    const Index second = kLanes - t.overlap;
    const Index* at = t.at;
    for (Index z = 0; z < t.count_z; ++z)
      for (Index y = 0; y < t.count_y; ++y) {
        const float* x = t.x + z * t.x_z + y * t.x_y;
        const float* d = t.dy + z * t.dy_z + y * t.dy_y;
        for (Index n = t.count_x; n > 0; --n, x += t.x_x, d += t.dy_x) {
          const Vec d0 = *reinterpret_cast<const Loose*>(d);
          if constexpr (Vectors == 2) {
            const Vec d1 = *reinterpret_cast<const Loose*>(d + second);
            ((a[I] += d0 * x[kListed ? at[I] : I], b[I] += d1 * x[kListed ? at[I] : I]), ...);
          } else {
            ((a[I] += d0 * x[kListed ? at[I] : I]), ...);
          }
        }
      }
    // Vectors may overlap, so both sums are made before either is stored.
    float* out = t.out;
    const Index out_step = t.out_step;
    if constexpr (Vectors == 2) ((b[I] += *reinterpret_cast<const Loose*>(out + I * out_step + second)), ...);
    ((*reinterpret_cast<Loose*>(out + I * out_step) += a[I]), ...);
    if constexpr (Vectors == 2) ((*reinterpret_cast<Loose*>(out + I * out_step + second) = b[I]), ...);
  }

  static constexpr TileShape shape() { return {kRows, &gather, &edge, &list, &gradient<false>, &gradient<true>, &product}; }
};

template <int Vectors, Index... Rows>
inline constexpr TileShape kShapes[] = {Tile<Vectors, std::make_integer_sequence<Index, Rows>>::shape()...};

CTSEG_SIMD_TARGET inline void add(const float* from, float* to, Index count) {
  Index i = 0;
  for (; i + kLanes <= count; i += kLanes) *reinterpret_cast<Loose*>(to + i) += *reinterpret_cast<const Loose*>(from + i);
  for (; i < count; ++i) to[i] += from[i];
}

inline constexpr auto& kOne = kShapes<1, CTSEG_SIMD_ROWS_OF_ONE>;
inline constexpr auto& kTwo = kShapes<2, CTSEG_SIMD_ROWS_OF_TWO>;
inline constexpr TileTable kTable = {kLanes, {{kOne, std::size(kOne)}, {kTwo, std::size(kTwo)}}, &add, &kTransforms};

}   // namespace ctseg::simd::CTSEG_SIMD_NAME

#undef CTSEG_SIMD_NAME
#undef CTSEG_SIMD_TARGET
#undef CTSEG_SIMD_LANES
