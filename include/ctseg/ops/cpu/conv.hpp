// Convolution on the CPU, for every scalar: plain loops over the window. They serve double and the 16-bit types and are the
// shape that the SIMD engine of float (conv_float.hpp) is held against.
#pragma once
#include "../conv.hpp"
#include "rows.hpp"
#include "window.hpp"

namespace ctseg {

namespace cpu {
/// db[c] += sum of dy over all voxels; partials as partial_bytes<Acc>(rows, channels) says.
template <AnySpec S>
void add_channel_sums(Context<Cpu>& ctx, In<S> dy, std::span<typename S::Acc> db, typename S::Acc* partials) {
  using Acc = typename S::Acc;
  sum_rows(ctx, dy.rows(), dy.shape.c, partials, db.data(), [&](Index first, Index last, Acc* sum) {
    for (Index r = first; r < last; ++r)
      for (Index c = 0; c < dy.shape.c; ++c) sum[c] += Acc(dy.row(r)[c]);
  });
}
}   // namespace cpu

template <class T, int Dim> struct Kernel<Convolution, Spec<T, Dim, Cpu>> {
  using S = Spec<T, Dim, Cpu>;
  using Acc = typename S::Acc;

  static ConvChoice choose(const ConvProblem& p, Mode, const DeviceTraits<Cpu>&) {
    const Index rows = p.images * extent(p.y_side == Side::output ? p.window.output : p.window.input);
    return {.backward_scratch = cpu::partial_bytes<Acc>(rows, p.out_channels)};
  }
  static Index prepared_bytes(const ConvProblem&, int) { return 0; }
  static void prepare(Context<Cpu>&, const ConvProblem&, int, const Weights<S>&, Bytes) {}

  static void forward(const ConvProblem& p, const Forward<S>& f) {
    gather(f.ctx, p.window, p.y_side, f.x(), f.w[0], false, f.w.size() > 1 ? f.w[1] : Weights<S>{}, f.y());
  }

  static void backward(const ConvProblem& p, const Backward<S>& b) {
    if (b.wants()) gather(b.ctx, p.window, other(p.y_side), b.dy(), b.w[0], true, {}, b.dx());
    if (!b.dw[0].empty()) add_weight_gradient(b.ctx, p, b.x(), b.dy(), b.dw[0]);
    if (b.dw.size() < 2 || b.dw[1].empty()) return;
    Bytes scratch = b.scratch;
    cpu::add_channel_sums<S>(b.ctx, b.dy(), b.dw[1], take<Acc>(scratch, cpu::RowBlocks(b.dy().rows()).count * b.dy().shape.c));
  }

 private:
  static Index extent(const std::array<Index, 3>& e) { return e[0] * e[1] * e[2]; }

  /// y[v] = b + sum over partners u of w[tap] x[u]; `flipped` reads w as [tap][to][from], which is the data gradient.
  static void gather(Context<Cpu>& ctx, const ConvWindow& window, Side side, In<S> x, const Weights<S>& w, bool flipped,
                     const Weights<S>& b, Out<S> y) {
    const Index from = x.shape.c, to = y.shape.c, voxels = y.shape.voxels();
    cpu::for_rows(ctx, y.rows(), [&](Index first, Index last) {
      for (Index r = first; r < last; ++r)
        for (Index piece = 0; piece < to; piece += kChannels) {
          const Index count = std::min(kChannels, to - piece);
          Acc sum[kChannels];
          for (Index o = 0; o < count; ++o) sum[o] = b.empty() ? Acc(0) : b[piece + o];
          cpu::for_partners(window, side, r % voxels, [&](Index u, Index tap) {
            const T* values = x.at(r / voxels, u);
            const Acc* weights = w.data() + tap * from * to;
            for (Index i = 0; i < from; ++i)
              for (Index o = 0; o < count; ++o)
                sum[o] += Acc(values[i]) * weights[flipped ? (piece + o) * from + i : i * to + piece + o];
          });
          for (Index o = 0; o < count; ++o) y.row(r)[piece + o] = T(sum[o]);
        }
    });
  }

  /// dw[tap] += x[u] dy[v] over all meeting pairs; every tap is one task, so no partial sums are needed.
  static void add_weight_gradient(Context<Cpu>& ctx, const ConvProblem& p, In<S> x, In<S> dy, std::span<Acc> dw) {
    const Index in = x.shape.c, out = dy.shape.c, voxels = dy.shape.voxels();
    parallel_for(ctx.executor(), p.window.taps(), [&](Index tap) {
      const Index row = tap / p.window.kernel[2];
      const std::array<Index, 3> at = {row / p.window.kernel[1], row % p.window.kernel[1], tap % p.window.kernel[2]};
      ConvWindow one = p.window;   // of this tap alone
      one.kernel = {1, 1, 1};
      for (std::size_t d = 0; d < 3; ++d) one.padding[d] -= at[d] * one.dilation[d];
      Acc* sum = dw.data() + tap * in * out;
      for (Index r = 0; r < dy.rows(); ++r)
        cpu::for_partners(one, p.y_side, r % voxels, [&](Index u, Index) {
          const T* values = x.at(r / voxels, u);
          for (Index i = 0; i < in; ++i)
            for (Index o = 0; o < out; ++o) sum[i * out + o] += Acc(values[i]) * Acc(dy.row(r)[o]);
        });
    });
  }

  static constexpr Index kChannels = 64;   // sums kept on the stack
};

}   // namespace ctseg
