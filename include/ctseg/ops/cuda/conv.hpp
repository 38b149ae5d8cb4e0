// Convolution on the card: channels-last, tensor cores through cuDNN, own kernels where its are slow. Declarations only; the
// launchers live in kernels/conv.
#pragma once
#include "../conv.hpp"
#include "context.hpp"

namespace ctseg {

namespace cuda {

/// One group of a convolution, as a value: all that choosing an engine may depend on.
struct ConvShape {
  ConvProblem problem;
  Dtype dtype;

  Index taps() const { return problem.window.taps(); }
  /// Of one filter for all channels, in the stored type: what prepare makes, and the gradient that cuDNN returns.
  Index filter_bytes() const { return bytes_of(dtype, taps() * problem.in_channels * problem.out_channels); }
};

/// Who computes it. Written down in ConvChoice::choice, so that every call of one node takes the same way.
/// cudnn        any shape
/// first_layer, transposed, pointwise   own kernels: C = 1 inputs, kernel = stride = 2 (or k3 s2), heads of 1x1x1
enum class ConvEngine { cudnn, first_layer, transposed, pointwise };
/// The one place where this is decided.
ConvEngine choose_engine(const ConvShape&, const DeviceTraits<Cuda>&);
std::string text(ConvEngine);

/// Bytes of scratch; workspace for cuDNN is cut from traits.workspace, less where the problem is small.
Index conv_forward_scratch(const ConvShape&, const DeviceTraits<Cuda>&);
Index conv_backward_scratch(const ConvShape&, const DeviceTraits<Cuda>&);
/// Own kernels read the float weights; only the first layer's data gradient is the library's.
Index conv_prepared_bytes(const ConvShape&, ConvEngine);

/// Weights in the library's order [taps, in, out] become KRSC of the stored type: [out, taps, in], or [in, taps, out] for a
/// transposed convolution. Both directions of all three passes read it so.
void conv_prepare(Stream, const ConvShape&, const float* w, std::byte* prepared);

/// What all calls of a convolution share.
struct ConvRun {
  ConvShape shape;
  ConvEngine engine = ConvEngine::cudnn;
  DeviceTraits<Cuda> device;
  ConvPlans* plans = nullptr;
  const std::byte* prepared = nullptr;
  std::byte* scratch = nullptr;
};
struct ConvForward {
  Array x, y;
  const float* w = nullptr;
  const float* bias = nullptr;   // or none
};
/// dx is assigned, dw and db are added to; each of them may be absent.
struct ConvBackward {
  Array x, dy, dx;
  const float* w = nullptr;
  float *dw = nullptr, *db = nullptr;
};
void conv_forward(Stream, const ConvRun&, const ConvForward&);
void conv_backward(Stream, const ConvRun&, const ConvBackward&);
/// The most bytes of workspace that a plan of cuDNN for this shape may want.
Index conv_workspace(const ConvShape&, const DeviceTraits<Cuda>&);

}   // namespace cuda

template <class T, int Dim> struct Kernel<Convolution, Spec<T, Dim, Cuda>> {
  using S = Spec<T, Dim, Cuda>;

  static ConvChoice choose(const ConvProblem& p, Mode, const DeviceTraits<Cuda>& device) {
    const cuda::ConvShape shape{p, dtype_of<T>()};
    return {.choice = static_cast<int>(cuda::choose_engine(shape, device)),
            .forward_scratch = cuda::conv_forward_scratch(shape, device),
            .backward_scratch = cuda::conv_backward_scratch(shape, device)};
  }
  static std::string engine(const ConvProblem&, int choice) { return text(static_cast<cuda::ConvEngine>(choice)); }
  static constexpr bool kBackwardReadsPrepared = true, kBiasIsAPass = true;
  static Index prepared_bytes(const ConvProblem& p, int choice) {
    return cuda::conv_prepared_bytes({p, dtype_of<T>()}, static_cast<cuda::ConvEngine>(choice));
  }
  static void prepare(Context<Cuda>& ctx, const ConvProblem& p, int, const Weights<S>& w, Bytes prepared) {
    cuda::conv_prepare(ctx.stream(), {p, dtype_of<T>()}, cuda::device_values(w), prepared.next);
  }

  static void forward(const ConvProblem& p, const Forward<S>& f) {
    cuda::conv_forward(f.ctx.stream(), run_of(p, f, f.prepared, f.scratch),
                       {.x = cuda::array_of(f.x()),
                        .y = cuda::array_of(f.y()),
                        .w = cuda::device_values(f.w[0]),
                        .bias = f.w.size() > 1 ? cuda::device_values(f.w[1]) : nullptr});
  }
  static void backward(const ConvProblem& p, const Backward<S>& b) {
    const auto device = [](std::span<float> values) { return values.empty() ? nullptr : values.data(); };
    cuda::conv_backward(b.ctx.stream(), run_of(p, b, b.prepared, b.scratch),
                        {.x = cuda::array_of(b.x()),
                         .dy = cuda::array_of(b.dy()),
                         .dx = b.wants() ? cuda::array_of(b.dx()) : cuda::Array{},
                         .w = cuda::device_values(b.w[0]),
                         .dw = device(b.dw[0]),
                         .db = b.dw.size() > 1 ? device(b.dw[1]) : nullptr});
  }

 private:
  template <class Call> static cuda::ConvRun run_of(const ConvProblem& p, const Call& call, Bytes prepared, Bytes scratch) {
    return {.shape = {p, dtype_of<T>()},
            .engine = static_cast<cuda::ConvEngine>(call.choice),
            .device = call.ctx.traits(),
            .plans = &call.ctx.conv_plans(),
            .prepared = prepared.next,
            .scratch = scratch.next};
  }
};

}   // namespace ctseg
