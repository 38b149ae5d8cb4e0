// The inner loops of augmentation for every instruction set, and the choice between them at run time.
#pragma once
#include <array>
#include <cstdint>
#include <limits>
#include <utility>

#include "../../core/device.hpp"
#include "../../core/error.hpp"
#include "../../core/random.hpp"

namespace ctseg::augment {

/// Voxel noise is Threefry4x32-12: counter-based like Philox and from the same paper, but of additions, turns and xor only,
/// which compilers turn into vectors without help (Philox multiplies 32 x 32 -> 64 bits, which g++ 12 makes three times as
/// slow). Twelve rounds is the least that passes BigCrush there. The key comes from a RandomKey, as everything random.
/// Source    Salmon et al., Parallel random numbers: as easy as 1, 2, 3, SC 2011.
using NoiseKey = std::array<std::uint32_t, 4>;
inline constexpr int kNoiseRounds = 12;
inline constexpr int kTurns[8][2] = {{10, 26}, {11, 21}, {13, 27}, {23, 5}, {6, 20}, {17, 11}, {25, 10}, {18, 20}};

struct NoiseJob {
  NoiseKey key{};
  float mean = 0, std = 1;
  bool normal = true;   // else uniform in [-std, std)
};
struct Rows {
  const float* const* from;
  const float* weights;
  Index count;
};
/// Sums are taken around a pivot near the values, in double.
struct Stats {
  double pivot = 0, sum = 0, square = 0;
  float low = std::numeric_limits<float>::max(), high = std::numeric_limits<float>::lowest();
};
struct LinearJob {
  float scale = 1, shift = 0;
  float low = std::numeric_limits<float>::lowest(), high = std::numeric_limits<float>::max();
};
struct PowerJob {
  float scale, shift, gamma, range, low;
};
/// One row of target voxels: coordinates z, y, x in the source, and what is made of them. Arrays hold a multiple of four.
struct RowTaps {
  const double* at[3];
  std::array<Index, 3> extent, stride;
  float* weight[3];
  float* inside;
  std::int32_t *offset, *nearest;
};

struct Ramp {
  double start, step;
  Index first;
};

struct Kernels {
  void (*add_noise)(const NoiseJob&, float* x, Index count);
  void (*combine)(const Rows&, float* to, Index count);
  void (*add_stats)(Stats&, const float* x, Index count);
  void (*linear)(const LinearJob&, float* x, Index count);
  void (*power)(const PowerJob&, float* x, Index count, Stats*);
  void (*ramp)(const Ramp&, double* at, Index count);
  void (*row_taps)(const RowTaps&, Index count);
  void (*row_nearest)(const RowTaps&, Index count);
  void (*row_inside)(const RowTaps&, Index count);
  void (*trilinear)(const RowTaps&, const float* from, float* to, Index count);
};

}   // namespace ctseg::augment

#if defined(__x86_64__)
#define CTSEG_AUGMENT_NAME avx2
#define CTSEG_AUGMENT_TARGET __attribute__((target("avx2")))
#include "kernels_body.hpp"
#endif

#define CTSEG_AUGMENT_NAME scalar
#define CTSEG_AUGMENT_TARGET
#include "kernels_body.hpp"

namespace ctseg::augment {

inline const Kernels& kernels([[maybe_unused]] Isa isa) {
#if defined(__x86_64__)
  if (isa != Isa::scalar) return avx2::kTable;
#endif
  return scalar::kTable;
}

}   // namespace ctseg::augment
