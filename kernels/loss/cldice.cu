// Soft morphology, which makes centre lines of soft masks, and their overlap.
//
// A thread makes one value from 7 (erosion) or 27 (dilation) neighbours that other threads read as well, so they come from the
// L1; training keeps a byte per value that says which one won, and the way back gathers by it, without atomics. The overlap is
// four sums per image, closed by the last block. Not measured yet.
#include "ctseg/loss/cuda/cldice.hpp"

#include "../common/finish.cuh"
#include "../common/launch.cuh"
#include "../common/values.cuh"

namespace ctseg::cuda {
namespace {

template <class T> struct Volume {
  T* data;
  Index pitch, channels, depth, height, length;   // a plane has depth 1

  CTSEG_DEVICE T& at(Index row, Index c) const { return data[row * pitch + c]; }
};
template <class T> Volume<T> volume_of(const Array& a) { return {a.as<T>(), a.pitch, a.c, a.space[0], a.space[1], a.space[2]}; }

/// visit(rows from a voxel to its neighbour, number of the tap) for the neighbours inside: the voxel itself, then what is before
/// it in memory from near to far, then what is behind. `sign` -1: the windows that have the voxel in place of those that it has.
template <class T, class Visit> CTSEG_DEVICE void for_taps(const Volume<T>& v, Index dilate, Index row, int sign, Visit visit) {
  const Index x = row % v.length, y = row / v.length % v.height, z = row / v.length / v.height % v.depth;
  for (int k = 0; k < 27; ++k) {
    const int code = k <= 13 ? 13 - k : k;
    const int dz = code / 9 - 1, dy = code / 3 % 3 - 1, dx = code % 3 - 1;
    const int steps = (dz != 0) + (dy != 0) + (dx != 0);
    if (!dilate && steps > 1) continue;
    const Index nx = x + sign * dx, ny = y + sign * dy, nz = z + sign * dz;
    if (nx < 0 || nx >= v.length || ny < 0 || ny >= v.height || nz < 0 || nz >= v.depth) continue;
    visit(sign * ((dz * v.height + dy) * v.length + dx), code);
  }
}

template <class T> struct Morphology {
  static constexpr const char* kName = "soft_morphology";
  Volume<const T> x;
  Volume<T> y;
  Index dilate;   // no bool: its padding would be an argument as well
  std::uint8_t* winner;

  CTSEG_DEVICE void operator()(Index i) const {
    const Index row = i / y.channels, c = i % y.channels;
    float best = 0;
    int tap = -1;
    for_taps(x, dilate, row, 1, [&](Index offset, int code) {
      const float value = (dilate ? 1.f : -1.f) * to_float(x.at(row + offset, c));
      const bool wins = tap < 0 || (dilate && offset < 0 ? value >= best : value > best);   // of equals the first in memory
      if (wins) best = value, tap = code;
    });
    y.at(row, c) = from_float<T>(dilate ? best : -best);
    if (winner) winner[i] = static_cast<std::uint8_t>(tap);
  }
};

/// Every voxel asks the windows that it is in whether it won them.
template <class T> struct MorphologyBackward {
  static constexpr const char* kName = "soft_morphology_backward";
  Volume<const T> dy;
  Volume<T> dx;
  Index dilate;
  const std::uint8_t* winner;

  CTSEG_DEVICE void operator()(Index i) const {
    const Index row = i / dx.channels, c = i % dx.channels;
    float sum = 0;
    for_taps(dx, dilate, row, -1, [&](Index offset, int code) {
      if (winner[(row + offset) * dx.channels + c] == code) sum += to_float(dy.at(row + offset, c));
    });
    dx.at(row, c) = from_float<T>(sum);
  }
};

inline constexpr int kLineThreads = 256, kLineSums = 4;
inline constexpr Index kLineBlocks = 264;

struct LineTiles {
  Index images, values, chunk, chunks;   // values of an image
};
LineTiles line_tiles(const Array& x) {
  const Index values = x.voxels() * x.c, most = std::max<Index>(1, kLineBlocks / x.n);
  const Index chunk = std::max<Index>((values + most - 1) / most, 4 * kLineThreads);
  return {x.n, values, chunk, (values + chunk - 1) / chunk};
}

struct LineRatios {
  double below_t, below_s, t, s, total;
  CTSEG_DEVICE LineRatios(const CenterlineOptions& o, const double* sums)
      : below_t(sums[1] + o.smooth_denominator),
        below_s(sums[3] + o.smooth_denominator),
        t((sums[0] + o.smooth_numerator) / below_t),
        s((sums[2] + o.smooth_numerator) / below_s),
        total(t + s + o.smooth) {}
};

template <class T> struct Lines { Volume<const T> a, p, b, q; };
template <class T> Lines<T> lines_of(const CenterlineValues& v) {
  return {volume_of<const T>(v.a), volume_of<const T>(v.p), volume_of<const T>(v.b), volume_of<const T>(v.q)};
}

template <class T> struct LineSums {
  static constexpr int kThreads = kLineThreads;
  static constexpr bool kSyncs = true;
  static constexpr const char* kName = "centerline_dice";
  LineTiles tiles;
  Lines<T> v;
  CenterlineOptions options;
  float* partials;   // [images, chunks, kLineSums]
  unsigned* arrived;
  double* sums;
  float* loss;

  CTSEG_DEVICE void operator()(const Block& b) const {
    float sum[kLineSums] = {};
    const Index begin = b.index() * tiles.chunk, end = begin + tiles.chunk < tiles.values ? begin + tiles.chunk : tiles.values;
    for (Index i = begin + b.thread(); i < end; i += kThreads) {
      const Index row = (b.row() * tiles.values + i) / v.a.channels, c = i % v.a.channels;
      const float in_a = to_float(v.a.at(row, c)), in_b = to_float(v.b.at(row, c));
      sum[0] += in_a * to_float(v.q.at(row, c)), sum[1] += in_a;
      sum[2] += in_b * to_float(v.p.at(row, c)), sum[3] += in_b;
    }
    float* const shared = b.shared<float>();
    for (int k = 0; k < kLineSums; ++k) {
      sum[k] = warp_sum(b, sum[k]);
      if (b.lane() == 0) shared[b.warp() * kLineSums + k] = sum[k];
    }
    b.sync();
    if (b.thread() < kLineSums) {
      float total = 0;
      for (int w = 0; w < kThreads / kWarp; ++w) total += shared[w * kLineSums + b.thread()];
      partials[(b.row() * tiles.chunks + b.index()) * kLineSums + b.thread()] = total;
    }
    if (comes_last(b, arrived, tiles.images * tiles.chunks)) finish(b);
  }

 private:
  CTSEG_DEVICE void finish(const Block& b) const {
    sum_parts<kThreads, 1>(
        b, tiles.images * kLineSums, tiles.chunks,
        [&](Index item, Index part, Index step, double* total) {
          const float* const from = partials + item / kLineSums * tiles.chunks * kLineSums + item % kLineSums;
          for (Index k = part; k < tiles.chunks; k += step) total[0] += static_cast<double>(from[k * kLineSums]);
        },
        [&](Index item, const double* total) { sums[item] = total[0]; });
    b.sync();
    if (b.thread() != 0) return;
    double all = 0;
    for (Index n = 0; n < tiles.images; ++n) {
      const LineRatios r(options, sums + kLineSums * n);
      all += 1 - 2 * r.t * r.s / r.total;
    }
    *loss = static_cast<float>(all / static_cast<double>(tiles.images));
  }
};

template <class T> struct LineGradient {
  static constexpr const char* kName = "centerline_dice_backward";
  Index values, images;
  Lines<T> v;
  Volume<T> da, dp, db, dq;
  CenterlineOptions options;
  const double* sums;
  const float* seed;

  CTSEG_DEVICE void operator()(Index i) const {
    const Index row = i / v.a.channels, c = i % v.a.channels;
    const LineRatios k(options, sums + kLineSums * (i / values));
    const double square = k.total * k.total, scale = static_cast<double>(*seed) / static_cast<double>(images);
    const float by_t = static_cast<float>(-2 * scale * k.s * (k.total - k.t) / square / k.below_t);
    const float by_s = static_cast<float>(-2 * scale * k.t * (k.total - k.s) / square / k.below_s);
    const auto put = [&](const Volume<T>& to, float value) {
      if (to.data) to.at(row, c) = from_float<T>(value);
    };
    put(da, by_t * (to_float(v.q.at(row, c)) - static_cast<float>(k.t)));
    put(dq, by_t * to_float(v.a.at(row, c)));
    put(db, by_s * (to_float(v.p.at(row, c)) - static_cast<float>(k.s)));
    put(dp, by_s * to_float(v.b.at(row, c)));
  }
};

struct LineScratch {
  Bytes next;
  float* partials;
  unsigned* arrived;
  LineScratch(std::byte* scratch, const LineTiles& t)
      : next{scratch}, partials(take<float>(next, t.images * t.chunks * kLineSums)), arrived(take<unsigned>(next, 1)) {}
};

}   // namespace

void soft_morphology_forward(Stream stream, bool dilate, const Array& x, const Array& y, std::uint8_t* winner) {
  with_storage(x.dtype, [&](auto t) {
    using T = decltype(t);
    for_each(stream, y.elements(), Morphology<T>{volume_of<const T>(x), volume_of<T>(y), dilate, winner});
  });
}
void soft_morphology_backward(Stream stream, bool dilate, const Array& dy, const Array& dx, const std::uint8_t* winner) {
  with_storage(dy.dtype, [&](auto t) {
    using T = decltype(t);
    for_each(stream, dx.elements(), MorphologyBackward<T>{volume_of<const T>(dy), volume_of<T>(dx), dilate, winner});
  });
}

Index centerline_scratch_bytes(const Array& x) { return bytes_taken<LineScratch>(line_tiles(x)); }

void centerline_forward(Stream stream, const CenterlineOptions& o, const CenterlineValues& v, double* sums, float* loss,
                        std::byte* scratch) {
  const LineTiles tiles = line_tiles(v.a);
  const LineScratch m(scratch, tiles);
  clear(stream, m.arrived, bytes_of<unsigned>(1));
  with_storage(v.a.dtype, [&](auto t) {
    launch(stream, {tiles.chunks, tiles.images, kLineThreads * 8},
           LineSums<decltype(t)>{tiles, lines_of<decltype(t)>(v), o, m.partials, m.arrived, sums, loss});
  });
}

void centerline_backward(Stream stream, const CenterlineOptions& o, const CenterlineValues& v, const double* sums,
                         const float* seed, const CenterlineValues& d) {
  with_storage(v.a.dtype, [&](auto t) {
    using T = decltype(t);
    for_each(stream, v.a.elements(),
             LineGradient<T>{v.a.voxels() * v.a.c, v.a.n, lines_of<T>(v), volume_of<T>(d.a), volume_of<T>(d.p),
                             volume_of<T>(d.b), volume_of<T>(d.q), o, sums, seed});
  });
}

}   // namespace ctseg::cuda
