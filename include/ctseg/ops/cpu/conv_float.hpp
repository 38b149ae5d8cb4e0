// Convolution of float on the CPU: the SIMD engine in simd/, on weights packed for it.
#pragma once
#include "conv.hpp"
#include "simd/conv.hpp"

namespace ctseg {

template <int Dim> struct Kernel<Convolution, Spec<float, Dim, Cpu>> {
  using S = Spec<float, Dim, Cpu>;

  /// choice: the instruction set, so that a plan made for one processor repeats its bits on another that has the same.
  static ConvChoice choose(const ConvProblem& p, Mode mode, const DeviceTraits<Cpu>& device) {
    const int isa = static_cast<int>(device.isa);
    const simd::ConvPlan forward = forward_plan(p, isa), back = data_gradient_plan(p, isa);
    const Index rows = p.images * extent(p.y_side == Side::output ? p.window.output : p.window.input);
    ConvChoice c{.choice = isa};
    if (mode == Mode::train)
      c.backward_scratch = std::max({bytes_of<std::byte>(simd::gather_packed_bytes(back)),
                                     bytes_of<std::byte>(simd::weight_gradient_scratch_bytes(forward)),
                                     cpu::partial_bytes<float>(rows, p.out_channels)});
    return c;
  }
  static Index prepared_bytes(const ConvProblem& p, int choice) {
    return bytes_of<std::byte>(simd::gather_packed_bytes(forward_plan(p, choice)));
  }

  static void prepare(Context<Cpu>& ctx, const ConvProblem& p, int choice, const Weights<S>& w, Bytes prepared) {
    simd::gather_pack(ctx.executor(), forward_plan(p, choice),
                      {.w = w.data(), .packed = reinterpret_cast<float*>(prepared.next)});
  }

  static void forward(const ConvProblem& p, const Forward<S>& f) {
    const float* bias = f.w.size() > 1 && !f.w[1].empty() ? f.w[1].data() : nullptr;
    simd::gather(f.ctx.executor(), forward_plan(p, f.choice),
                 {.x = f.x().data,
                  .x_pitch = f.x().pitch,
                  .packed = reinterpret_cast<const float*>(f.prepared.next),
                  .bias = bias,
                  .y = f.y().data,
                  .y_pitch = f.y().pitch});
  }

  static void backward(const ConvProblem& p, const Backward<S>& b) {
    auto* scratch = reinterpret_cast<float*>(b.scratch.next);   // three passes, one after the other in the same place
    const In<S> x = b.x(), dy = b.dy();
    if (b.wants()) {
      const simd::ConvPlan plan = data_gradient_plan(p, b.choice);
      simd::gather_pack(b.ctx.executor(), plan, {.w = b.w[0].data(), .flipped = true, .packed = scratch});
      simd::gather(b.ctx.executor(), plan,
                   {.x = dy.data, .x_pitch = dy.pitch, .packed = scratch, .y = b.dx().data, .y_pitch = b.dx().pitch});
    }
    if (!b.dw[0].empty())
      simd::weight_gradient(
          b.ctx.executor(), forward_plan(p, b.choice),
          {.x = x.data, .x_pitch = x.pitch, .dy = dy.data, .dy_pitch = dy.pitch, .dw = b.dw[0].data(), .scratch = scratch});
    if (b.dw.size() > 1 && !b.dw[1].empty()) cpu::add_channel_sums<S>(b.ctx, dy, b.dw[1], scratch);
  }

 private:
  static Index extent(const std::array<Index, 3>& e) { return e[0] * e[1] * e[2]; }
  static simd::ConvPlan forward_plan(const ConvProblem& p, int isa) {
    return {.window = p.window,
            .side = p.y_side,
            .images = p.images,
            .from = p.in_channels,
            .to = p.out_channels,
            .isa = static_cast<Isa>(isa)};
  }
  static simd::ConvPlan data_gradient_plan(const ConvProblem& p, int isa) {
    return {.window = p.window,
            .side = other(p.y_side),
            .images = p.images,
            .from = p.out_channels,
            .to = p.in_channels,
            .isa = static_cast<Isa>(isa)};
  }
};

}   // namespace ctseg
