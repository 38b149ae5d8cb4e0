// Softmax over channels.
#pragma once
#include "op.hpp"

namespace ctseg {

struct Softmaxing;   // Kernel<Softmaxing, S>: forward(ctx, x, y), backward(ctx, y, dy, dx)

/// y[c] = exp(x[c] - max) / sum over channels of exp(x - max), for every voxel.
/// Shapes    x [N, C, D, H, W] -> y the same.
/// Numerics  in Acc, channels from first to last.
/// Gradient  dx = y * (dy - sum over channels of dy * y), assigned. Reads y again, not x.
/// Cost      two exp per value; reads x, writes y (or on x, where a plan lets it); backward reads y and dy, writes dx. Keeps y.
/// PyTorch   F.softmax(x, dim=1)
template <AnySpec S> struct SoftmaxOp {
  std::string_view name() const { return "Softmax"; }
  Inferred<S> infer(const Facts<S>& f) const { return {.shape = f.x(), .reads_output = true, .sharing = Sharing::in_place}; }
  void forward(const Forward<S>& f) const { Kernel<Softmaxing, S>::forward(f.ctx, f.x(), f.y()); }
  void backward(const Backward<S>& b) const {
    if (b.wants()) Kernel<Softmaxing, S>::backward(b.ctx, b.y(), b.dy(), b.dx());
  }
};

}   // namespace ctseg
