// Normalisation on the card: statistics in one pass, then one pass that normalises, adds the residual and activates; backward
// the same way, a pass of sums and a pass of gradients.
#pragma once
#include "../norm.hpp"
#include "array.hpp"
#include "context.hpp"

namespace ctseg::cuda {

/// What all passes of one norm see; pointers are into device memory.
struct NormValues {
  Array x, residual{};   // a residual without data: none
  Index batches = 1;     // parts of x, equally long, with statistics of their own
  Index share = 1;       // neighbouring channels that share them
  float eps = 1e-5f;
  const float *mean = nullptr, *rstd = nullptr;    // [batches, c]; none: 0 and 1
  const float* variance = nullptr;                 // [c], in place of rstd: the running one
  const float *gamma = nullptr, *beta = nullptr;   // [c]; none: 1 and 0
  const float* slopes = nullptr;                   // of prelu, one or [c]
  Index slope_count = 0;
  Activation activation{};
};
/// Parameter gradients, added to; null: not wanted.
struct NormGradients {
  float *gamma = nullptr, *beta = nullptr, *slopes = nullptr;
  float *running_mean = nullptr, *running_variance = nullptr;   // get (running - batch)
  const float *running_mean_is = nullptr, *running_variance_is = nullptr;
};
struct NormBackward {
  NormValues values;
  Array dy, dx{}, dresidual{};   // without data: not wanted
  NormGradients gradients{};
  bool moves_with_x = true;   // the statistics are those of x
};

/// Scratch of norm_statistics and norm_backward, for values of this shape.
Index norm_statistics_bytes(const NormValues&);
Index norm_backward_bytes(const NormValues&);

/// mean and rstd [batches, c] of x.
void norm_statistics(Stream, const NormValues&, float* mean, float* rstd, std::byte* scratch);
/// y = act((x - mean) * rstd * gamma + beta + residual); y may lie on x.
void norm_apply(Stream, const NormValues&, const Array& y);
/// dx and dresidual assigned, parameter gradients added; dx may lie on dy.
void norm_backward(Stream, const NormBackward&, std::byte* scratch);

}   // namespace ctseg::cuda

namespace ctseg {

template <class T, int Dim> struct Kernel<Normalization, Spec<T, Dim, Cuda>> {
  using S = Spec<T, Dim, Cuda>;

  struct NormMemory {
    Index saved, forward_scratch, backward_scratch;
  };
  /// saved: mean and 1 / sigma of every batch and channel.
  static NormMemory memory(const NormOp<S>& op, const Shape<Dim>& x) {
    const cuda::NormValues v = values(op, cuda::array_of(AnyView<Dim>(nullptr, {x, dtype_of<T>()}, x.c)));
    return {bytes_of<float>(2 * v.batches * x.c), cuda::norm_statistics_bytes(v), cuda::norm_backward_bytes(v)};
  }

  static void forward(const NormOp<S>& op, const Forward<S>& f) {
    cuda::NormValues v = values(op, cuda::array_of(f.inputs[0]));
    if (f.inputs.size() > 1) v.residual = cuda::array_of(f.inputs[1]);
    Bytes saved = f.saved;
    float* const mean = take<float>(saved, 2 * v.batches * v.x.c);
    float* const rstd = mean + v.batches * v.x.c;
    parameters(op, f.w, v);
    if (op.uses_running(f.mode)) {
      running(op, f.w, v);
    } else {
      refuse_sharing(f.ctx, op);
      if (!f.again) cuda::norm_statistics(f.ctx.stream(), v, mean, rstd, f.scratch.next);   // else they are saved
      v.mean = mean, v.rstd = rstd;
    }
    cuda::norm_apply(f.ctx.stream(), v, cuda::array_of(f.output));
  }

  static void backward(const NormOp<S>& op, const Backward<S>& b) {
    cuda::NormBackward n{.values = values(op, cuda::array_of(b.inputs[0])), .dy = cuda::array_of(b.output_gradient)};
    cuda::NormValues& v = n.values;
    if (b.inputs.size() > 1) v.residual = cuda::array_of(b.inputs[1]);
    if (b.wants()) n.dx = cuda::array_of(b.input_gradients[0]);
    if (b.inputs.size() > 1 && b.wants(1)) n.dresidual = cuda::array_of(b.input_gradients[1]);
    Bytes saved = b.saved;
    const float* const mean = take<float>(saved, 2 * v.batches * v.x.c);
    parameters(op, b.w, v);
    if (op.uses_running(b.mode)) {
      running(op, b.w, v), n.moves_with_x = false;
    } else {
      refuse_sharing(b.ctx, op);
      v.mean = mean, v.rstd = mean + v.batches * v.x.c;
    }
    const auto gradient = [&](std::size_t k) { return k < b.dw.size() && !b.dw[k].empty() ? b.dw[k].data() : nullptr; };
    if (op.affine) n.gradients.gamma = gradient(0), n.gradients.beta = gradient(1);
    if (op.activation.kind == ActivationKind::prelu) n.gradients.slopes = gradient(op.slopes_at());
    if (op.kind == NormKind::batch && b.mode == Mode::train) {
      const std::size_t k = op.running_at();
      n.gradients.running_mean = gradient(k), n.gradients.running_variance = gradient(k + 1);
      n.gradients.running_mean_is = cuda::device_values(b.w[k]);
      n.gradients.running_variance_is = cuda::device_values(b.w[k + 1]);
    }
    cuda::norm_backward(b.ctx.stream(), n, b.scratch.next);
  }

 private:
  static cuda::NormValues values(const NormOp<S>& op, const cuda::Array& x) {
    return {.x = x,
            .batches = op.kind == NormKind::batch ? 1 : x.n,
            .share = op.width(x.c),
            .eps = op.eps,
            .activation = op.activation};
  }
  static void parameters(const NormOp<S>& op, AllWeights<S> w, cuda::NormValues& v) {
    if (op.affine) v.gamma = cuda::device_values(w[0]), v.beta = cuda::device_values(w[1]);
    if (op.activation.kind != ActivationKind::prelu) return;
    v.slopes = cuda::device_values(w[op.slopes_at()]);
    v.slope_count = w[op.slopes_at()].size();
  }
  static void running(const NormOp<S>& op, AllWeights<S> w, cuda::NormValues& v) {
    if (op.kind == NormKind::none) return;
    v.mean = cuda::device_values(w[op.running_at()]);
    v.variance = cuda::device_values(w[op.running_at() + 1]);
  }
  static void refuse_sharing(const Context<Cuda>& ctx, const NormOp<S>& op) {
    if constexpr (requires { ctx.statistics_group(); })
      if (op.kind == NormKind::batch && ctx.statistics_group())
        throw Error(Code::unsupported, "norm",
                    "batch norm on the card knows the images of its own process alone. Hint: shared_statistics = false, or "
                    "instance norm, which shares nothing.");
  }
};

}   // namespace ctseg
