// What one coordinate of an axis reads: the two neighbours it lies between, and how much of the upper one. Two grids whose axes
// are parallel need one table of these per axis.
#pragma once
#include <algorithm>
#include <optional>
#include <utility>

#include "mask.hpp"
#include "moves.hpp"
#include "volume.hpp"

namespace ctseg {

/// Whole voxels [begin, end) of a grid; negative and beyond the shape where it covers more than the grid.
struct Box {
  Xyz<Index> begin{}, end{};

  Xyz<Index> shape() const { return {end.x - begin.x, end.y - begin.y, end.z - begin.z}; }
  bool operator==(const Box&) const = default;
};
inline Box whole(Xyz<Index> shape) { return {{0, 0, 0}, shape}; }
/// What two boxes share; it has no positive shape if that is nothing.
inline Box overlap(const Box& a, const Box& b) {
  return {{std::max(a.begin.x, b.begin.x), std::max(a.begin.y, b.begin.y), std::max(a.begin.z, b.begin.z)},
          {std::min(a.end.x, b.end.x), std::min(a.end.y, b.end.y), std::min(a.end.z, b.end.z)}};
}

/// How values between voxels come about.
/// linear       the 8 neighbours by distance
/// nearest      the voxel itself
/// cubic        the B-spline of order 3 through the values, beyond the border as if the outermost voxel went on: SciPy's and
///              scikit-image's order 3, mode nearest or edge
/// label_vote   for labels: the one that holds at least half of the linear weights, the largest if two do, 0 if none does
///              (nnU-Net with batchgenerators up to 0.25.1)
/// label_most   the one that holds most of them, of equals the nearest voxel's, else the smallest (batchgenerators 0.25.5)
enum class Interpolation { linear, nearest, cubic, label_vote, label_most };

/// Where nearest goes exactly between two voxels: to the even one (numpy, PyTorch, MONAI), or up (SciPy, nnU-Net).
enum class Halves { to_even, up };

namespace resampling {

inline bool votes(Interpolation i) { return i == Interpolation::label_vote || i == Interpolation::label_most; }

/// As a list; [0] is x.
inline std::array<Index, 3> listed(Xyz<Index> v) { return {v.x, v.y, v.z}; }

using mask::for_tasks;

/// The value of what lies outside, as a voxel.
/// Errors    bad_argument where T cannot hold it.
template <class T> T checked_outside(double outside, std::string_view where) {
  using Limits = std::numeric_limits<T>;
  bool fits = !is_finite(outside) || std::abs(outside) <= double(std::numeric_limits<float>::max());
  if constexpr (std::is_integral_v<T>)
    fits = is_finite(outside) && outside >= double(Limits::lowest()) && outside < std::ldexp(1.0, Limits::digits) &&
           outside == std::nearbyint(outside);
  if (!fits && (std::is_integral_v<T> || sizeof(T) < sizeof(double)))
    throw Error(Code::bad_argument, where,
                text("outside = ", outside, " does not fit the volume's type, ", double(Limits::lowest()), " to ",
                     double(Limits::max()), std::is_integral_v<T> ? " in whole numbers." : "."));
  return static_cast<T>(outside);
}

/// Two neighbours along one axis: value = (1 - weight) * low + weight * (low + 1).
struct Tap {
  Index low = 0;
  double weight = 0;    // 0: the upper neighbour is not read, its NaN stays its own
  bool inside = true;   // not more than half a voxel out
};

/// Coordinates are rounded to 2^-30 voxels, so that noise of the matrix product decides neither a tie nor what is inside.
inline double settled(double c) { return std::nearbyint(c * 0x1p30) * 0x1p-30; }

/// The tap of a settled coordinate on voxels [begin, end) of an axis.
inline Tap make_tap(double c, Index begin, Index end, bool nearest, Halves halves) {
  const double first = static_cast<double>(begin), last = static_cast<double>(end - 1);
  Tap tap;
  tap.inside = c >= first - 0.5 && c <= last + 0.5;
  c = std::clamp(c, first, last);
  if (nearest) {
    tap.low = std::min(end - 1, static_cast<Index>(halves == Halves::up ? std::floor(c + 0.5) : std::nearbyint(c)));
  } else {
    tap.low = static_cast<Index>(std::floor(c));
    tap.weight = c - static_cast<double>(tap.low);
  }
  return tap;
}

/// The taps of all coordinates of one axis.
struct AxisTaps {
  std::vector<Index> low{};
  std::vector<double> weight{}, coordinate{};
  std::vector<std::uint8_t> inside{};   // others get the outside value

  explicit AxisTaps(Index count = 0) { resize(count); }
  Index count() const { return std::ssize(low); }
  void resize(Index count) {
    const auto n = static_cast<std::size_t>(count);
    low.resize(n), weight.resize(n), coordinate.resize(n), inside.assign(n, 1);
  }
  void set(Index i, double c, const Tap& tap) {
    const auto at = static_cast<std::size_t>(i);
    coordinate[at] = c, low[at] = tap.low, weight[at] = tap.weight, inside[at] = tap.inside;
  }
  /// True if every coordinate is its own index in an axis of n voxels: nothing to do.
  bool identity(Index n) const {
    if (count() != n) return false;
    for (Index i = 0; i < n; ++i)
      if (coordinate[static_cast<std::size_t>(i)] != static_cast<double>(i)) return false;
    return true;
  }
};

/// For each target axis the one source axis that it runs along, if the two grids are parallel.
template <class = void> std::optional<std::array<std::size_t, 3>> parallel_axes(const Eigen::Matrix4d& map, Xyz<Index> shape) {
  const std::array<Index, 3> extent = listed(shape);
  std::array<std::size_t, 3> axes{3, 3, 3};
  std::array<bool, 3> used{};
  for (std::size_t column = 0; column < 3; ++column) {
    for (std::size_t row = 0; row < 3; ++row) {
      const double step = map(static_cast<int>(row), static_cast<int>(column));
      if (std::abs(step) * static_cast<double>(extent[column]) <= 0x1p-31) continue;
      if (axes[column] < 3 || used[row]) return {};
      axes[column] = row, used[row] = true;
    }
    if (axes[column] == 3) return {};
  }
  return axes;
}

/// `from` with its axes in another order: voxel axis j of the result is axis axes[j] of the source, run backwards where flip[j]
/// says so.
template <class T> std::vector<T> move_axes(const T* from, Xyz<Index> shape, const std::array<std::size_t, 3>& axes,
                                            const std::array<bool, 3>& flip, Executor* executor) {
  const std::array<Index, 3> extent = listed(shape), stride{1, extent[0], extent[0] * extent[1]};
  std::array<Index, 3> n{}, step{};
  for (std::size_t j = 0; j < 3; ++j) {
    n[j] = extent[axes[j]];
    step[j] = flip[j] ? -stride[axes[j]] : stride[axes[j]];
    from += flip[j] ? (n[j] - 1) * stride[axes[j]] : 0;
  }
  std::vector<T> out(static_cast<std::size_t>(n[0] * n[1] * n[2]));
  const std::array<Index, 2> to_stride{n[0] * n[1], n[0]};
  const bool by_y = axes[2] == 0;   // a task is a plane, which turns as a whole
  for_tasks(executor, by_y ? n[1] : n[2], [&](Index i) {
    moves::Steps part{{n[2], n[1], n[0]}, {step[2], step[1], step[0]}, to_stride};
    part.size[by_y ? 1 : 0] = 1;
    moves::gather(from + i * step[by_y ? 1 : 2], part, out.data() + i * to_stride[by_y ? 1 : 0]);
  });
  return out;
}

}   // namespace resampling
}   // namespace ctseg
