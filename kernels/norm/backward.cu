// The way back through a norm, in two passes. With u = (x - mean) / sigma * gamma + beta (+ residual), what the activation saw,
// and du = act'(u) dy:
//   sums    of du, du * (x - mean) and, for prelu's slope, dy * u below 0; the last block adds parameter gradients and makes the
//           two means that dx needs
//   assign  dx = (gamma du - mean(gamma du) - xhat * mean(gamma du * xhat)) / sigma; du is the residual's gradient
// u is made again from x in both: neither it nor a mask is stored.
// Reads x, dy (and the residual) twice, writes dx (and the residual's): 5 (8) * sizeof(T) bytes per value. Not measured yet.
#include "../common/finish.cuh"
#include "tiles.cuh"

namespace ctseg::cuda {
namespace {

inline constexpr int kSums = 3;
/// Rows that a thread loads before it uses the first. Up to three values of each; a curve needs the registers itself.
template <bool kCurved> inline constexpr int kRowsAhead = kCurved ? 1 : 2;

struct BackwardFinish {
  RowTiles tiles;
  Index share;
  float eps;
  bool moves_with_x, whole;   // whole: the last block of all, not of a tile
  NormSource source;
  NormGradients gradients;
  Index slope_count;
  float* partials;   // [batches, chunks, kSums, channels]
  float* sums;       // [kSums, batches, channels]: of du, du * xhat, dslope
  float* means;      // [2, batches, channels]: of gamma du / sigma, of gamma du xhat / sigma^2
  unsigned* arrived;

  CTSEG_DEVICE float* place_of(const RowPlace& p) const {
    return partials + (p.batch * tiles.chunks + p.chunk) * kSums * tiles.channels + p.channel;
  }
  CTSEG_DEVICE void operator()(const Block& b, const RowPlace& p, Index tile_channels) const {
    if (!comes_last(b, arrived + (whole ? 0 : p.tile), tiles.batches * tiles.chunks * (whole ? tiles.tiles : 1))) return;
    const Index first = whole ? 0 : p.tile * tile_channels;
    const Index count = whole || first + tile_channels > tiles.channels ? tiles.channels - first : tile_channels;
    const Index all = tiles.batches * tiles.channels;
    sum_parts<kTileThreads, kSums>(
        b, tiles.batches * count, tiles.chunks,
        [&](Index item, Index part, Index step, double* total) {
          const float* const from = partials + item / count * tiles.chunks * kSums * tiles.channels + first + item % count;
          for (Index k = part; k < tiles.chunks; k += step)
            for (int q = 0; q < kSums; ++q) total[q] += static_cast<double>(from[(k * kSums + q) * tiles.channels]);
        },
        [&](Index item, const double* total) {
          const Index at = item / count * tiles.channels + first + item % count;
          sums[at] = static_cast<float>(total[0]);
          sums[all + at] = static_cast<float>(total[1] * static_cast<double>(source.rstd_of(at)));
          sums[2 * all + at] = static_cast<float>(total[2]);
        });
    b.sync();
    for (Index c = first + b.thread(); c < first + count; c += kTileThreads) add_gradients(c);
    if (gradients.slopes && slope_count == 1) add_slope(b);
    for (Index i = b.thread(); i < tiles.batches * count / share; i += kTileThreads) {
      const Index groups = count / share;
      average(i / groups * tiles.channels + first + i % groups * share);
    }
  }

 private:
  CTSEG_DEVICE void add_gradients(Index c) const {
    const Index all = tiles.batches * tiles.channels;
    for (Index at = c; at < all; at += tiles.channels) {   // batch after batch
      if (gradients.beta) gradients.beta[c] += sums[at];
      if (gradients.gamma) gradients.gamma[c] += sums[all + at];
      if (gradients.slopes && slope_count > 1) gradients.slopes[c] += sums[2 * all + at];
    }
    if (gradients.running_mean) gradients.running_mean[c] += gradients.running_mean_is[c] - source.mean_of(c);
    if (gradients.running_variance) {
      const float rstd = source.rstd_of(c), biased = 1 / (rstd * rstd) - eps;
      const Index less = tiles.rows > 1 ? tiles.rows - 1 : 1;
      gradients.running_variance[c] +=
          gradients.running_variance_is[c] - biased * static_cast<float>(tiles.rows) / static_cast<float>(less);
    }
  }
  CTSEG_DEVICE void add_slope(const Block& b) const {
    const Index all = tiles.batches * tiles.channels;
    sum_parts<kTileThreads, 1>(
        b, 1, all,
        [&](Index, Index part, Index step, double* total) {
          for (Index k = part; k < all; k += step) total[0] += static_cast<double>(sums[2 * all + k]);
        },
        [&](Index, const double* total) { gradients.slopes[0] += static_cast<float>(total[0]); });
  }
  /// Of the channels that share statistics, from `at` on.
  CTSEG_DEVICE void average(Index at) const {
    const Index all = tiles.batches * tiles.channels;
    double du = 0, dot = 0;
    for (Index k = 0; moves_with_x && k < share; ++k) {
      const double gamma = source.gamma ? static_cast<double>(source.gamma[(at + k) % tiles.channels]) : 1.0;
      du += gamma * static_cast<double>(sums[at + k]);
      dot += gamma * static_cast<double>(sums[all + at + k]);
    }
    const double n = static_cast<double>(tiles.rows * share);
    for (Index k = 0; k < share; ++k) {
      const double rstd = static_cast<double>(source.rstd_of(at + k));
      means[at + k] = static_cast<float>(du / n * rstd);
      means[all + at + k] = static_cast<float>(dot / n * rstd * rstd);
    }
  }
};

template <class T, int W, bool kCurved> struct NormBackwardSums {
  static constexpr int kThreads = kTileThreads;
  static constexpr bool kSyncs = true;
  static constexpr const char* kName = "norm_backward_sums";
  static constexpr int kAhead = kRowsAhead<kCurved>;
  RowTiles tiles;
  ChannelRows<const T> x, residual, dy;
  NormActivation activation;
  BackwardFinish finish;

  CTSEG_DEVICE void operator()(const Block& b) const {
    const RowPlace p = place<W>(b, tiles);
    float sums[kSums][W] = {};
    if (p.works) residual.exists() ? walk<true>(p, sums) : walk<false>(p, sums);
    add_groups(b, tiles, p.group, sums);
    if (p.works && p.group == 0) {
      float* const to = finish.place_of(p);
      for (int q = 0; q < kSums; ++q)
        for (int w = 0; w < W; ++w) to[q * tiles.channels + w] = sums[q][w];
    }
    finish(b, p, Index{tiles.lanes} * W);
  }

 private:
  template <bool kResidual> CTSEG_DEVICE void walk(const RowPlace& p, float (&sums)[kSums][W]) const {
    NormChannels<W> c;
    finish.source.load(p.batch, p.channel, tiles.channels, c);
    const Bends<W, kCurved> act(activation, p.channel);
    const Index step = tiles.groups;
    for (Index r = p.first; r < p.last; r += kAhead * step) {
      Pack<T, W> v[kAhead], d[kAhead], other[kAhead];
      for (int k = 0; k < kAhead; ++k) {
        const Index row = r + k * step < p.last ? r + k * step : r;
        v[k] = x.template load<W>(row, p.channel), d[k] = dy.template load<W>(row, p.channel);
        if constexpr (kResidual) other[k] = residual.template load<W>(row, p.channel);
      }
      for (int k = 0; k < kAhead && r + k * step < p.last; ++k)
        for (int w = 0; w < W; ++w) {
          const float centred = to_float(v[k].at[w]) - c.mean[w], slope = to_float(d[k].at[w]);
          float u = centred * c.scale[w] + c.shift[w];
          if constexpr (kResidual) u += to_float(other[k].at[w]);
          const float du = slope * act.derivative(u, w);
          sums[0][w] += du, sums[1][w] += du * centred;
          sums[2][w] += u > 0 ? 0.f : slope * u;
        }
    }
  }
};

template <class T, int W, bool kCurved> struct NormBackwardAssign {
  static constexpr int kThreads = kTileThreads;
  static constexpr bool kSyncs = false;
  static constexpr const char* kName = "norm_backward_assign";
  static constexpr int kAhead = kRowsAhead<kCurved>;
  RowTiles tiles;
  ChannelRows<const T> x, residual, dy;
  ChannelRows<T> dx, dresidual;
  NormSource source;
  NormActivation activation;
  const float* means;

  CTSEG_DEVICE void operator()(const Block& b) const {
    const RowPlace p = place<W>(b, tiles);
    if (!p.works) return;
    residual.exists() ? walk<true>(p) : walk<false>(p);
  }

 private:
  template <bool kResidual> CTSEG_DEVICE void walk(const RowPlace& p) const {
    NormChannels<W> c;
    source.load(p.batch, p.channel, tiles.channels, c);
    const Bends<W, kCurved> act(activation, p.channel);
    float du_mean[W], dot_mean[W];
    for (int w = 0; w < W; ++w) {
      du_mean[w] = means[p.batch * tiles.channels + p.channel + w];
      dot_mean[w] = means[(tiles.batches + p.batch) * tiles.channels + p.channel + w];
    }
    const Index step = tiles.groups;
    for (Index r = p.last - 1 - p.group; r >= p.begin; r -= kAhead * step) {
      Pack<T, W> v[kAhead], d[kAhead], other[kAhead];
      for (int k = 0; k < kAhead; ++k) {
        const Index row = r - k * step >= p.begin ? r - k * step : r;
        v[k] = x.template load<W>(row, p.channel), d[k] = dy.template load<W>(row, p.channel);
        if constexpr (kResidual) other[k] = residual.template load<W>(row, p.channel);
      }
      for (int k = 0; k < kAhead; ++k) {
        const Index row = r - k * step;
        if (row < p.begin) break;
        for (int w = 0; w < W; ++w) {
          const float centred = to_float(v[k].at[w]) - c.mean[w];
          float u = centred * c.scale[w] + c.shift[w];
          if constexpr (kResidual) u += to_float(other[k].at[w]);
          const float du = to_float(d[k].at[w]) * act.derivative(u, w);
          d[k].at[w] = from_float<T>(du);
          v[k].at[w] = from_float<T>(c.scale[w] * du - du_mean[w] - centred * dot_mean[w]);
        }
        if constexpr (kResidual)
          if (dresidual.exists()) dresidual.template store<W>(row, p.channel, d[k]);
        if (dx.exists()) dx.template store<W>(row, p.channel, v[k]);
      }
    }
  }
};

struct BackwardMemory {
  Bytes next;
  float *partials, *sums, *means;
  unsigned* arrived;
  BackwardMemory(std::byte* scratch, const RowTiles& t)
      : next{scratch},
        partials(take<float>(next, t.batches * t.chunks * kSums * t.channels)),
        sums(take<float>(next, kSums * t.batches * t.channels)),
        means(take<float>(next, 2 * t.batches * t.channels)),
        arrived(take<unsigned>(next, t.tiles)) {}
};
RowTiles tiles_of(const NormValues& v, int width) {
  return row_tiles(v.batches, v.x.rows() / v.batches, v.x.c, v.x.dtype, width);
}

void sum(Stream stream, const NormBackward& n, const BackwardMemory& m) {
  const NormValues& v = n.values;
  const int width = pack_width(v.x, v.residual, n.dy);
  const RowTiles tiles = tiles_of(v, width);
  const bool whole = v.share > 1 || (n.gradients.slopes && v.slope_count == 1);
  const BackwardFinish finish{tiles,       v.share,       v.eps,      n.moves_with_x, whole,   source_of(v),
                              n.gradients, v.slope_count, m.partials, m.sums,         m.means, m.arrived};
  clear(stream, m.arrived, bytes_of<unsigned>(tiles.tiles));
  with_kernel(v, width, [&](auto t, auto w, auto curved) {
    using T = decltype(t);
    launch(stream, {tiles.blocks(), tiles.batches, shared_for(kSums, w)},
           NormBackwardSums<T, w, curved>{tiles, channel_rows<const T>(v.x), channel_rows<const T>(v.residual),
                                          channel_rows<const T>(n.dy), activation_of(v), finish});
  });
}

void assign(Stream stream, const NormBackward& n, const float* means) {
  const NormValues& v = n.values;
  const int width = pack_width(v.x, v.residual, n.dy, n.dx, n.dresidual);
  const RowTiles tiles = tiles_of(v, width);
  with_kernel(v, width, [&](auto t, auto w, auto curved) {
    using T = decltype(t);
    launch(stream, {tiles.blocks(), tiles.batches},
           NormBackwardAssign<T, w, curved>{tiles, channel_rows<const T>(v.x), channel_rows<const T>(v.residual),
                                            channel_rows<const T>(n.dy), channel_rows<T>(n.dx), channel_rows<T>(n.dresidual),
                                            source_of(v), activation_of(v), means});
  });
}

}   // namespace

Index norm_backward_bytes(const NormValues& v) {
  const auto of_width = [&](int width) { return bytes_taken<BackwardMemory>(tiles_of(v, width)); };
  return std::max(of_width(1), of_width(16 / static_cast<int>(size_of(v.x.dtype))));
}

void norm_backward(Stream stream, const NormBackward& n, std::byte* scratch) {
  // The cut of the sums, whatever the alignment of what is written behind them.
  const BackwardMemory m(scratch, tiles_of(n.values, pack_width(n.values.x, n.values.residual, n.dy)));
  const NormGradients& g = n.gradients;
  if (n.moves_with_x || g.gamma || g.beta || g.slopes || g.running_mean || g.running_variance)
    sum(stream, n, m);
  else
    clear(stream, m.means, bytes_of<float>(2 * n.values.batches * n.values.x.c));
  if (n.dx || n.dresidual) assign(stream, n, m.means);
}

}   // namespace ctseg::cuda
