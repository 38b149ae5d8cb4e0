// Small passes around a convolution.
// Idea      Each is one read and one write of memory. Filters are transposed tile by tile through shared memory, so that both
//           sides are read and written in rows; values move in 16-byte packs of channels where address, channels and pitch
//           allow it. Channel sums: a thread owns a pack of channels and every R-th row of its block's chunk, adds in float,
//           the block's threads meet in a tree, and a second launch adds the blocks in double. Order follows shapes only.
// Bytes     filters 4 + sizeof(T) a weight; bias 2 sizeof(T) a value; sums sizeof(T).
// Speed     not measured yet.
#include "layout.hpp"

#include "../common/launch.cuh"
#include "../common/values.cuh"
#include "sums.cuh"

namespace ctseg::cuda {

namespace {

constexpr int kTile = 32, kTileRows = 8;   // a block moves 32 x 32 values, 8 rows at a time

/// Of every tap, [in, out] in float against out's rows [out][taps][in] in T.
template <class T> struct PackSwapped {
  static constexpr int kThreads = kTile * kTileRows;
  static constexpr bool kSyncs = true;
  static constexpr const char* kName = "conv_pack_filter";
  const float* w;
  T* filter;
  Index taps, in, out, tiles_in;

  CTSEG_DEVICE void operator()(const Block& b) const {
    float* tile = b.shared<float>();
    const Index tap = b.row(), i0 = b.index() % tiles_in * kTile, o0 = b.index() / tiles_in * kTile;
    const int x = b.thread() % kTile, y = b.thread() / kTile;
    for (int r = y; r < kTile; r += kTileRows)
      if (i0 + r < in && o0 + x < out) tile[r * (kTile + 1) + x] = w[(tap * in + i0 + r) * out + o0 + x];
    b.sync();
    for (int r = y; r < kTile; r += kTileRows)
      if (o0 + r < out && i0 + x < in) filter[((o0 + r) * taps + tap) * in + i0 + x] = from_float<T>(tile[x * (kTile + 1) + r]);
  }
};
template <class T> struct AddSwapped {
  static constexpr int kThreads = kTile * kTileRows;
  static constexpr bool kSyncs = true;
  static constexpr const char* kName = "conv_add_filter_gradient";
  const T* filter;
  float* dw;
  Index taps, in, out, tiles_in;

  CTSEG_DEVICE void operator()(const Block& b) const {
    float* tile = b.shared<float>();
    const Index tap = b.row(), i0 = b.index() % tiles_in * kTile, o0 = b.index() / tiles_in * kTile;
    const int x = b.thread() % kTile, y = b.thread() / kTile;
    for (int r = y; r < kTile; r += kTileRows)
      if (o0 + r < out && i0 + x < in) tile[r * (kTile + 1) + x] = to_float(filter[((o0 + r) * taps + tap) * in + i0 + x]);
    b.sync();
    for (int r = y; r < kTile; r += kTileRows)
      if (i0 + r < in && o0 + x < out) dw[(tap * in + i0 + r) * out + o0 + x] += tile[x * (kTile + 1) + r];
  }
};
Grid tiles_of(const FilterOrder& f) {
  const Index tiles = (f.in + kTile - 1) / kTile * ((f.out + kTile - 1) / kTile);
  return {.blocks = tiles, .rows = f.taps, .shared_bytes = kTile * (kTile + 1) * 4};
}

/// The orders differ in their two outer axes only: rows of `out` values stay rows.
template <class T> struct PackStraight {
  static constexpr const char* kName = "conv_pack_filter_rows";
  const float* w;
  T* filter;
  Index taps, in, out;
  CTSEG_DEVICE void operator()(Index i) const {
    const Index o = i % out, row = i / out, tap = row / in, c = row % in;
    filter[(c * taps + tap) * out + o] = from_float<T>(w[i]);
  }
};
template <class T> struct AddStraight {
  static constexpr const char* kName = "conv_add_filter_gradient_rows";
  const T* filter;
  float* dw;
  Index taps, in, out;
  CTSEG_DEVICE void operator()(Index i) const {
    const Index o = i % out, row = i / out, tap = row / in, c = row % in;
    dw[i] += to_float(filter[(c * taps + tap) * out + o]);
  }
};

template <class T, int W> struct AddBias {
  static constexpr const char* kName = "conv_bias";
  T* y;
  const float* bias;
  Index packs, pitch;
  CTSEG_DEVICE void operator()(Index i) const {
    const Index c = i % packs * W;
    auto* at = reinterpret_cast<Pack<T, W>*>(y + i / packs * pitch + c);
    Pack<T, W> values = *at;
    for (int k = 0; k < W; ++k) values.at[k] = from_float<T>(to_float(values.at[k]) + bias[c + k]);
    *at = values;
  }
};

/// A block's part of every channel's sum. Threads are [R rows][lanes], a lane being a pack of W channels.
template <class T, int W> struct ChannelSums {
  static constexpr int kThreads = 256;
  static constexpr bool kSyncs = true;
  static constexpr const char* kName = "conv_channel_sums";
  const T* x;
  float* partials;   // [blocks][channels]
  Index rows, channels, pitch, chunk;
  int lanes;

  CTSEG_DEVICE void operator()(const Block& b) const {
    float* sums = b.shared<float>();   // [R][lanes * W]
    const int height = kThreads / lanes, lane = b.thread() % lanes, r = b.thread() / lanes, width = lanes * W;
    const Index c = (b.row() * lanes + lane) * W;
    const bool active = r < height && c < channels;
    float sum[W];
    for (int k = 0; k < W; ++k) sum[k] = 0;
    if (active) {
      const Index end = (b.index() + 1) * chunk < rows ? (b.index() + 1) * chunk : rows;
      constexpr int kFlight = 4;   // loads under way at once
      Index row = b.index() * chunk + r;
      for (; row + (kFlight - 1) * height < end; row += kFlight * height) {
        Pack<T, W> values[kFlight];
        for (int f = 0; f < kFlight; ++f)
          values[f] = *reinterpret_cast<const Pack<T, W>*>(x + (row + Index{f} * height) * pitch + c);
        for (int f = 0; f < kFlight; ++f)
          for (int k = 0; k < W; ++k) sum[k] += to_float(values[f].at[k]);
      }
      for (; row < end; row += height) {
        const Pack<T, W> values = *reinterpret_cast<const Pack<T, W>*>(x + row * pitch + c);
        for (int k = 0; k < W; ++k) sum[k] += to_float(values.at[k]);
      }
    }
    if (r < height)
      for (int k = 0; k < W; ++k) sums[r * width + lane * W + k] = sum[k];
    b.sync();
    for (int left = height; left > 1; left = (left + 1) / 2) {
      const int half = left / 2, other = r + (left + 1) / 2;
      if (r < half)
        for (int k = 0; k < W; ++k) sums[r * width + lane * W + k] += sums[other * width + lane * W + k];
      b.sync();
    }
    if (r == 0 && active)
      for (int k = 0; k < W; ++k) partials[b.index() * channels + c + k] = sums[lane * W + k];
  }
};
Index parts_of(Index rows) {
  constexpr Index kFewest = 256, kMost = 132 * 4;   // rows of a chunk at least; chunks at most
  const Index chunks = (rows + kFewest - 1) / kFewest;
  return chunks < kMost ? chunks : kMost;
}

/// f(T{}, integral_constant<W>): W channels a pack where the array allows 16-byte accesses, else 1.
template <class F> void with_packs(const Array& v, F f) {
  with_storage(v.dtype, [&](auto zero) {
    using T = decltype(zero);
    const bool fits = v.c % kPack<T> == 0 && v.pitch % kPack<T> == 0 && reinterpret_cast<std::uintptr_t>(v.data) % 16 == 0;
    if (fits)
      f(zero, std::integral_constant<int, kPack<T>>{});
    else
      f(zero, std::integral_constant<int, 1>{});
  });
}
}   // namespace

void pack_filter(Stream stream, const FilterOrder& f, const float* w, void* filter) {
  with_storage(f.dtype, [&](auto zero) {
    using T = decltype(zero);
    auto* to = static_cast<T*>(filter);
    if (f.swapped)
      launch(stream, tiles_of(f), PackSwapped<T>{w, to, f.taps, f.in, f.out, (f.in + kTile - 1) / kTile});
    else
      for_each(stream, f.taps * f.in * f.out, PackStraight<T>{w, to, f.taps, f.in, f.out});
  });
}
void add_filter_gradient(Stream stream, const FilterOrder& f, const void* filter, float* dw) {
  with_storage(f.dtype, [&](auto zero) {
    using T = decltype(zero);
    const auto* from = static_cast<const T*>(filter);
    if (f.swapped)
      launch(stream, tiles_of(f), AddSwapped<T>{from, dw, f.taps, f.in, f.out, (f.in + kTile - 1) / kTile});
    else
      for_each(stream, f.taps * f.in * f.out, AddStraight<T>{from, dw, f.taps, f.in, f.out});
  });
}

void add_bias(Stream stream, const Array& y, const float* bias) {
  with_packs(y, [&](auto zero, auto width) {
    using T = decltype(zero);
    constexpr int W = decltype(width)::value;
    for_each(stream, y.elements() / W, AddBias<T, W>{y.as<T>(), bias, y.c / W, y.pitch});
  });
}

Index channel_sum_bytes(Index rows, Index channels) { return bytes_of<float>(parts_of(rows) * channels); }
void add_channel_sums(Stream stream, const Array& x, float* db, std::byte* scratch) {
  auto* partials = reinterpret_cast<float*>(scratch);
  const Index parts = parts_of(x.rows());
  with_packs(x, [&](auto zero, auto width) {
    using T = decltype(zero);
    constexpr int W = decltype(width)::value;
    constexpr int kThreads = ChannelSums<T, W>::kThreads;
    const Index packs = x.c / W;
    const int lanes = static_cast<int>(packs < kThreads ? packs : kThreads);
    const Grid grid{.blocks = parts,
                    .rows = (packs + lanes - 1) / lanes,
                    .shared_bytes = kThreads / lanes * lanes * W * static_cast<int>(sizeof(float))};
    const Index chunk = (x.rows() + parts - 1) / parts;
    launch(stream, grid, ChannelSums<T, W>{x.as<T>(), partials, x.rows(), x.c, x.pitch, chunk, lanes});
  });
  sum_partials(stream, {partials, db, x.c, parts});
}

}   // namespace ctseg::cuda
