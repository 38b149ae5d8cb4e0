// Convolution and transposed convolution: one op, because each is the other's data gradient.
#pragma once
#include "axes.hpp"
#include "op.hpp"

namespace ctseg {

constexpr Side other(Side s) { return s == Side::input ? Side::output : Side::input; }

struct Convolution;   // Kernel<Convolution, S>: choose, prepare, forward, backward; see ops/cpu/conv.hpp

/// All that the numerics of one convolution depend on.
struct ConvProblem {
  ConvWindow window;
  Side y_side;   // output for a convolution, input for a transposed one
  Index images, in_channels, out_channels;
};

/// What a kernel asks for, in bytes; `choice` comes back with every call.
struct ConvChoice {
  int choice = 0;
  Index forward_scratch = 0, backward_scratch = 0, prepared = 0;
};

/// 2-D/3-D convolution (cross-correlation) y = w * x + b; transposed: its data gradient, as in PyTorch.
/// Shapes    x [N, Cin, D, H, W] -> y [N, Cout, D', H', W'];  D' = floor((D + 2p - k) / s) + 1;
///           transposed: D' = (D - 1) s - 2p + k + output_padding
/// Weights   w [taps, Cin, Cout] (memory order; files hold PyTorch's), b [Cout] or none
/// Gradient  dx assigned; dw, db added.      Cost  2 N Cout Cin k^3 D'H'W' FLOP; reads x again.
/// Errors    shape_mismatch if x has not in_channels channels, or is smaller than the kernel.
/// Source    Cicek et al., 3D U-Net, MICCAI 2016, arXiv:1606.06650.
template <AnySpec S> struct ConvOp {
  using A = Axes<S::kDim>;
  Index in_channels = 1, out_channels = 1;
  A kernel = 3, stride = 1, padding = 1, output_padding = 0;
  bool transposed = false;

  std::string_view name() const { return transposed ? "ConvTranspose" : "Conv"; }

  Inferred<S> infer(const Facts<S>& f) const {
    const Shape<S::kDim> y = infer_shape(f.x());
    const Index wanted = kernel.product() * in_channels * out_channels;
    if (f.w.empty() || f.w[0].size() != wanted || (f.w.size() > 1 && !f.w[1].empty() && f.w[1].size() != out_channels))
      throw Error(Code::shape_mismatch, where(),
                  text("weights of ", f.w.empty() ? 0 : f.w[0].size(), " values, these options need ", wanted, " and ",
                       out_channels, " biases or none."));
    const ConvChoice c = Kernel<Convolution, S>::choose(problem(f.x(), y), f.mode, f.device);
    return {.shape = y,
            .forward_scratch = c.forward_scratch,
            .backward_scratch = c.backward_scratch,
            .prepared = c.prepared,
            .reads_inputs = true,
            .choice = c.choice};
  }
  void prepare(const Prepare<S>& p) const {
    const auto& x = p.inputs[0].shape;
    Kernel<Convolution, S>::prepare(p.ctx, problem(x, infer_shape(x)), p.choice, p.w[0], p.prepared);
  }
  void forward(const Forward<S>& f) const { Kernel<Convolution, S>::forward(problem(f.x().shape, f.y().shape), f); }
  void backward(const Backward<S>& b) const { Kernel<Convolution, S>::backward(problem(b.x().shape, b.dy().shape), b); }

  ConvProblem problem(const Shape<S::kDim>& x, const Shape<S::kDim>& y) const {
    return {make_window<S::kDim>(transposed ? y.space : x.space, transposed ? x.space : y.space, kernel, stride, padding),
            transposed ? Side::input : Side::output, x.n, x.c, y.c};
  }

 private:
  std::string_view where() const { return transposed ? "conv_transpose" : "conv"; }

  Shape<S::kDim> infer_shape(const Shape<S::kDim>& x) const {
    if (x.c != in_channels)
      throw Error(Code::shape_mismatch, where(),
                  text("input has ", x.c, " channels, layer expects in_channels = ", in_channels, " (input ", x, " as N,C,",
                       S::kDim == 3 ? "D,H,W" : "H,W", "). Hint: set ConvOptions::in_channels = ", x.c, "."));
    Shape<S::kDim> y = x.with_channels(out_channels);
    for (int d = 0; d < S::kDim; ++d) {
      if (kernel[d] < 1 || stride[d] < 1)
        throw Error(Code::bad_argument, where(), text("kernel ", kernel, ", stride ", stride, "; both must be 1 or more."));
      const Index n = x.space[static_cast<std::size_t>(d)], k = kernel[d], s = stride[d], p = padding[d];
      const Index extent = transposed      ? (n - 1) * s - 2 * p + k + output_padding[d]
                           : n + 2 * p < k ? 0
                                           : (n + 2 * p - k) / s + 1;
      if (extent < 1)
        throw Error(Code::shape_mismatch, where(),
                    text("input ", x, " with padding ", p, " is too small for a kernel of ", k, " along spatial axis ", d,
                         ". Hint: larger patches, or fewer levels."));
      y.space[static_cast<std::size_t>(d)] = extent;
    }
    return y;
  }
};

}   // namespace ctseg
