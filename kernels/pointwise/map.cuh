// y = f(x, ...), value by value: the one kernel behind copies with a factor, sums, products and activations.
#pragma once
#include "rows.cuh"

namespace ctseg::cuda {

/// f(values of the inputs, row, channel) in float. Every thread has kAhead packs of each input in flight before it computes, and
/// writes only what it has read itself: the output may be one of the inputs. Reads each input once, writes the output once.
template <class T, int N, int Inputs, class F> struct Map {
  static constexpr int kThreads = kRowThreads, kAhead = 4;
  static constexpr bool kSyncs = false;
  static constexpr const char* kName = F::kName;
  F f;
  Rows<const T> in[Inputs];
  Rows<T> out;
  Index rows, packs;

  CTSEG_DEVICE void operator()(const Block& b) const {
    const Share s = share_of(b, rows, packs);
    const Index c = s.pack * N;
    for (Index first = s.row; first < rows; first += kAhead * s.step) {
      Pack<T, N> x[kAhead][Inputs];
      CTSEG_UNROLL for (int k = 0; k < kAhead; ++k) {
        const Index row = first + k * s.step < rows ? first + k * s.step : first;   // a load too many, but no branch
        CTSEG_UNROLL for (int i = 0; i < Inputs; ++i) x[k][i] = load<N>(in[i].at(row, c));
      }
      CTSEG_UNROLL for (int k = 0; k < kAhead; ++k) {
        const Index row = first + k * s.step;
        if (row >= rows) break;
        Pack<T, N> y;
        CTSEG_UNROLL for (int e = 0; e < N; ++e) {
          float value[Inputs];
          CTSEG_UNROLL for (int i = 0; i < Inputs; ++i) value[i] = to_float(x[k][i].at[e]);
          y.at[e] = from_float<T>(f(value, row, c + e));
        }
        store(out.at(row, c), y);
      }
    }
  }
};

/// placed: f asks for rows or channels, so that they must stay what they are.
template <class T, class F, class... Arrays> void map(Stream stream, const F& f, bool placed, Array out, Arrays... in) {
  if (!placed && out.contiguous() && (in.contiguous() && ...)) {
    const Index width = flat_width(out, in...);
    out = flattened(out, width);
    ((in = flattened(in, width)), ...);
  }
  with_width<T>(packs_fit(out, in...), [&](auto n) {
    constexpr int kWidth = decltype(n)::value;
    const Index packs = out.c / kWidth;
    using Body = Map<T, kWidth, sizeof...(in), F>;
    launch(stream, grid_of(out.rows(), packs, Body::kAhead),
           Body{f, {rows_of<const T>(in)...}, rows_of<T>(out), out.rows(), packs});
  });
}

}   // namespace ctseg::cuda
