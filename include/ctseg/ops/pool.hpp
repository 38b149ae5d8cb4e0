// Max pooling.
#pragma once
#include "axes.hpp"
#include "op.hpp"

namespace ctseg {

struct Pooling;   // Kernel<Pooling, S>: forward(ctx, window, x, y, winner), backward(ctx, window, winner, dy, dx)

/// Maximum over windows without padding; the first of equals wins, a NaN wins over numbers (as in PyTorch).
/// Shapes    x [N, C, D, H, W] -> y [N, C, D', H', W'];  D' = floor((D - k) / s) + 1
/// Numerics  exact; where windows overlap, dx sums in T, in the order of taps.
/// Gradient  dx assigned: dy at every window's winner. Reads neither x nor y again.
/// Cost      k^3 - 1 comparisons per value of y; reads x, writes y. Training keeps one byte per value of y: the winning tap.
/// Errors    bad_argument for a kernel or stride below 1; unsupported for more than 256 taps; shape_mismatch if an axis is
///           shorter than the window.
/// PyTorch   F.max_pool3d(x, kernel, stride)
template <AnySpec S> struct MaxPoolOp {
  Axes<S::kDim> kernel = 2, stride = 2;

  std::string_view name() const { return "MaxPool"; }
  Inferred<S> infer(const Facts<S>& f) const {
    Shape<S::kDim> y = f.x();
    for (int d = 0; d < S::kDim; ++d)
      if (kernel[d] < 1 || stride[d] < 1)
        throw Error(Code::bad_argument, "max_pool", text("kernel ", kernel, ", stride ", stride, "; both must be 1 or more."));
    if (kernel.product() > 256) throw Error(Code::unsupported, "max_pool", text("kernel ", kernel, " has more than 256 taps."));
    for (int d = 0; d < S::kDim; ++d) {
      Index& e = y.space[static_cast<std::size_t>(d)];
      if (e < kernel[d])
        throw Error(
            Code::shape_mismatch, "max_pool",
            text("input ", f.x(), " has an axis shorter than the window ", kernel, ". Hint: larger patches, or fewer levels."));
      e = (e - kernel[d]) / stride[d] + 1;
    }
    return {.shape = y, .saved = f.mode == Mode::train ? bytes_of<std::uint8_t>(y.elements()) : 0};
  }
  void forward(const Forward<S>& f) const {
    Bytes saved = f.saved;
    auto* winner = f.mode == Mode::train ? take<std::uint8_t>(saved, f.y().shape.elements()) : nullptr;
    Kernel<Pooling, S>::forward(f.ctx, window(f.x().shape, f.y().shape), f.x(), f.y(), winner);
  }
  void backward(const Backward<S>& b) const {
    if (!b.wants()) return;
    Bytes saved = b.saved;
    const auto* winner = take<std::uint8_t>(saved, b.dy().shape.elements());
    Kernel<Pooling, S>::backward(b.ctx, window(b.dx().shape, b.dy().shape), winner, b.dy(), b.dx());
  }

 private:
  ConvWindow window(const Shape<S::kDim>& x, const Shape<S::kDim>& y) const {
    return make_window<S::kDim>(x.space, y.space, {.kernel = kernel, .stride = stride});
  }
};

}   // namespace ctseg
