// Average pooling, with a window or to a given size.
#pragma once
#include "axes.hpp"
#include "separable.hpp"

namespace ctseg {

/// Mean over windows without padding; voxels behind the last whole window are left out.
/// Shapes    x [N, C, D, H, W] -> y [N, C, D', H', W'];  D' = floor((D - k) / s) + 1
/// Numerics  a mean along x, of these along y, of these along z: sums in Acc, with 1 / k as weights.
/// Gradient  dx assigned: dy / k^3 from every window that holds the voxel. Reads neither x nor y again.
/// Cost      about 2 k^3 FLOP per value of y; reads x, writes y; keeps nothing. Scratch: a table of taps per axis.
/// Errors    bad_argument for a kernel or stride below 1; shape_mismatch if an axis is shorter than the window.
/// PyTorch   F.avg_pool3d(x, kernel, stride)
template <AnySpec S> struct AveragePoolOp {
  Axes<S::kDim> kernel = 2, stride = 2;

  std::string_view name() const { return "AveragePool"; }
  Inferred<S> infer(const Facts<S>& f) const {
    Shape<S::kDim> y = f.x();
    for (int d = 0; d < S::kDim; ++d) {
      if (kernel[d] < 1 || stride[d] < 1)
        throw Error(Code::bad_argument, "average_pool",
                    text("kernel ", kernel, ", stride ", stride, "; both must be 1 or more."));
      Index& e = y.space[static_cast<std::size_t>(d)];
      if (e < kernel[d])
        throw Error(
            Code::shape_mismatch, "average_pool",
            text("input ", f.x(), " has an axis shorter than the window ", kernel, ". Hint: larger patches, or fewer levels."));
      e = (e - kernel[d]) / stride[d] + 1;
    }
    const Index scratch = Kernel<Separable, S>::scratch(map(), f.x(), y);
    return {.shape = y, .forward_scratch = scratch, .backward_scratch = scratch};
  }
  void forward(const Forward<S>& f) const {
    Kernel<Separable, S>::forward(f.ctx, map(), f.x(), f.y(), SeparableMemory{f.scratch});
  }
  void backward(const Backward<S>& b) const {
    if (b.wants()) Kernel<Separable, S>::backward(b.ctx, map(), b.dy(), b.dx(), b.scratch);
  }

 private:
  auto map() const {
    return [k = kernel.value, s = stride.value](std::size_t d, Index o, auto f) {
      for (Index i = o * s[d]; i < o * s[d] + k[d]; ++i) f(i, 1 / double(k[d]));
    };
  }
};

/// Mean over windows that cover the input, however many are asked for: window o of an axis goes from floor(o n / size) to
/// ceil((o + 1) n / size), exclusive, and may overlap its neighbour. Size 1 is the global average.
/// Shapes    x [N, C, D, H, W] -> y [N, C, D', H', W'];  D' = size
/// Numerics  as AveragePoolOp: a mean over a whole volume loses no digits.
/// Gradient  dx assigned. Reads neither x nor y again.
/// Cost      about 2 FLOP per value of x (windows that do not overlap); reads x, writes y; keeps nothing.
/// Errors    bad_argument for a size below 1.
/// PyTorch   F.adaptive_avg_pool3d(x, size)
template <AnySpec S> struct AdaptiveAveragePoolOp {
  Axes<S::kDim> size = 1;

  std::string_view name() const { return "AdaptiveAveragePool"; }
  Inferred<S> infer(const Facts<S>& f) const {
    for (int d = 0; d < S::kDim; ++d)
      if (size[d] < 1)
        throw Error(Code::bad_argument, "adaptive_average_pool", text("size ", size, "; must be 1 or more along every axis."));
    const Shape<S::kDim> y{f.x().n, f.x().c, size.value};
    const Index scratch = Kernel<Separable, S>::scratch(map(f.x()), f.x(), checked(y, "adaptive_average_pool"));
    return {.shape = y, .forward_scratch = scratch, .backward_scratch = scratch};
  }
  void forward(const Forward<S>& f) const {
    Kernel<Separable, S>::forward(f.ctx, map(f.x().shape), f.x(), f.y(), SeparableMemory{f.scratch});
  }
  void backward(const Backward<S>& b) const {
    if (b.wants()) Kernel<Separable, S>::backward(b.ctx, map(b.dx().shape), b.dy(), b.dx(), b.scratch);
  }

 private:
  auto map(const Shape<S::kDim>& x) const {
    return [from = x.space, to = size.value](std::size_t d, Index o, auto f) {
      const Index first = o * from[d] / to[d], last = ((o + 1) * from[d] + to[d] - 1) / to[d];
      for (Index i = first; i < last; ++i) f(i, 1 / double(last - first));
    };
  }
};

}   // namespace ctseg
