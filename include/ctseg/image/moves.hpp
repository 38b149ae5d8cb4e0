// Voxels moved as they are: boxes cut out of a volume or put around it, axes turned round and swapped. Pointers and strides, so
// that volumes and patches share one code; extents are in the order of memory, z, y, x.
#pragma once
#include <algorithm>
#include <array>
#include <cstring>
#include <optional>
#include <utility>

#include "../core/error.hpp"

namespace ctseg::moves {

using Extents = std::array<Index, 3>;

/// A box of `size` voxels that begins at `corner` of the source, which may be outside.
struct BoxCut {
  Extents source, corner, size;
};
/// Fills a dense target; beyond the source it gets `outside`, unset the source's edge.
template <class T> void copy_box(const T* from, const BoxCut& box, const std::optional<T>& outside, T* to) {
  const auto& [source, corner, size] = box;
  const Index low = std::clamp<Index>(-corner[2], 0, size[2]), high = std::clamp<Index>(source[2] - corner[2], low, size[2]);
  for (Index z = 0; z < size[0]; ++z)
    for (Index y = 0; y < size[1]; ++y, to += size[2]) {
      const Index sz = std::clamp<Index>(z + corner[0], 0, source[0] - 1), sy = std::clamp<Index>(y + corner[1], 0, source[1] - 1);
      if (outside && (sz != z + corner[0] || sy != y + corner[1])) {
        std::fill_n(to, size[2], *outside);
        continue;
      }
      const T* const row = from + (sz * source[1] + sy) * source[2];
      std::fill_n(to, low, outside.value_or(row[0]));
      if (low < high) std::copy_n(row + corner[2] + low, high - low, to + low);
      std::fill(to + high, to + size[2], outside.value_or(row[source[2] - 1]));
    }
}

/// Which voxel goes where: to[z * stride[0] + y * stride[1] + x] = from[z * step[0] + y * step[1] + x * step[2]].
struct Steps {
  Extents size, step;
  std::array<Index, 2> stride;
};

/// N x N numbers that fill N vectors of 16 bytes, turned in registers: after log2(N) perfect shuffles rows are columns.
template <class T> struct Block {
  static constexpr Index kSide = 16 / Index{sizeof(T)};
  typedef T Vector __attribute__((vector_size(16)));

  Vector row[kSide];

  void load(const T* from, Index stride) {
    for (Index i = 0; i < kSide; ++i) std::memcpy(&row[i], from + i * stride, 16);
  }
  void transpose() {
    for (Index stage = 1; stage < kSide; stage *= 2) shuffle(std::make_integer_sequence<int, static_cast<int>(kSide)>{});
  }

 private:
  template <int... I> void shuffle(std::integer_sequence<int, I...>) {
    constexpr int n = static_cast<int>(kSide), half = n / 2;
    Vector out[kSide];
    for (Index i = 0; i < half; ++i) {
      out[2 * i] = __builtin_shufflevector(row[i], row[i + half], (I % 2 * n + I / 2)...);
      out[2 * i + 1] = __builtin_shufflevector(row[i], row[i + half], (half + I % 2 * n + I / 2)...);
    }
    std::copy_n(out, kSide, row);
  }
};

/// to[w * to_step + x] = tile[x * kTile + w] for x < nx, w < nw.
template <class T> constexpr Index kTile = 64 / Index{sizeof(T)};   // one cache line
template <class T> void turn_tile(const T* tile, Index nx, Index nw, T* to, Index to_step) {
  constexpr Index n = Block<T>::kSide;
  for (Index w = 0; w < nw; w += n)
    for (Index x = 0; x < nx; x += n) {
      if (w + n <= nw && x + n <= nx) {
        Block<T> block;
        block.load(tile + x * kTile<T> + w, kTile<T>);
        block.transpose();
        for (Index i = 0; i < n; ++i) std::memcpy(to + (w + i) * to_step + x, &block.row[i], 16);
        continue;
      }
      for (Index i = w; i < std::min(w + n, nw); ++i)
        for (Index j = x; j < std::min(x + n, nx); ++j) to[i * to_step + j] = tile[j * kTile<T> + i];
    }
}

/// One plane whose rows run across the source's: x steps by `across`, rows by 1 or -1. Whole cache lines are read into a small
/// tile and written from it, because lines that lie a power of two apart push each other out of the caches.
template <class T> struct Plane {
  const T* from;
  Index nx, rows, across, row_step;
  T* to;
  Index to_step;
};
template <class T> void turn_plane(const Plane<T>& p) {
  constexpr Index kAhead = 8, n = kTile<T>;
  const Index row_tiles = (p.rows + n - 1) / n, tiles = row_tiles * ((p.nx + n - 1) / n);
  T tile[n * n];
  for (Index t = 0; t < tiles; ++t) {
    const Index x = t / row_tiles * n, r = t % row_tiles * n, nx = std::min(n, p.nx - x), nr = std::min(n, p.rows - r);
    if (const Index a = t + kAhead; a < tiles) {
      const Index ax = a / row_tiles * n, ar = a % row_tiles * n;
      for (Index i = 0; i < std::min(n, p.nx - ax); ++i) __builtin_prefetch(p.from + (ax + i) * p.across + ar * p.row_step);
      for (Index i = 0; i < std::min(n, p.rows - ar); ++i) __builtin_prefetch(p.to + ax + (ar + i) * p.to_step, 1);
    }
    const T* const from = p.from + x * p.across + r * p.row_step - (p.row_step < 0 ? nr - 1 : 0);
    if (nr == n)
      for (Index i = 0; i < nx; ++i) std::memcpy(tile + i * n, from + i * p.across, 64);
    else
      for (Index i = 0; i < nx; ++i) std::copy_n(from + i * p.across, nr, tile + i * n);
    T* const to = p.to + x + (p.row_step < 0 ? r + nr - 1 : r) * p.to_step;   // backwards the tile's first row is the last
    turn_tile(tile, nx, nr, to, p.row_step < 0 ? -p.to_step : p.to_step);
  }
}

/// to[i] = from[count - 1 - i]. By way of a buffer that stays in the cache: memory is read forwards, as its prefetcher likes it.
template <class T> void reverse(const T* from, Index count, T* to) {
  T buffer[1024];
  for (Index end = count, n = 0; end > 0; end -= n, to += n) {
    n = std::min<Index>(end, 1024);
    std::copy_n(from + end - n, n, buffer);
    Index i = 0;
    if constexpr (sizeof(T) == 1)
      for (; i + 8 <= n; i += 8) {
        std::uint64_t eight;
        std::memcpy(&eight, buffer + n - 8 - i, 8);
        eight = __builtin_bswap64(eight);
        std::memcpy(to + i, &eight, 8);
      }
    for (; i < n; ++i) to[i] = buffer[n - 1 - i];
  }
}

template <class T> void gather(const T* from, const Steps& steps, T* to) {
  const auto& [n, step, stride] = steps;
  const auto across = [&](std::size_t r) { return step[r] == 1 || step[r] == -1; };
  if (step[2] != 1 && step[2] != -1 && (across(0) || across(1))) {
    const std::size_t rows = across(0) ? 0 : 1, other = 1 - rows;
    for (Index o = 0; o < n[other]; ++o)
      turn_plane<T>({from + o * step[other], n[2], n[rows], step[2], step[rows], to + o * stride[other], stride[rows]});
    return;
  }
  for (Index z = 0; z < n[0]; ++z)
    for (Index y = 0; y < n[1]; ++y) {
      const T* const row = from + z * step[0] + y * step[1];
      T* const out = to + z * stride[0] + y * stride[1];
      if (step[2] == 1)
        std::copy_n(row, n[2], out);
      else if (step[2] == -1)
        reverse(row - n[2] + 1, n[2], out);
      else
        for (Index x = 0; x < n[2]; ++x) out[x] = row[x * step[2]];
    }
}

}   // namespace ctseg::moves
