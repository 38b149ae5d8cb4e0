// Mean and 1 / sigma per batch and channel, in one pass over memory.
//
// Every block sums x - k and its square for k close to its own mean (that of four rows of its chunk), so that neither a large
// mean nor another block's values cost digits; threads and groups add in pairs. The last block merges the blocks' means and
// squared deviations in double, and where channels share statistics, those.
// Reads x once: sizeof(T) bytes per value. Not measured yet.
#include "../common/finish.cuh"
#include "tiles.cuh"

namespace ctseg::cuda {
namespace {

struct NormFinish {
  RowTiles tiles;
  Index share;
  double eps;
  double* partials;   // [batches, chunks, 2, channels]: means, squared deviations from them
  double* merged;     // [batches, channels, 2], where channels share
  float *mean, *rstd;
  unsigned* arrived;   // of each tile; of all where channels share

  CTSEG_DEVICE void put(const RowPlace& p, Index channel, double m, double squares) const {
    double* const to = partials + (p.batch * tiles.chunks + p.chunk) * 2 * tiles.channels + channel;
    to[0] = m, to[tiles.channels] = squares;
  }
  CTSEG_DEVICE void write(Index at, double m, double variance) const {
    mean[at] = static_cast<float>(m);
    rstd[at] = static_cast<float>(1 / std::sqrt((variance > 0 ? variance : 0) + eps));
  }
  /// By the block that comes last of its tile, or of all.
  CTSEG_DEVICE void operator()(const Block& b, const RowPlace& p, Index tile_channels) const {
    const bool whole = share > 1;
    if (!comes_last(b, arrived + (whole ? 0 : p.tile), tiles.batches * tiles.chunks * (whole ? tiles.tiles : 1))) return;
    const Index first = whole ? 0 : p.tile * tile_channels;
    const Index count = whole || first + tile_channels > tiles.channels ? tiles.channels - first : tile_channels;
    const double rows = static_cast<double>(tiles.rows);
    sum_parts<kTileThreads, 2>(
        b, tiles.batches * count, tiles.chunks,
        [&](Index item, Index part, Index step, double* total) {
          const double* const from = partials + item / count * tiles.chunks * 2 * tiles.channels + first + item % count;
          for (Index k = part; k < tiles.chunks; k += step) {
            const double n = static_cast<double>(k + 1 < tiles.chunks ? tiles.chunk : tiles.rows - k * tiles.chunk);
            const double d = from[k * 2 * tiles.channels] - from[0];
            total[0] += n * d;
            total[1] += from[(k * 2 + 1) * tiles.channels] + n * d * d;
          }
        },
        [&](Index item, const double* total) {
          const Index batch = item / count, channel = first + item % count, at = batch * tiles.channels + channel;
          const double m = partials[batch * tiles.chunks * 2 * tiles.channels + channel] + total[0] / rows;
          const double squares = total[1] - total[0] * total[0] / rows;
          if (!whole) return write(at, m, squares / rows);
          merged[2 * at] = m, merged[2 * at + 1] = squares;
        });
    if (!whole) return;
    b.sync();
    for (Index group = b.thread(); group < tiles.batches * tiles.channels / share; group += kTileThreads) {
      const double* const from = merged + group * share * 2;
      double shifted = 0, squares = 0;
      for (Index k = 0; k < share; ++k) {
        const double d = from[2 * k] - from[0];
        shifted += d, squares += from[2 * k + 1] + rows * d * d;
      }
      const double n = static_cast<double>(share);
      for (Index k = 0; k < share; ++k)
        write(group * share + k, from[0] + shifted / n, (squares - rows * shifted * shifted / n) / (rows * n));
    }
  }
};

template <class T, int W> struct NormMoments {
  static constexpr int kThreads = kTileThreads;
  static constexpr bool kSyncs = true;
  static constexpr const char* kName = "norm_statistics";
  RowTiles tiles;
  ChannelRows<const T> x;
  NormFinish finish;

  CTSEG_DEVICE void operator()(const Block& b) const {
    const RowPlace p = place<W>(b, tiles);
    float near[W] = {}, sums[2][W] = {};
    if (p.works) walk(p, near, sums);
    add_groups(b, tiles, p.group, sums);
    if (p.works && p.group == 0) {
      const double n = static_cast<double>(p.last - p.begin);
      for (int w = 0; w < W; ++w) {
        const double sum = static_cast<double>(sums[0][w]), squares = static_cast<double>(sums[1][w]);
        finish.put(p, p.channel + w, static_cast<double>(near[w]) + sum / n, squares - sum * sum / n);
      }
    }
    finish(b, p, Index{tiles.lanes} * W);
  }

 private:
  CTSEG_DEVICE void walk(const RowPlace& p, float (&near)[W], float (&sums)[2][W]) const {
    constexpr int kFew = 4;
    for (int k = 0; k < kFew; ++k) {
      const Pack<T, W> v = x.template load<W>(p.begin + k * (p.last - p.begin) / kFew, p.channel);
      for (int w = 0; w < W; ++w) near[w] += to_float(v.at[w]) / kFew;
    }
    const Index step = tiles.groups;
    for (Index r = p.first; r < p.last; r += kInFlight * step) {
      Pack<T, W> v[kInFlight];
      for (int u = 0; u < kInFlight; ++u) v[u] = x.template load<W>(r + u * step < p.last ? r + u * step : r, p.channel);
      for (int u = 0; u < kInFlight; ++u)
        if (r + u * step < p.last)
          for (int w = 0; w < W; ++w) {
            const float d = to_float(v[u].at[w]) - near[w];
            sums[0][w] += d, sums[1][w] += d * d;
          }
    }
  }
};

struct StatisticsMemory {
  Bytes next;
  double *partials, *merged;
  unsigned* arrived;
  StatisticsMemory(std::byte* scratch, const RowTiles& t)
      : next{scratch},
        partials(take<double>(next, t.batches * t.chunks * 2 * t.channels)),
        merged(take<double>(next, 2 * t.batches * t.channels)),
        arrived(take<unsigned>(next, t.tiles)) {}
};
RowTiles tiles_of(const NormValues& v, int width) {
  return row_tiles(v.batches, v.x.rows() / v.batches, v.x.c, v.x.dtype, width);
}

}   // namespace

Index norm_statistics_bytes(const NormValues& v) {
  const auto of_width = [&](int width) { return bytes_taken<StatisticsMemory>(tiles_of(v, width)); };
  return std::max(of_width(1), of_width(16 / static_cast<int>(size_of(v.x.dtype))));
}

void norm_statistics(Stream stream, const NormValues& v, float* mean, float* rstd, std::byte* scratch) {
  const int width = pack_width(v.x);
  const RowTiles tiles = tiles_of(v, width);
  const StatisticsMemory m(scratch, tiles);
  clear(stream, m.arrived, bytes_of<unsigned>(tiles.tiles));
  const NormFinish finish{tiles, v.share, static_cast<double>(v.eps), m.partials, m.merged, mean, rstd, m.arrived};
  with_kernel({.x = v.x}, width, [&](auto t, auto w, auto curved) {
    using T = decltype(t);
    if constexpr (!curved)
      launch(stream, {tiles.blocks(), tiles.batches, shared_for(2, w)},
             NormMoments<T, w>{tiles, channel_rows<const T>(v.x), finish});
  });
}

}   // namespace ctseg::cuda
