// Linear maps that act along each axis on its own: upsampling, average pooling, padding. An op says what one coordinate of the
// output reads; its kernel makes forward of that, and backward as the transpose.
#pragma once
#include "op.hpp"

namespace ctseg {

/// Kernel<Separable, S>: scratch(map, x, y), forward(ctx, map, x, y, {scratch, outside}), backward(ctx, map, dy, dx, scratch).
/// map(d, o, f) calls f(i, weight) for every coordinate i that coordinate o of axis d reads, always in the same order. A voxel
/// without any source becomes `outside`.
struct Separable;
struct SeparableMemory {
  Bytes scratch;
  float outside = 0;
};

}   // namespace ctseg
