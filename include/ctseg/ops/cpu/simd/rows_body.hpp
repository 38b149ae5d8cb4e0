// The passes of row_passes.hpp for vectors of CTSEG_SIMD_LANES channels, included once per instruction set (see row_isa.hpp).
// Channels that fill no vector go to CTSEG_SIMD_REST, the set with the next shorter vectors. Rows are taken in pieces that stay
// in the first-level cache while one vector of channels after the other goes over them.
// No #pragma once: this file is meant to be included several times.

namespace ctseg::simd::CTSEG_SIMD_NAME {

inline constexpr Index kRowLanes = CTSEG_SIMD_LANES;
typedef float RowVec __attribute__((vector_size(4 * CTSEG_SIMD_LANES)));
typedef float RowLoose __attribute__((vector_size(4 * CTSEG_SIMD_LANES), aligned(4), may_alias));
typedef int RowInts __attribute__((vector_size(4 * CTSEG_SIMD_LANES)));
typedef std::uint8_t RowBytes __attribute__((vector_size(CTSEG_SIMD_LANES), aligned(1), may_alias));

#define LOAD(p) (*reinterpret_cast<const RowLoose*>(p))
#define STORE(p) *reinterpret_cast<RowLoose*>(p)
#define AT(rows, r) ((rows).data + (r) * (rows).pitch + c)
#define SLOPE(act) ((act).step ? LOAD((act).slope + c) : RowVec{} + *(act).slope)
// FOR_VECTORS(p) { what belongs to the vector of channels at c; FOR_ROWS { what is done to row r } } REST(f, p);
#define FOR_VECTORS(p)                                                    \
  const Index piece = p.channels < 2048 ? 4096 / p.channels : 2;          \
  const Index end = first + (p.channels - first) / kRowLanes * kRowLanes; \
  for (Index r0 = 0, r1 = 0; r1 < p.rows; r0 = r1)                        \
    for (Index c = (r1 = r0 + piece < p.rows ? r0 + piece : p.rows, first); c < end; c += kRowLanes)
#define FOR_ROWS for (Index r = r0; r < r1; ++r)
#define REST(f, p) \
  if (end < p.channels) CTSEG_SIMD_REST::f(p, end)

/// e^u - less, less 1 or 0, for u <= 0 to one unit in the last place or so; below -80, e^-80. A NaN stays one.
/// Source    2^n (1 + e), the polynomial of e as in Cephes' expf.
CTSEG_SIMD_TARGET inline RowVec exp_below(RowVec u, float less) {
  u = u > 0 ? RowVec{} : u < -80 ? RowVec{} - 80 : u;
  const RowInts n = __builtin_convertvector(u * 1.44269504f - 0.5f, RowInts);
  const RowVec whole = __builtin_convertvector(n, RowVec), r = u - whole * 0.693359375f + whole * 2.12194440e-4f;
  RowVec e = 1.9875691500e-4f * r + 1.3981999507e-3f;
  e = ((((e * r + 8.3334519073e-3f) * r + 4.1665795894e-2f) * r + 1.6666665459e-1f) * r + 5.0000001201e-1f) * r * r + r;
  const RowVec power = (RowVec)((n + 127) << 23);
  return power * e + (power - less);
}

CTSEG_SIMD_TARGET inline void norm(const NormPass& p, Index first);
enum class Curve { slope, zero, elu };
template <Curve kCurve, bool kResidual> CTSEG_SIMD_TARGET void norm_as(const NormPass& p, Index first) {
  FOR_VECTORS(p) {
    const RowVec mean = LOAD(p.mean + c), scale = LOAD(p.scale + c), shift = LOAD(p.shift + c), slope = SLOPE(p.act);
    FOR_ROWS {
      RowVec u = (LOAD(AT(p.x, r)) - mean) * scale + shift;
      if constexpr (kResidual) u += LOAD(AT(p.residual, r));
      if constexpr (kCurve == Curve::zero)
        u = u < 0 ? RowVec{} : u;
      else if constexpr (kCurve == Curve::elu)
        u = u > 0 ? u : slope * exp_below(u, 1);
      else
        u = u > 0 ? u : slope * u;
      STORE(AT(p.y, r)) = u;
    }
  }
  REST(norm, p);
}
CTSEG_SIMD_TARGET inline void norm(const NormPass& p, Index first) {
  if (p.act.elu) return p.residual.data ? norm_as<Curve::elu, true>(p, first) : norm_as<Curve::elu, false>(p, first);
  if (p.act.zero) return p.residual.data ? norm_as<Curve::zero, true>(p, first) : norm_as<Curve::zero, false>(p, first);
  p.residual.data ? norm_as<Curve::slope, true>(p, first) : norm_as<Curve::slope, false>(p, first);
}

#define LOOK                                                        \
  const RowVec xhat = (LOAD(AT(p.x, r)) - mean) * rstd;             \
  RowVec u = xhat * gamma + shift;                                  \
  if (p.residual.data) u += LOAD(AT(p.residual, r));                \
  const RowVec below = p.act.elu ? slope * exp_below(u, 0) : slope; \
  const RowVec d = LOAD(AT(p.dy, r)), du = u > 0 ? d : below * d
#define OF_CHANNELS                                                                         \
  const RowVec mean = LOAD(p.mean + c), rstd = LOAD(p.rstd + c), gamma = LOAD(p.gamma + c); \
  const RowVec shift = LOAD(p.shift + c), slope = SLOPE(p.act)

CTSEG_SIMD_TARGET inline void norm_sums(const NormPass& p, Index first) {
  FOR_VECTORS(p) {
    OF_CHANNELS;
    float *of_du = p.sums + c, *of_dot = of_du + p.channels, *of_below = of_dot + p.channels;
    RowVec sum_du = LOAD(of_du), sum_dot = LOAD(of_dot), sum_below = LOAD(of_below);
    FOR_ROWS {
      LOOK;
      sum_du += du;
      sum_dot += du * xhat;
      sum_below += u > 0 ? RowVec{} : d * u;
    }
    STORE(of_du) = sum_du;
    STORE(of_dot) = sum_dot;
    STORE(of_below) = sum_below;
  }
  REST(norm_sums, p);
}

CTSEG_SIMD_TARGET inline void norm_assign(const NormPass& p, Index first) {
  FOR_VECTORS(p) {
    OF_CHANNELS;
    const RowVec du_mean = LOAD(p.du_mean + c), dot_mean = LOAD(p.dot_mean + c);
    FOR_ROWS {
      LOOK;
      if (p.dresidual.data) STORE(AT(p.dresidual, r)) = du;
      if (p.y.data) STORE(AT(p.y, r)) = rstd * (gamma * du - du_mean - xhat * dot_mean);
    }
  }
  REST(norm_assign, p);
}

CTSEG_SIMD_TARGET inline void bend(const BendPass& p, Index first) {
  FOR_VECTORS(p) {
    const RowVec slope = SLOPE(p.act);
    FOR_ROWS {
      const RowVec x = LOAD(AT(p.x, r));
      STORE(AT(p.y, r)) = p.act.zero ? (x < 0 ? RowVec{} : x) : x > 0 ? x : slope * (p.act.elu ? exp_below(x, 1) : x);
    }
  }
  REST(bend, p);
}
CTSEG_SIMD_TARGET inline void bend_back(const BendPass& p, Index first) {
  FOR_VECTORS(p) {
    const RowVec slope = SLOPE(p.act);
    FOR_ROWS {
      const RowVec d = LOAD(AT(p.dy, r)), x = LOAD(AT(p.x, r));
      STORE(AT(p.y, r)) = x > 0 ? d : slope * (p.act.elu ? exp_below(x, 0) * d : d);
    }
  }
  REST(bend_back, p);
}

#define FOR_LINES                      \
  for (Index z = 0; z < p.planes; ++z) \
    for (Index l = 0; l < p.lines; ++l)
// Four chains hide the latency of an addition: f(k) for the rows of a line, at x, in turn.
#define FOUR_ROWS(f)                                                    \
  FOR_LINES {                                                           \
    const float* x = p.x.data + z * p.plane_step + l * p.line_step + c; \
    Index r = p.rows;                                                   \
    for (; r >= 4; r -= 4, x += 4 * p.x.pitch)                          \
      for (int k = 0; k < 4; ++k) f(k);                                 \
    for (; r > 0; --r, x += p.x.pitch) f(0);                            \
  }
CTSEG_SIMD_TARGET inline void moments(const MomentsPass& p, Index first) {
  const Index end = first + (p.channels - first) / kRowLanes * kRowLanes;
  const float count = static_cast<float>(p.rows * p.lines * p.planes);
  for (Index c = first; c < end; c += kRowLanes) {
    RowVec sum[4] = {}, off[4] = {}, square[4] = {};
    if (!p.around) {
#define SUM(k) sum[k] += LOAD(x + k * p.x.pitch)
      FOUR_ROWS(SUM)
#undef SUM
    }
    const RowVec middle = p.around ? LOAD(p.around + c) : (sum[0] + sum[1] + (sum[2] + sum[3])) / count;
#define APART(k)                                           \
  {                                                        \
    const RowVec apart = LOAD(x + k * p.x.pitch) - middle; \
    off[k] += apart;                                       \
    square[k] += apart * apart;                            \
  }
    FOUR_ROWS(APART)
#undef APART
    const RowVec all = off[0] + off[1] + (off[2] + off[3]);
    STORE(p.mean + c) = middle + all / count;
    STORE(p.deviation + c) = square[0] + square[1] + (square[2] + square[3]) - all * all / count;
  }
  REST(moments, p);
}

CTSEG_SIMD_TARGET inline void add(const AddPass& p, Index first) {
  FOR_VECTORS(p)
  FOR_ROWS STORE(AT(p.y, r)) += p.scale * LOAD(AT(p.x, r));
  REST(add, p);
}

#define IS_NAN(v) (((RowInts)(v)&0x7fffffff) > 0x7f800000)   // by bits: under -ffast-math v != v may say anything
CTSEG_SIMD_TARGET inline void max(const MaxPass& p, Index first) {
  const Index end = first + (p.channels - first) / kRowLanes * kRowLanes;
  for (Index r = 0; r < p.rows; ++r)
    for (Index c = first; c < end; c += kRowLanes) {
      const float* x = p.x + r * p.step + c;
      RowVec best = LOAD(x + p.offset[0]);
      RowInts tap = {};
      for (Index t = 1; t < p.taps; ++t) {
        const RowVec v = LOAD(x + p.offset[t]);
        __builtin_prefetch(x + 4 * p.step + p.offset[t]);
        const RowInts wins = ((v > best) | IS_NAN(v)) & ~IS_NAN(best);
        best = wins ? v : best;
        if (p.winner) tap = wins ? RowInts{} + static_cast<int>(t) : tap;
      }
      STORE(AT(p.y, r)) = best;
      if (p.winner) *reinterpret_cast<RowBytes*>(p.winner + r * p.channels + c) = __builtin_convertvector(tap, RowBytes);
    }
  REST(max, p);
}
CTSEG_SIMD_TARGET inline void max_back(const MaxBackPass& p, Index first) {
  const Index end = first + (p.channels - first) / kRowLanes * kRowLanes;
  for (Index c = first; c < end; c += kRowLanes) {
    const RowInts tap = __builtin_convertvector(*reinterpret_cast<const RowBytes*>(p.winner + c), RowInts);
    const RowVec y = LOAD(p.y + c);
    STORE(p.y + c) = tap == static_cast<int>(p.tap) ? y + LOAD(p.dy + c) : y;
  }
  REST(max_back, p);
}

#undef IS_NAN
#undef LOAD
#undef STORE
#undef AT
#undef SLOPE
#undef FOR_VECTORS
#undef FOR_ROWS
#undef FOR_LINES
#undef FOUR_ROWS
#undef REST
#undef LOOK
#undef OF_CHANNELS

inline constexpr RowTable kRows = {&norm, &norm_sums, &norm_assign, &bend, &bend_back, &moments, &add, &max, &max_back};

}   // namespace ctseg::simd::CTSEG_SIMD_NAME

#undef CTSEG_SIMD_NAME
#undef CTSEG_SIMD_TARGET
#undef CTSEG_SIMD_LANES
#undef CTSEG_SIMD_REST
