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
      std::array<std::uint32_t, 4> words{};   // of four numbers: drawn once
      std::uint64_t block = ~std::uint64_t{0};
      for (Index r = first; r < last; ++r)
        for (Index c = 0; c < channels; ++c) {
          const auto i = static_cast<std::uint64_t>((op.channelwise ? r / voxels : r) * channels + c);
          if (op.p > 0 && i / 4 != block) words = key.words(block = i / 4);
          const bool dropped = op.p > 0 && uniform_of(words[i % 4]) < op.p;
          to.row(r)[c] = dropped ? T(0) : T(keep * Acc(from.row(r)[c]));
        }
    });
  }
};

}   // namespace ctseg
