// Max pooling on the CPU. Backward gathers, so that overlapping windows need no atomics and threads cannot change a bit.
#pragma once
#include "../../core/finite.hpp"
#include "../pool.hpp"
#include "rows.hpp"
#include "window.hpp"

namespace ctseg {

template <class T, int Dim> struct Kernel<Pooling, Spec<T, Dim, Cpu>> {
  using S = Spec<T, Dim, Cpu>;
  using Acc = typename S::Acc;

  /// winner: the tap of every maximum, packed like y; null outside training.
  static void forward(Context<Cpu>& ctx, const ConvWindow& window, In<S> x, Out<S> y, std::uint8_t* winner) {
    const Index voxels = y.shape.voxels(), channels = y.shape.c;
    cpu::for_rows(ctx, y.rows(), [&](Index first, Index last) {
      for (Index r = first; r < last; ++r) {
        T* best = y.row(r);
        std::uint8_t* tap_of = winner ? winner + r * channels : nullptr;
        bool fresh = true;
        cpu::for_partners(window, Side::output, r % voxels, [&](Index u, Index tap) {
          const T* value = x.at(r / voxels, u);
          if (fresh) {
            std::copy_n(value, channels, best);
            if (tap_of) std::fill_n(tap_of, channels, static_cast<std::uint8_t>(tap));
            fresh = false;
            return;
          }
          for (Index c = 0; c < channels; ++c) {
            const Acc v = Acc(value[c]), b = Acc(best[c]);
            const bool wins = (is_nan(v) || v > b) && !is_nan(b);
            best[c] = wins ? value[c] : best[c];
            if (tap_of) tap_of[c] = wins ? static_cast<std::uint8_t>(tap) : tap_of[c];
          }
        });
      }
    });
  }

  static void backward(Context<Cpu>& ctx, const ConvWindow& window, const std::uint8_t* winner, In<S> dy, Out<S> dx) {
    const Index voxels = dx.shape.voxels(), out_voxels = dy.shape.voxels(), channels = dx.shape.c;
    cpu::for_rows(ctx, dx.rows(), [&](Index first, Index last) {
      for (Index r = first; r < last; ++r) {
        T* to = dx.row(r);
        std::fill_n(to, channels, T(0));
        cpu::for_partners(window, Side::input, r % voxels, [&](Index o, Index tap) {
          const Index row = r / voxels * out_voxels + o;
          for (Index c = 0; c < channels; ++c)
            to[c] = winner[row * channels + c] == tap ? T(Acc(to[c]) + Acc(dy.row(row)[c])) : to[c];
        });
      }
    });
  }
};

}   // namespace ctseg
