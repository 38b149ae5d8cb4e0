// The plain walk over a window: f(voxel on the other side, tap) for every partner of a voxel, in tap order.
#pragma once
#include "../window.hpp"

namespace ctseg::cpu {

template <class F> void for_partners(const ConvWindow& w, Side side, Index voxel, F f) {
  const auto& here = side == Side::output ? w.output : w.input;
  const auto& there = side == Side::output ? w.input : w.output;
  const std::array<Index, 3> at = {voxel / (here[1] * here[2]), voxel / here[2] % here[1], voxel % here[2]};
  const auto partner = [&](std::size_t d, Index tap, Index& to) {   // along one axis; false where there is none
    if (side == Side::output)
      to = at[d] * w.stride[d] + tap * w.dilation[d] - w.padding[d];
    else {
      to = at[d] + w.padding[d] - tap * w.dilation[d];
      if (to % w.stride[d] != 0) return false;
      to /= w.stride[d];
    }
    return to >= 0 && to < there[d];
  };
  Index z = 0, y = 0, x = 0;
  for (Index kz = 0; kz < w.kernel[0]; ++kz) {
    if (!partner(0, kz, z)) continue;
    for (Index ky = 0; ky < w.kernel[1]; ++ky) {
      if (!partner(1, ky, y)) continue;
      for (Index kx = 0; kx < w.kernel[2]; ++kx)
        if (partner(2, kx, x)) f((z * there[1] + y) * there[2] + x, (kz * w.kernel[1] + ky) * w.kernel[2] + kx);
    }
  }
}

}   // namespace ctseg::cpu
