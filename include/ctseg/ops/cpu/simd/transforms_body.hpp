// Winograd's transforms along one axis for vectors of CTSEG_SIMD_LANES channels, included once per instruction set like
// tiles_body.hpp, which comes after it. A line is loaded, transformed in registers and stored, so passes may work in place.
// Source: Lavin and Gray, arXiv:1509.09308; points and matrices after Winograd, 1980.
// No #pragma once: this file is meant to be included several times.

namespace ctseg::simd::CTSEG_SIMD_NAME {

inline constexpr Index kLanes = CTSEG_SIMD_LANES;
typedef float Vec __attribute__((vector_size(4 * CTSEG_SIMD_LANES)));
typedef float Loose __attribute__((vector_size(4 * CTSEG_SIMD_LANES), aligned(4), may_alias));   // a Vec anywhere in memory

#define LINES(p)                                                                                                     \
  const Index value = p.step.value, to_value = p.to_step.value, n = p.lines;                                         \
  const float* from_sheet = p.from;                                                                                  \
  float* to_sheet = p.to;                                                                                            \
  for (Index sheet = p.sheets; sheet > 0; --sheet, from_sheet += p.step.sheet, to_sheet += p.to_step.sheet) {        \
    const float* from_plane = from_sheet;                                                                            \
    float* to_plane = to_sheet;                                                                                      \
    for (Index plane = p.planes; plane > 0; --plane, from_plane += p.step.plane, to_plane += p.to_step.plane) {      \
      const float* from = from_plane;                                                                                \
      float* to = to_plane;                                                                                          \
      for (Index line = n; line > 0; --line, from += p.step.line, to += p.to_step.line) {
#define END_LINES \
  }               \
  }               \
  }
#define LOAD(i) (*reinterpret_cast<const Loose*>(from + (i)*value))
#define STORE(i) *reinterpret_cast<Loose*>(to + (i)*to_value)

template <Tiling kTiling> CTSEG_SIMD_TARGET void input_transform(const TransformPass& p) {
  LINES(p)
    const Vec a = LOAD(0);
    if constexpr (kTiling == Tiling::whole) {
      STORE(0) = a;
    } else if constexpr (kTiling == Tiling::f2s2) {
      const Vec b = LOAD(1), c = LOAD(2), d = LOAD(3), e = LOAD(4);
      STORE(0) = a - c;
      STORE(1) = c;
      STORE(2) = e - c;
      STORE(3) = b;
      STORE(4) = d;
    } else if constexpr (kTiling == Tiling::f4s2) {   // the points 0, 1, -1, 2 and infinity; then what meets one tap
      const Vec b = LOAD(1), c = LOAD(2), d = LOAD(3), e = LOAD(4), f = LOAD(5), g = LOAD(6), h = LOAD(7), i = LOAD(8);
      const Vec apart = g - c;
      STORE(0) = 2.0f * (a - e) + apart;
      STORE(1) = g - e - 2.0f * c;
      STORE(2) = 2.0f * c - 3.0f * e + g;
      STORE(3) = apart;
      STORE(4) = i - e - 2.0f * apart;
      STORE(5) = b;
      STORE(6) = d;
      STORE(7) = f;
      STORE(8) = h;
    } else if constexpr (kTiling == Tiling::f2k3) {
      const Vec b = LOAD(1), c = LOAD(2), d = LOAD(3);
      STORE(0) = a - c;
      STORE(1) = b + c;
      STORE(2) = c - b;
      STORE(3) = b - d;
    } else if constexpr (inputs_of(kTiling) == 8) {   // both sets of eight points are the same, and so is this
      const Vec b = LOAD(1), c = LOAD(2), d = LOAD(3), e = LOAD(4), f = LOAD(5), g = LOAD(6), h = LOAD(7);
      const Vec even = c - 4.25f * e + g, odd = b - 4.25f * d + f;
      const Vec even2 = 0.25f * c - 1.25f * e + g, odd2 = 0.5f * b - 2.5f * d + 2.0f * f;
      const Vec half = 4.0f * c - 5.0f * e + g, odd_half = 2.0f * b - 2.5f * d + 0.5f * f;
      STORE(0) = a - g + 5.25f * (e - c);
      STORE(1) = even + odd;
      STORE(2) = even - odd;
      STORE(3) = even2 + odd2;
      STORE(4) = even2 - odd2;
      STORE(5) = half + odd_half;
      STORE(6) = half - odd_half;
      STORE(7) = h - b + 5.25f * (d - f);
    } else {   // the same of six points
      const Vec b = LOAD(1), c = LOAD(2), d = LOAD(3), e = LOAD(4), f = LOAD(5);
      const Vec even = e - 4.0f * c, odd = d - 4.0f * b, even2 = e - c, odd2 = 2.0f * (d - b);
      STORE(0) = 4.0f * a - 5.0f * c + e;
      STORE(1) = even + odd;
      STORE(2) = even - odd;
      STORE(3) = even2 + odd2;
      STORE(4) = even2 - odd2;
      STORE(5) = 4.0f * b - 5.0f * d + f;
    }
  END_LINES
}

template <Tiling kTiling> CTSEG_SIMD_TARGET void weight_transform(const TransformPass& p) {
  LINES(p)
    const Vec a = LOAD(0);
    if constexpr (kTiling == Tiling::whole) {
      STORE(0) = a;
    } else {
      const Vec b = LOAD(1), c = LOAD(2);
      if constexpr (kTiling == Tiling::f2s2) {
        STORE(0) = a;
        STORE(1) = a + c;
        STORE(2) = c;
        STORE(3) = b;
      } else if constexpr (kTiling == Tiling::f4s2) {
        STORE(0) = 0.5f * a;
        STORE(1) = -0.5f * (a + c);
        STORE(2) = (c - a) * (1 / 6.0f);
        STORE(3) = (a + 2.0f * c) * (1 / 6.0f);
        STORE(4) = c;
        STORE(5) = b;
      } else if constexpr (kTiling == Tiling::f2k3) {
        const Vec even = 0.5f * (a + c), odd = 0.5f * b;
        STORE(0) = a;
        STORE(1) = even + odd;
        STORE(2) = even - odd;
        STORE(3) = c;
      } else if constexpr (inputs_of(kTiling) == 8) {
        Vec even = a + c, odd = b, even2 = a + 4.0f * c, odd2 = 2.0f * b, half = a + 0.25f * c, odd_half = 0.5f * b, last = c;
        if constexpr (kTiling == Tiling::f4k5) {
          const Vec d = LOAD(3), e = LOAD(4);
          even += e, odd += d, even2 += 16.0f * e, odd2 += 8.0f * d;
          half += 0.0625f * e, odd_half += 0.125f * d, last = e;
        }
        STORE(0) = a;
        STORE(1) = (even + odd) * (-2 / 9.0f);
        STORE(2) = (even - odd) * (-2 / 9.0f);
        STORE(3) = (even2 + odd2) * (1 / 90.0f);
        STORE(4) = (even2 - odd2) * (1 / 90.0f);
        STORE(5) = (half + odd_half) * (32 / 45.0f);
        STORE(6) = (half - odd_half) * (32 / 45.0f);
        STORE(7) = last;
      } else {
        Vec even = a + c, odd = b, even2 = a + 4.0f * c, odd2 = 2.0f * b, last = c;
        if constexpr (kTiling == Tiling::f2k5) {
          const Vec d = LOAD(3), e = LOAD(4);
          even += e, odd += d, even2 += 16.0f * e, odd2 += 8.0f * d, last = e;
        }
        STORE(0) = 0.25f * a;
        STORE(1) = (even + odd) * (-1 / 6.0f);
        STORE(2) = (even - odd) * (-1 / 6.0f);
        STORE(3) = (even2 + odd2) * (1 / 24.0f);
        STORE(4) = (even2 - odd2) * (1 / 24.0f);
        STORE(5) = last;
      }
    }
  END_LINES
}

template <Tiling kTiling> CTSEG_SIMD_TARGET void output_transform(const TransformPass& p) {
  Vec bias = {};
  if (p.bias) bias = *reinterpret_cast<const Loose*>(p.bias);
  LINES(p)
    const Vec a = LOAD(0) + bias;
    if constexpr (kTiling == Tiling::whole) {
      STORE(0) = a;
    } else if constexpr (kTiling == Tiling::f2s2) {
      const Vec b = LOAD(1), c = LOAD(2), d = LOAD(3), e = LOAD(4);
      STORE(0) = a + b + d;
      if (p.results > 1) STORE(1) = b + c + bias + e;
    } else if constexpr (kTiling == Tiling::f4s2) {
      const Vec b = LOAD(1), c = LOAD(2), d = LOAD(3), e = LOAD(4), f = LOAD(5), g = LOAD(6), h = LOAD(7), i = LOAD(8);
      const Vec even = b + c, odd = b - c + bias;
      STORE(0) = a + even + d + f;
      if (p.results > 1) STORE(1) = odd + 2.0f * d + g;
      if (p.results > 2) STORE(2) = even + bias + 4.0f * d + h;
      if (p.results > 3) STORE(3) = odd + 8.0f * d + e + i;
    } else {
      const Vec b = LOAD(1), c = LOAD(2), d = LOAD(3), even = b + c, odd = b - c + bias;
      if constexpr (kTiling == Tiling::f2k3) {
        STORE(0) = a + even;
        if (p.results > 1) STORE(1) = odd - d;
      } else {
        const Vec e = LOAD(4), f = LOAD(5), even2 = d + e, odd2 = d - e;
        if constexpr (inputs_of(kTiling) == 8) {
          const Vec g = LOAD(6), h = LOAD(7), half = f + g, odd_half = f - g, last = odd + 8.0f * odd2 + 0.125f * odd_half;
          STORE(0) = a + even + even2 + half;
          if (p.results > 1) STORE(1) = odd + 2.0f * odd2 + 0.5f * odd_half;
          if (p.results > 2) STORE(2) = even + bias + 4.0f * even2 + 0.25f * half;
          if (p.results > 3) STORE(3) = kTiling == Tiling::f4k5 ? last + h : last;
          if constexpr (kTiling == Tiling::f6k3) {
            if (p.results > 4) STORE(4) = even + bias + 16.0f * even2 + 0.0625f * half;
            if (p.results > 5) STORE(5) = odd + 32.0f * odd2 + 0.03125f * odd_half + h;
          }
          continue;
        }
        STORE(0) = a + even + even2;
        if constexpr (kTiling == Tiling::f2k5) {
          if (p.results > 1) STORE(1) = odd + 2.0f * odd2 + f;
        } else {
          if (p.results > 1) STORE(1) = odd + 2.0f * odd2;
          if (p.results > 2) STORE(2) = even + bias + 4.0f * even2;
          if (p.results > 3) STORE(3) = odd + 8.0f * odd2 + f;
        }
      }
    }
  END_LINES
}

#include "transforms_adjoint_body.hpp"
// in the same macros
#undef LINES
#undef END_LINES
#undef LOAD
#undef STORE

#define CTSEG_OF_STRIDE_1(f) \
  &f<Tiling::whole>, &f<Tiling::f2k3>, &f<Tiling::f4k3>, &f<Tiling::f2k5>, &f<Tiling::f4k5>, &f<Tiling::f6k3>
#define CTSEG_OF_ALL(f) \
  { CTSEG_OF_STRIDE_1(f), &f<Tiling::f2s2>, &f<Tiling::f4s2> }
inline constexpr TransformTable kTransforms = {CTSEG_OF_ALL(input_transform),
                                               CTSEG_OF_ALL(weight_transform),
                                               CTSEG_OF_ALL(output_transform),
                                               {CTSEG_OF_STRIDE_1(output_adjoint)},
                                               {CTSEG_OF_STRIDE_1(weight_adjoint)}};
#undef CTSEG_OF_ALL
#undef CTSEG_OF_STRIDE_1

}   // namespace ctseg::simd::CTSEG_SIMD_NAME
