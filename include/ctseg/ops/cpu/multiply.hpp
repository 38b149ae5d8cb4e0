// Products on the CPU.
#pragma once
#include "../multiply.hpp"
#include "rows.hpp"

namespace ctseg {

template <class T, int Dim> struct Kernel<Multiplying, Spec<T, Dim, Cpu>> {
  using S = Spec<T, Dim, Cpu>;
  using Acc = typename S::Acc;

  static void forward(Context<Cpu>& ctx, In<S> a, In<S> b, Out<S> y) {
    const Index step = b.shape.c > 1 ? 1 : 0;   // one channel: the same for all
    cpu::for_rows(ctx, y.rows(), [&](Index first, Index last) {
      for (Index r = first; r < last; ++r)
        for (Index c = 0; c < y.shape.c; ++c) y.row(r)[c] = T(Acc(a.row(r)[c]) * Acc(b.row(r)[c * step]));
    });
  }

  struct Known {
    In<S> a, b, dy;
  };
  /// db of a voxel before its da, which may overwrite dy.
  static void backward(Context<Cpu>& ctx, const Known& v, Out<S> da, Out<S> db) {
    const Index channels = v.a.shape.c, step = v.b.shape.c > 1 ? 1 : 0;
    cpu::for_rows(ctx, v.a.rows(), [&](Index first, Index last) {
      for (Index r = first; r < last; ++r) {
        const auto product = [&](Index c) { return Acc(v.dy.row(r)[c]) * Acc(v.a.row(r)[c]); };
        Acc sum = 0;
        for (Index c = 0; db && step == 0 && c < channels; ++c) sum += product(c);
        if (db && step == 0) db.row(r)[0] = T(sum);
        for (Index c = 0; db && step == 1 && c < channels; ++c) db.row(r)[c] = T(product(c));
        for (Index c = 0; da && c < channels; ++c) da.row(r)[c] = T(Acc(v.dy.row(r)[c]) * Acc(v.b.row(r)[c * step]));
      }
    });
  }
};

}   // namespace ctseg
