// y = act((x - mean) * scale + shift + residual): the second pass of a norm.
//
// A thread keeps mean, scale, shift and slope of its channels in registers and reads nothing but x and the residual; y may be a
// range of a wider buffer's channels, so concatenation costs nothing, or x itself.
// Reads x (and the residual), writes y: 2 (3) * sizeof(T) bytes per value. Not measured yet.
#include "tiles.cuh"

namespace ctseg::cuda {
namespace {

template <class T, int W, bool kCurved> struct NormApply {
  static constexpr int kThreads = kTileThreads;
  static constexpr bool kSyncs = false;
  static constexpr const char* kName = "norm_apply";
  RowTiles tiles;
  ChannelRows<const T> x, residual;
  ChannelRows<T> y;
  NormSource source;
  NormActivation activation;

  CTSEG_DEVICE void operator()(const Block& b) const {
    const RowPlace p = place<W>(b, tiles);
    if (!p.works) return;
    NormChannels<W> c;
    source.load(p.batch, p.channel, tiles.channels, c);
    const Bends<W, kCurved> act(activation, p.channel);
    residual.exists() ? walk<true>(p, c, act) : walk<false>(p, c, act);
  }

 private:
  template <bool kResidual>
  CTSEG_DEVICE void walk(const RowPlace& p, const NormChannels<W>& c, const Bends<W, kCurved>& act) const {
    const Index step = tiles.groups;
    for (Index r = p.last - 1 - p.group; r >= p.begin; r -= kInFlight * step) {
      Pack<T, W> v[kInFlight], other[kInFlight];
      for (int u = 0; u < kInFlight; ++u) {
        const Index row = r - u * step >= p.begin ? r - u * step : r;
        v[u] = x.template load<W>(row, p.channel);
        if constexpr (kResidual) other[u] = residual.template load<W>(row, p.channel);
      }
      for (int u = 0; u < kInFlight; ++u) {
        if (r - u * step < p.begin) break;
        for (int w = 0; w < W; ++w) {
          float value = (to_float(v[u].at[w]) - c.mean[w]) * c.scale[w] + c.shift[w];
          if constexpr (kResidual) value += to_float(other[u].at[w]);
          v[u].at[w] = from_float<T>(act.value(value, w));
        }
        y.template store<W>(r - u * step, p.channel, v[u]);
      }
    }
  }
};

}   // namespace

void norm_apply(Stream stream, const NormValues& v, const Array& y) {
  const int width = pack_width(v.x, v.residual, y);
  const RowTiles tiles = row_tiles(v.batches, v.x.rows() / v.batches, v.x.c, v.x.dtype, width);
  with_kernel(v, width, [&](auto t, auto w, auto curved) {
    using T = decltype(t);
    launch(stream, {tiles.blocks(), tiles.batches},
           NormApply<T, w, curved>{tiles, channel_rows<const T>(v.x), channel_rows<const T>(v.residual), channel_rows<T>(y),
                                   source_of(v), activation_of(v)});
  });
}

}   // namespace ctseg::cuda
