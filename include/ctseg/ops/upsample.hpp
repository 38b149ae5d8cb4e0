// Upsampling by interpolation, to a multiple of the size or to a given one.
#pragma once
#include <cmath>

#include "axes.hpp"
#include "separable.hpp"

namespace ctseg {

/// Where output coordinate o looks, with s = in / out: nearest at floor(o s), nearest_exact at floor((o + 1/2) s), linear
/// between the two neighbours of (o + 1/2) s - 1/2.
enum class UpsampleMode { nearest, nearest_exact, linear };

/// Each voxel from its neighbours along every axis: y[o] = (1 - t) x[i] + t x[i + 1], with i and t as `mode` says (nearest:
/// t = 0). nearest is PyTorch's legacy mode, shifted by half a voxel; linear is bilinear in 2-D and trilinear in 3-D.
/// Shapes    x [N, C, D, H, W] -> y [N, C, D', H', W'];  D' = D * factor, or `size` where that is not 0
/// Numerics  coordinates in integers or double, sums in Acc, along x, then y, then z; align_corners (linear only):
///           o (in - 1) / (out - 1), so that corners meet. PyTorch's nearest modes round s to float, which for some pairs
///           of sizes (2 to 82) picks a voxel's neighbour.
/// Gradient  dx assigned, gathered through the transposed map. Reads neither x nor y again.
/// Cost      nearest: a copy; linear: 2^Dim multiply-adds per value of y; reads x, writes y; keeps nothing.
/// Errors    bad_argument for a factor below 1, a negative size, or align_corners without linear.
/// PyTorch   F.interpolate(x, scale_factor=2, mode="nearest"), or "nearest-exact", "bilinear", "trilinear"; size=(D, H, W)
template <AnySpec S> struct UpsampleOp {
  Axes<S::kDim> factor = 2, size = 0;
  UpsampleMode mode = UpsampleMode::nearest;
  bool align_corners = false;

  std::string_view name() const { return "Upsample"; }
  Inferred<S> infer(const Facts<S>& f) const {
    if (align_corners && mode != UpsampleMode::linear)
      throw Error(Code::bad_argument, "upsample", "align_corners is for UpsampleMode::linear alone.");
    Shape<S::kDim> y = f.x();
    for (int d = 0; d < S::kDim; ++d) {
      if (size[d] < 0 || (size[d] == 0 && factor[d] < 1))
        throw Error(Code::bad_argument, "upsample",
                    text("factor ", factor, ", size ", size, "; factors must be 1 or more, sizes 0 (by the factor) or more."));
      Index& e = y.space[static_cast<std::size_t>(d)];
      e = size[d] > 0 ? size[d] : e * factor[d];
    }
    const Index scratch = Kernel<Separable, S>::scratch(map(f.x(), y), f.x(), checked(y, "upsample"));
    return {.shape = y, .forward_scratch = scratch, .backward_scratch = scratch};
  }
  void forward(const Forward<S>& f) const {
    Kernel<Separable, S>::forward(f.ctx, map(f.x().shape, f.y().shape), f.x(), f.y(), SeparableMemory{f.scratch});
  }
  void backward(const Backward<S>& b) const {
    if (b.wants()) Kernel<Separable, S>::backward(b.ctx, map(b.dx().shape, b.dy().shape), b.dy(), b.dx(), b.scratch);
  }

 private:
  auto map(const Shape<S::kDim>& x, const Shape<S::kDim>& y) const {
    return [mode = mode, aligned = align_corners, from = x.space, to = y.space](std::size_t d, Index o, auto f) {
      const Index in = from[d], out = to[d];
      if (mode == UpsampleMode::nearest) return f(o * in / out, 1.0);
      if (mode == UpsampleMode::nearest_exact) return f((2 * o + 1) * in / (2 * out), 1.0);
      const double at = aligned ? (out > 1 ? double(o * (in - 1)) / double(out - 1) : 0.0)
                                : std::max(0.0, double((2 * o + 1) * in - out) / double(2 * out));
      const Index below = std::min(static_cast<Index>(at), in - 1);
      const double share = below + 1 < in ? at - double(below) : 0.0;   // of the voxel above
      f(below, 1 - share);
      if (share > 0) f(below + 1, share);
    };
  }
};

}   // namespace ctseg
