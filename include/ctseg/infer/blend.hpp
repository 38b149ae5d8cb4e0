// The two loops of blending: weighted sums of logits, and their division by the weights. Eight lanes by vector extensions, so
// that plain -O2 makes vectors of them; compiled for AVX2 without fused multiply-add, so both paths have the same bits.
#pragma once
#include "../core/device.hpp"

namespace ctseg::detail {

typedef float BlendF8 __attribute__((vector_size(32), aligned(4), may_alias));   // anywhere in memory

/// to[i] += max(weights[i] * scale, least) * from[i]
struct WeightedRow {
  float* to;
  const float* from;
  const float* weights;   // one per value: those of a voxel's channels are equal
  float scale, least;
  Index count;
};

[[gnu::always_inline]] inline void add_row_body(const WeightedRow r) {   // by value: nothing is read twice
  Index i = 0;
  for (; i + 8 <= r.count; i += 8) {
    const BlendF8 w = *reinterpret_cast<const BlendF8*>(r.weights + i) * r.scale, least = BlendF8{} + r.least;
    *reinterpret_cast<BlendF8*>(r.to + i) += (w < least ? least : w) * *reinterpret_cast<const BlendF8*>(r.from + i);
  }
  for (; i < r.count; ++i) {
    const float w = r.weights[i] * r.scale;
    r.to[i] += (w < r.least ? r.least : w) * r.from[i];
  }
}

/// values[v * channels + c] /= totals[v]
struct DividedRow {
  float* values;
  const float* totals;
  Index voxels, channels;
};

[[gnu::always_inline]] inline void divide_row_body(const DividedRow r) {
  for (Index v = 0; v < r.voxels; ++v) {
    float* at = r.values + v * r.channels;
    const float total = r.totals[v];
    Index c = 0;
    for (; c + 8 <= r.channels; c += 8) *reinterpret_cast<BlendF8*>(at + c) /= BlendF8{} + total;
    for (; c < r.channels; ++c) at[c] /= total;
  }
}

inline void add_row_plain(const WeightedRow& r) { add_row_body(r); }
inline void divide_row_plain(const DividedRow& r) { divide_row_body(r); }
#if defined(__x86_64__)
__attribute__((target("avx2"))) inline void add_row_avx2(const WeightedRow& r) { add_row_body(r); }
__attribute__((target("avx2"))) inline void divide_row_avx2(const DividedRow& r) { divide_row_body(r); }
#endif

struct BlendTable {
  void (*add)(const WeightedRow&) = add_row_plain;
  void (*divide)(const DividedRow&) = divide_row_plain;
};
inline BlendTable blend_table([[maybe_unused]] Isa isa) {
#if defined(__x86_64__)
  if (isa == Isa::avx512 || isa == Isa::avx2) return {add_row_avx2, divide_row_avx2};
#endif
  return {};
}

}   // namespace ctseg::detail
