// What everything on masks and label volumes shares: which voxels count, which of them touch, runs of them along a row.
#pragma once
#include <algorithm>
#include <cstring>
#include <limits>
#include <optional>
#include <type_traits>
#ifdef __linux__
#include <sys/mman.h>
#endif

#include "../core/parallel.hpp"
#include "volume.hpp"

namespace ctseg {

/// Which voxels touch: those that share a face (6 of them, 4 within a slice), an edge too (18, 8) or a corner too (26, 8).
enum class Connectivity { faces, edges, corners };

namespace mask {

/// Which voxels are foreground: those equal to `value`, or those that differ from it.
template <class T> struct Foreground {
  T value = T(0);
  bool equal = false;

  bool operator()(T v) const { return (v == value) == equal; }
  Foreground inverse() const { return {value, !equal}; }
};

/// Foreground is one label, or everything but 0 where none is named.
/// Errors    bad_argument for a label that T cannot hold.
template <class T> Foreground<T> foreground(const std::optional<Index>& label, std::string_view where) {
  static_assert(std::is_arithmetic_v<T>, "ctseg: masks and labels are float, double or integers");
  if (!label) return {};
  const T value = static_cast<T>(*label);
  if (std::is_integral_v<T> && (static_cast<Index>(value) != *label || (value < T(0)) != (*label < 0)))
    throw Error(Code::bad_argument, where,
                text("label = ", *label, " cannot occur in a volume whose voxels are ", sizeof(T), " bytes wide."));
  return {value, true};
}

/// First place in [at, n) of a row whose voxel is foreground (or is not); n if there is none. Bytes go by eights.
template <class T> Index find(const T* row, Index at, Index n, Foreground<T> wanted) {
  if constexpr (sizeof(T) == 1) {
    constexpr std::uint64_t kOnes = 0x0101010101010101;
    const std::uint64_t pattern = static_cast<std::uint8_t>(wanted.value) * kOnes;
    for (; at + 8 <= n; at += 8) {
      std::uint64_t word;
      std::memcpy(&word, row + at, 8);
      word ^= pattern;   // a byte that equals the value is 0 now
      if (wanted.equal ? ((word - kOnes) & ~word & 0x80 * kOnes) != 0 : word != 0) break;
    }
  }
  while (at < n && !wanted(row[at])) ++at;
  return at;
}

/// f(begin, end) for every run of foreground in a row of n voxels.
template <class T, class F> void for_runs(const T* row, Index n, Foreground<T> foreground, F&& f) {
  for (Index begin = find(row, 0, n, foreground); begin < n;) {
    const Index end = find(row, begin, n, foreground.inverse());
    f(begin, end);
    begin = find(row, end, n, foreground);
  }
}
/// The same with a new run wherever the value changes.
template <class T, class F> void for_equal_runs(const T* row, Index n, Foreground<T> foreground, F&& f) {
  for (Index begin = find(row, 0, n, foreground); begin < n;) {
    const Index end = find(row, begin + 1, n, {row[begin], false});   // + 1: NaN differs from itself
    f(begin, end);
    begin = find(row, end, n, foreground);
  }
}

/// f(0) .. f(count - 1), on the executor if there is one.
template <class F> void for_tasks(Executor* executor, Index count, F&& f) {
  if (executor)
    parallel_for(*executor, count, f);
  else
    for (Index i = 0; i < count; ++i) f(i);
}

/// `count` zeros. Linux is asked for large pages, by many threads: faulting in a volume takes longer than most work on it.
template <class T> std::vector<T> zeros(Index count, [[maybe_unused]] Executor* executor) {
  std::vector<T> out;
  out.reserve(static_cast<std::size_t>(count));
#if defined(__linux__) && defined(MADV_HUGEPAGE) && defined(MADV_POPULATE_WRITE)
  constexpr Index kPage = 4096, kChunk = Index{32} << 20;
  const auto begin = reinterpret_cast<std::uintptr_t>(out.data());
  std::byte* const first = reinterpret_cast<std::byte*>(out.data()) + (0 - begin) % kPage;
  const Index bytes = (reinterpret_cast<std::byte*>(out.data() + count) - first) / kPage * kPage;
  if (bytes >= kChunk && madvise(first, static_cast<std::size_t>(bytes), MADV_HUGEPAGE) == 0)   // advice: failing is fine
    for_tasks(executor, (bytes + kChunk - 1) / kChunk, [&](Index i) {
      (void)madvise(first + i * kChunk, static_cast<std::size_t>(std::min(kChunk, bytes - i * kChunk)), MADV_POPULATE_WRITE);
    });
#endif
  out.resize(static_cast<std::size_t>(count));
  return out;
}

/// The extents, if they can be those of a volume.
inline Xyz<Index> checked_extents(Xyz<Index> shape, std::string_view where) {
  checked(Shape<3>{1, 1, {shape.z, shape.y, shape.x}}, where);
  if (std::max({shape.x, shape.y, shape.z}) > std::numeric_limits<std::int32_t>::max())
    throw Error(Code::unsupported, where, text("an axis of ", shape, " voxels is longer than 2147483647."));
  return shape;
}

/// The voxel size that distances are measured with: the one the caller names, else the grid's.
/// Errors    unsupported for axes that are more than half a degree off a right angle: distance is not separable there.
inline Xyz<double> spacing_for_distance(const Grid& grid, const std::optional<Xyz<double>>& chosen, std::string_view where) {
  if (chosen) return *chosen;
  const Eigen::Matrix4d& m = grid.affine.matrix;
  const Xyz<double> spacing = grid.spacing_mm();
  const auto dot = [&](int a, int b) { return std::abs(m(0, a) * m(0, b) + m(1, a) * m(1, b) + m(2, a) * m(2, b)); };
  const double worst =
      std::max({dot(0, 1) / (spacing.x * spacing.y), dot(0, 2) / (spacing.x * spacing.z), dot(1, 2) / (spacing.y * spacing.z)});
  if (worst > 0.0087)
    throw Error(Code::unsupported, where,
                text("the voxel axes meet at ", std::acos(worst) * 57.29577951308232, " degrees (a sheared grid, as a tilted ",
                     "gantry makes); distances need right angles to half a degree. Hint: resample onto a grid with right ",
                     "angles, or name spacing_mm to measure along the axes as they are."));
  return spacing;
}

}   // namespace mask
}   // namespace ctseg
