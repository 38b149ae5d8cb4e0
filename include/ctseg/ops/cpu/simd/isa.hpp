// The tiles of every instruction set, and the choice between them at run time.
#pragma once
#include <iterator>

#include "tiles.hpp"

// Tiles fill the vector registers: 32 with AVX-512, 16 elsewhere. One-vector tiles need more rows to hide the latency.
#if defined(__x86_64__)
#define CTSEG_SIMD_NAME avx512
#define CTSEG_SIMD_TARGET __attribute__((target("avx512f,avx512dq,avx512vl,fma")))
#define CTSEG_SIMD_LANES 16
#define CTSEG_SIMD_ROWS_OF_ONE 14, 8, 4, 1
#define CTSEG_SIMD_ROWS_OF_TWO 14, 12, 8, 6, 4, 1
#include "tiles_body.hpp"

#define CTSEG_SIMD_NAME avx2
#define CTSEG_SIMD_TARGET __attribute__((target("avx2,fma")))
#define CTSEG_SIMD_LANES 8
#define CTSEG_SIMD_ROWS_OF_ONE 12, 8, 4, 1
#define CTSEG_SIMD_ROWS_OF_TWO 6, 4, 1
#include "tiles_body.hpp"
#endif

#define CTSEG_SIMD_NAME scalar
#define CTSEG_SIMD_TARGET
#define CTSEG_SIMD_LANES 4
#define CTSEG_SIMD_ROWS_OF_ONE 8, 1
#define CTSEG_SIMD_ROWS_OF_TWO 6, 1
#include "tiles_body.hpp"

namespace ctseg::simd {

/// The tiles for a result of `channels` channels. Up to eight fit one AVX2 vector and would leave half of an AVX-512 one idle.
inline const TileTable& tiles(Isa isa, [[maybe_unused]] Index channels) {
#if defined(__x86_64__)
  if (isa == Isa::avx512 && channels > 8) return avx512::kTable;
  if (isa != Isa::scalar) return avx2::kTable;
#endif
  if (isa != Isa::scalar)
    throw Error(Code::unsupported, "convolution", text("the ", isa, " path does not exist on this processor, scalar does."));
  return scalar::kTable;
}

}   // namespace ctseg::simd
