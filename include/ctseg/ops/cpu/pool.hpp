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

  /// winner: the tap of every maximum, packed like y; null outside training. There is no padding: every tap exists.
  static void forward(Context<Cpu>& ctx, const ConvWindow& window, In<S> x, Out<S> y, std::uint8_t* winner) {
    std::array<Index, kMostTaps> offset{};
    const auto &in = window.input, &out = window.output;
    cpu::for_partners(window, Side::output, 0,
                      [&](Index u, Index tap) { offset[static_cast<std::size_t>(tap)] = u * x.pitch; });
    const Index channels = y.shape.c, step = window.stride[2] * x.pitch, lines = y.shape.n * out[0] * out[1];
    parallel_blocks(ctx.executor(), lines, 1 + kGrain / (out[2] * channels), [&](Index first, Index last) {
      for (Index line = first; line < last; ++line) {
        const Index image = line / out[1] / out[0], oz = line / out[1] % out[0], oy = line % out[1];
        const T* from = x.row(((image * in[0] + oz * window.stride[0]) * in[1] + oy * window.stride[1]) * in[2]);
        std::uint8_t* tap_of = winner ? winner + line * out[2] * channels : nullptr;
        if constexpr (std::is_same_v<T, float>) {
          const simd::RowsOut to{y.row(line * out[2]), y.pitch};
          simd::row_passes(ctx.traits().isa).max({from, offset.data(), step, window.taps(), out[2], channels, to, tap_of}, 0);
        } else {
          for (Index r = 0; r < out[2]; ++r)
            largest({from + r * step, {offset.data(), static_cast<std::size_t>(window.taps())}}, channels,
                    y.row(line * out[2] + r), tap_of ? tap_of + r * channels : nullptr);
        }
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
          const std::uint8_t* tap_of = winner + row * channels;
          if constexpr (std::is_same_v<T, float>)
            return simd::row_passes(ctx.traits().isa).max_back({dy.row(row), tap_of, to, tap, channels}, 0);
          for (Index c = 0; c < channels; ++c) to[c] = tap_of[c] == tap ? T(Acc(to[c]) + Acc(dy.row(row)[c])) : to[c];
        });
      }
    });
  }

 private:
  static constexpr std::size_t kMostTaps = 256;
  static constexpr Index kGrain = 32768;   // values of a task

  struct Taps {
    const T* x;
    std::span<const Index> offset;
  };
  static void largest(const Taps& taps, Index channels, T* best, std::uint8_t* tap_of) {
    std::copy_n(taps.x, channels, best);   // tap 0
    if (tap_of) std::fill_n(tap_of, channels, std::uint8_t{0});
    for (std::size_t tap = 1; tap < taps.offset.size(); ++tap)
      for (Index c = 0; c < channels; ++c) {
        const T value = taps.x[taps.offset[tap] + c];
        const Acc v = Acc(value), b = Acc(best[c]);
        const bool wins = (is_nan(v) || v > b) && !is_nan(b);
        best[c] = wins ? value : best[c];
        if (tap_of) tap_of[c] = wins ? static_cast<std::uint8_t>(tap) : tap_of[c];
      }
  }
};

}   // namespace ctseg
