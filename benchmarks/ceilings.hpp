// What the processor could do, measured in the same run as what it did: multiply-adds in registers, and copies of memory.
#pragma once
#include <chrono>
#include <cstring>
#include <ctime>
#include <vector>

#include <ctseg/core/device.hpp>
#include <ctseg/core/parallel.hpp>

namespace ctseg::bench {

inline double now() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

inline double processor_time() { return static_cast<double>(std::clock()) / CLOCKS_PER_SEC; }   // of all threads

/// 12 independent chains of multiply-adds in registers; their start is read from memory, or compilers would merge them.
typedef float Vec8 __attribute__((vector_size(32), aligned(4), may_alias));
typedef float Vec16 __attribute__((vector_size(64), aligned(4), may_alias));
#define CHAINS(V)                                                                         \
  const float* s = sink;                                                                  \
  V m = V{} + 0.999f, c = V{} + s[12], a0 = V{} + s[0], a1 = V{} + s[1], a2 = V{} + s[2]; \
  V a3 = V{} + s[3], a4 = V{} + s[4], a5 = V{} + s[5], a6 = V{} + s[6], a7 = V{} + s[7];  \
  V a8 = V{} + s[8], a9 = V{} + s[9], a10 = V{} + s[10], a11 = V{} + s[11];               \
  for (Index i = 0; i < n; ++i) {                                                         \
    a0 = a0 * m + c, a1 = a1 * m + c, a2 = a2 * m + c, a3 = a3 * m + c, a4 = a4 * m + c;  \
    a5 = a5 * m + c, a6 = a6 * m + c, a7 = a7 * m + c, a8 = a8 * m + c, a9 = a9 * m + c;  \
    a10 = a10 * m + c, a11 = a11 * m + c;                                                 \
  }                                                                                       \
  *reinterpret_cast<V*>(sink) = a0 + a1 + a2 + a3 + a4 + a5 + a6 + a7 + a8 + a9 + a10 + a11
#if defined(__x86_64__)
__attribute__((target("avx2,fma"))) inline void chains8(Index n, float* sink) { CHAINS(Vec8); }
__attribute__((target("avx512f,fma"))) inline void chains16(Index n, float* sink) { CHAINS(Vec16); }
#elif defined(__aarch64__)
/// As much work in 24 chains of 4. An fmla adds to its own result, so each chain does: pairs turn around zero.
typedef float Vec4 __attribute__((vector_size(16), aligned(4), may_alias));
inline void chains8(Index n, float* sink) {
  const float* s = sink;
  const Vec4 m = Vec4{} + 0.001f;
  Vec4 a0 = m + s[0], a1 = m + s[1], a2 = m + s[2], a3 = m + s[3], a4 = m + s[4], a5 = m + s[5], a6 = m + s[6], a7 = m + s[7];
  Vec4 a8 = m + s[8], a9 = m + s[9], a10 = m + s[10], a11 = m + s[11], b0 = a0 + m, b1 = a1 + m, b2 = a2 + m, b3 = a3 + m;
  Vec4 b4 = a4 + m, b5 = a5 + m, b6 = a6 + m, b7 = a7 + m, b8 = a8 + m, b9 = a9 + m, b10 = a10 + m, b11 = a11 + m;
  for (Index i = 0; i < n; ++i) {
    a0 += b0 * m, a1 += b1 * m, a2 += b2 * m, a3 += b3 * m, a4 += b4 * m, a5 += b5 * m, a6 += b6 * m, a7 += b7 * m;
    a8 += b8 * m, a9 += b9 * m, a10 += b10 * m, a11 += b11 * m, b0 -= a0 * m, b1 -= a1 * m, b2 -= a2 * m, b3 -= a3 * m;
    b4 -= a4 * m, b5 -= a5 * m, b6 -= a6 * m, b7 -= a7 * m, b8 -= a8 * m, b9 -= a9 * m, b10 -= a10 * m, b11 -= a11 * m;
  }
  *reinterpret_cast<Vec4*>(sink) =
      a0 + a1 + a2 + a3 + a4 + a5 + a6 + a7 + a8 + a9 + a10 + a11 + b0 + b1 + b2 + b3 + b4 + b5 + b6 + b7 + b8 + b9 + b10 + b11;
}
inline void chains16(Index n, float* sink) { chains8(2 * n, sink); }
#else
inline void chains8(Index n, float* sink) { CHAINS(Vec8); }
inline void chains16(Index n, float* sink) { CHAINS(Vec16); }
#endif

/// Speed of about `seconds` of multiply-adds on every thread: GF per second of processor time, times the threads.
inline double peak_gflops(Executor& pool, double seconds) {
  static const bool wide = detect_isa() == Isa::avx512;
  static double loops_per_second = 0;
  static float sinks[64 * 16];
  const auto run = [&](Index loops) {
    const double start = processor_time();
    parallel_for(pool, pool.threads(), [&](Index i) { (wide ? chains16 : chains8)(loops, sinks + i % 64 * 16); });
    return (processor_time() - start) / pool.threads();
  };
  if (loops_per_second == 0) run(1'000'000), loops_per_second = 1e6 / run(1'000'000);
  const Index loops = static_cast<Index>(seconds * loops_per_second) + 100'000;
  return static_cast<double>(pool.threads() * loops) * 12 * 2 * (wide ? 16 : 8) / run(loops) * 1e-9;
}

/// GB per second, read and written, of a copy that no cache holds, all threads together.
inline double copy_gbytes(Executor& pool, double seconds) {
  constexpr Index kBytes = 64 << 20, kPieces = 64, kPiece = kBytes / kPieces;
  static std::vector<char> from(kBytes, 1), to(kBytes, 2);
  const auto copy = [&] {
    parallel_for(pool, kPieces, [&](Index i) { std::memcpy(to.data() + i * kPiece, from.data() + i * kPiece, kPiece); });
  };
  copy();
  Index copies = 0;
  const double start = now();
  double spent = 0;
  do copy(), ++copies, spent = now() - start;
  while (spent < seconds);
  return 2e-9 * static_cast<double>(copies * kBytes) / spent;
}

}   // namespace ctseg::bench
