// Dropout on the CPU: number i of the key's stream decides element i, so any thread may draw it.
#pragma once
#include "../dropout.hpp"
#include "rows.hpp"

namespace ctseg {

template <class T, int Dim> struct Kernel<Dropping, Spec<T, Dim, Cpu>> {
  using S = Spec<T, Dim, Cpu>;
  using Acc = typename S::Acc;

  static void apply(Context<Cpu>& ctx, const DropoutOp<S>& op, RandomKey key, In<S> from, Out<S> to) {
    const Index channels = to.shape.c, voxels = to.shape.voxels();
    const Acc keep = Acc(1) / (Acc(1) - Acc(op.p));
    cpu::for_rows(ctx, to.rows(), [&](Index first, Index last) {
      for (Index r = first; r < last; ++r)
        for (Index c = 0; c < channels; ++c) {
          const Index i = op.channelwise ? r / voxels * channels + c : r * channels + c;
          const bool dropped = op.p > 0 && uniform(key, static_cast<std::uint64_t>(i)) < op.p;
          to.row(r)[c] = dropped ? T(0) : T(keep * Acc(from.row(r)[c]));
        }
    });
  }
};

}   // namespace ctseg
