// Which voxels meet in a convolution: one relation for forward, data gradient, weight gradient and transposed convolution.
#pragma once
#include <array>

#include "../core/error.hpp"

namespace ctseg {

/// Per axis z, y, x: voxel o of the output meets voxel o * stride + t * dilation - padding of the input through tap t, where
/// that exists. Two-dimensional work has depth 1, kernel 1, stride 1 and padding 0 there. Seen from the input side the same
/// relation is the data gradient of the convolution, and the transposed convolution.
struct ConvWindow {
  std::array<Index, 3> input{1, 1, 1}, output{1, 1, 1}, kernel{1, 1, 1}, stride{1, 1, 1}, padding{0, 0, 0}, dilation{1, 1, 1};

  Index taps() const { return kernel[0] * kernel[1] * kernel[2]; }
  bool operator==(const ConvWindow&) const = default;
};

/// One of the two sides of a window. A strided convolution reads its input side and writes its output side.
enum class Side { input, output };

}   // namespace ctseg
