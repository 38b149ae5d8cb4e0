// How a resampling is to be done: the options, and what they mean for a volume's type.
#pragma once
#include <type_traits>

#include "taps.hpp"

namespace ctseg {

struct ResampleOptions {
  std::optional<Interpolation> interpolation{};   // unset: linear for floating point, nearest for integers (labels)
  std::optional<double> outside{};    // value more than half a voxel outside; unset: images repeat the border, labels become 0
  Executor* executor = nullptr;       // unset: the calling thread
  std::optional<int> coarse_axis{};   // 0, 1 or 2: nearest along this axis of the volume, the interpolation along the others
  Halves halves = Halves::to_even;    // of nearest
  bool keep_range = false;            // cubic overshoots at edges: clip to the volume's range (per slice of coarse_axis)
};

namespace resampling {

/// Which voxels may be read and which are written; the others get the outside value. With `border`, what is written beyond the
/// readable ones repeats the outermost of them.
struct Region {
  Box readable, written;
  bool border = false;
};

/// What a call of resample() means for volumes of T.
struct Manner {
  Interpolation interpolation;
  std::optional<int> coarse_axis;
  Halves halves;
  bool keep_range;
  double outside;
  Executor* executor;

  bool nearest(std::size_t source_axis) const {
    return interpolation == Interpolation::nearest || (coarse_axis && *coarse_axis == static_cast<int>(source_axis));
  }
};
template <class T> Manner manner_of(const ResampleOptions& options) {
  const auto interpolation =
      options.interpolation.value_or(std::is_integral_v<T> ? Interpolation::nearest : Interpolation::linear);
  if (!std::is_integral_v<T> && votes(interpolation))
    throw Error(Code::bad_argument, "resample",
                "label_vote and label_most are for labels, volumes of integers. Hint: linear is for images.");
  if (options.coarse_axis && (*options.coarse_axis < 0 || *options.coarse_axis > 2))
    throw Error(Code::bad_argument, "resample",
                text("coarse_axis = ", *options.coarse_axis, "; must be 0 (x), 1 (y) or 2 (z)."));
  const double outside = options.outside.value_or(0);
  checked_outside<T>(outside, "resample");
  return {interpolation, options.coarse_axis, options.halves, options.keep_range, outside, options.executor};
}

/// A spline goes through all voxels of a line, so one that is no number would spread over the whole volume.
/// Errors    bad_input for the first voxel that is NaN or infinite.
template <class T> void check_finite(const Volume<T>& volume, Executor* executor) {
  if constexpr (std::is_floating_point_v<T>) {
    const Xyz<Index> n = volume.shape();
    const auto slice = static_cast<std::size_t>(n.x * n.y);
    std::vector<std::uint8_t> finite(static_cast<std::size_t>(n.z));
    for_tasks(executor, n.z, [&](Index z) {
      finite[static_cast<std::size_t>(z)] = all_finite(std::span(volume.data() + z * n.x * n.y, slice));
    });
    const auto z = std::find(finite.begin(), finite.end(), 0) - finite.begin();
    if (z == n.z) return;
    const T* const first = volume.data() + z * n.x * n.y;
    const Index at = std::find_if(first, first + slice, [](const T& v) { return !is_finite(v); }) - first;
    throw Error(Code::bad_input, "resample",
                text("voxel x ", at % n.x, ", y ", at / n.x, ", z ", Index{z}, " (of ", n, ") is ",
                     is_nan(first[at]) ? "NaN" : "infinite",
                     "; a cubic spline would carry it through the whole volume. Hint: replace such voxels, with -1000 HU "
                     "for air, or use linear, which spreads them to their neighbours only."));
  }
}

/// Target index to source index.
template <class = void> Eigen::Matrix4d map_between(const Grid& from, const Grid& to) {
  const Eigen::Matrix4d map = inverse_of(from.affine.matrix) * to.affine.matrix;
  if (!all_finite(std::span(map.data(), 16)))
    throw Error(Code::bad_argument, "resample", "an affine is singular or not finite; both grids need a place in the patient.");
  return map;
}

/// Lowest and highest value of every slice across the coarse axis, or of all (then all the same).
template <class T> std::vector<std::pair<T, T>> ranges(const T* voxels, Xyz<Index> shape, std::optional<std::size_t> coarse) {
  const std::array<Index, 3> n = listed(shape);
  std::vector<std::pair<T, T>> out(static_cast<std::size_t>(coarse ? n[*coarse] : 1),
                                   {std::numeric_limits<T>::max(), std::numeric_limits<T>::lowest()});
  for (Index z = 0; z < shape.z; ++z)
    for (Index y = 0; y < shape.y; ++y)
      for (Index x = 0; x < shape.x; ++x) {
        const Index at = !coarse ? 0 : *coarse == 0 ? x : *coarse == 1 ? y : z;
        auto& [low, high] = out[static_cast<std::size_t>(at)];
        const T v = *voxels++;
        if (v < low) low = v;
        if (v > high) high = v;
      }
  return out;
}

}   // namespace resampling
}   // namespace ctseg
