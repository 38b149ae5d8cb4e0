// Convolution of 1 to 4 channels: the first layer of every network, and the largest output it ever writes.
//
// Why so: with one channel a general convolution starves (a product of matrices over k = 1 channel per tap), while here all
// taps together are the k of one product: 27 of them, padded to 32. A block copies what its 4 x 4 x 16 results meet into shared
// memory, in the type of the network and, if the source is int16, already clipped and scaled; lanes pick their factors from
// there by a table of offsets, so nothing is unfolded. Voxels outside the volume are zeros there. Results leave in packs.
//   forward    1 -> 32 on 128^3 in bf16: 134 MB written and 4 read, floor 0.032 ms at 4.3 TB/s; 3.6 GFLOP. Float multiplies
//              without tensor cores: 0.06 ms of arithmetic beside 0.065 ms of memory.
//   gradient   the same 138 MB, read; partial sums of each block in scratch, added in order by a second launch.
// Thought of and not written: filters in registers, x in a sliding window, plain FMA; arithmetic would take twice the time that
// bf16's bytes take.
// Speed: not measured yet.
#pragma once
#include "../common/launch.cuh"
#include "../common/mma.cuh"
#include "taps.cuh"

namespace ctseg::cuda {

/// A tile of 16 lines of 16 results along x, lines in `z` planes of `y`, and the voxels they meet.
struct FirstLayerTiles {
  int kernel[3], stride[3], padding[3], size[3];   // size: of the tile, z, y, x
  int around[3];                                   // of the copy of x
  int channels, depth;                             // depth: k of the product
  Divider lines_y, lines_x, line, own;             // of tiles, and within the copy
  Divider tiles_z, tiles_y, tiles_x;
  Index count = 0;   // tiles of all images

  FirstLayerTiles(const ConvWindow& w, Index images, Index in_channels)
      : size{w.output[0] == 1 ? 1 : 4, w.output[0] == 1 ? 16 : 4, 16}, channels(static_cast<int>(in_channels)) {
    std::array<Index, 3> tiles{};
    for (std::size_t d = 0; d < 3; ++d) {
      kernel[d] = static_cast<int>(w.kernel[d]), stride[d] = static_cast<int>(w.stride[d]);
      padding[d] = static_cast<int>(w.padding[d]);
      around[d] = (size[d] - 1) * stride[d] + kernel[d];
      tiles[d] = (w.output[d] + size[d] - 1) / size[d];
    }
    depth = kernel[0] * kernel[1] * kernel[2] * channels;
    line = Divider(around[2] * channels), own = Divider(channels), lines_y = Divider(around[1]);
    tiles_z = Divider(tiles[0]), tiles_y = Divider(tiles[1]), tiles_x = Divider(tiles[2]);
    count = images * tiles[0] * tiles[1] * tiles[2];
  }
  constexpr int copied() const { return around[0] * around[1] * around[2] * channels; }

  /// Its first result.
  CTSEG_DEVICE Site tile(int index) const {
    const auto i = static_cast<std::uint32_t>(index);
    const std::uint32_t row = tiles_x.quotient(i), plane = tiles_y.quotient(row), image = tiles_z.quotient(plane);
    return {static_cast<int>(image), static_cast<int>(plane - image * tiles_z.divisor) * size[0],
            static_cast<int>(row - plane * tiles_y.divisor) * size[1], static_cast<int>(i - row * tiles_x.divisor) * size[2]};
  }
  CTSEG_DEVICE Site result(const Site& first, int line_of_tile, int x) const {
    return {first.n, first.z + line_of_tile / size[1], first.y + line_of_tile % size[1], first.x + x};
  }
  /// Where in the copy the first tap of a line's first result lies.
  CTSEG_DEVICE int start(int line_of_tile) const {
    return (line_of_tile / size[1] * stride[0] * around[1] + line_of_tile % size[1] * stride[1]) * around[2] * channels;
  }
  CTSEG_DEVICE int advance() const { return stride[2] * channels; }   // from one result to the next
  /// From there to factor k = tap * channels + channel, or -1 behind the last.
  CTSEG_DEVICE int offset(int k) const {
    if (k >= depth) return -1;
    const int tap = k / channels, row = tap / kernel[2];
    return ((row / kernel[1] * around[1] + row % kernel[1]) * around[2] + tap % kernel[2]) * channels + k % channels;
  }
};

/// The network's input, or Hounsfield units on their way to it.
struct FirstLayerInput {
  Lattice x;
  float low, high;
  Index hounsfield;

  template <class T> CTSEG_DEVICE T value(const Site& p, int channel) const {
    const Tap none{0, 0, 0, 0};
    if (!hounsfield) {
      const T* const v = x.find<const T>(p, none);
      return v ? v[channel] : from_float<T>(0.f);
    }
    const std::int16_t* const v = x.find<const std::int16_t>(p, none);
    if (!v) return from_float<T>(0.f);
    const float hu = static_cast<float>(v[channel]), clipped = hu < low ? low : hu > high ? high : hu;
    return from_float<T>((clipped - low) / (high - low));
  }
};

/// All threads of the block copy what one tile meets.
template <class T, int Threads> CTSEG_DEVICE void copy_around(const Block& b, const FirstLayerTiles& t,
                                                              const FirstLayerInput& from, const Site& first, T* to) {
  for (int e = b.thread(); e < t.copied(); e += Threads) {
    const auto i = static_cast<std::uint32_t>(e);
    const std::uint32_t line = t.line.quotient(i), rest = i - line * t.line.divisor, x = t.own.quotient(rest);
    const std::uint32_t z = t.lines_y.quotient(line), y = line - z * t.lines_y.divisor;
    to[e] = from.value<T>({first.n, first.z * t.stride[0] - t.padding[0] + static_cast<int>(z),
                           first.y * t.stride[1] - t.padding[1] + static_cast<int>(y),
                           first.x * t.stride[2] - t.padding[2] + static_cast<int>(x)},
                          static_cast<int>(rest - x * t.own.divisor));
  }
}

/// 8 warps of two lines each; 32 channels at a time.
template <class P> struct FirstLayer {
  using T = typename P::Value;
  static constexpr int kThreads = 256, kColumns = 32, kWidth = kPack<T>;
  static constexpr bool kSyncs = true;
  static constexpr const char* kName = "first_layer";
  static constexpr int kPitch = kColumns + kAcrossGap<P>, kToPitch = kColumns + kWidth;

  FirstLayerTiles tiles;
  FirstLayerInput x;
  Lattice y;
  const float *w, *bias;

  constexpr int depth() const { return (tiles.depth + P::kDepth - 1) / P::kDepth * P::kDepth; }
  /// Offsets, then the copy of x, then weights, over which the results lie in the end.
  constexpr int copy_at() const { return (depth() * 4 + 15) / 16 * 16; }
  constexpr int weights_at() const { return copy_at() + (tiles.copied() * static_cast<int>(sizeof(T)) + 15) / 16 * 16; }
  int bytes() const {
    const int values = std::max(depth() * kPitch, 256 * kToPitch);
    return weights_at() + values * static_cast<int>(sizeof(T));
  }

  CTSEG_DEVICE void operator()(const Block& b) const {
    int* const offsets = b.shared<int>();
    T* const copy = b.shared<T>(copy_at());
    T* const weights = b.shared<T>(weights_at());
    const Site first = tiles.tile(static_cast<int>(b.index()));
    for (int k = b.thread(); k < depth(); k += kThreads) offsets[k] = tiles.offset(k);
    copy_around<T, kThreads>(b, tiles, x, first, copy);
    for (int column = 0; column < y.channels; column += kColumns) {
      for (int e = b.thread(); e < depth() * kColumns; e += kThreads) {
        const int k = e / kColumns, c = e % kColumns;
        const bool there = k < tiles.depth && column + c < y.channels;
        weights[k * kPitch + c] = from_float<T>(there ? w[k * y.channels + column + c] : 0.f);
      }
      b.sync();
      Sums sums[2][kColumns / 8];
      multiply(b, offsets, copy, weights, sums);
      b.sync();
      finish(b, first, column, sums, weights);
      b.sync();
    }
  }

 private:
  CTSEG_DEVICE void multiply(const Block& b, const int* offsets, const T* copy, const T* weights,
                             Sums (&sums)[2][kColumns / 8]) const {
    const T* const lines[2] = {copy + tiles.start(2 * b.warp()), copy + tiles.start(2 * b.warp() + 1)};
    const int advance = tiles.advance();
    for (int k = 0; k < tiles.depth; k += P::kDepth) {
      const auto pick = [&](const T* line) {
        return P::make_a(b, [&](int m, int i) {
          const int offset = offsets[k + i];
          return offset < 0 ? from_float<T>(0.f) : line[m * advance + offset];
        });
      };
      const typename P::A a[2] = {pick(lines[0]), pick(lines[1])};
      for (int j = 0; j < kColumns / 8; ++j) {
        const typename P::B c = P::load_b_across(b, weights + k * kPitch + j * 8, kPitch);
        for (int i = 0; i < 2; ++i) P::multiply(b, sums[i][j], a[i], c);
      }
    }
  }
  CTSEG_DEVICE void finish(const Block& b, const Site& first, int column, const Sums (&sums)[2][kColumns / 8], T* tile) const {
    for (int j = 0; j < kColumns / 8; ++j)
      for (int e = 0; e < 4; ++e) {
        const int c = j * 8 + Sums::column(b, e);
        const float start = bias && column + c < y.channels ? bias[column + c] : 0.f;
        for (int i = 0; i < 2; ++i)
          tile[((2 * b.warp() + i) * 16 + Sums::row(b, e)) * kToPitch + c] = from_float<T>(start + sums[i][j].at[e]);
      }
    b.sync();
    constexpr int kPerRow = kColumns / kWidth;
    for (int e = b.thread(); e < 256 * kPerRow; e += kThreads) {
      const int row = e / kPerRow, c = e % kPerRow * kWidth;
      T* const out = y.find<T>(tiles.result(first, row / 16, row % 16), Tap{0, 0, 0, 0});
      if (out) y.store<T, kWidth>(out, column + c, *reinterpret_cast<const Pack<T, kWidth>*>(tile + row * kToPitch + c));
    }
  }
};

/// partials[block][k][c] = sum over the block's results of x[factor k] * dy[c]; b.row() counts pieces of 32 k and 32 channels.
/// Each of 8 warps multiplies two lines of every tile; the eight sums are added at the end.
template <class P> struct FirstLayerGradient {
  using T = typename P::Value;
  static constexpr int kThreads = 256, kColumns = 32, kWidth = kPack<T>, kSums = 32 * kColumns;
  static constexpr bool kSyncs = true;
  static constexpr const char* kName = "first_layer_gradient";
  static constexpr int kPitch = kColumns + kAcrossGap<P>;

  FirstLayerTiles tiles;
  FirstLayerInput x;
  Lattice dy;
  float* partials;
  Index tiles_per_block;

  constexpr int gradients_at() const { return (tiles.copied() * static_cast<int>(sizeof(T)) + 15) / 16 * 16; }
  int bytes() const {
    return std::max(gradients_at() + 256 * kPitch * static_cast<int>(sizeof(T)), 8 * kSums * static_cast<int>(sizeof(float)));
  }

  CTSEG_DEVICE void operator()(const Block& b) const {
    const int columns = (dy.channels + kColumns - 1) / kColumns, piece = static_cast<int>(b.row());
    const int first_k = piece / columns * 32, column = piece % columns * kColumns;
    T* const copy = b.shared<T>();
    T* const gradients = b.shared<T>(gradients_at());
    int offsets[2][2];   // of the four k that this lane picks
    for (int i = 0; i < 2; ++i)
      for (int e = 0; e < 2; ++e) offsets[i][e] = tiles.offset(first_k + i * 16 + e * 8 + b.lane() / 4);
    Sums sums[2][kColumns / 8];
    const Index begin = b.index() * tiles_per_block;
    for (Index t = begin; t < begin + tiles_per_block && t < tiles.count; ++t) {
      const Site first = tiles.tile(static_cast<int>(t));
      b.sync();
      copy_around<T, kThreads>(b, tiles, x, first, copy);
      fetch(b, first, column, gradients);
      b.sync();
      multiply(b, offsets, copy, gradients, sums);
    }
    b.sync();
    finish(b, first_k, column, sums);
  }

 private:
  CTSEG_DEVICE void fetch(const Block& b, const Site& first, int column, T* to) const {
    constexpr int kPerRow = kColumns / kWidth;
    for (int e = b.thread(); e < 256 * kPerRow; e += kThreads) {
      const int row = e / kPerRow, c = e % kPerRow * kWidth;
      const T* const from = dy.find<const T>(tiles.result(first, row / 16, row % 16), Tap{0, 0, 0, 0});
      *reinterpret_cast<Pack<T, kWidth>*>(to + row * kPitch + c) = dy.load<T, kWidth>(from, column + c);
    }
  }
  CTSEG_DEVICE void multiply(const Block& b, const int (&offsets)[2][2], const T* copy, const T* gradients,
                             Sums (&sums)[2][kColumns / 8]) const {
    const int advance = tiles.advance(), own = b.lane() / 4;
    for (int r = 0; r < 2; ++r) {
      const T* const line = copy + tiles.start(2 * b.warp() + r);
      const T* const rows = gradients + (2 * b.warp() + r) * 16 * kPitch;
      for (int k = 0; k < 16; k += P::kDepth) {
        const auto pick = [&](const int(&of)[2]) {
          return P::make_a(b, [&](int m, int i) {
            const int offset = m == own ? of[0] : of[1];
            return offset < 0 ? from_float<T>(0.f) : line[(k + i) * advance + offset];
          });
        };
        const typename P::A a[2] = {pick(offsets[0]), pick(offsets[1])};
        for (int j = 0; j < kColumns / 8; ++j) {
          const typename P::B c = P::load_b_across(b, rows + k * kPitch + j * 8, kPitch);
          for (int i = 0; i < 2; ++i) P::multiply(b, sums[i][j], a[i], c);
        }
      }
    }
  }
  CTSEG_DEVICE void finish(const Block& b, int first_k, int column, const Sums (&sums)[2][kColumns / 8]) const {
    float* const all = b.shared<float>();
    for (int i = 0; i < 2; ++i)
      for (int j = 0; j < kColumns / 8; ++j)
        for (int e = 0; e < 4; ++e)
          all[b.warp() * kSums + (i * 16 + Sums::row(b, e)) * kColumns + j * 8 + Sums::column(b, e)] = sums[i][j].at[e];
    b.sync();
    float* const out = partials + b.index() * tiles.depth * dy.channels;
    for (int e = b.thread(); e < kSums; e += kThreads) {
      const int k = first_k + e / kColumns, c = column + e % kColumns;
      if (k >= tiles.depth || c >= dy.channels) continue;
      float sum = 0;
      for (int warp = 0; warp < 8; ++warp) sum += all[warp * kSums + e];
      out[k * dy.channels + c] = sum;
    }
  }
};

}   // namespace ctseg::cuda
