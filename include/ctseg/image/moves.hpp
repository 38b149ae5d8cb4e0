// Voxels moved as they are: boxes cut out of a volume or put around it, axes turned round and swapped. Pointers and strides, so
// that volumes and patches share one code; extents are in the order of memory, z, y, x.
#pragma once
#include <algorithm>
#include <array>
#include <cstdint>
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
      const Index sz = std::clamp<Index>(z + corner[0], 0, source[0] - 1),
                  sy = std::clamp<Index>(y + corner[1], 0, source[1] - 1);
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

/// One plane whose rows run across the source's: to[r * to_step + x] = from[x * across + r * row_step], row_step 1 or -1.
template <class T> struct Plane {
  const T* from;
  Index nx, rows, across, row_step;
  T* to;
  Index to_step;
};
/// It goes in tiles of one cache line of every row, on both sides. Lines far apart are no stream that the processor sees
/// coming, so those of a later tile are asked for early.
template <class T> constexpr Index kTile = 64 / Index{sizeof(T)};
template <class T> void turn_tile(const Plane<T>& p) {
  constexpr Index n = Block<T>::kSide;
  const bool back = p.row_step < 0;   // then a block's first row is the last
  for (Index x = 0; x < p.nx; x += n)
    for (Index r = 0; r < p.rows; r += n) {
      if (r + n <= p.rows && x + n <= p.nx) {
        Block<T> block;
        block.load(p.from + x * p.across + (back ? 1 - n - r : r), p.across);
        block.transpose();
        T* const to = p.to + (back ? r + n - 1 : r) * p.to_step + x;
        for (Index i = 0; i < n; ++i) std::memcpy(to + (back ? -i : i) * p.to_step, &block.row[i], 16);
        continue;
      }
      for (Index i = r; i < std::min(r + n, p.rows); ++i)
        for (Index j = x; j < std::min(x + n, p.nx); ++j) p.to[i * p.to_step + j] = p.from[j * p.across + i * p.row_step];
    }
}
template <class T> void turn_plane(const Plane<T>& p) {
  constexpr Index kAhead = 8, n = kTile<T>;
  const Index row_tiles = (p.rows + n - 1) / n, tiles = row_tiles * ((p.nx + n - 1) / n);
  for (Index t = 0; t < tiles; ++t) {
    const Index x = t / row_tiles * n, r = t % row_tiles * n;
    if (const Index a = t + kAhead; a < tiles) {
      const Index ax = a / row_tiles * n, ar = a % row_tiles * n;
      for (Index i = 0; i < std::min(n, p.nx - ax); ++i) __builtin_prefetch(p.from + (ax + i) * p.across + ar * p.row_step);
      for (Index i = 0; i < std::min(n, p.rows - ar); ++i) __builtin_prefetch(p.to + ax + (ar + i) * p.to_step, 1);
    }
    turn_tile<T>({p.from + x * p.across + r * p.row_step, std::min(n, p.nx - x), std::min(n, p.rows - r), p.across, p.row_step,
                  p.to + r * p.to_step + x, p.to_step});
  }
}

/// to[i] = from[count - 1 - i].
template <class T> void reverse(const T* from, Index count, T* to) {
  constexpr Index n = Block<T>::kSide;
  Index i = 0;
  if constexpr (sizeof(T) == 1)
    for (; i + 8 <= count; i += 8) {
      std::uint64_t eight;
      std::memcpy(&eight, from + count - 8 - i, 8);
      eight = __builtin_bswap64(eight);
      std::memcpy(to + i, &eight, 8);
    }
  else if constexpr (sizeof(T) == 4)
    for (; i + n <= count; i += n) {
      typename Block<T>::Vector four;
      std::memcpy(&four, from + count - n - i, 16);
      four = __builtin_shufflevector(four, four, 3, 2, 1, 0);
      std::memcpy(to + i, &four, 16);
    }
  for (; i < count; ++i) to[i] = from[count - 1 - i];
}

template <class T> void gather(const T* from, const Steps& steps, T* to) {
  const Extents &n = steps.size, &step = steps.step;
  const std::array<Index, 2>& stride = steps.stride;
  const auto unit = [&](std::size_t axis) { return step[axis] == 1 || step[axis] == -1; };
  if (!unit(2) && (unit(0) || unit(1))) {
    const std::size_t rows = unit(0) ? 0 : 1, other = 1 - rows;
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
