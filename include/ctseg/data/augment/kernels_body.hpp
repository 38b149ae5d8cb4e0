// The inner loops of augmentation, written once and included once per instruction set (kernels.hpp), each time into a
// namespace of its own. Eight lanes by vector extensions, so that plain -O2 makes vectors of them. No fused multiply-add is
// asked for and sums keep their lanes: every instruction set gives the same bits.
// The target attribute stands on every function, no vector is passed or returned by value (that would depend on the set).
// No #pragma once: this file is meant to be included several times.

namespace ctseg::augment::CTSEG_AUGMENT_NAME {

typedef float F8 __attribute__((vector_size(32)));
typedef std::int32_t I8 __attribute__((vector_size(32)));
typedef std::uint32_t U8 __attribute__((vector_size(32)));
typedef double D4 __attribute__((vector_size(32)));
typedef std::int64_t L4 __attribute__((vector_size(32)));
typedef float F4 __attribute__((vector_size(16)));
typedef std::int32_t I4 __attribute__((vector_size(16)));
typedef double D2 __attribute__((vector_size(16)));
typedef float LooseF8 __attribute__((vector_size(32), aligned(4), may_alias));   // anywhere in memory
typedef double LooseD4 __attribute__((vector_size(32), aligned(8), may_alias));
typedef float LooseF4 __attribute__((vector_size(16), aligned(4), may_alias));
typedef std::int32_t LooseI4 __attribute__((vector_size(16), aligned(4), may_alias));
typedef double LooseD1 __attribute__((aligned(4), may_alias));   // two floats in one load

#define CTSEG_AUGMENT_INLINE CTSEG_AUGMENT_TARGET inline __attribute__((always_inline))

/// y = ln(x) for x > 0: x = 2^e m with m in [sqrt(1/2), sqrt(2)), ln m = 2 artanh((m - 1) / (m + 1)). Error below 2e-7.
CTSEG_AUGMENT_INLINE void logarithm(const F8& x, F8& y) {
  const I8 bits = (I8)x, exponent = (bits - 0x3f3504f3) >> 23;
  const F8 m = (F8)(bits - (exponent << 23)), s = (m - 1.f) / (m + 1.f), q = s * s;
  y = __builtin_convertvector(exponent, F8) * 0.693147181f + 2.f * s * (1.f + q * (1.f / 3 + q * (1.f / 5 + q * (1.f / 7))));
}

/// y = e^x for x in [-87, 1].
CTSEG_AUGMENT_INLINE void exponential(const F8& x, F8& y) {
  const F8 t = x * 1.44269504f;
  const I8 n = __builtin_convertvector(t - 0.5f, I8);
  const F8 f = (t - __builtin_convertvector(n, F8)) * 0.693147181f;
  y = 1.f + f * (1.f + f * (0.5f + f * (1.f / 6 + f * (1.f / 24 + f * (1.f / 120 + f * (1.f / 720))))));
  y *= (F8)((n + 127) << 23);
}

/// y = sqrt(x) for x > 0 by two Newton steps on 1 / sqrt(x); relative error below 5e-6. std::sqrt would set errno: no vectors.
CTSEG_AUGMENT_INLINE void root(const F8& x, F8& y) {
  F8 r = (F8)(0x5f375a86 - ((I8)x >> 1));
  r *= 1.5f - 0.5f * x * r * r;
  r *= 1.5f - 0.5f * x * r * r;
  y = x * r;
}

#define CTSEG_AUGMENT_MIX(a, b, turn)       \
  a += b;                                   \
  b = (b << (turn)) | (b >> (32 - (turn))); \
  b ^= a

/// Four rounds of the cipher, then the key once more.
template <int Group> CTSEG_AUGMENT_INLINE void four_rounds(const std::uint32_t (&key)[5], U8 (&w)[4]) {
  constexpr int t = Group % 2 * 4;
  CTSEG_AUGMENT_MIX(w[0], w[1], kTurns[t][0]);
  CTSEG_AUGMENT_MIX(w[2], w[3], kTurns[t][1]);
  CTSEG_AUGMENT_MIX(w[0], w[3], kTurns[t + 1][0]);
  CTSEG_AUGMENT_MIX(w[2], w[1], kTurns[t + 1][1]);
  CTSEG_AUGMENT_MIX(w[0], w[1], kTurns[t + 2][0]);
  CTSEG_AUGMENT_MIX(w[2], w[3], kTurns[t + 2][1]);
  CTSEG_AUGMENT_MIX(w[0], w[3], kTurns[t + 3][0]);
  CTSEG_AUGMENT_MIX(w[2], w[1], kTurns[t + 3][1]);
  w[0] += key[(Group + 1) % 5];
  w[1] += key[(Group + 2) % 5];
  w[2] += key[(Group + 3) % 5];
  w[3] += key[(Group + 4) % 5] + static_cast<std::uint32_t>(Group + 1);
}

/// 32 random words: four for each of the counters block * 8 + 0 .. 7.
template <int... Group> CTSEG_AUGMENT_INLINE void random_words(const NoiseKey& k, std::uint64_t block, U8 (&w)[4],
                                                               std::integer_sequence<int, Group...>) {
  const std::uint32_t key[5] = {k[0], k[1], k[2], k[3], 0x1BD11BDA ^ k[0] ^ k[1] ^ k[2] ^ k[3]};
  const std::uint64_t first = block * 8;   // eight counters never cross 2^32
  w[0] = U8{0, 1, 2, 3, 4, 5, 6, 7} + (static_cast<std::uint32_t>(first) + key[0]);
  w[1] = U8{} + (static_cast<std::uint32_t>(first >> 32) + key[1]);
  w[2] = U8{} + key[2];
  w[3] = U8{} + key[3];
  (four_rounds<Group>(key, w), ...);
}

/// Two normals from two words (Box and Muller): the radius from 24 bits of one, the angle from 29 bits of the other, of which
/// two choose a quarter of the circle.
CTSEG_AUGMENT_INLINE void normals(const U8& radius_word, const U8& angle_word, F8& a, F8& b) {
  F8 radius, log;
  logarithm((__builtin_convertvector((I8)(radius_word >> 8), F8) + 0.5f) * 0x1p-24f, log);
  root(-2.f * log, radius);
  const F8 t = __builtin_convertvector((I8)(angle_word & ~7u), F8) * (0.785398163f * 0x1p-31f), q = t * t;   // |t| <= pi / 4
  const F8 sine = t * (1.f - q * (1.f / 6 - q * (1.f / 120 - q * (1.f / 5040))));
  const F8 cosine = 1.f - q * (0.5f - q * (1.f / 24 - q * (1.f / 720 - q * (1.f / 40320))));
  const I8 swap = ((I8)(angle_word << 31)) >> 31;   // all ones or zero
  const I8 first = ((I8)sine & swap) | ((I8)cosine & ~swap), second = ((I8)cosine & swap) | ((I8)sine & ~swap);
  const U8 sign = (angle_word << 30) & 0x80000000u, other = (angle_word << 29) & 0x80000000u;
  a = radius * (F8)((U8)first ^ sign);
  b = radius * (F8)((U8)second ^ other);
}

/// The cipher itself with its twenty rounds, for tests against its published values.
CTSEG_AUGMENT_TARGET inline void threefry20(const NoiseKey& key, std::uint32_t (&words)[4]) {
  U8 w[4];
  random_words(key, 0, w, std::make_integer_sequence<int, 5>{});
  for (int i = 0; i < 4; ++i) words[i] = w[i][0];
}

/// 32 numbers of a stream: normal, or uniform in [-1, 1).
CTSEG_AUGMENT_INLINE void numbers(const NoiseKey& key, std::uint64_t block, bool normal, F8 (&out)[4]) {
  U8 w[4];
  random_words(key, block, w, std::make_integer_sequence<int, kNoiseRounds / 4>{});
  if (normal) {
    normals(w[0], w[1], out[0], out[1]);
    normals(w[2], w[3], out[2], out[3]);
  } else {
    for (int i = 0; i < 4; ++i) out[i] = __builtin_convertvector((I8)(w[i] & ~127u), F8) * 0x1p-31f;
  }
}

CTSEG_AUGMENT_TARGET inline void add_noise(const NoiseJob& job, float* x, Index count) {
  Index i = 0;
  F8 n[4];
  for (; i + 32 <= count; i += 32) {
    numbers(job.key, static_cast<std::uint64_t>(i / 32), job.normal, n);
    for (int k = 0; k < 4; ++k) *reinterpret_cast<LooseF8*>(x + i + 8 * k) += job.mean + job.std * n[k];
  }
  if (i == count) return;
  numbers(job.key, static_cast<std::uint64_t>(i / 32), job.normal, n);
  for (Index k = 0; i < count; ++i, ++k) x[i] += job.mean + job.std * n[k / 8][k % 8];
}

/// to[i] = sum over k of weights[k] * rows[k][i].
CTSEG_AUGMENT_TARGET inline void combine(const Rows& rows, float* to, Index count) {
  Index i = 0;
  for (; i + 16 <= count; i += 16) {
    F8 a{}, b{};
    for (Index k = 0; k < rows.count; ++k) {
      a += rows.weights[k] * *reinterpret_cast<const LooseF8*>(rows.from[k] + i);
      b += rows.weights[k] * *reinterpret_cast<const LooseF8*>(rows.from[k] + i + 8);
    }
    *reinterpret_cast<LooseF8*>(to + i) = a;
    *reinterpret_cast<LooseF8*>(to + i + 8) = b;
  }
  for (; i < count; ++i) {
    float sum = 0;
    for (Index k = 0; k < rows.count; ++k) sum += rows.weights[k] * rows.from[k][i];
    to[i] = sum;
  }
}

/// Adds to `stats`, whose pivot is set, eight lanes at a time; the rest goes lane by lane.
struct Sums {
  F8 low, high;
  D4 sum, square;
};
CTSEG_AUGMENT_INLINE void add_to(Sums& s, const F8& x, double pivot) {
  s.low = x < s.low ? x : s.low;
  s.high = x > s.high ? x : s.high;
  const F4 front = {x[0], x[1], x[2], x[3]}, back = {x[4], x[5], x[6], x[7]};
  const D4 a = __builtin_convertvector(front, D4) - pivot, b = __builtin_convertvector(back, D4) - pivot;
  s.sum += a + b;
  s.square += a * a + b * b;
}
CTSEG_AUGMENT_INLINE void add_up(const Sums& s, Stats& stats) {
  for (int l = 0; l < 8; ++l) {
    stats.low = s.low[l] < stats.low ? s.low[l] : stats.low;
    stats.high = s.high[l] > stats.high ? s.high[l] : stats.high;
  }
  stats.sum += (s.sum[0] + s.sum[1]) + (s.sum[2] + s.sum[3]);
  stats.square += (s.square[0] + s.square[1]) + (s.square[2] + s.square[3]);
}
CTSEG_AUGMENT_INLINE void add_to(Stats& s, float x) {
  s.low = x < s.low ? x : s.low;
  s.high = x > s.high ? x : s.high;
  const double d = static_cast<double>(x) - s.pivot;
  s.sum += d;
  s.square += d * d;
}
CTSEG_AUGMENT_INLINE void start(Sums& s, const Stats& stats) {
  s.low = F8{} + stats.low;
  s.high = F8{} + stats.high;
  s.sum = s.square = D4{};
}

CTSEG_AUGMENT_TARGET inline void add_stats(Stats& stats, const float* x, Index count) {
  Sums sums;
  start(sums, stats);
  Index i = 0;
  for (; i + 8 <= count; i += 8) {
    const F8 v = *reinterpret_cast<const LooseF8*>(x + i);
    add_to(sums, v, stats.pivot);
  }
  add_up(sums, stats);
  for (; i < count; ++i) add_to(stats, x[i]);
}

/// x = clamp(x * scale + shift).
CTSEG_AUGMENT_TARGET inline void linear(const LinearJob& job, float* x, Index count) {
  const auto one = job;
  Index i = 0;
  for (; i + 8 <= count; i += 8) {
    F8 v = *reinterpret_cast<const LooseF8*>(x + i) * one.scale + one.shift;
    v = v < one.low ? F8{} + one.low : v;
    v = v > one.high ? F8{} + one.high : v;
    *reinterpret_cast<LooseF8*>(x + i) = v;
  }
  for (; i < count; ++i) {
    const float v = x[i] * one.scale + one.shift, w = v < one.low ? one.low : v;
    x[i] = w > one.high ? one.high : w;
  }
}

/// x = max(x * scale + shift, 0)^gamma * range + low; with the statistics of what comes out, if they are wanted.
CTSEG_AUGMENT_INLINE void power_of(const PowerJob& job, F8& x) {
  const F8 base = x * job.scale + job.shift;
  const F8 positive = base > 1e-30f ? base : F8{} + 1e-30f;
  F8 t, y;
  logarithm(positive, t);
  t *= job.gamma;
  exponential(t > -87.f ? t : F8{} - 87.f, y);
  x = (base > 0.f ? y : F8{}) * job.range + job.low;
}
CTSEG_AUGMENT_TARGET inline void power(const PowerJob& job, float* x, Index count, Stats* stats) {
  const PowerJob own = job;   // x could alias it
  Sums sums{};
  if (stats) start(sums, *stats);
  Index i = 0;
  for (; i + 8 <= count; i += 8) {
    F8 v = *reinterpret_cast<const LooseF8*>(x + i);
    power_of(own, v);
    *reinterpret_cast<LooseF8*>(x + i) = v;
    if (stats) add_to(sums, v, stats->pivot);
  }
  if (stats) add_up(sums, *stats);
  F8 v{};
  for (Index k = i; k < count; ++k) v[k - i] = x[k];
  power_of(own, v);
  for (; i < count; ++i) {
    x[i] = v[i % 8];
    if (stats) add_to(*stats, x[i]);
  }
}

/// Coordinates inside the source; not a number counts as far outside.
CTSEG_AUGMENT_INLINE void clamp(D4& c, Index extent) {
  const D4 last = D4{} + static_cast<double>(extent - 1);
  c = c < last ? c : last;
  c = c > 0 ? c : D4{};
}

/// at[i] = start + step * (first + i); count is a multiple of four.
CTSEG_AUGMENT_TARGET inline void ramp(const Ramp& r, double* at, Index count) {
  const Ramp own = r;
  D4 x = D4{0, 1, 2, 3} + static_cast<double>(own.first);
  for (Index i = 0; i < count; i += 4, x += 4.0) *reinterpret_cast<LooseD4*>(at + i) = own.start + own.step * x;
}

/// Where the voxels of a row read: first of eight neighbours, and the weights of the next ones along z, y and x. Axis by axis,
/// so that what an axis needs stays in registers.
CTSEG_AUGMENT_TARGET inline void row_taps(const RowTaps& row, Index count) {
  for (std::size_t d = 0; d < 3; ++d) {
    const Index extent = row.extent[d];
    const I4 most = I4{} + static_cast<std::int32_t>(extent > 1 ? extent - 2 : 0);
    const I4 stride = I4{} + static_cast<std::int32_t>(row.stride[d]);
    const double* const at = row.at[d];
    float* const weight = row.weight[d];
    std::int32_t* const offset = row.offset;
    for (Index x = 0; x < count; x += 4) {
      D4 c = *reinterpret_cast<const LooseD4*>(at + x);
      clamp(c, extent);
      I4 low = __builtin_convertvector(c, I4);
      low = low < most ? low : most;
      *reinterpret_cast<LooseF4*>(weight + x) = __builtin_convertvector(c - __builtin_convertvector(low, D4), F4);
      const I4 before = d ? *reinterpret_cast<const LooseI4*>(offset + x) : I4{};
      *reinterpret_cast<LooseI4*>(offset + x) = before + low * stride;
    }
  }
}

/// The nearest voxel, halves to even as PyTorch. Added to 1.5 * 2^52 a double keeps its integer part alone, rounded so, in its
/// low bits.
CTSEG_AUGMENT_TARGET inline void row_nearest(const RowTaps& row, Index count) {
  for (std::size_t d = 0; d < 3; ++d) {
    const Index extent = row.extent[d];
    const I4 stride = I4{} + static_cast<std::int32_t>(row.stride[d]);
    const double* const at = row.at[d];
    std::int32_t* const nearest = row.nearest;
    for (Index x = 0; x < count; x += 4) {
      D4 c = *reinterpret_cast<const LooseD4*>(at + x);
      clamp(c, extent);
      const I4 whole = __builtin_convertvector((L4)(c + 0x1.8p52), I4);
      const I4 before = d ? *reinterpret_cast<const LooseI4*>(nearest + x) : I4{};
      *reinterpret_cast<LooseI4*>(nearest + x) = before + whole * stride;
    }
  }
}

/// The share of a voxel's eight neighbours that is inside: zeros fade in over one voxel.
CTSEG_AUGMENT_TARGET inline void row_inside(const RowTaps& row, Index count) {
  for (Index x = 0; x < count; x += 4) {
    D4 share = D4{} + 1.0;
    for (std::size_t d = 0; d < 3; ++d) {
      const D4 c = *reinterpret_cast<const LooseD4*>(row.at[d] + x);
      const D4 low = c + 1.0, high = static_cast<double>(row.extent[d]) - c;
      D4 in = low < high ? low : high;
      in = in > 0 ? in : D4{};
      share *= in < 1.0 ? in : D4{} + 1.0;
    }
    *reinterpret_cast<LooseF4*>(row.inside + x) = __builtin_convertvector(share, F4);
  }
}

/// Trilinear values at the taps of a row. Two neighbours along x come in one load, four of them make a voxel.
CTSEG_AUGMENT_TARGET inline void trilinear(const RowTaps& row, const float* from, float* to, Index count) {
  const Index y = row.extent[1] > 1 ? row.stride[1] : 0, z = row.extent[0] > 1 ? row.stride[0] : 0;
  for (Index x = 0; x < count; ++x) {
    const float* at = from + row.offset[x];
    const D2 near = {*reinterpret_cast<const LooseD1*>(at), *reinterpret_cast<const LooseD1*>(at + y)},
             far = {*reinterpret_cast<const LooseD1*>(at + z), *reinterpret_cast<const LooseD1*>(at + z + y)};
    const F4 slab = (F4)near + row.weight[0][x] * ((F4)far - (F4)near);
    const F4 next = {slab[2], slab[3], slab[2], slab[3]};
    const F4 line = slab + row.weight[1][x] * (next - slab);
    to[x] = line[0] + row.weight[2][x] * (line[1] - line[0]);
  }
}

inline constexpr Kernels kTable = {add_noise, combine,  add_stats,   linear,     power,
                                   ramp,      row_taps, row_nearest, row_inside, trilinear};

}   // namespace ctseg::augment::CTSEG_AUGMENT_NAME

#undef CTSEG_AUGMENT_MIX
#undef CTSEG_AUGMENT_INLINE
#undef CTSEG_AUGMENT_NAME
#undef CTSEG_AUGMENT_TARGET
