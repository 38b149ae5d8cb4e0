// Max pooling with the winning tap saved, and its gradient.
// Idea     a thread owns a pack of channels of one result; windows of 2 (all networks here) are unrolled, so that their eight
//          loads are in flight together. Backward: where windows do not overlap the thread of a window writes the whole box of
//          dx that the window owns (the last one of an axis with what is left behind it), each value once; overlapping windows
//          gather instead, from all windows that hold a voxel, in the order of taps. No atomics either way.
// Bytes    of a value of x (windows of 2^3): forward 1 size read, 1/8 written and 1/8 byte; backward the reverse.
// Speed    not measured yet.
#include "ctseg/ops/cuda/pool.hpp"

#include "../pointwise/rows.cuh"

namespace ctseg::cuda {
namespace {

/// The taps of a window, f(z, y, x, tap): of compile-time size and unrolled, or of any.
template <int Z, int Y, int X> struct Taps {
  static constexpr int z = Z, y = Y, x = X;
  template <class F> CTSEG_DEVICE void each(F f) const {
    CTSEG_UNROLL for (int tap = 0; tap < Z * Y * X; ++tap) f(tap / (Y * X), tap / X % Y, tap % X, tap);
  }
};
struct AnyTaps {
  int z, y, x;
  template <class F> CTSEG_DEVICE void each(F f) const {
    int tap = 0;
    for (int kz = 0; kz < z; ++kz)
      for (int ky = 0; ky < y; ++ky)
        for (int kx = 0; kx < x; ++kx, ++tap) f(kz, ky, kx, tap);
  }
};

template <class T, int N, class K> struct Pool {
  static constexpr int kThreads = kRowThreads, kResident = 3;
  static constexpr bool kSyncs = false;
  static constexpr const char* kName = "max_pool";
  K taps;
  Zyx stride, in, out;
  Rows<const T> x;
  Rows<T> y;
  Rows<std::uint8_t> winner;
  Index rows, packs;

  CTSEG_DEVICE void operator()(const Block& b) const {
    const Share s = share_of(b, rows, packs);
    for (Index row = s.row; row < rows; row += s.step) one(row, s.pack * N);
  }
  CTSEG_DEVICE void one(Index row, Index c) const {
    const Place to = place_of(row, out);
    const Zyx at{to.at.z * stride.z, to.at.y * stride.y, to.at.x * stride.x};
    const T* corner = x.at(row_of({to.image, at}, in), c);
    Pack<T, N> best = load<N>(corner);
    Pack<std::uint8_t, N> tap_of{};
    taps.each([&](int kz, int ky, int kx, int tap) {
      const Pack<T, N> value = load<N>(corner + Index{(kz * in.y + ky) * in.x + kx} * x.pitch);
      CTSEG_UNROLL for (int e = 0; e < N; ++e) {
        const float v = to_float(value.at[e]), most = to_float(best.at[e]);
        const bool wins = (v > most || v != v) && most == most;   // tap 0 does not win against itself
        best.at[e] = wins ? value.at[e] : best.at[e];
        tap_of.at[e] = wins ? static_cast<std::uint8_t>(tap) : tap_of.at[e];
      }
    });
    store(y.at(row, c), best);
    if (winner) store(winner.at(row, c), tap_of);
  }
};

/// Windows side by side: stride and size are equal.
template <class T, int N, class K> struct PoolBackward {
  static constexpr int kThreads = kRowThreads;
  static constexpr bool kSyncs = false;
  static constexpr const char* kName = "max_pool_backward";
  K taps;
  Zyx in, out;
  Rows<const T> dy;
  Rows<T> dx;
  Rows<const std::uint8_t> winner;
  Index rows, packs;

  CTSEG_DEVICE void operator()(const Block& b) const {
    const Share s = share_of(b, rows, packs);
    for (Index row = s.row; row < rows; row += s.step) one(row, s.pack * N);
  }
  CTSEG_DEVICE void one(Index row, Index c) const {
    const Pack<T, N> d = load<N>(dy.at(row, c));
    const Pack<std::uint8_t, N> tap_of = load<N>(winner.at(row, c));
    const Place from = place_of(row, out);
    const Zyx first{from.at.z * taps.z, from.at.y * taps.y, from.at.x * taps.x};
    T* corner = dx.at(row_of({from.image, first}, in), c);
    const auto put = [&](int kz, int ky, int kx, int tap) {
      Pack<T, N> to;
      CTSEG_UNROLL for (int e = 0; e < N; ++e) to.at[e] = from_float<T>(tap_of.at[e] == tap ? 0.f + to_float(d.at[e]) : 0.f);
      store(corner + Index{(kz * in.y + ky) * in.x + kx} * dx.pitch, to);
    };
    taps.each(put);
    const int depth = size(from.at.z, taps.z, out.z, in.z), height = size(from.at.y, taps.y, out.y, in.y),
              width = size(from.at.x, taps.x, out.x, in.x);
    if (depth == taps.z && height == taps.y && width == taps.x) return;
    for (int kz = 0; kz < depth; ++kz)   // behind the last window
      for (int ky = 0; ky < height; ++ky)
        for (int kx = 0; kx < width; ++kx)
          if (kz >= taps.z || ky >= taps.y || kx >= taps.x) put(kz, ky, kx, -1);
  }
  CTSEG_DEVICE static int size(int at, int taps_along, int outputs, int inputs) {
    return at + 1 < outputs ? taps_along : inputs - at * taps_along;
  }
};

template <class T, int N> struct PoolGather {
  static constexpr int kThreads = kRowThreads;
  static constexpr bool kSyncs = false;
  static constexpr const char* kName = "max_pool_gather";
  Zyx size, stride, in, out;
  Rows<const T> dy;
  Rows<T> dx;
  Rows<const std::uint8_t> winner;
  Index rows, packs;

  CTSEG_DEVICE void operator()(const Block& b) const {
    const Share s = share_of(b, rows, packs);
    for (Index row = s.row; row < rows; row += s.step) one(row, s.pack * N);
  }
  /// Taps t of an axis with at = o * stride + t: from at % stride on, every stride-th.
  CTSEG_DEVICE void one(Index row, Index c) const {
    const Place to = place_of(row, in);
    Pack<T, N> sum;
    for (int e = 0; e < N; ++e) sum.at[e] = from_float<T>(0);
    for (int kz = to.at.z % stride.z; kz < size.z && kz <= to.at.z; kz += stride.z) {
      const int z = (to.at.z - kz) / stride.z;
      for (int ky = to.at.y % stride.y; z < out.z && ky < size.y && ky <= to.at.y; ky += stride.y) {
        const int y = (to.at.y - ky) / stride.y;
        for (int kx = to.at.x % stride.x; y < out.y && kx < size.x && kx <= to.at.x; kx += stride.x) {
          const int x = (to.at.x - kx) / stride.x;
          if (x < out.x) add({to.image, {z, y, x}}, (kz * size.y + ky) * size.x + kx, c, sum);
        }
      }
    }
    store(dx.at(row, c), sum);
  }
  CTSEG_DEVICE void add(const Place& window, int tap, Index c, Pack<T, N>& sum) const {
    const Index from = row_of(window, out);
    const Pack<T, N> d = load<N>(dy.at(from, c));
    const Pack<std::uint8_t, N> tap_of = load<N>(winner.at(from, c));
    CTSEG_UNROLL for (int e = 0; e < N; ++e) {
      if (tap_of.at[e] == tap) sum.at[e] = from_float<T>(to_float(sum.at[e]) + to_float(d.at[e]));
    }
  }
};

template <class F> void with_taps(const ConvWindow& w, F f) {
  const Zyx size = zyx(w.kernel);
  if (w.kernel == std::array<Index, 3>{2, 2, 2}) return f(Taps<2, 2, 2>{});
  if (w.kernel == std::array<Index, 3>{1, 2, 2}) return f(Taps<1, 2, 2>{});
  f(AnyTaps{size.z, size.y, size.x});
}

}   // namespace

void max_pool(Stream stream, const MaxPool& p) {
  with_storage(p.x.dtype, [&]<class T>(T) {
    with_width<T>(packs_fit(p.x, p.y), [&](auto n) {
      constexpr int kWidth = decltype(n)::value;
      const Index rows = p.y.rows(), packs = p.y.c / kWidth;
      with_taps(p.window, [&](auto taps) {
        launch(stream, grid_of(rows, packs, 1),
               Pool<T, kWidth, decltype(taps)>{taps,
                                               zyx(p.window.stride),
                                               extents_of(p.x),
                                               extents_of(p.y),
                                               rows_of<const T>(p.x),
                                               rows_of<T>(p.y),
                                               {p.winner, p.y.c},
                                               rows,
                                               packs});
      });
    });
  });
}

void max_pool_backward(Stream stream, const MaxPool& p) {
  with_storage(p.x.dtype, [&]<class T>(T) {
    with_width<T>(packs_fit(p.x, p.y), [&](auto n) {
      constexpr int kWidth = decltype(n)::value;
      const Index packs = p.y.c / kWidth;
      const Zyx in = extents_of(p.x), out = extents_of(p.y);
      const auto dy = rows_of<const T>(p.y);
      const auto dx = rows_of<T>(p.x);
      const Rows<const std::uint8_t> winner{p.winner, p.y.c};
      if (p.window.kernel != p.window.stride)
        return launch(
            stream, grid_of(p.x.rows(), packs, 1),
            PoolGather<T, kWidth>{zyx(p.window.kernel), zyx(p.window.stride), in, out, dy, dx, winner, p.x.rows(), packs});
      with_taps(p.window, [&](auto taps) {
        launch(stream, grid_of(p.y.rows(), packs, 1),
               PoolBackward<T, kWidth, decltype(taps)>{taps, in, out, dy, dx, winner, p.y.rows(), packs});
      });
    });
  });
}

}   // namespace ctseg::cuda
