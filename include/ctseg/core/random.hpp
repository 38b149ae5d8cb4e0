// Random numbers without state: a key and a counter give a number, in any order and on any thread.
#pragma once
#include <array>
#include <cmath>
#include <cstdint>

#include "error.hpp"

namespace ctseg {

/// Four random words from a 128-bit counter and a 64-bit key.
/// Source    Salmon et al., Parallel random numbers: as easy as 1, 2, 3, SC 2011 (Philox4x32-10).
constexpr std::array<std::uint32_t, 4> philox(std::array<std::uint32_t, 4> counter, std::array<std::uint32_t, 2> key) {
  for (int round = 0; round < 10; ++round) {
    const std::uint64_t a = std::uint64_t{0xD2511F53} * counter[0], b = std::uint64_t{0xCD9E8D57} * counter[2];
    counter = {static_cast<std::uint32_t>(b >> 32) ^ counter[1] ^ key[0], static_cast<std::uint32_t>(b),
               static_cast<std::uint32_t>(a >> 32) ^ counter[3] ^ key[1], static_cast<std::uint32_t>(a)};
    key[0] += 0x9E3779B9;
    key[1] += 0xBB67AE85;
  }
  return counter;
}

/// Names one stream of numbers, for example one op of one training step: the same key gives the same numbers in forward,
/// backward and recomputation.
struct RandomKey {
  std::uint64_t seed = 0, run = 0;
  std::uint32_t op = 0;

  /// Words number 4 * block .. 4 * block + 3 of the stream.
  constexpr std::array<std::uint32_t, 4> words(std::uint64_t block) const {
    const std::uint64_t key = seed + (run >> 32) * 0x9E3779B97F4A7C15;
    return philox(
        {static_cast<std::uint32_t>(block), static_cast<std::uint32_t>(block >> 32), op, static_cast<std::uint32_t>(run)},
        {static_cast<std::uint32_t>(key), static_cast<std::uint32_t>(key >> 32)});
  }
};

/// Uniform in [0, 1), of the 24 high bits of a word.
constexpr float uniform_of(std::uint32_t word) { return static_cast<float>(word >> 8) * 0x1p-24f; }
/// Uniform in [0, 1) with 24 bits: number `counter` of the stream.
constexpr float uniform(RandomKey key, std::uint64_t counter) { return uniform_of(key.words(counter / 4)[counter % 4]); }

/// Numbers one after the other, for host code that draws in order: patch positions, initial weights, phantoms.
class RandomStream {
 public:
  explicit RandomStream(RandomKey key) : key_(key) {}

  std::uint32_t word() {
    if (next_ % 4 == 0) block_ = key_.words(next_ / 4);
    return block_[next_++ % 4];
  }
  /// In [0, 1) with 53 bits.
  double uniform() {
    const std::uint64_t high = word() >> 5, low = word() >> 6;
    return static_cast<double>(high << 26 | low) * 0x1p-53;
  }
  double uniform(double low, double high) { return low + (high - low) * uniform(); }
  /// Standard normal, by Box and Muller.
  double normal() {
    const double u = 1 - uniform(), v = uniform();
    return std::sqrt(-2 * std::log(u)) * std::cos(6.283185307179586 * v);
  }
  /// In [0, count), without the bias of a modulo.
  Index below(Index count) {
    if (count <= 0) throw Error(Code::bad_argument, "random", text("cannot draw one of ", count, " things"));
    const std::uint64_t n = static_cast<std::uint64_t>(count), reject = (0 - n) % n;
    for (;;) {
      const std::uint64_t high = word(), low = word(), x = high << 32 | low;
      if (x >= reject) return static_cast<Index>(x % n);
    }
  }

 private:
  RandomKey key_;
  std::uint64_t next_ = 0;
  std::array<std::uint32_t, 4> block_{};
};

}   // namespace ctseg
