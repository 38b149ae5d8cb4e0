// Steps on single values, to the CPU's formulas (data/augment/kernels_body.hpp). Where these have polynomials (logarithm, power,
// normals) nvcc may contract them: the last digit may differ there, nowhere else.
#pragma once
#include <bit>

#include "../common/exact.cuh"
#include "ctseg/data/cuda/launchers.hpp"

namespace ctseg::cuda {

CTSEG_DEVICE float logarithm(float x) {
  const int bits = std::bit_cast<int>(x), exponent = (bits - 0x3f3504f3) >> 23;
  const float m = std::bit_cast<float>(bits - exponent * (1 << 23)), s = (m - 1.f) / (m + 1.f), q = s * s;
  return static_cast<float>(exponent) * 0.693147181f + 2.f * s * (1.f + q * (1.f / 3 + q * (1.f / 5 + q * (1.f / 7))));
}
CTSEG_DEVICE float exponential(float x) {
  const float t = x * 1.44269504f;
  const int n = static_cast<int>(t - 0.5f);
  const float f = (t - static_cast<float>(n)) * 0.693147181f;
  const float y = 1.f + f * (1.f + f * (0.5f + f * (1.f / 6 + f * (1.f / 24 + f * (1.f / 120 + f * (1.f / 720))))));
  return y * std::bit_cast<float>((n + 127) << 23);
}
CTSEG_DEVICE float root(float x) {
  float r = std::bit_cast<float>(0x5f375a86 - (std::bit_cast<int>(x) >> 1));
  r *= 1.5f - 0.5f * x * r * r;
  r *= 1.5f - 0.5f * x * r * r;
  return x * r;
}

CTSEG_DEVICE void mix(std::uint32_t& a, std::uint32_t& b, int turn) {
  a += b;
  b = b << turn | b >> (32 - turn);
  b ^= a;
}
template <int Group> CTSEG_DEVICE void four_rounds(const std::uint32_t (&key)[5], std::uint32_t (&w)[4]) {
  constexpr int kTurns[2][8] = {{10, 26, 11, 21, 13, 27, 23, 5}, {6, 20, 17, 11, 25, 10, 18, 20}};
  constexpr int t = Group % 2;
  mix(w[0], w[1], kTurns[t][0]), mix(w[2], w[3], kTurns[t][1]);
  mix(w[0], w[3], kTurns[t][2]), mix(w[2], w[1], kTurns[t][3]);
  mix(w[0], w[1], kTurns[t][4]), mix(w[2], w[3], kTurns[t][5]);
  mix(w[0], w[3], kTurns[t][6]), mix(w[2], w[1], kTurns[t][7]);
  w[0] += key[(Group + 1) % 5];
  w[1] += key[(Group + 2) % 5];
  w[2] += key[(Group + 3) % 5];
  w[3] += key[(Group + 4) % 5] + static_cast<std::uint32_t>(Group + 1);
}

/// Number i of a stream of the CPU's, which makes 32 at a time from eight counters: Threefry4x32-12.
CTSEG_DEVICE float noise(const std::uint32_t (&k)[4], Index i, bool normal) {
  const std::uint32_t key[5] = {k[0], k[1], k[2], k[3], 0x1BD11BDA ^ k[0] ^ k[1] ^ k[2] ^ k[3]};
  const std::uint64_t counter = static_cast<std::uint64_t>(i / 32 * 8 + i % 8);
  std::uint32_t w[4] = {static_cast<std::uint32_t>(counter) + key[0], static_cast<std::uint32_t>(counter >> 32) + key[1],
                        key[2], key[3]};
  four_rounds<0>(key, w), four_rounds<1>(key, w), four_rounds<2>(key, w);
  const int which = static_cast<int>(i % 32 / 8);
  if (!normal) {
    const std::uint32_t word = which < 2 ? (which == 0 ? w[0] : w[1]) : (which == 2 ? w[2] : w[3]);
    return static_cast<float>(static_cast<std::int32_t>(word & ~127u)) * 0x1p-31f;
  }
  const std::uint32_t radius_word = which < 2 ? w[0] : w[2], angle = which < 2 ? w[1] : w[3];
  const float radius = root(-2.f * logarithm((static_cast<float>(static_cast<int>(radius_word >> 8)) + 0.5f) * 0x1p-24f));
  const float t = static_cast<float>(static_cast<std::int32_t>(angle & ~7u)) * (0.785398163f * 0x1p-31f), q = t * t;
  const float sine = t * (1.f - q * (1.f / 6 - q * (1.f / 120 - q * (1.f / 5040))));
  const float cosine = 1.f - q * (0.5f - q * (1.f / 24 - q * (1.f / 720 - q * (1.f / 40320))));
  const bool second = which & 1, sine_first = angle & 1;   // a pair has both, in an order that one bit chooses
  const float side = sine_first != second ? sine : cosine;
  return radius * ((angle >> (second ? 2 : 1) & 1) ? -side : side);
}

CTSEG_DEVICE float changed(const ValueOp& op, float x, Index i) {
  const auto n = [&op](int j) {
    return op.numbers ? op.numbers[j] : op.at[j];
  };   // no pointer to an argument: it would be copied
  if (op.kind == ValueOp::Kind::linear) {
    const float v = product(x, n(0)) + n(1), w = v < n(2) ? n(2) : v;
    return w > n(3) ? n(3) : w;
  }
  if (op.kind == ValueOp::Kind::power) {
    const float base = product(x, n(0)) + n(1), t = logarithm(base > 1e-30f ? base : 1e-30f) * n(2);
    return product(base > 0.f ? exponential(t > -87.f ? t : -87.f) : 0.f, n(3)) + n(4);
  }
  return x + (n(0) + product(n(1), noise(op.key, i, op.kind == ValueOp::Kind::normal)));
}
CTSEG_DEVICE float changed(const ValueProgram& program, float x, Index i) {
  for (int k = 0; k < ValueProgram::kMost; ++k)   // unrolled: the program stays where arguments are
    if (k < program.count && i >= program.ops[k].first && i < program.ops[k].last) x = changed(program.ops[k], x, i);
  return x;
}

}   // namespace ctseg::cuda
