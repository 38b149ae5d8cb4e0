// Convolution and transposed convolution: one op, because each is the other's data gradient.
#pragma once
#include "activation.hpp"
#include "axes.hpp"
#include "moments.hpp"

namespace ctseg {

constexpr Side other(Side s) { return s == Side::input ? Side::output : Side::input; }

struct Convolution;   // Kernel<Convolution, S>: choose, prepared_bytes, prepare, forward, backward; see ops/cpu/conv.hpp

/// All that the numerics of one convolution depend on. Kernels know no groups: each group is a problem on channels of its own.
struct ConvProblem {
  ConvWindow window;
  Side y_side;   // output for a convolution, input for a transposed one
  Index images, in_channels, out_channels;
};

/// What a kernel asks for, in bytes; `choice` comes back with every call.
struct ConvChoice {
  int choice = 0;
  Index forward_scratch = 0, backward_scratch = 0;
  Index ahead = 0;   // see Inferred
};

/// What a kernel does to its results z before they leave the cache: it takes their statistics, or makes them
/// act((z - mean) * scale + shift + residual). Kernels that can have forward(problem, f, epilogue) and moment_parts().
template <AnySpec S> struct ConvEpilogue {
  Moments moments{};                                                           // without data: none are taken
  const typename S::Acc *mean = nullptr, *scale = nullptr, *shift = nullptr;   // [channels]; none: results stay
  In<S> residual{};
  Activation activation{};
  Weights<S> slopes{};
};

/// 2-D/3-D convolution (cross-correlation) y = w * x + b; transposed: its data gradient, as in PyTorch.
/// Shapes    x [N, Cin, D, H, W] -> y [N, Cout, D', H', W'];  D' = floor((D + 2p - d(k - 1) - 1) / s) + 1;
///           transposed: D' = (D - 1) s - 2p + d(k - 1) + output_padding + 1;  d: dilation, the distance of two taps
/// Weights   w [groups, taps, Cin / groups, Cout / groups] (memory order; files hold PyTorch's), b [Cout] or none
/// Groups    channels are cut into groups, and group g of y sees group g of x alone; groups = Cin is the depthwise convolution.
/// Numerics  sums in Acc, rounded once, in an order that follows shape and instruction set; db in blocks, these added in double
/// Gradient  dx assigned; dw, db added. Reads x again.
/// Cost      2 N Cout Cin / groups k^3 D'H'W' FLOP (transposed: DHW), twice that in backward; groups run in turn. Keeps x.
///           Memory beside: float packs w once per change; backward needs it once more, or up to 40 MB of scratch.
/// Errors    shape_mismatch if x has not in_channels channels, or is smaller than the kernel; bad_argument if a number of
///           channels is not divisible by groups.
/// PyTorch   F.conv3d(x, w, b, stride, padding, dilation, groups);
///           F.conv_transpose3d(x, w, b, stride, padding, output_padding, groups, dilation)
/// Source    Cicek et al., 3D U-Net, MICCAI 2016, arXiv:1606.06650; Yu and Koltun, dilation, ICLR 2016, arXiv:1511.07122.
template <AnySpec S> struct ConvOp {
  using A = Axes<S::kDim>;
  Index in_channels = 1, out_channels = 1;
  A kernel = 3, stride = 1, padding = 1, output_padding = 0, dilation = 1;
  Index groups = 1;
  bool transposed = false;

  std::string_view name() const { return transposed ? "ConvTranspose" : "Conv"; }

  Inferred<S> infer(const Facts<S>& f) const {
    const Shape<S::kDim> y = infer_shape(f.x());
    const Index wanted = kernel.product() * (in_channels / groups) * out_channels;
    if (f.w.empty() || f.w[0].size() != wanted || (f.w.size() > 1 && !f.w[1].empty() && f.w[1].size() != out_channels))
      throw Error(Code::shape_mismatch, where(),
                  text("weights of ", f.w.empty() ? 0 : f.w[0].size(), " values, these options need ", wanted, " and ",
                       out_channels, " biases or none."));
    const ConvProblem p = problem(f.x(), y);
    const ConvChoice c = Kernel<Convolution, S>::choose(p, f.mode, f.device);
    return {.shape = y,
            .forward_scratch = c.forward_scratch,
            .backward_scratch = c.backward_scratch,
            .prepared = groups * Kernel<Convolution, S>::prepared_bytes(p, c.choice),
            .reads_inputs = true,
            .reads_prepared = requires { Kernel<Convolution, S>::kBackwardReadsPrepared; },
            .again = transposed && kernel == stride ? Again::from_inputs : Again::never,   // one tap a result
            .ahead = groups == 1 ? c.ahead : 0,
            .choice = c.choice};
  }
  void prepare(const Prepare<S>& f) const {
    const auto& x = f.inputs[0].shape;
    const ConvProblem p = problem(x, infer_shape(x));
    for (Index g = 0; g < groups; ++g)
      Kernel<Convolution, S>::prepare(f.ctx, p, f.choice, part(f.w, 0, g), prepared_part(p, f.choice, f.prepared, g));
  }
  void forward(const Forward<S>& f) const {
    each_group(f,
               [](const ConvProblem& p, const Forward<S>& of_group, Index) { Kernel<Convolution, S>::forward(p, of_group); });
  }
  /// The same with an epilogue, where the kernel has one.
  void forward(const Forward<S>& f, const ConvEpilogue<S>& e) const {
    each_group(f, [&](const ConvProblem& p, const Forward<S>& of_group, Index g) {
      const Index first = g * p.out_channels;
      ConvEpilogue<S> part = e;
      if (e.moments.data) part.moments.data += g * e.moments.size();
      if (e.scale) part.mean += first, part.scale += first, part.shift += first;
      if (e.residual) part.residual = e.residual.channels(first, p.out_channels);
      if (e.slopes.size() > 1) part.slopes.values += first, part.slopes.count = p.out_channels;
      Kernel<Convolution, S>::forward(p, of_group, part);
    });
  }
  void backward(const Backward<S>& b) const {
    const ConvProblem p = problem(b.x().shape, b.dy().shape);
    for (Index g = 0; g < groups; ++g) {
      const AnyView<S::kDim> x = part(b.x(), g), dx = part(b.dx(), g), dy = part(b.dy(), g);
      const std::array<Weights<S>, 2> w = {part(b.w, 0, g), part(b.w, 1, g)};
      const std::array<std::span<typename S::Acc>, 2> dw = {part(b.dw, 0, g), part(b.dw, 1, g)};
      const Bytes prepared = b.prepared.next ? prepared_part(p, b.choice, b.prepared, g) : Bytes{};
      Kernel<Convolution, S>::backward(
          p, Backward<S>{b.ctx, b.mode, b.choice, {&x, 1}, w, b.output, dy, {&dx, 1}, dw, b.saved, b.scratch, b.key, false,
                         prepared});
    }
  }

  /// The way that `choice` stands for, in words; empty where the device has one way only.
  std::string engine(const Shape<S::kDim>& x, int choice) const {
    if constexpr (requires(const ConvProblem& p) { Kernel<Convolution, S>::engine(p, choice); })
      return Kernel<Convolution, S>::engine(problem(x, infer_shape(x)), choice);
    return {};
  }

  /// Of one group; they differ in nothing but their place.
  ConvProblem problem(const Shape<S::kDim>& x, const Shape<S::kDim>& y) const {
    return {make_window<S::kDim>(transposed ? y.space : x.space, transposed ? x.space : y.space,
                                 {.kernel = kernel, .stride = stride, .padding = padding, .dilation = dilation}),
            transposed ? Side::input : Side::output, x.n, x.c / groups, y.c / groups};
  }

  /// Throws as infer does, but knows no weights.
  Shape<S::kDim> infer_shape(const Shape<S::kDim>& x) const {
    check_options();
    if (x.c != in_channels)
      throw Error(Code::shape_mismatch, where(),
                  text("input has ", x.c, " channels, layer expects in_channels = ", in_channels, " (input ", x, " as N,C,",
                       S::kDim == 3 ? "D,H,W" : "H,W", "). Hint: set ConvOptions::in_channels = ", x.c, "."));
    Shape<S::kDim> y = x.with_channels(out_channels);
    for (int d = 0; d < S::kDim; ++d) {
      const Index n = x.space[static_cast<std::size_t>(d)], s = stride[d], p = padding[d];
      const Index k = dilation[d] * (kernel[d] - 1) + 1;   // from the first tap to the last
      const Index extent = transposed      ? (n - 1) * s - 2 * p + k + output_padding[d]
                           : n + 2 * p < k ? 0
                                           : (n + 2 * p - k) / s + 1;
      if (extent < 1)
        throw Error(Code::shape_mismatch, where(),
                    text("input ", x, " with padding ", p, " is too small for a kernel of ", kernel[d],
                         dilation[d] > 1 ? text(" with dilation ", dilation[d]) : "", " along spatial axis ", d,
                         ". Hint: larger patches, or fewer levels."));
      y.space[static_cast<std::size_t>(d)] = extent;
    }
    return y;
  }

  /// Throws bad_argument for options that no input could satisfy.
  void check_options() const {
    for (int d = 0; d < S::kDim; ++d) {
      if (kernel[d] < 1 || stride[d] < 1)
        throw Error(Code::bad_argument, where(), text("kernel ", kernel, ", stride ", stride, "; both must be 1 or more."));
      if (dilation[d] < 1)
        throw Error(Code::bad_argument, where(),
                    text("dilation ", dilation, "; must be 1 or more. Hint: 1 is a kernel without gaps."));
      if (padding[d] < 0) throw Error(Code::bad_argument, where(), text("padding ", padding, "; must be 0 or more."));
      const Index most = transposed ? std::max(stride[d], dilation[d]) : 1;
      if (output_padding[d] < 0 || output_padding[d] >= most)
        throw Error(Code::bad_argument, where(),
                    text("output_padding ", output_padding, " along spatial axis ", d, "; must be 0 or more and below ", most,
                         transposed ? ", the larger of stride and dilation." : ": only a transposed convolution has one."));
    }
    if (in_channels < 1 || out_channels < 1)
      throw Error(Code::bad_argument, where(),
                  text("in_channels = ", in_channels, ", out_channels = ", out_channels, "; both must be 1 or more."));
    if (groups < 1 || in_channels % groups != 0 || out_channels % groups != 0)
      throw Error(Code::bad_argument, where(),
                  text(groups, " groups of ", in_channels, " input and ", out_channels,
                       " output channels; groups must be 1 or more and divide both. Hint: 1 connects all channels."));
  }

 private:
  template <class F> void each_group(const Forward<S>& f, F run) const {
    const ConvProblem p = problem(f.x().shape, f.y().shape);
    for (Index g = 0; g < groups; ++g) {
      const AnyView<S::kDim> x = part(f.x(), g), y = part(f.y(), g);
      const std::array<Weights<S>, 2> w = {part(f.w, 0, g), part(f.w, 1, g)};
      const Bytes prepared = prepared_part(p, f.choice, f.prepared, g);
      run(p, Forward<S>{f.ctx, f.mode, f.choice, {&x, 1}, w, y, f.saved, f.scratch, prepared, f.key}, g);
    }
  }
  std::string_view where() const { return transposed ? "conv_transpose" : "conv"; }

  /// What group g sees of a value, of weights or their gradients, and of the prepared weights.
  template <class T> AnyView<S::kDim> part(const View<T, S::kDim>& v, Index g) const {
    const Index channels = v.shape.c / groups;
    return v ? v.channels(g * channels, channels) : View<T, S::kDim>{nullptr, v.shape.with_channels(channels), 0};
  }
  Weights<S> part(AllWeights<S> all, std::size_t k, Index g) const {
    if (all.size() <= k || all[k].empty()) return {};
    const Index count = all[k].size() / groups;
    return {all[k].data() + g * count, count, all[k].version, all[k].residence};
  }
  std::span<typename S::Acc> part(std::span<const std::span<typename S::Acc>> all, std::size_t k, Index g) const {
    if (all.size() <= k || all[k].empty()) return {};
    const std::size_t count = all[k].size() / static_cast<std::size_t>(groups);
    return all[k].subspan(static_cast<std::size_t>(g) * count, count);
  }
  static Bytes prepared_part(const ConvProblem& p, int choice, Bytes all, Index g) {
    const Index bytes = Kernel<Convolution, S>::prepared_bytes(p, choice);
    return {bytes == 0 ? nullptr : all.next + g * bytes};
  }
};

}   // namespace ctseg
