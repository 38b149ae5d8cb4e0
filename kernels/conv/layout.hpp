// Small passes around a convolution: filters in and out of its order, bias, sums over voxels.
#pragma once
#include "ctseg/ops/cuda/array.hpp"
#include "ctseg/ops/cuda/runtime.hpp"

namespace ctseg::cuda {

/// A filter in float as the library keeps it, [taps, in, out], beside the one of a pass, [first, taps, second], whose first
/// channels are `out` (swapped) or `in`.
struct FilterOrder {
  Index taps, in, out;
  bool swapped;   // true for a convolution, false for a transposed one
  Dtype dtype;    // of the pass
};
void pack_filter(Stream, const FilterOrder&, const float* w, void* filter);
/// dw += filter.
void add_filter_gradient(Stream, const FilterOrder&, const void* filter, float* dw);

/// y += bias, rounded to y's type.
void add_bias(Stream, const Array& y, const float* bias);
/// db[c] += sum over all voxels of x, the same bits each time; scratch of channel_sum_bytes(rows, channels).
void add_channel_sums(Stream, const Array& x, float* db, std::byte* scratch);
Index channel_sum_bytes(Index rows, Index channels);

}   // namespace ctseg::cuda
