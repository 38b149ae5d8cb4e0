// The passes over rows of every instruction set, and the choice between them at run time.
#pragma once
#include "../../../core/device.hpp"
#include "row_passes.hpp"

// One channel: where a row ends.
#define CTSEG_SIMD_NAME single
#define CTSEG_SIMD_TARGET
#define CTSEG_SIMD_LANES 1
#define CTSEG_SIMD_REST single
#include "rows_body.hpp"

#define CTSEG_SIMD_NAME scalar
#define CTSEG_SIMD_TARGET
#define CTSEG_SIMD_LANES 4
#define CTSEG_SIMD_REST single
#include "rows_body.hpp"

#if defined(__x86_64__)
#define CTSEG_SIMD_NAME avx2
#define CTSEG_SIMD_TARGET __attribute__((target("avx2,fma")))
#define CTSEG_SIMD_LANES 8
#define CTSEG_SIMD_REST scalar
#include "rows_body.hpp"
#endif

namespace ctseg::simd {

/// avx2 for avx512 as well: these passes wait for memory, and every set costs each user compile time. Neon's vectors are those
/// of scalar.
inline const RowTable& row_passes(Isa isa) {
#if defined(__x86_64__)
  if (isa == Isa::avx512 || isa == Isa::avx2) return avx2::kRows;
#endif
  (void)isa;
  return scalar::kRows;
}

}   // namespace ctseg::simd
