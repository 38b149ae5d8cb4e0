// Concatenation of channels.
#pragma once
#include "elementwise.hpp"

namespace ctseg {

/// Channels of all inputs, one after the other; y = [x0, x1, ...].
/// Shapes    x_k [N, C_k, D, H, W], at most 8 of them -> y [N, sum of C_k, D, H, W]
/// Gradient  each dx assigned: its range of dy. Reads neither x nor y again.
/// Cost      a copy, and none for an input that a plan placed inside the output (and for its gradient); keeps nothing.
/// Errors    shape_mismatch if anything but the channels differs.
/// PyTorch   torch.cat([x0, x1], dim=1)
template <AnySpec S> struct ConcatOp {
  std::string_view name() const { return "Concat"; }
  Inferred<S> infer(const Facts<S>& f) const {
    Index channels = 0;
    for (std::size_t k = 0; k < f.inputs.size(); ++k) {
      if (f.x(k).with_channels(1) != f.x(0).with_channels(1))
        throw Error(Code::shape_mismatch, "concat",
                    text("cannot join ", f.x(0), " and ", f.x(k),
                         ". Hint: the network's input must be divisible by its total stride."));
      channels += f.x(k).c;
    }
    return {.shape = f.x(0).with_channels(channels), .sharing = Sharing::stacked, .again = Again::from_inputs};
  }
  void forward(const Forward<S>& f) const {
    Index first = 0;
    for (std::size_t k = 0; k < f.inputs.size(); ++k) {
      const In<S> x = f.x(k);
      const Out<S> range = f.y().channels(std::exchange(first, first + x.shape.c), x.shape.c);
      if (range.data != x.data) Kernel<Elementwise, S>::copy(f.ctx, x, range);
    }
  }
  void backward(const Backward<S>& b) const {
    Index first = 0;
    for (std::size_t k = 0; k < b.inputs.size(); ++k) {
      const Index channels = b.inputs[k].shape.c;
      const In<S> range = b.dy().channels(std::exchange(first, first + channels), channels);
      if (b.wants(k) && range.data != b.dx(k).data) Kernel<Elementwise, S>::copy(b.ctx, range, b.dx(k));
    }
  }
};

}   // namespace ctseg
