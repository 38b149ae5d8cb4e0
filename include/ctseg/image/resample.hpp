// Volumes on other grids: linear for images, nearest for labels. Two grids whose axes are parallel (the common case: another
// spacing, another storage order) need one table of taps per axis; turned and sheared ones compute their taps voxel by voxel.
#pragma once
#include <algorithm>
#include <optional>
#include <type_traits>

#include "../core/finite.hpp"
#include "../core/parallel.hpp"
#include "volume.hpp"

namespace ctseg {

enum class Interpolation { linear, nearest };

struct ResampleOptions {
  std::optional<Interpolation> interpolation{};   // unset: linear for floating point, nearest for integers (labels)
  std::optional<double> outside{};   // value more than half a voxel outside; unset: linear repeats the border, nearest gives 0
  Executor* executor = nullptr;      // unset: the calling thread
};

/// The same field of view and axes with another voxel size; the first voxel centre stays where it is.
/// Units     millimetres along voxel axes x, y, z
/// Numerics  size = round((n - 1) * old / new + 1), halves to even: keeps the span between the outer voxel centres, like MONAI.
/// Errors    bad_argument for a spacing that is not in (0, 1000] mm or that makes an axis longer than 100000 voxels.
template <class = void> Grid grid_with_spacing(const Grid& grid, Xyz<double> spacing_mm) {
  const Xyz<double> old = grid.spacing_mm();
  if (is_finite(spacing_mm.x + spacing_mm.y + spacing_mm.z) && old == spacing_mm) return grid;
  Grid out{grid.shape, grid.affine};
  const auto rescale = [&](const char* axis, int column, Index& extent, double from, double to) {
    if (!is_finite(to) || to <= 0 || to > 1000)
      throw Error(Code::bad_argument, "spacing_mm", text(axis, " = ", to, "; must be > 0 and <= 1000 mm."));
    const double size = std::nearbyint(static_cast<double>(extent - 1) * from / to + 1);
    if (!is_finite(size) || size > 100000)
      throw Error(Code::bad_argument, "spacing_mm", text(axis, " = ", to, " mm makes ", size, " voxels; at most 100000."));
    extent = static_cast<Index>(size);
    for (int row = 0; row < 4; ++row) out.affine.matrix(row, column) *= to / from;
  };
  rescale("x", 0, out.shape.x, old.x, spacing_mm.x);
  rescale("y", 1, out.shape.y, old.y, spacing_mm.y);
  rescale("z", 2, out.shape.z, old.z, spacing_mm.z);
  return out;
}

namespace resampling {

/// Two neighbours along one axis: value = (1 - weight) * low + weight * high.
struct Tap {
  Index low = 0, high = 0;   // offsets in voxels of the source's memory
  double weight = 0;
  bool inside = true;   // not more than half a voxel out
};

/// The taps of coordinate c on an axis of n voxels. The coordinate is first rounded to 2^-30 voxels, so that noise of the
/// matrix product decides neither a tie nor what is inside.
inline Tap make_tap(double c, Index n, Interpolation interpolation) {
  c = std::nearbyint(c * 0x1p30) * 0x1p-30;
  const double last = static_cast<double>(n - 1);
  Tap tap;
  tap.inside = c >= -0.5 && c <= last + 0.5;
  c = std::clamp(c, 0.0, last);
  tap.low = static_cast<Index>(interpolation == Interpolation::nearest ? std::nearbyint(c) : std::floor(c));
  tap.weight = interpolation == Interpolation::nearest ? 0 : c - static_cast<double>(tap.low);
  tap.high = tap.weight > 0 ? tap.low + 1 : tap.low;   // a neighbour without weight is not read: its NaN stays its own
  return tap;
}
inline Tap times(Tap tap, Index stride) { return {tap.low * stride, tap.high * stride, tap.weight, tap.inside}; }

template <class T> T rounded(double value) {
  if constexpr (std::is_integral_v<T>)
    return static_cast<T>(std::nearbyint(value));
  else
    return static_cast<T>(value);
}

template <class T> T trilinear(const T* at, const Tap& a, const Tap& b, const Tap& c) {
  const auto along_a = [&](Index offset) {
    const double low = static_cast<double>(at[offset + a.low]);
    return a.weight > 0 ? low + a.weight * (static_cast<double>(at[offset + a.high]) - low) : low;
  };
  const auto along_b = [&](Index offset) {
    const double low = along_a(offset + b.low);
    return b.weight > 0 ? low + b.weight * (along_a(offset + b.high) - low) : low;
  };
  const double low = along_b(c.low);
  return rounded<T>(c.weight > 0 ? low + c.weight * (along_b(c.high) - low) : low);
}

/// What all tasks of one resampling share.
template <class T> struct Job {
  const Volume<T>& source;
  Volume<T>& target;
  Eigen::Matrix4d map;   // target index to source index
  Interpolation interpolation;
  bool border;   // repeat the border outside, else write `outside`
  T outside;

  std::array<Index, 3> extent() const { return {source.shape().x, source.shape().y, source.shape().z}; }
  std::array<Index, 3> stride() const { return {1, source.shape().x, source.shape().x * source.shape().y}; }
  T value(const Tap& a, const Tap& b, const Tap& c) const {
    if (!border && !(a.inside && b.inside && c.inside)) return outside;
    if (interpolation == Interpolation::nearest) return source.data()[a.low + b.low + c.low];
    return trilinear(source.data(), a, b, c);
  }
};

/// For each target axis the one source axis that it runs along, if the two grids are parallel.
inline std::optional<std::array<int, 3>> parallel_axes(const Eigen::Matrix4d& map, Xyz<Index> shape) {
  const double extent[3] = {double(shape.x), double(shape.y), double(shape.z)};
  std::array<int, 3> axes{-1, -1, -1};
  for (int column = 0; column < 3; ++column)
    for (int row = 0; row < 3; ++row) {
      if (std::abs(map(row, column)) * extent[column] <= 0x1p-31) continue;
      if (axes[static_cast<std::size_t>(column)] >= 0) return {};
      axes[static_cast<std::size_t>(column)] = row;
    }
  return axes;
}

template <class T> std::array<std::vector<Tap>, 3> tap_tables(const Job<T>& job, const std::array<int, 3>& axes) {
  const Xyz<Index> shape = job.target.shape();
  const Index counts[3] = {shape.x, shape.y, shape.z};
  std::array<std::vector<Tap>, 3> tables;
  for (std::size_t j = 0; j < 3; ++j) {
    const int axis = axes[j];
    const auto a = static_cast<std::size_t>(axis);
    tables[j].resize(static_cast<std::size_t>(counts[j]));
    for (std::size_t i = 0; i < tables[j].size(); ++i) {
      const double c = job.map(axis, 3) + job.map(axis, static_cast<int>(j)) * static_cast<double>(i);
      tables[j][i] = times(make_tap(c, job.extent()[a], job.interpolation), job.stride()[a]);
    }
  }
  return tables;
}

template <class T> void fill_slice(const Job<T>& job, Index z, const std::array<std::vector<Tap>, 3>& tables) {
  const Xyz<Index> shape = job.target.shape();
  const Tap* along_x = tables[0].data();
  T* to = job.target.data() + z * shape.y * shape.x;
  for (Index y = 0; y < shape.y; ++y)
    for (Index x = 0; x < shape.x; ++x)
      *to++ = job.value(along_x[x], tables[1][static_cast<std::size_t>(y)], tables[2][static_cast<std::size_t>(z)]);
}

template <class T> void fill_slice(const Job<T>& job, Index z) {
  const Xyz<Index> shape = job.target.shape();
  const std::array<Index, 3> extent = job.extent(), stride = job.stride();
  const Eigen::Matrix4d& map = job.map;
  const Eigen::Vector3d origin = map.block<3, 1>(0, 3) + map.block<3, 1>(0, 2) * static_cast<double>(z);
  T* to = job.target.data() + z * shape.y * shape.x;
  for (Index y = 0; y < shape.y; ++y) {
    const Eigen::Vector3d row = origin + map.block<3, 1>(0, 1) * static_cast<double>(y);
    for (Index x = 0; x < shape.x; ++x) {
      const Eigen::Vector3d c = row + map.block<3, 1>(0, 0) * static_cast<double>(x);
      *to++ = job.value(make_tap(c[0], extent[0], job.interpolation),
                        times(make_tap(c[1], extent[1], job.interpolation), stride[1]),
                        times(make_tap(c[2], extent[2], job.interpolation), stride[2]));
    }
  }
}

}   // namespace resampling

/// The volume's values at the voxel centres of another grid.
/// Numerics  coordinates and sums in double, rounded once; integers round halves to even. Same bits for any number of threads.
/// Errors    bad_argument for a singular affine or an `outside` that T cannot hold.
template <class T> Volume<T> resample(const Volume<T>& volume, const Grid& target, const ResampleOptions& options = {}) {
  const Eigen::Matrix4d map = inverse_of(volume.affine().matrix) * target.affine.matrix;
  if (!all_finite(std::span(map.data(), 16)))
    throw Error(Code::bad_argument, "resample", "an affine is singular or not finite; both grids need a place in the patient.");
  if (volume.shape() == target.shape && volume.affine() == target.affine) return Volume<T>(target, volume.voxels());
  const Interpolation interpolation =
      options.interpolation.value_or(std::is_integral_v<T> ? Interpolation::nearest : Interpolation::linear);
  const bool border = !options.outside && interpolation == Interpolation::linear;
  const double outside = options.outside.value_or(0);
  if (std::is_integral_v<T> && !(is_finite(outside) && outside >= double(std::numeric_limits<T>::lowest()) &&
                                 outside <= double(std::numeric_limits<T>::max()) && outside == std::nearbyint(outside)))
    throw Error(Code::bad_argument, "resample", text("outside = ", outside, " does not fit the volume's integer type."));

  Volume<T> out(target);
  const resampling::Job<T> job{volume, out, map, interpolation, border, static_cast<T>(outside)};
  std::array<std::vector<resampling::Tap>, 3> tables;
  const auto axes = resampling::parallel_axes(map, target.shape);
  if (axes) tables = resampling::tap_tables(job, *axes);
  const auto slice = [&](Index z) {
    if (axes)
      resampling::fill_slice(job, z, tables);
    else
      resampling::fill_slice(job, z);
  };
  if (options.executor)
    parallel_for(*options.executor, target.shape.z, slice);
  else
    for (Index z = 0; z < target.shape.z; ++z) slice(z);
  return out;
}

/// resample() to the grid of another volume: `resample_like(mask, ct)` brings a mask back onto the scan it was made from.
template <class T>
Volume<T> resample_like(const Volume<T>& volume, const Grid& reference, const ResampleOptions& options = {}) {
  return resample(volume, reference, options);
}
template <class T, class U>
Volume<T> resample_like(const Volume<T>& volume, const Volume<U>& reference, const ResampleOptions& options = {}) {
  return resample(volume, reference.grid(), options);
}

#ifdef CTSEG_PREBUILT   // linked to ctseg::prebuilt, which holds these
CTSEG_PREBUILT template Volume<float> resample(const Volume<float>&, const Grid&, const ResampleOptions&);
CTSEG_PREBUILT template Volume<std::uint8_t> resample(const Volume<std::uint8_t>&, const Grid&, const ResampleOptions&);
#endif

}   // namespace ctseg
