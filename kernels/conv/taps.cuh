// Which voxels meet, as kernels see it: a common grid of places, and on each array a voxel for every place and tap.
#pragma once
#include <bit>

#include "../common/values.cuh"
#include "ctseg/ops/cuda/array.hpp"
#include "ctseg/ops/window.hpp"

namespace ctseg::cuda {

inline constexpr int kMostTaps = 125, kMostTapClasses = 8;

/// Division of numbers below 2^31 by one that is known beforehand: a multiplication.
struct Divider {
  std::uint32_t divisor = 1, magic = 1, shift = 0;
  Divider() = default;
  explicit Divider(Index d) : divisor(static_cast<std::uint32_t>(d)) {
    while ((Index{1} << shift) < d) ++shift;
    magic = static_cast<std::uint32_t>(((Index{1} << shift) - d) * (Index{1} << 32) / d + 1);
  }
  CTSEG_DEVICE std::uint32_t quotient(std::uint32_t n) const {
    const auto high = static_cast<std::uint32_t>(std::uint64_t{n} * magic >> 32);
    return (high + n) >> shift;
  }
};

struct Site {
  int n, z, y, x;
};

/// Sites in order n, z, y, x.
struct Sites {
  int count = 0;   // of all images
  Divider z, y, x;

  Sites() = default;
  Sites(Index images, const std::array<Index, 3>& space)
      : count(static_cast<int>(images * space[0] * space[1] * space[2])), z(space[0]), y(space[1]), x(space[2]) {}
  CTSEG_DEVICE Site at(int index) const {
    const auto i = static_cast<std::uint32_t>(index);
    const std::uint32_t line = x.quotient(i), plane = y.quotient(line), image = z.quotient(plane);
    return {static_cast<int>(image), static_cast<int>(plane - image * z.divisor), static_cast<int>(line - plane * y.divisor),
            static_cast<int>(i - line * x.divisor)};
  }
};

/// An offset on one array, and the weights that go with it.
struct Tap {
  std::int16_t z, y, x, weights;
};

/// 16 bytes on their way from array to array. Words and not values: 16-bit values would take a register each.
struct alignas(16) [[gnu::may_alias]] Words {
  std::uint32_t at[4];
};

/// An array as seen from the places: the voxel place * step + offset, where that exists.
struct Lattice {
  std::byte* data = nullptr;
  Index pitch = 0;
  int channels = 0, space[3] = {1, 1, 1}, step[3] = {1, 1, 1};
  int wide = 0;   // rows are whole numbers of 16-byte packs, on 16 bytes

  Lattice() = default;
  Lattice(const Array& a, const std::array<Index, 3>& by) : data(a.data), pitch(a.pitch), channels(static_cast<int>(a.c)) {
    for (std::size_t d = 0; d < 3; ++d) space[d] = static_cast<int>(a.space[d]), step[d] = static_cast<int>(by[d]);
    const Index bytes = size_of(a.dtype);
    wide = a.c * bytes % 16 == 0 && a.pitch * bytes % 16 == 0 && reinterpret_cast<std::uintptr_t>(a.data) % 16 == 0;
  }
  /// The voxel's first channel, or null.
  template <class T> CTSEG_DEVICE T* find(const Site& p, const Tap& t) const {
    const int v[3] = {p.z * step[0] + t.z, p.y * step[1] + t.y, p.x * step[2] + t.x};
    if (p.n < 0 || v[0] < 0 || v[0] >= space[0] || v[1] < 0 || v[1] >= space[1] || v[2] < 0 || v[2] >= space[2]) return nullptr;
    const Index voxel = (Index{p.n} * space[0] + v[0]) * space[1] + v[1];
    return reinterpret_cast<T*>(data) + (voxel * space[2] + v[2]) * pitch;
  }
  /// Channels [first, first + N) of a row, zeros where there are none.
  template <class T, int N> CTSEG_DEVICE Pack<T, N> load(const T* row, int first) const {
    Pack<T, N> out;
    for (int i = 0; i < N; ++i) out.at[i] = from_float<T>(0.f);
    if (row && wide) {
      if (first < channels) out = *reinterpret_cast<const Pack<T, N>*>(row + first);
    } else if (row) {
      for (int i = 0; i < N; ++i)
        if (first + i < channels) out.at[i] = row[first + i];
    }
    return out;
  }
  template <class T> CTSEG_DEVICE Words load_words(const T* row, int first) const {
    Words out{{0, 0, 0, 0}};
    if (row && wide) {
      if (first < channels) out = *reinterpret_cast<const Words*>(row + first);
    } else if (row) {
      for (int i = 0; i < kPack<T>; ++i) {
        if (first + i >= channels) continue;
        if constexpr (sizeof(T) == 2)
          out.at[i / 2] |= std::uint32_t{std::bit_cast<std::uint16_t>(row[first + i])} << i % 2 * 16;
        else
          out.at[i] = std::bit_cast<std::uint32_t>(row[first + i]);
      }
    }
    return out;
  }
  template <class T, int N> CTSEG_DEVICE void store(T* row, int first, const Pack<T, N>& values) const {
    if (wide && first < channels) {
      *reinterpret_cast<Pack<T, N>*>(row + first) = values;
      return;
    }
    for (int i = 0; i < N; ++i)
      if (first + i < channels) row[first + i] = values.at[i];
  }
};

/// Voxels that meet the same taps: they lie at place * step + (z, y, x).
struct TapClass {
  std::int16_t first, taps, z, y, x;
};

/// A convolution seen from the side that is written.
struct Relation {
  std::array<Index, 3> grid{1, 1, 1}, read_step{1, 1, 1}, write_step{1, 1, 1};
  Index class_count = 0;
  TapClass classes[kMostTapClasses]{};
  Tap taps[kMostTaps]{};
};

/// The relation of `window` with results on `side`. Written from the input side (a data gradient) voxel i meets the outputs
/// (i + padding - tap * dilation) / stride that are whole: which taps those are follows from i modulo stride.
inline Relation relate(const ConvWindow& window, Side side) {
  Relation r;
  std::array<Index, 3> residues{1, 1, 1};
  if (side == Side::output) {
    r.grid = window.output, r.read_step = window.stride;
  } else {
    r.write_step = residues = window.stride;
    for (std::size_t d = 0; d < 3; ++d) r.grid[d] = (window.input[d] + window.stride[d] - 1) / window.stride[d];
  }
  int taps = 0;
  for (Index c = 0; c < residues[0] * residues[1] * residues[2]; ++c) {
    const std::array<Index, 3> at = {c / residues[2] / residues[1], c / residues[2] % residues[1], c % residues[2]};
    TapClass& k = r.classes[r.class_count++];
    k = {static_cast<std::int16_t>(taps), 0, static_cast<std::int16_t>(at[0]), static_cast<std::int16_t>(at[1]),
         static_cast<std::int16_t>(at[2])};
    for (Index t = 0; t < window.taps(); ++t) {
      const Index row = t / window.kernel[2];
      const std::array<Index, 3> tap = {row / window.kernel[1], row % window.kernel[1], t % window.kernel[2]};
      std::array<Index, 3> offset{};
      bool meets = true;
      for (std::size_t d = 0; d < 3; ++d) {
        const Index reach = tap[d] * window.dilation[d] - window.padding[d];
        offset[d] = side == Side::output ? reach : (at[d] - reach) / window.stride[d];
        if (side == Side::input && (at[d] - reach) % window.stride[d] != 0) meets = false;
      }
      if (!meets) continue;
      r.taps[taps++] = {static_cast<std::int16_t>(offset[0]), static_cast<std::int16_t>(offset[1]),
                        static_cast<std::int16_t>(offset[2]), static_cast<std::int16_t>(t)};
      ++k.taps;
    }
  }
  return r;
}

}   // namespace ctseg::cuda
