// convolution + normalisation + activation as one op with one backward: the unit of speed, and of memory.
#pragma once
#include "conv.hpp"
#include "norm.hpp"

namespace ctseg {

/// y = act(norm(conv(x))) as one op. Of the intermediate tensors training keeps the raw convolution only; inference keeps none:
/// it normalises where the convolution has just written.
/// Shapes    as ConvOp; the norm's channels are Cout.
/// Weights   w, b of ConvOp (b may be empty), then those of NormOp.
/// Numerics  of ConvOp, rounded to T, then of NormOp: the bits of the two ops in a row.
/// Gradient  dx assigned; those of the weights added, those of running statistics as in NormOp. Reads x again.
/// Cost      FLOP of ConvOp and NormOp. Keeps x, the raw convolution [N, Cout, D', H', W'], mean and 1 / sigma; not y. Backward
///           needs room for the raw convolution's gradient as scratch.
/// Errors    those of ConvOp and NormOp.
/// PyTorch   act(norm(conv(x))) with nn.Conv3d, nn.InstanceNorm3d(affine=True), nn.LeakyReLU; MONAI Convolution, "NDA"
template <AnySpec S> struct ConvNormActOp {
  ConvOp<S> conv;
  NormOp<S> norm;

  std::string_view name() const { return "Conv+Norm+Act"; }

  Inferred<S> infer(const Facts<S>& f) const {
    const Inferred<S> z = conv.infer({f.inputs, f.w.first(2), f.mode, f.device});
    const ValueInfo<S::kDim> raw_info{z.shape, z.dtype};
    const Inferred<S> y = norm.infer({{&raw_info, 1}, f.w.subspan(2), f.mode, f.device});
    const Index raw = bytes_of<typename S::T>(z.shape.elements()), kept = f.mode == Mode::train ? raw : 0;
    return {.shape = y.shape,
            .saved = kept + y.saved,
            .forward_scratch = std::max(z.forward_scratch, y.forward_scratch),
            .backward_scratch = raw + std::max(z.backward_scratch, y.backward_scratch),
            .prepared = z.prepared,
            .reads_inputs = true,
            .choice = z.choice};
  }
  void prepare(const Prepare<S>& p) const { conv.prepare({p.ctx, p.choice, p.inputs, p.w.first(2), p.prepared}); }

  void forward(const Forward<S>& f) const {
    Bytes saved = f.saved;
    const Out<S> z = f.mode == Mode::train ? packed<S>(saved, f.y().shape) : f.y();
    const AnyView<S::kDim> raw = z;
    conv.forward({f.ctx, f.mode, f.choice, f.inputs, f.w.first(2), raw, {}, f.scratch, f.prepared, f.key});
    norm.forward({f.ctx, f.mode, 0, {&raw, 1}, f.w.subspan(2), f.output, saved, f.scratch, {}, f.key});
  }
  void backward(const Backward<S>& b) const {
    Bytes saved = b.saved, scratch = b.scratch;
    const AnyView<S::kDim> z = packed<S>(saved, b.dy().shape), dz = packed<S>(scratch, b.dy().shape);
    norm.backward({b.ctx,
                   b.mode,
                   0,
                   {&z, 1},
                   b.w.subspan(2),
                   b.output,
                   b.output_gradient,
                   {&dz, 1},
                   b.dw.subspan(2),
                   saved,
                   scratch,
                   b.key});
    conv.backward(
        {b.ctx, b.mode, b.choice, b.inputs, b.w.first(2), b.output, dz, b.input_gradients, b.dw.first(2), {}, scratch, b.key});
  }
};

}   // namespace ctseg
