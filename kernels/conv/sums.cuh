// Sums that end a gradient: of partial results that blocks left in scratch, and over the rows of an array.
#pragma once
#include "ctseg/ops/cuda/array.hpp"
#include "ctseg/ops/cuda/runtime.hpp"

namespace ctseg::cuda {

/// out[i] += sum over p < count of partials[p * size + i], in double, in order.
struct Partials {
  const float* partials;
  float* out;
  Index size, count;
};
void sum_partials(Stream, const Partials&);

/// out[c] += sum over all rows of x: float partial sums, these added in double.
Index channel_sums_scratch(Index rows, Index channels);
void add_channel_sums(Stream, const Array& x, float* out, std::byte* scratch);

}   // namespace ctseg::cuda
