// Padding: networks meet a skip of odd size with it.
#pragma once
#include "axes.hpp"
#include "separable.hpp"

namespace ctseg {

/// What lies beyond the border: its voxel again, the volume mirrored at the centre of that voxel, or one value.
enum class PadMode { replicate, reflect, constant };

/// `low` voxels in front of every axis, `high` behind it, filled as `mode` says: replicate, reflect or constant (`value`).
/// Shapes    x [N, C, D, H, W] -> y [N, C, D', H', W'];  D' = low + D + high
/// Gradient  dx assigned: each voxel sums in Acc what its copies received. Reads neither x nor y again.
/// Cost      a copy: reads x, writes y; keeps nothing.
/// Errors    bad_argument for negative pads; shape_mismatch if reflect is asked for as much as the axis has, or more.
/// PyTorch   F.pad(x, (low_x, high_x, low_y, high_y, low_z, high_z), mode="replicate"); here arrays in order z, y, x
template <AnySpec S> struct PadOp {
  std::array<Index, S::kDim> low{}, high{};
  PadMode mode = PadMode::replicate;
  float value = 0;   // of constant

  std::string_view name() const { return "Pad"; }
  Inferred<S> infer(const Facts<S>& f) const {
    Shape<S::kDim> y = f.x();
    for (std::size_t d = 0; d < S::kDim; ++d) {
      constexpr Index most = Axes<S::kDim>::kMost;
      if (low[d] < 0 || high[d] < 0 || low[d] > most || high[d] > most)
        throw Error(Code::bad_argument, "pad",
                    text("pads ", low[d], " and ", high[d], " along spatial axis ", d, "; must be 0 to ", most, "."));
      if (mode == PadMode::reflect && std::max(low[d], high[d]) >= y.space[d])
        throw Error(Code::shape_mismatch, "pad",
                    text("reflects ", low[d], " and ", high[d], " voxels along spatial axis ", d, " of ", f.x(),
                         "; must be below ", y.space[d], ". Hint: PadMode::replicate has no limit."));
      y.space[d] += low[d] + high[d];
    }
    const Index scratch = Kernel<Separable, S>::scratch(map(f.x()), f.x(), checked(y, "pad"));
    return {.shape = y, .forward_scratch = scratch, .backward_scratch = scratch};
  }
  void forward(const Forward<S>& f) const {
    Kernel<Separable, S>::forward(f.ctx, map(f.x().shape), f.x(), f.y(), SeparableMemory{f.scratch, value});
  }
  void backward(const Backward<S>& b) const {
    if (b.wants()) Kernel<Separable, S>::backward(b.ctx, map(b.dx().shape), b.dy(), b.dx(), b.scratch);
  }

 private:
  auto map(const Shape<S::kDim>& x) const {
    return [low = low, mode = mode, size = x.space](std::size_t d, Index o, auto f) {
      const Index at = o - low[d], end = size[d] - 1, nearest = std::clamp<Index>(at, 0, end);
      if (mode != PadMode::constant || at == nearest) f(mode == PadMode::reflect ? 2 * nearest - at : nearest, 1.0);
    };
  }
};

}   // namespace ctseg
