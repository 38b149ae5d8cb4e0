// How norm kernels lie on memory: rows of channels in device memory, cut into chunks of rows and tiles of channels.
//
// A thread owns one pack of neighbouring channels (16 bytes where alignment allows it) and walks down its rows, so what belongs
// to a channel (mean, scale, sums) stays in registers. Side by side lie as many packs as fill a cache line of 128 bytes; the
// threads of a block stand in groups, one row each. Chunks are cut by shape alone: two blocks for each processor of the largest
// card, less where an image or a level is small. One and the same cut serves the sums and the pass behind them, which runs
// through its rows backwards: what the sums read last is still in the L2.
#pragma once
#include "../common/activation.cuh"
#include "../common/launch.cuh"
#include "../common/values.cuh"
#include "ctseg/ops/cuda/norm.hpp"

namespace ctseg::cuda {

inline constexpr int kTileThreads = 512;
inline constexpr Index kTileBlocks = 264;
inline constexpr int kInFlight = 4;   // rows that a thread loads before it uses the first

struct RowTiles {
  Index batches, rows, channels;   // rows of each batch
  Index chunk, chunks;             // rows of a block, blocks of a batch
  int lanes, tiles, groups;        // packs side by side, blocks side by side, rows at a time

  Index blocks() const { return tiles * chunks; }
};

inline RowTiles row_tiles(Index batches, Index rows, Index channels, Dtype dtype, int width) {
  const Index packs = (channels + width - 1) / width, most = 128 / (width * size_of(dtype));
  RowTiles t{batches, rows, channels, 0, 0, 0, 0, 0};
  t.tiles = static_cast<int>((packs + most - 1) / most);
  t.lanes = static_cast<int>((packs + t.tiles - 1) / t.tiles);
  t.groups = kTileThreads / t.lanes;
  const Index share = std::max<Index>(1, kTileBlocks / (batches * t.tiles));
  t.chunk = std::max<Index>((rows + share - 1) / share, Index{t.groups} * kInFlight);
  t.chunks = (rows + t.chunk - 1) / t.chunk;
  return t;
}

/// Where a thread stands: its rows are first, first + groups, ... below last, counted through all batches.
struct RowPlace {
  int tile, lane, group;
  Index batch, chunk, channel, begin, first, last;
  bool works;
};
template <int W> CTSEG_DEVICE RowPlace place(const Block& b, const RowTiles& t) {
  RowPlace p;
  p.tile = static_cast<int>(b.index()) % t.tiles;
  p.chunk = static_cast<int>(b.index()) / t.tiles;
  p.lane = b.thread() % t.lanes;
  p.group = b.thread() / t.lanes;
  p.batch = b.row();
  p.channel = (Index{p.tile} * t.lanes + p.lane) * W;
  p.begin = p.batch * t.rows + p.chunk * t.chunk;
  p.first = p.begin + p.group;
  p.last = p.batch * t.rows + (p.chunk + 1 < t.chunks ? (p.chunk + 1) * t.chunk : t.rows);
  p.works = p.group < t.groups && p.channel < t.channels;
  return p;
}

/// A value's rows; without data there is none.
template <class T> struct ChannelRows {
  using Value = std::remove_const_t<T>;
  T* data;
  Index pitch;

  CTSEG_DEVICE bool exists() const { return data != nullptr; }
  template <int W> CTSEG_DEVICE Pack<Value, W> load(Index row, Index channel) const {
    return *reinterpret_cast<const Pack<Value, W>*>(data + row * pitch + channel);
  }
  template <int W> CTSEG_DEVICE void store(Index row, Index channel, const Pack<Value, W>& values) const {
    *reinterpret_cast<Pack<Value, W>*>(data + row * pitch + channel) = values;
  }
};
template <class T> ChannelRows<T> channel_rows(const Array& a) { return {a.as<T>(), a.pitch}; }

/// Channels of one access that all of these values allow: those of 16 bytes, or 1.
template <class... Arrays> int pack_width(const Array& first, const Arrays&... others) {
  const auto whole = [](const Array& a) {
    const int pack = 16 / static_cast<int>(size_of(a.dtype));
    return !a || (a.c % pack == 0 && a.pitch % pack == 0 && reinterpret_cast<std::uintptr_t>(a.data) % 16 == 0);
  };
  return whole(first) && (whole(others) && ...) ? 16 / static_cast<int>(size_of(first.dtype)) : 1;
}

/// f(T{}, integral_constant of W, bool_constant: the activation is no pair of straight lines).
template <class F> void with_kernel(const NormValues& v, int width, F f) {
  const bool curved = v.activation.kind == ActivationKind::elu || v.activation.kind == ActivationKind::sigmoid ||
                      v.activation.kind == ActivationKind::gelu;
  with_storage(v.x.dtype, [&](auto t) {
    const auto of_width = [&](auto w) { curved ? f(t, w, std::true_type{}) : f(t, w, std::false_type{}); };
    width == 1 ? of_width(std::integral_constant<int, 1>{}) : of_width(std::integral_constant<int, kPack<decltype(t)>>{});
  });
}

/// The sums over a block's groups of v, left in the first group's; in pairs. Needs kTileThreads * Q * W floats of shared memory.
template <int Q, int W> CTSEG_DEVICE void add_groups(const Block& b, const RowTiles& t, int group, float (&v)[Q][W]) {
  float* const shared = b.shared<float>() + b.thread();
  int half = 1;
  while (2 * half < t.groups) half *= 2;
  for (; half > 0 && t.groups > 1; half /= 2) {
    for (int q = 0; q < Q; ++q)
      for (int w = 0; w < W; ++w) shared[(q * W + w) * kTileThreads] = v[q][w];
    b.sync();
    if (group < half && group + half < t.groups)
      for (int q = 0; q < Q; ++q)
        for (int w = 0; w < W; ++w) v[q][w] += shared[(q * W + w) * kTileThreads + half * t.lanes];
    b.sync();
  }
}
constexpr int shared_for(int sums, int width) { return kTileThreads * std::max(sums * width * 4, sums * 8); }

/// What a thread keeps of its channels: u = (x - mean) * scale + shift (+ residual) is what the activation sees.
template <int W> struct NormChannels { float mean[W], scale[W], shift[W]; };
struct NormSource {
  const float *mean, *rstd, *variance, *gamma, *beta;
  float eps;

  CTSEG_DEVICE float mean_of(Index batch_and_channel) const { return mean ? mean[batch_and_channel] : 0.f; }
  /// Where there is a variance there is one batch.
  CTSEG_DEVICE float rstd_of(Index batch_and_channel) const {
    return rstd ? rstd[batch_and_channel] : variance ? 1 / std::sqrt(variance[batch_and_channel] + eps) : 1.f;
  }
  template <int W> CTSEG_DEVICE void load(Index batch, Index channel, Index channels, NormChannels<W>& to) const {
    for (int w = 0; w < W; ++w) {
      const Index c = channel + w, at = batch * channels + c;
      to.mean[w] = mean_of(at);
      to.scale[w] = (gamma ? gamma[c] : 1.f) * rstd_of(at);
      to.shift[w] = beta ? beta[c] : 0.f;
    }
  }
};
inline NormSource source_of(const NormValues& v) { return {v.mean, v.rstd, v.variance, v.gamma, v.beta, v.eps}; }

/// The activation at a thread's channels: two straight lines with a slope each below 0, or a curve.
struct NormActivation {
  ActivationKind kind;
  float parameter;
  const float* slopes;
  Index step;
};
inline NormActivation activation_of(const NormValues& v) {
  return {v.activation.kind, v.activation.parameter, v.slopes, v.slope_count > 1 ? Index{1} : Index{0}};
}
template <int W, bool kCurved> struct Bends {
  float slope[W];
  bool cut;   // relu: an infinity becomes 0 and a NaN stays one
  DeviceCurve curve;

  CTSEG_DEVICE Bends(const NormActivation& a, Index channel) : cut(a.kind == ActivationKind::relu), curve{a.kind, a.parameter} {
    for (int w = 0; w < W; ++w)
      slope[w] = a.kind == ActivationKind::prelu        ? a.slopes[(channel + w) * a.step]
                 : a.kind == ActivationKind::leaky_relu ? a.parameter
                 : a.kind == ActivationKind::relu       ? 0.f
                                                        : 1.f;
  }
  CTSEG_DEVICE float value(float u, int w) const {
    if constexpr (kCurved) return curve.value(u, 0);
    return cut ? (u < 0 ? 0.f : u) : u > 0 ? u : slope[w] * u;
  }
  CTSEG_DEVICE float derivative(float u, int w) const {
    if constexpr (kCurved) return curve.derivative(u, 0);
    return u > 0 ? 1.f : slope[w];
  }
};

}   // namespace ctseg::cuda
