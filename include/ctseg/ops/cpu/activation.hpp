// Activations on the CPU.
#pragma once
#include "../activation.hpp"
#include "rows.hpp"

namespace ctseg {

template <class T, int Dim> struct Kernel<Pointwise, Spec<T, Dim, Cpu>> {
  using S = Spec<T, Dim, Cpu>;
  using Acc = typename S::Acc;

  static Index scratch(const Activation& a, const Shape<Dim>& x) {
    return a.kind == ActivationKind::prelu ? cpu::partial_bytes<Acc>(x.n * x.voxels(), x.c) : 0;
  }

  static void forward(Context<Cpu>& ctx, const Activation& a, In<S> x, const Weights<S>& slopes, Out<S> y) {
    if constexpr (std::is_same_v<T, float>)
      if (const auto bend = cpu::bend_of<S>(a, slopes))
        return cpu::for_rows(ctx, x.rows(), [&](Index first, Index last) {
          simd::row_passes(ctx.traits().isa)
              .bend({.x = cpu::rows_of(x, first),
                     .y = cpu::rows_of(y, first),
                     .rows = last - first,
                     .channels = x.shape.c,
                     .act = *bend},
                    0);
        });
    with_activation<S>(a, slopes, [&](auto f) {
      cpu::for_rows(ctx, x.rows(), [&](Index first, Index last) {
        for (Index r = first; r < last; ++r)
          cpu::for_pieces(x.shape.c, [&](Index c, auto count) {
            Acc value[cpu::kPiece];
            for (Index k = 0; k < count; ++k) value[k] = f.value(Acc(x.row(r)[c + k]), c + k);
            for (Index k = 0; k < count; ++k) y.row(r)[c + k] = T(value[k]);
          });
      });
    });
  }

  static void backward(const Backward<S>& b, const Activation& a, const Weights<S>& slopes, std::span<Acc> dslopes) {
    const In<S> x = b.x(), dy = b.dy();
    if (!dslopes.empty()) add_slope_gradients(b, dslopes);
    if (!b.wants()) return;
    const Out<S> dx = b.dx();
    if constexpr (std::is_same_v<T, float>)
      if (const auto bend = cpu::bend_of<S>(a, slopes))
        return cpu::for_rows(b.ctx, x.rows(), [&](Index first, Index last) {
          simd::row_passes(b.ctx.traits().isa)
              .bend_back({.x = cpu::rows_of(x, first),
                          .dy = cpu::rows_of(dy, first),
                          .y = cpu::rows_of(dx, first),
                          .rows = last - first,
                          .channels = x.shape.c,
                          .act = *bend},
                         0);
        });
    with_activation<S>(a, slopes, [&](auto f) {
      cpu::for_rows(b.ctx, x.rows(), [&](Index first, Index last) {
        for (Index r = first; r < last; ++r)
          cpu::for_pieces(x.shape.c, [&](Index c, auto count) {
            Acc value[cpu::kPiece];
            for (Index k = 0; k < count; ++k) value[k] = Acc(dy.row(r)[c + k]) * f.derivative(Acc(x.row(r)[c + k]), c + k);
            for (Index k = 0; k < count; ++k) dx.row(r)[c + k] = T(value[k]);
          });
      });
    });
  }

 private:
  /// dslope = sum of dy * x where x <= 0.
  static void add_slope_gradients(const Backward<S>& b, std::span<Acc> dslopes) {
    const In<S> x = b.x(), dy = b.dy();
    const Index channels = x.shape.c;
    Bytes scratch = b.scratch;
    Acc* partials = take<Acc>(scratch, cpu::RowBlocks(x.rows()).count * channels);
    const Index step = dslopes.size() > 1 ? 1 : 0, width = step ? channels : 1;   // one slope: its channels add up
    cpu::sum_rows(b.ctx, x.rows(), width, partials, dslopes.data(), [&](Index first, Index last, Acc* partial) {
      for (Index r = first; r < last; ++r)
        for (Index c = 0; c < channels; ++c)
          if (const Acc v = Acc(x.row(r)[c]); !(v > 0)) partial[c * step] += v * Acc(dy.row(r)[c]);
    });
  }
};

}   // namespace ctseg
