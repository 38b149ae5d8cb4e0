// convolution + normalisation (+ residual) + activation as one op with one backward: the unit of speed, and of memory.
#pragma once
#include "conv.hpp"
#include "norm.hpp"

namespace ctseg {

/// y = act(norm(conv(x)) + r) as one op; r is an optional second input: a residual. Of the intermediate tensors training keeps
/// the raw convolution only; inference keeps none: it normalises where the convolution has just written, and where nothing
/// must be known of all results first, before they leave the cache. NormKind::none: y = act(conv(x) + r).
/// Shapes    as ConvOp; the norm's channels are Cout; r is like y.
/// Weights   w, b of ConvOp (b may be empty), then those of NormOp.
/// Numerics  of ConvOp, rounded to T, then of NormOp. Float statistics are taken where the convolution writes, in other parts
///           than NormOp's: 1e-6 of the largest value apart from the two ops in a row, the same for any number of threads.
///           Outside of training batch norm, and a block of NormKind::none, have the bits of the two ops (groups: 1e-6).
/// Gradient  dx, dr assigned; those of the weights added, those of running statistics as in NormOp. Reads x and r again.
///           That of b is 0, and not summed, where the norm takes away the mean of each channel; there a card leaves b out.
/// Cost      FLOP of ConvOp and NormOp. Keeps x, r, the raw convolution [N, Cout, D', H', W'], mean and 1 / sigma; not y.
///           Backward puts the raw convolution's gradient on dy where that dies, else it needs scratch for it.
/// Errors    those of ConvOp and NormOp.
/// PyTorch   act(norm(conv(x)) + r) with nn.Conv3d, nn.InstanceNorm3d(affine=True), nn.LeakyReLU; MONAI Convolution, "NDA"
template <AnySpec S> struct ConvNormActOp {
  ConvOp<S> conv;
  NormOp<S> norm;

  std::string_view name() const { return "Conv+Norm+Act"; }

  Inferred<S> infer(const Facts<S>& f) const {
    const Inferred<S> z = conv.infer({f.inputs.first(1), f.w.first(2), f.mode, f.device});
    std::array<ValueInfo<S::kDim>, 2> to_norm{{{z.shape, z.dtype}, f.inputs.back()}};
    const Inferred<S> y = norm.infer_in_block({{to_norm.data(), f.inputs.size()}, f.w.subspan(2), f.mode, f.device});
    const Index raw = bytes_of<typename S::T>(z.shape.elements()), kept = f.mode == Mode::train ? raw : 0;
    return {.shape = y.shape,
            .saved = kept + y.saved,
            .forward_scratch = of_epilogue(f, z) + std::max(z.forward_scratch, y.forward_scratch),
            .backward_scratch = raw + std::max(z.backward_scratch, y.backward_scratch),
            .dy_scratch = raw,
            .prepared = z.prepared,
            .reads_inputs = true,
            .reads_prepared = z.reads_prepared,
            .again = Again::from_saved,
            .ahead = f.mode == Mode::infer ? z.ahead : 0,
            .choice = z.choice};
  }
  std::string engine(const Shape<S::kDim>& x, int choice) const { return conv.engine(x, choice); }
  void prepare(const Prepare<S>& p) const { conv.prepare({p.ctx, p.choice, p.inputs.first(1), p.w.first(2), p.prepared}); }

  void forward(const Forward<S>& f) const {
    Bytes saved = f.saved;
    const Out<S> z = f.mode == Mode::train ? packed<S>(saved, f.y().shape) : f.y();
    const std::array<AnyView<S::kDim>, 2> to_norm{z, f.inputs.back()};
    const auto of_conv = [&](Bytes scratch) {
      const AllWeights<S> w = f.w.first(skips_bias() ? 1 : 2);
      return Forward<S>{f.ctx, f.mode, f.choice, f.inputs.first(1), w, z, {}, scratch, f.prepared, f.key};
    };
    const auto of_norm = [&](Bytes scratch) {
      const AllWeights<S> w = f.w.subspan(2);
      return Forward<S>{f.ctx, f.mode, 0, {to_norm.data(), f.inputs.size()}, w, f.output, saved, scratch, {}, f.key, f.again};
    };
    if (f.again) return norm.forward(of_norm(f.scratch));
    if constexpr (kFuses) {
      Bytes scratch = f.scratch;
      if (f.mode == Mode::infer && norm.uses_running(f.mode) && Kernel<Convolution, S>::fuses(norm.activation)) {
        ConvEpilogue<S> e = Kernel<Normalization, S>::epilogue(
            norm, f.w.subspan(2), z.shape, {take<std::byte>(scratch, Kernel<Normalization, S>::epilogue_bytes(z.shape.c))});
        if (f.inputs.size() > 1) e.residual = f.x(1);
        return conv.forward(of_conv(scratch), e);
      }
      if (!norm.uses_running(f.mode)) {
        Moments taken = moments(conv.problem(f.x().shape, z.shape), f.choice);
        taken.data = take<double>(scratch, conv.groups * taken.size());
        std::fill_n(taken.data, conv.groups * taken.size(), 0.0);
        conv.forward(of_conv(scratch), {.moments = taken});
        return Kernel<Normalization, S>::forward(norm, of_norm(scratch), taken);
      }
    }
    conv.forward(of_conv(f.scratch));
    norm.forward(of_norm(f.scratch));
  }
  void backward(const Backward<S>& b) const {
    Bytes saved = b.saved, scratch = b.scratch;
    const std::size_t inputs = b.inputs.size();
    const std::array<AnyView<S::kDim>, 2> to_norm{packed<S>(saved, b.dy().shape), b.inputs.back()},
        gradients{b.dy_dies ? b.output_gradient : AnyView<S::kDim>(packed<S>(scratch, b.dy().shape)), b.input_gradients.back()};
    std::array<std::span<typename S::Acc>, 2> dw{b.dw[0], mean_is_own(b.mode) ? std::span<typename S::Acc>{} : b.dw[1]};
    norm.backward({b.ctx,
                   b.mode,
                   0,
                   {to_norm.data(), inputs},
                   b.w.subspan(2),
                   b.output,
                   b.output_gradient,
                   {gradients.data(), inputs},
                   b.dw.subspan(2),
                   saved,
                   scratch,
                   b.key});
    conv.backward({b.ctx,
                   b.mode,
                   b.choice,
                   b.inputs.first(1),
                   b.w.first(2),
                   b.output,
                   gradients[0],
                   b.input_gradients.first(1),
                   dw,
                   {},
                   scratch,
                   b.key,
                   false,
                   b.prepared});
  }

 private:
  /// Whatever the bias is, the mean of its channel takes away.
  bool mean_is_own(Mode mode) const { return norm.width(conv.out_channels) == 1 && !norm.uses_running(mode); }
  /// Then the bias is left out where it would cost a pass over z of its own; running means alone know of it.
  bool skips_bias() const {
    if constexpr (requires { Kernel<Convolution, S>::kBiasIsAPass; })
      return norm.kind != NormKind::batch && mean_is_own(Mode::train);
    return false;
  }
  /// True where the convolution's kernel has an epilogue.
  static constexpr bool kFuses = requires(const ConvProblem& p) { Kernel<Convolution, S>::moment_parts(p, 0); };

  static Moments moments(const ConvProblem& p, int choice) {
    return {Kernel<Convolution, S>::moment_parts(p, choice), p.out_channels};
  }
  Index of_epilogue(const Facts<S>& f, const Inferred<S>& z) const {
    if constexpr (kFuses)
      return std::max(bytes_of<double>(conv.groups * moments(conv.problem(f.x(), z.shape), z.choice).size()),
                      Kernel<Normalization, S>::epilogue_bytes(z.shape.c));
    return 0;
  }
};

}   // namespace ctseg
