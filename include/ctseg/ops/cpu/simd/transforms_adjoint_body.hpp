// The transposes of Winograd's output and weight transforms, for the weight gradient, whose input transform is forward's.
// Part of transforms_body.hpp, in whose macros they are written.
// No #pragma once: this file is meant to be included several times.

/// Gradients of m results to n points; in place where a line has room for n values.
template <Tiling kTiling> CTSEG_SIMD_TARGET void output_adjoint(const TransformPass& p) {
  LINES(p)
    const Vec a = LOAD(0);
    if constexpr (kTiling == Tiling::whole) {
      STORE(0) = a;
    } else if constexpr (kTiling == Tiling::f2k3) {
      const Vec b = LOAD(1);
      STORE(0) = a;
      STORE(1) = a + b;
      STORE(2) = a - b;
      STORE(3) = -b;
    } else if constexpr (inputs_of(kTiling) == 8) {
      const Vec b = LOAD(1), c = LOAD(2), d = LOAD(3);
      Vec even = a + c, odd = b + d, even2 = a + 4.0f * c, odd2 = 2.0f * b + 8.0f * d, last = d;
      Vec half = a + 0.25f * c, odd_half = 0.5f * b + 0.125f * d;
      if constexpr (kTiling == Tiling::f6k3) {
        const Vec e = LOAD(4), f = LOAD(5);
        even += e, odd += f, even2 += 16.0f * e, odd2 += 32.0f * f, last = f;
        half += 0.0625f * e, odd_half += 0.03125f * f;
      }
      STORE(0) = a;
      STORE(1) = even + odd;
      STORE(2) = even - odd;
      STORE(3) = even2 + odd2;
      STORE(4) = even2 - odd2;
      STORE(5) = half + odd_half;
      STORE(6) = half - odd_half;
      STORE(7) = last;
    } else {
      const Vec b = LOAD(1);
      Vec even = a, odd = b, even2 = a, odd2 = 2.0f * b, last = b;
      if constexpr (kTiling == Tiling::f4k3) {
        const Vec c = LOAD(2), d = LOAD(3);
        even += c, odd += d, even2 += 4.0f * c, odd2 += 8.0f * d, last = d;
      }
      STORE(0) = a;
      STORE(1) = even + odd;
      STORE(2) = even - odd;
      STORE(3) = even2 + odd2;
      STORE(4) = even2 - odd2;
      STORE(5) = last;
    }
  END_LINES
}

/// Sums at n points to gradients of the taps.
template <Tiling kTiling> CTSEG_SIMD_TARGET void weight_adjoint(const TransformPass& p) {
  LINES(p)
    const Vec a = LOAD(0);
    if constexpr (kTiling == Tiling::whole) {
      STORE(0) = a;
    } else {
      const Vec b = LOAD(1), c = LOAD(2), d = LOAD(3);
      if constexpr (kTiling == Tiling::f2k3) {
        const Vec even = 0.5f * (b + c);
        STORE(0) = a + even;
        STORE(1) = 0.5f * (b - c);
        STORE(2) = even + d;
      } else if constexpr (inputs_of(kTiling) == 8) {
        const Vec e = LOAD(4), f = LOAD(5), g = LOAD(6), last = LOAD(7);
        const Vec even = (b + c) * (-2 / 9.0f), odd = (b - c) * (-2 / 9.0f);
        const Vec even2 = (d + e) * (1 / 90.0f), odd2 = (d - e) * (1 / 90.0f);
        const Vec half = (f + g) * (32 / 45.0f), odd_half = (f - g) * (32 / 45.0f);
        STORE(0) = a + even + even2 + half;
        STORE(1) = odd + 2.0f * odd2 + 0.5f * odd_half;
        if constexpr (kTiling == Tiling::f6k3) {
          STORE(2) = even + 4.0f * even2 + 0.25f * half + last;
        } else {
          STORE(2) = even + 4.0f * even2 + 0.25f * half;
          STORE(3) = odd + 8.0f * odd2 + 0.125f * odd_half;
          STORE(4) = even + 16.0f * even2 + 0.0625f * half + last;
        }
      } else {
        const Vec e = LOAD(4), last = LOAD(5);
        const Vec even = (b + c) * (-1 / 6.0f), odd = (b - c) * (-1 / 6.0f);
        const Vec even2 = (d + e) * (1 / 24.0f), odd2 = (d - e) * (1 / 24.0f);
        STORE(0) = 0.25f * a + even + even2;
        STORE(1) = odd + 2.0f * odd2;
        if constexpr (kTiling == Tiling::f4k3) {
          STORE(2) = even + 4.0f * even2 + last;
        } else {
          STORE(2) = even + 4.0f * even2;
          STORE(3) = odd + 8.0f * odd2;
          STORE(4) = even + 16.0f * even2 + last;
        }
      }
    }
  END_LINES
}
