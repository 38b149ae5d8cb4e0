// Convolution of float on the CPU: the SIMD engine in simd/, on weights packed for it.
#pragma once
#include "conv.hpp"
#include "simd/conv.hpp"

namespace ctseg {

template <int Dim> struct Kernel<Convolution, Spec<float, Dim, Cpu>> {
  using S = Spec<float, Dim, Cpu>;

  /// choice: the instruction set and the ways of forward, data and weight gradient, so that a plan made for one processor repeats its bits on another
  /// that has the same.
  static ConvChoice choose(const ConvProblem& p, Mode mode, const DeviceTraits<Cpu>& device) {
    const Way forward(forward_plan(p, device.isa), device.accuracy, mode != Mode::train);
    const Way back(data_gradient_plan(p, device.isa), device.accuracy, false);   // which packs its weights itself
    const Index rows = p.images * extent(p.y_side == Side::output ? p.window.output : p.window.input);
    const Way weights(forward.direct, simd::choose_winograd_weights(forward.direct, device.accuracy));
    ConvChoice c{.choice = static_cast<int>(device.isa) | forward.code() << 3 | back.code() << 11 | weights.code() << 19,
                 .forward_scratch = bytes_of<std::byte>(forward.scratch_bytes())};
    c.ahead = forward.rows_ahead();
    if (mode == Mode::train)
      c.backward_scratch =
          std::max({bytes_of<std::byte>(back.packed_bytes()) + bytes_of<std::byte>(back.scratch_bytes()),
                    bytes_of<std::byte>(weights.weights_scratch_bytes()), cpu::partial_bytes<float>(rows, p.out_channels)});
    return c;
  }
  /// "direct", or the tiles that Winograd's way of the forward pass takes.
  static std::string engine(const ConvProblem& p, int choice) {
    const Way way = forward_way(p, choice);
    return way.winograd ? text(way.winograd->tiling) : "direct";
  }
  static Index prepared_bytes(const ConvProblem& p, int choice) {
    return bytes_of<std::byte>(forward_way(p, choice).packed_bytes());
  }

  static void prepare(Context<Cpu>& ctx, const ConvProblem& p, int choice, const Weights<S>& w, Bytes prepared) {
    forward_way(p, choice).pack(ctx.executor(), {.w = w.data(), .packed = reinterpret_cast<float*>(prepared.next)});
  }

  static MomentParts moment_parts(const ConvProblem& p, int choice) { return forward_way(p, choice).moment_parts(); }
  /// True where the vector passes know the activation.
  static bool fuses(const Activation& a) { return cpu::bend_of<S>(a, {}).has_value(); }

  static void forward(const ConvProblem& p, const Forward<S>& f) { forward(p, f, {}); }
  static void forward(const ConvProblem& p, const Forward<S>& f, const ConvEpilogue<S>& e) {
    const float* bias = f.w.size() > 1 && !f.w[1].empty() ? f.w[1].data() : nullptr;
    simd::NormPass norm{.residual = cpu::rows_of(e.residual, 0), .mean = e.mean, .scale = e.scale, .shift = e.shift};
    if (e.scale) norm.act = *cpu::bend_of<S>(e.activation, e.slopes);
    const simd::Epilogue epilogue{.passes = &simd::row_passes(f.ctx.traits().isa),
                                  .channels = p.out_channels,
                                  .moments = e.moments.data,
                                  .norm = e.scale ? &norm : nullptr,
                                  .y = cpu::rows_of(f.y(), 0)};
    forward_way(p, f.choice)
        .run(f.ctx.executor(),
             {.x = f.x().data,
              .x_pitch = f.x().pitch,
              .packed = reinterpret_cast<const float*>(f.prepared.next),
              .bias = bias,
              .y = f.y().data,
              .y_pitch = f.y().pitch,
              .epilogue = e.scale || e.moments.data ? &epilogue : nullptr},
             reinterpret_cast<float*>(f.scratch.next), overlap(f.x(), f.y()));
  }

  static void backward(const ConvProblem& p, const Backward<S>& b) {
    auto* scratch = reinterpret_cast<float*>(b.scratch.next);   // three passes, one after the other in the same place
    const In<S> x = b.x(), dy = b.dy();
    if (b.wants()) {
      const Way way(data_gradient_plan(p, isa_of(b.choice)), b.choice >> 11 & 255);
      Bytes rest = b.scratch;
      auto* packed = reinterpret_cast<float*>(take<std::byte>(rest, way.packed_bytes()));
      way.pack(b.ctx.executor(), {.w = b.w[0].data(), .flipped = true, .packed = packed});
      way.run(b.ctx.executor(),
              {.x = dy.data, .x_pitch = dy.pitch, .packed = packed, .y = b.dx().data, .y_pitch = b.dx().pitch},
              reinterpret_cast<float*>(rest.next));
    }
    if (!b.dw[0].empty())
      Way(forward_plan(p, isa_of(b.choice)), b.choice >> 19 & 255)
          .add_weight_gradient(
              b.ctx.executor(),
              {.x = x.data, .x_pitch = x.pitch, .dy = dy.data, .dy_pitch = dy.pitch, .dw = b.dw[0].data(), .scratch = scratch});
    if (b.dw.size() > 1 && !b.dw[1].empty()) cpu::add_channel_sums<S>(b.ctx, dy, b.dw[1], scratch);
  }

 private:
  /// One of the two engines, with its plan. code: 0 for the direct one, else 1 + the tilings of the axes.
  struct Way {
    static constexpr int kCodes = simd::kTilingsOfStride1;   // of an axis
    simd::ConvPlan direct;
    std::optional<simd::WinogradPlan> winograd;

    Way(const simd::ConvPlan& plan, Accuracy accuracy, bool packed_once)
        : direct(plan), winograd(simd::choose_winograd(plan, accuracy, packed_once)) {}
    Way(const simd::ConvPlan& plan, const std::optional<simd::WinogradPlan>& chosen) : direct(plan), winograd(chosen) {}
    Way(const simd::ConvPlan& plan, int code) : direct(plan) {
      if (code == 0) return;
      const auto axis = [&](std::size_t d, int unit) { return simd::tiling_of(plan, d, (code - 1) / unit % kCodes); };
      winograd = simd::WinogradPlan{plan, {axis(0, 1), axis(1, kCodes), axis(2, kCodes * kCodes)}};
    }
    int code() const {
      if (!winograd) return 0;
      const auto axis = [&](std::size_t d) { return simd::code_of(winograd->tiling[d]); };
      return 1 + axis(0) + kCodes * (axis(1) + kCodes * axis(2));
    }
    Index packed_bytes() const { return winograd ? simd::winograd_packed_bytes(*winograd) : simd::gather_packed_bytes(direct); }
    Index scratch_bytes() const { return winograd ? simd::winograd_scratch_bytes(*winograd) : 0; }
    MomentParts moment_parts() const {
      const simd::TileTable& table = simd::tiles(direct.isa, direct.to);
      if (winograd) {
        const simd::WinogradCut cut(*winograd, table);
        return {direct.images, winograd->tiles() / direct.images, cut.chunk, cut.parts(), cut.task_tiles};
      }
      if (simd::scatters(direct)) return {direct.images, simd::ScatterCut(direct, simd::scatter_tiles(direct)).boxes()};
      const simd::GatherCut cut(direct, table);
      return {direct.images, cut.rows / direct.images, cut.slab, 1, cut.slab};
    }
    void pack(Executor& executor, const simd::PackBuffers& b) const {
      winograd ? simd::winograd_pack(executor, *winograd, b) : simd::gather_pack(executor, direct, b);
    }
    Index rows_ahead() const { return winograd ? simd::rows_ahead(*winograd) : simd::rows_ahead(direct); }
    /// in_order: results overlap their source, in the way that rows_ahead() allows.
    void run(Executor& executor, simd::GatherBuffers b, float* scratch, bool in_order = false) const {
      const simd::TileTable& table = simd::tiles(direct.isa, direct.to);
      if (winograd) {
        if (in_order) b.wave = simd::wave(simd::WinogradCut(*winograd, table));
        return simd::winograd(executor, *winograd, b, scratch);
      }
      if (!in_order) return simd::gather(executor, direct, b);
      simd::InWaves waves(executor, simd::wave(simd::GatherCut(direct, table)));
      simd::gather(waves, direct, b);
    }
    Index weights_scratch_bytes() const {
      return winograd ? simd::winograd_weights_scratch_bytes(*winograd) : simd::weight_gradient_scratch_bytes(direct);
    }
    void add_weight_gradient(Executor& executor, const simd::GradientBuffers& b) const {
      winograd ? simd::winograd_weights(executor, *winograd, b) : simd::weight_gradient(executor, direct, b);
    }
  };
  static Isa isa_of(int choice) { return static_cast<Isa>(choice & 7); }
  static Way forward_way(const ConvProblem& p, int choice) { return Way(forward_plan(p, isa_of(choice)), choice >> 3 & 255); }

  /// Results over their source: only where a plan has laid them so, and never within one concat.
  static bool overlap(const In<S>& x, const Out<S>& y) {
    const float* end = y.row(y.rows() - 1) + y.shape.c;
    return x.pitch == x.shape.c && std::less<>()(y.data, x.data) && std::less<>()(x.data, end);
  }
  static Index extent(const std::array<Index, 3>& e) { return e[0] * e[1] * e[2]; }
  static simd::ConvPlan forward_plan(const ConvProblem& p, Isa isa) {
    return {.window = p.window, .side = p.y_side, .images = p.images, .from = p.in_channels, .to = p.out_channels, .isa = isa};
  }
  static simd::ConvPlan data_gradient_plan(const ConvProblem& p, Isa isa) {
    return {.window = p.window,
            .side = other(p.y_side),
            .images = p.images,
            .from = p.out_channels,
            .to = p.in_channels,
            .isa = isa};
  }
};

}   // namespace ctseg
