// Softmax over channels on the CPU.
#pragma once
#include "../softmax.hpp"
#include "rows.hpp"

namespace ctseg {

namespace cpu {
/// p = softmax(x); returns log(sum(exp(x))), so that log p[c] = x[c] - the result.
template <class X, class Acc> Acc softmax(const X* x, Index channels, Acc* p) {
  using Wide = std::conditional_t<std::is_same_v<X, double>, double, float>;   // the 16-bit types become float, and only float
  Acc top = Acc(Wide(x[0])), sum = 0;
  for (Index c = 1; c < channels; ++c) top = std::max(top, Acc(Wide(x[c])));
  for (Index c = 0; c < channels; ++c) sum += p[c] = std::exp(Acc(Wide(x[c])) - top);
  for (Index c = 0; c < channels; ++c) p[c] /= sum;
  return top + std::log(sum);
}
}   // namespace cpu

template <class T, int Dim> struct Kernel<Softmaxing, Spec<T, Dim, Cpu>> {
  using S = Spec<T, Dim, Cpu>;
  using Acc = typename S::Acc;

  static void forward(Context<Cpu>& ctx, In<S> x, Out<S> y) {
    cpu::for_rows(ctx, x.rows(), [&](Index first, Index last) {
      for (Index r = first; r < last; ++r) {
        Acc top = Acc(x.row(r)[0]), sum = 0;
        for (Index c = 1; c < x.shape.c; ++c) top = std::max(top, Acc(x.row(r)[c]));
        for (Index c = 0; c < x.shape.c; ++c) sum += std::exp(Acc(x.row(r)[c]) - top);
        for (Index c = 0; c < x.shape.c; ++c) y.row(r)[c] = T(std::exp(Acc(x.row(r)[c]) - top) / sum);
      }
    });
  }
  /// dx = y * (dy - sum(dy * y)).
  static void backward(Context<Cpu>& ctx, In<S> y, In<S> dy, Out<S> dx) {
    cpu::for_rows(ctx, y.rows(), [&](Index first, Index last) {
      for (Index r = first; r < last; ++r) {
        Acc dot = 0;
        for (Index c = 0; c < y.shape.c; ++c) dot += Acc(y.row(r)[c]) * Acc(dy.row(r)[c]);
        for (Index c = 0; c < y.shape.c; ++c) dx.row(r)[c] = T(Acc(y.row(r)[c]) * (Acc(dy.row(r)[c]) - dot));
      }
    });
  }
};

}   // namespace ctseg
