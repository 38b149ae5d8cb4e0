// A range of channels.
#pragma once
#include "elementwise.hpp"

namespace ctseg {

/// y = channels [first, first + count) of x.
/// Shapes    x [N, C, D, H, W] -> y [N, count, D, H, W]
/// Gradient  dx assigned: 0 in the other channels. Reads neither x nor y again.
/// Cost      a copy of these channels; keeps nothing.
/// Errors    shape_mismatch if x does not have them.
/// PyTorch   x[:, first:first + count]
template <AnySpec S> struct SliceOp {
  Index first = 0, count = 1;

  std::string_view name() const { return "Slice"; }
  Inferred<S> infer(const Facts<S>& f) const {
    if (first < 0 || count < 1 || first > f.x().c - count)
      throw Error(Code::shape_mismatch, "slice",
                  text(count, " channels from ", first, " on, of input ", f.x(), " with ", f.x().c,
                       " channels; must be 1 or more ", "channels that it has."));
    return {.shape = f.x().with_channels(count)};
  }
  void forward(const Forward<S>& f) const { Kernel<Elementwise, S>::copy(f.ctx, f.x().channels(first, count), f.y()); }
  void backward(const Backward<S>& b) const {
    if (!b.wants()) return;
    const Out<S> dx = b.dx();
    const Index behind = first + count;
    if (first > 0) Kernel<Elementwise, S>::fill(b.ctx, typename S::T(0), dx.channels(0, first));
    Kernel<Elementwise, S>::copy(b.ctx, b.dy(), dx.channels(first, count));
    if (behind < dx.shape.c) Kernel<Elementwise, S>::fill(b.ctx, typename S::T(0), dx.channels(behind, dx.shape.c - behind));
  }
};

}   // namespace ctseg
