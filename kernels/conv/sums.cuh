// The end of a gradient: partial results that blocks left in scratch become one.
#pragma once
#include "ctseg/ops/cuda/runtime.hpp"

namespace ctseg::cuda {

/// out[i] += sum over p < count of partials[p * size + i], in double, in an order that follows the shape.
struct Partials {
  const float* partials;
  float* out;
  Index size, count;
};
void sum_partials(Stream, const Partials&);

}   // namespace ctseg::cuda
