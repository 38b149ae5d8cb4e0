// What the passes of a convolution read and write.
#pragma once
#include "epilogue.hpp"

namespace ctseg::simd {

/// Weights [tap][from][to], or if flipped [tap][to][from], and where to pack them.
struct PackBuffers {
  const float* w = nullptr;
  bool flipped = false;
  float* packed = nullptr;
};

/// What one gather reads and writes. Row v of an image is at data + v * pitch.
struct GatherBuffers {
  const float* x = nullptr;
  Index x_pitch = 0;
  const float* packed = nullptr;
  const float* bias = nullptr;   // none: zeros
  float* y = nullptr;
  Index y_pitch = 0;
  Index wave = 0;   // results overlap the source: so many chunks of tiles may run at a time (overlap.hpp); 0: all
  const Epilogue* epilogue = nullptr;
};

}   // namespace ctseg::simd
