// How kernels that look at one voxel at a time share an array: a thread keeps its channels and takes every step-th row, so that
// it divides once, and the threads of a warp meet neighbouring memory.
#pragma once
#include <algorithm>

#include "../common/launch.cuh"
#include "../common/values.cuh"
#include "ctseg/ops/cuda/array.hpp"

#if defined(__CUDACC__)
#define CTSEG_UNROLL _Pragma("unroll")
#else
#define CTSEG_UNROLL
#endif

namespace ctseg::cuda {

inline constexpr int kRowThreads = 256;

/// Rows of channels in device memory.
template <class T> struct Rows {
  T* data = nullptr;
  Index pitch = 0;
  CTSEG_DEVICE T* at(Index row, Index c) const { return data + row * pitch + c; }
  CTSEG_DEVICE explicit operator bool() const { return data != nullptr; }
};
template <class T> Rows<T> rows_of(const Array& a) { return {a.as<T>(), a.pitch}; }

template <int N, class T> CTSEG_DEVICE Pack<std::remove_const_t<T>, N> load(T* from) {
  return *reinterpret_cast<const Pack<std::remove_const_t<T>, N>*>(from);
}
template <class T, int N> CTSEG_DEVICE void store(T* to, const Pack<T, N>& values) {
  *reinterpret_cast<Pack<T, N>*>(to) = values;
}

/// Pack number `pack` of rows row, row + step, ...: what one thread does. Idle threads get a row behind the last.
struct Share {
  Index row, step, pack;
};
CTSEG_DEVICE Share share_of(const Block& b, Index rows, Index packs) {
  const auto thread = static_cast<std::uint32_t>(b.index() * b.threads() + b.thread()),
             all = static_cast<std::uint32_t>(b.blocks() * b.threads()), width = static_cast<std::uint32_t>(packs);
  const std::uint32_t step = all / width, row = thread / width;
  return {row < step ? row : rows, step, thread - row * width};
}
/// Blocks for that: at least one thread for every pack of a row, and about `rounds` rows a thread.
inline Grid grid_of(Index rows, Index packs, Index rounds) {
  const Index least = (packs + kRowThreads - 1) / kRowThreads, per_block = rounds * kRowThreads;
  return {.blocks = std::max(least, std::min(kMostBlocks, (rows * packs + per_block - 1) / per_block))};
}

/// Whether every row of the array can be moved in 16-byte packs.
inline bool packs_fit(const Array& a) {
  const Index width = 16 / size_of(a.dtype);
  return a.c % width == 0 && a.pitch % width == 0 && reinterpret_cast<std::uintptr_t>(a.data) % 16 == 0;
}
template <class... Arrays> bool packs_fit(const Array& a, const Arrays&... others) { return packs_fit(a) && packs_fit(others...); }
/// f(std::integral_constant of the values that a thread moves at once).
template <class T, class F> void with_width(bool wide, F f) {
  wide ? f(std::integral_constant<int, kPack<T>>{}) : f(std::integral_constant<int, 1>{});
}

/// The same values as rows of `width` channels, for kernels that ask neither for a row nor for a channel. Packed arrays only.
inline Array flattened(Array a, Index width) {
  a.n = a.elements() / width, a.c = a.pitch = width, a.space = {1, 1, 1};
  return a;
}
/// How wide these may be flattened, all together.
template <class... Arrays> Index flat_width(const Array& a, const Arrays&... others) {
  const Index width = 16 / size_of(a.dtype);
  const auto aligned = [](const Array& x) { return reinterpret_cast<std::uintptr_t>(x.data) % 16 == 0; };
  return a.elements() % width == 0 && aligned(a) && (aligned(others) && ...) ? width : 1;
}

/// A voxel's place, and extents. In 32 bits: a division in 64 is a call, with registers to save around it.
struct Zyx {
  int z, y, x;
};
inline Zyx zyx(const std::array<Index, 3>& a) { return {static_cast<int>(a[0]), static_cast<int>(a[1]), static_cast<int>(a[2])}; }
/// Of an array whose kernels ask for places.
inline Zyx extents_of(const Array& a) {
  constexpr Index kMost = (Index{1} << 31) - 1;
  if (a.rows() > kMost)
    throw Error(Code::unsupported, "cuda",
                text(a.rows(), " voxels in one value; kernels that look at neighbours count to ", kMost,
                     ". Hint: smaller patches or batches."));
  return zyx(a.space);
}
struct Place {
  int image;
  Zyx at;
};
CTSEG_DEVICE Place place_of(Index row, const Zyx& extent) {
  const auto r = static_cast<std::uint32_t>(row), x = static_cast<std::uint32_t>(extent.x),
             y = static_cast<std::uint32_t>(extent.y), z = static_cast<std::uint32_t>(extent.z);
  const std::uint32_t line = r / x, plane = line / y, image = plane / z;
  return {static_cast<int>(image),
          {static_cast<int>(plane - image * z), static_cast<int>(line - plane * y), static_cast<int>(r - line * x)}};
}
CTSEG_DEVICE Index row_of(const Place& p, const Zyx& extent) {
  return ((p.image * extent.z + p.at.z) * extent.y + p.at.y) * extent.x + p.at.x;
}

/// Where a whole voxel must be seen at once (softmax), 2^k neighbouring lanes of a warp share a row. Rounds are the warp's, so
/// that all its lanes meet in shuffles; `live` says whether the lane's row is one.
struct Group {
  Index row;
  bool live;
};
CTSEG_DEVICE Index group_first(const Block& b, int lanes) {   // the warp's first row
  return (b.index() * (b.threads() / kWarp) + b.warp()) * (kWarp / lanes);
}
CTSEG_DEVICE Index group_step(const Block& b, int lanes) { return b.blocks() * (b.threads() / lanes); }
CTSEG_DEVICE Group group_of(const Block& b, Index first, Index rows, int lanes) {
  const Index row = first + b.lane() / lanes;
  return {row < rows ? row : rows - 1, row < rows};
}
/// Sum over the lanes of a group, the same bits in each.
template <class T> CTSEG_DEVICE T group_sum(const Block& b, T value, int lanes) {
  for (int mask = lanes / 2; mask > 0; mask /= 2) value += b.shuffle_xor(value, mask);
  return value;
}
inline Grid group_grid(Index rows, int lanes) {
  const Index per_block = kRowThreads / lanes;
  return {.blocks = std::min(kMostBlocks, (rows + per_block - 1) / per_block)};
}
/// The smallest power of two that is not below `count`, and at most a warp.
inline int lanes_for(Index count) {
  int lanes = 1;
  while (lanes < kWarp && lanes < count) lanes *= 2;
  return lanes;
}

}   // namespace ctseg::cuda
