// The product of two values: gates.
#pragma once
#include "op.hpp"

namespace ctseg {

struct Multiplying;   // Kernel<Multiplying, S>: forward(ctx, a, b, y), backward(ctx, {a, b, dy}, da, db)

/// y = a * b, element by element; b may have one channel for all of a's, as an attention gate has.
/// Shapes    a [N, C, D, H, W], b the same or [N, 1, D, H, W] -> y as a.
/// Numerics  in Acc, rounded once; sums over channels from first to last.
/// Gradient  da = dy * b, db = dy * a (summed over channels where b has one), assigned. Reads a and b again.
/// Cost      one FLOP per value, 3 in backward; reads a and b, writes y (inference: on a); keeps a and b.
/// Errors    shape_mismatch for anything else.
/// PyTorch   torch.mul(a, b)
template <AnySpec S> struct MultiplyOp {
  std::string_view name() const { return "Multiply"; }
  Inferred<S> infer(const Facts<S>& f) const {
    if (f.x(1) != f.x(0) && f.x(1) != f.x(0).with_channels(1))
      throw Error(Code::shape_mismatch, "multiply",
                  text("cannot multiply ", f.x(0), " by ", f.x(1), "; must be the same, or ", f.x(0).with_channels(1), "."));
    return {.shape = f.x(), .reads_inputs = true, .sharing = Sharing::in_place};
  }
  void forward(const Forward<S>& f) const { Kernel<Multiplying, S>::forward(f.ctx, f.x(0), f.x(1), f.y()); }
  void backward(const Backward<S>& b) const {
    Kernel<Multiplying, S>::backward(b.ctx, {b.x(0), b.x(1), b.dy()}, b.dx(0), b.dx(1));
  }
};

}   // namespace ctseg
