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
  /// A piece is read before its da is written, which may overwrite dy.
  static void backward(Context<Cpu>& ctx, const Known& v, Out<S> da, Out<S> db) {
    const Index step = v.b.shape.c > 1 ? 1 : 0;
    cpu::for_rows(ctx, v.a.rows(), [&](Index first, Index last) {
      for (Index r = first; r < last; ++r) {
        Acc sum = 0;
        cpu::for_pieces(v.a.shape.c, [&](Index c, auto count) {
          Acc to_a[cpu::kPiece], to_b[cpu::kPiece];
          for (Index k = 0; k < count; ++k) to_a[k] = Acc(v.dy.row(r)[c + k]) * Acc(v.b.row(r)[(c + k) * step]);
          for (Index k = 0; k < count; ++k) to_b[k] = Acc(v.dy.row(r)[c + k]) * Acc(v.a.row(r)[c + k]);
          for (Index k = 0; da && k < count; ++k) da.row(r)[c + k] = T(to_a[k]);
          for (Index k = 0; db && step == 1 && k < count; ++k) db.row(r)[c + k] = T(to_b[k]);
          for (Index k = 0; k < count; ++k) sum += to_b[k];
        });
        if (db && step == 0) db.row(r)[0] = T(sum);
      }
    });
  }
};

}   // namespace ctseg
