// copy, add, fill on the CPU.
#pragma once
#include "../elementwise.hpp"
#include "rows.hpp"

namespace ctseg {

template <class Spec_T, int Dim> struct Kernel<Elementwise, Spec<Spec_T, Dim, Cpu>> {
  using S = Spec<Spec_T, Dim, Cpu>;
  using Acc = typename S::Acc;

  template <class T> static void fill(Context<Cpu>& ctx, T value, View<T, Dim> to) {
    cpu::for_rows(ctx, to.rows(), [&](Index first, Index last) {
      for (Index r = first; r < last; ++r) std::fill_n(to.row(r), to.shape.c, value);
    });
  }
  template <class T> static void copy(Context<Cpu>& ctx, View<const T, Dim> from, View<T, Dim> to, Acc scale = 1) {
    cpu::for_rows(ctx, to.rows(), [&](Index first, Index last) {
      for (Index r = first; r < last; ++r) {
        if (scale == Acc(1))
          std::memcpy(to.row(r), from.row(r), static_cast<std::size_t>(to.shape.c) * sizeof(T));
        else
          for (Index c = 0; c < to.shape.c; ++c) to.row(r)[c] = T(scale * Acc(from.row(r)[c]));
      }
    });
  }
  template <class T> static void add(Context<Cpu>& ctx, View<const T, Dim> from, View<T, Dim> to, Acc scale = 1) {
    cpu::for_rows(ctx, to.rows(), [&](Index first, Index last) {
      if constexpr (std::is_same_v<T, float> && std::is_same_v<Acc, float>)
        return simd::row_passes(ctx.traits().isa)
            .add({cpu::rows_of(from, first), cpu::rows_of(to, first), last - first, to.shape.c, scale}, 0);
      for (Index r = first; r < last; ++r)
        for (Index c = 0; c < to.shape.c; ++c) to.row(r)[c] = T(Acc(to.row(r)[c]) + scale * Acc(from.row(r)[c]));
    });
  }
};

}   // namespace ctseg
