// Replicate padding, as networks use it to meet a skip of odd size.
#pragma once
#include "op.hpp"

namespace ctseg {

struct Padding;   // Kernel<Padding, S>: forward(ctx, low, x, y), backward(ctx, low, dy, dx)

/// Repeats the border voxels outwards: `low` in front of every axis, `high` behind it.
/// Gradient  dx assigned: each voxel sums what its copies received.
template <AnySpec S> struct PadOp {
  std::array<Index, S::kDim> low{}, high{};

  std::string_view name() const { return "Pad"; }
  Inferred<S> infer(const Facts<S>& f) const {
    Shape<S::kDim> y = f.x();
    for (std::size_t d = 0; d < S::kDim; ++d) {
      if (low[d] < 0 || high[d] < 0)
        throw Error(Code::bad_argument, "pad",
                    text("pads ", low[d], " and ", high[d], " along spatial axis ", d, "; must be 0 or more."));
      y.space[d] += low[d] + high[d];
    }
    return {.shape = y};
  }
  void forward(const Forward<S>& f) const { Kernel<Padding, S>::forward(f.ctx, low, f.x(), f.y()); }
  void backward(const Backward<S>& b) const {
    if (b.wants()) Kernel<Padding, S>::backward(b.ctx, low, b.dy(), b.dx());
  }
};

}   // namespace ctseg
