// Resampling between grids that are turned or sheared against each other: taps voxel by voxel.
#pragma once
#include "resample_lines.hpp"
#include "resample_options.hpp"

namespace ctseg::resampling {

/// The 8 voxels of a tap per axis in the source; a neighbour without weight is not read.
template <class T> double trilinear(const T* at, const Tap& a, const Tap& b, const Tap& c, Index row, Index slice) {
  const auto along_x = [&](Index offset) {
    const double low = static_cast<double>(at[offset + a.low]);
    return a.weight > 0 ? low + a.weight * (static_cast<double>(at[offset + a.low + 1]) - low) : low;
  };
  const auto along_y = [&](Index offset) {
    const double low = along_x(offset + b.low * row);
    return b.weight > 0 ? low + b.weight * (along_x(offset + (b.low + 1) * row) - low) : low;
  };
  const double low = along_y(c.low * slice);
  return c.weight > 0 ? low + c.weight * (along_y((c.low + 1) * slice) - low) : low;
}

/// Spline coefficients of a whole volume, margins included, and their sum at a place.
template <class T> class Spline {
 public:
  explicit Spline(const Volume<T>& volume, Executor* executor) : n_(listed(volume.shape())) {
    std::array<LineMap, 3> maps;
    for (std::size_t j = 0; j < 3; ++j) {
      maps[j] = {.from = n_[j], .spline = true};
      for (Index i = 0; i < n_[j] + 2 * kMargin; ++i) maps[j].first.push_back(i), maps[j].weights.push_back(1);
    }
    const std::vector<float> copy(volume.voxels().begin(), volume.voxels().end());
    coefficients_ = resample_lines<float>(copy.data(), volume.shape(), maps, executor);
  }
  double operator()(const std::array<double, 3>& c) const {
    std::array<Index, 3> first{};
    std::array<std::array<double, 4>, 3> weight{};
    for (std::size_t j = 0; j < 3; ++j) {
      const CubicTap tap = cubic_tap(c[j], n_[j]);
      first[j] = tap.first, weight[j] = tap.weight;
    }
    const Xyz<Index> shape = coefficients_.shape;
    double sum = 0;
    for (std::size_t z = 0; z < 4; ++z)
      for (std::size_t y = 0; y < 4; ++y) {
        const float* row = coefficients_.voxels.data() +
                           ((first[2] + static_cast<Index>(z)) * shape.y + first[1] + static_cast<Index>(y)) * shape.x +
                           first[0];
        double along = 0;
        for (std::size_t x = 0; x < 4; ++x) along += weight[0][x] * double{row[x]};
        sum += weight[2][z] * weight[1][y] * along;
      }
    return sum;
  }

 private:
  std::array<Index, 3> n_;
  Lattice<float> coefficients_;
};

template <class T> void resample_turned(const Volume<T>& volume, Volume<T>& out, const Eigen::Matrix4d& map,
                                        const Region& region, const Manner& manner) {
  const Xyz<Index> from = volume.shape(), to = out.shape();
  const std::array<Index, 3> extent = listed(from);
  const bool nearest = manner.interpolation == Interpolation::nearest, by_vote = votes(manner.interpolation);
  std::optional<Spline<T>> spline;
  std::vector<std::pair<T, T>> range;
  if (manner.interpolation == Interpolation::cubic) spline.emplace(volume, manner.executor);
  if (spline && manner.keep_range) range = ranges(volume.data(), from, {});
  const T outside = static_cast<T>(manner.outside);
  const auto value = [&](const std::array<double, 3>& at) {
    std::array<Tap, 3> tap;
    std::array<double, 3> c{};
    for (std::size_t j = 0; j < 3; ++j) {
      c[j] = settled(at[j]);
      tap[j] = make_tap(c[j], 0, extent[j], nearest, manner.halves);
      if (!tap[j].inside && !region.border) return outside;
    }
    const Index row = from.x, slice = from.x * from.y;
    if (nearest) return volume.data()[tap[0].low + tap[1].low * row + tap[2].low * slice];
    if (by_vote) {
      const double wy = tap[1].weight, wz = tap[2].weight;
      const T* const base = volume.data() + tap[1].low * row + tap[2].low * slice;
      const Index up_y = wy > 0 ? row : 0, up_z = wz > 0 ? slice : 0;
      return vote<T>({{base, base + up_y, base + up_z, base + up_y + up_z}, wy, wz}, tap[0].low, tap[0].weight,
                     manner.interpolation == Interpolation::label_most);
    }
    double v = spline ? (*spline)(c) : trilinear(volume.data(), tap[0], tap[1], tap[2], row, slice);
    if (!range.empty()) v = std::clamp(v, static_cast<double>(range[0].first), static_cast<double>(range[0].second));
    if (spline) v = within<T>(v);
    return rounded<T>(v);
  };
  for_tasks(manner.executor, to.z, [&](Index z) {
    const auto along = [&](int axis, const std::array<double, 3>& start, Index i) {
      const double n = static_cast<double>(i);
      return std::array{start[0] + map(0, axis) * n, start[1] + map(1, axis) * n, start[2] + map(2, axis) * n};
    };
    const std::array<double, 3> origin = along(2, {map(0, 3), map(1, 3), map(2, 3)}, z);
    T* voxel = out.data() + z * to.y * to.x;
    for (Index y = 0; y < to.y; ++y) {
      const std::array<double, 3> row = along(1, origin, y);
      for (Index x = 0; x < to.x; ++x) *voxel++ = value(along(0, row, x));
    }
  });
}

}   // namespace ctseg::resampling
