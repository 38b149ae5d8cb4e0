// The tiles of every instruction set, and the choice between them at run time.
#pragma once
#include <iterator>

#include "plain.hpp"
#include "tiles.hpp"

// Tiles fill the vector registers. One-vector tiles need more rows to hide the latency.

// Whatever the compiler makes of vectors of four.
#define CTSEG_SIMD_ROWS_OF_ONE 8, 1
#define CTSEG_SIMD_ROWS_OF_TWO 6, 1
#define CTSEG_SIMD_NAME scalar
#define CTSEG_SIMD_TARGET
#define CTSEG_SIMD_LANES 4
#include "transforms_body.hpp"
// which says what a vector is
#include "tiles_body.hpp"
#undef CTSEG_SIMD_ROWS_OF_ONE
#undef CTSEG_SIMD_ROWS_OF_TWO

// 32 registers. scalar16 has avx512's tiles in plain loops: tests of what surrounds them run on every processor.
#define CTSEG_SIMD_ROWS_OF_ONE 14, 8, 4, 1
#define CTSEG_SIMD_ROWS_OF_TWO 14, 12, 8, 6, 4, 1
#if defined(__x86_64__)
#define CTSEG_SIMD_NAME avx512
#define CTSEG_SIMD_TARGET __attribute__((target("avx512f,avx512dq,avx512vl,fma")))
#define CTSEG_SIMD_LANES 16
#include "transforms_body.hpp"
// which says what a vector is
#include "tiles_body.hpp"
#endif
namespace ctseg::simd::scalar16 {
inline constexpr auto& kOne = plain::kShapes<CTSEG_SIMD_ROWS_OF_ONE>;
inline constexpr auto& kTwo = plain::kShapes<CTSEG_SIMD_ROWS_OF_TWO>;
inline constexpr TileTable kTable = {
    16, {{kOne, std::size(kOne)}, {kTwo, std::size(kTwo)}}, &plain::add, &plain::kTransforms<16, scalar::kTransforms>};
}   // namespace ctseg::simd::scalar16
#undef CTSEG_SIMD_ROWS_OF_ONE
#undef CTSEG_SIMD_ROWS_OF_TWO

// 16 registers. avx512 leaves few channels to avx2, so scalar16 leaves them to scalar8.
#define CTSEG_SIMD_ROWS_OF_ONE 12, 8, 4, 1
#define CTSEG_SIMD_ROWS_OF_TWO 6, 4, 1
#if defined(__x86_64__)
#define CTSEG_SIMD_NAME avx2
#define CTSEG_SIMD_TARGET __attribute__((target("avx2,fma")))
#define CTSEG_SIMD_LANES 8
#include "transforms_body.hpp"
// which says what a vector is
#include "tiles_body.hpp"
#endif
namespace ctseg::simd::scalar8 {
inline constexpr auto& kOne = plain::kShapes<CTSEG_SIMD_ROWS_OF_ONE>;
inline constexpr auto& kTwo = plain::kShapes<CTSEG_SIMD_ROWS_OF_TWO>;
inline constexpr TileTable kTable = {
    8, {{kOne, std::size(kOne)}, {kTwo, std::size(kTwo)}}, &plain::add, &plain::kTransforms<8, scalar::kTransforms>};
}   // namespace ctseg::simd::scalar8
#undef CTSEG_SIMD_ROWS_OF_ONE
#undef CTSEG_SIMD_ROWS_OF_TWO

// 32 registers, but g++ loads many x ahead: with 11 x 2 rows and more it spills accumulators (clang++ from 14 x 2 on).
#if defined(__aarch64__)
#define CTSEG_SIMD_ROWS_OF_ONE 14, 8, 4, 1
#define CTSEG_SIMD_ROWS_OF_TWO 10, 8, 6, 4, 1
#define CTSEG_SIMD_NAME neon
#define CTSEG_SIMD_TARGET
#define CTSEG_SIMD_LANES 4
#include "transforms_body.hpp"
// which says what a vector is
#include "tiles_body.hpp"
#undef CTSEG_SIMD_ROWS_OF_ONE
#undef CTSEG_SIMD_ROWS_OF_TWO
#endif

namespace ctseg::simd {

[[noreturn, gnu::cold]] inline void refuse(Isa isa) {
  throw Error(Code::unsupported, "convolution", text("this program has no ", isa, " path. Hint: scalar is everywhere."));
}

/// The tiles for a result of `channels` channels. Up to eight fit one vector of 8 lanes and would leave half of 16 idle.
inline const TileTable& tiles(Isa isa, Index channels) {
  const bool wide = channels > 8;
  switch (isa) {
    case Isa::scalar:
      return scalar::kTable;
    case Isa::scalar16:
      return wide ? scalar16::kTable : scalar8::kTable;
#if defined(__x86_64__)
    case Isa::avx2:
      return avx2::kTable;
    case Isa::avx512:
      return wide ? avx512::kTable : avx2::kTable;
#elif defined(__aarch64__)
    case Isa::neon:
      return neon::kTable;
#endif
    default:
      refuse(isa);
  }
}

}   // namespace ctseg::simd
