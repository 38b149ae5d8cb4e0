// Resampling between grids whose axes are parallel, one table of taps per axis.
#pragma once
#include "resample_lines.hpp"
#include "resample_options.hpp"

namespace ctseg::resampling {

template <class = void> std::array<AxisTaps, 3> tap_tables(const Eigen::Matrix4d& map, const std::array<std::size_t, 3>& axes,
                                                           Xyz<Index> to, const Region& region, const Manner& manner) {
  const auto begin = listed(region.readable.begin), end = listed(region.readable.end), count = listed(to);
  const auto written = listed(region.written.begin), written_end = listed(region.written.end);
  std::array<AxisTaps, 3> tables;
  for (std::size_t j = 0; j < 3; ++j) {
    const std::size_t a = axes[j];
    const double origin = map(static_cast<int>(a), 3), step = map(static_cast<int>(a), static_cast<int>(j));
    tables[j].resize(count[j]);
    for (Index i = 0; i < count[j]; ++i) {
      const double c = settled(origin + step * static_cast<double>(i));
      Tap tap = make_tap(c, begin[a], end[a], manner.nearest(a), manner.halves);
      tap.inside = (tap.inside || region.border) && i >= written[j] && i < written_end[j];
      tables[j].set(i, c, tap);
    }
  }
  return tables;
}

/// The cubic way between parallel grids; a coarse axis and axes that stay need no spline.
template <class T> void cubic_axes(const RowJob<T>& job, std::optional<std::size_t> coarse, const Manner& manner) {
  using Middle = std::conditional_t<std::is_same_v<T, double>, double, float>;
  const std::array<Index, 3> from = listed(job.from);
  std::array<LineMap, 3> maps;
  for (std::size_t j = 0; j < 3; ++j)
    if (!job.taps[j].identity(from[j])) maps[j] = line_map(job.taps[j], from[j], !(coarse && *coarse == j));
  Lattice<Middle> result;
  if constexpr (std::is_same_v<T, Middle>) {
    result = resample_lines<Middle>(job.source, job.from, maps, manner.executor);
  } else {
    const std::vector<Middle> copy(job.source, job.source + job.from.x * job.from.y * job.from.z);
    result = resample_lines<Middle>(copy.data(), job.from, maps, manner.executor);
  }
  std::vector<std::pair<T, T>> range;
  if (manner.keep_range) range = ranges(job.source, job.from, coarse);
  for_tasks(manner.executor, job.to.z, [&](Index z) {
    for (Index y = 0; y < job.to.y; ++y) {
      const Middle* from_row = result.voxels.data() + (z * job.to.y + y) * job.to.x;
      T* const to = job.target_row(y, z);
      const std::size_t at[3] = {0, static_cast<std::size_t>(y), static_cast<std::size_t>(z)};
      const bool row_inside = job.taps[1].inside[at[1]] && job.taps[2].inside[at[2]];
      for (Index x = 0; x < job.to.x; ++x) {
        const auto i = static_cast<std::size_t>(x);
        double v = static_cast<double>(from_row[x]);
        if (!range.empty()) {
          const auto r = static_cast<std::size_t>(coarse ? job.taps[*coarse].low[*coarse == 0 ? i : at[*coarse]] : 0);
          v = std::clamp(v, static_cast<double>(range[r].first), static_cast<double>(range[r].second));
        }
        v = within<T>(v);
        to[x] = row_inside && job.taps[0].inside[i] ? rounded<T>(v) : job.outside;
      }
    }
  });
}

/// Between parallel grids; axes[j] is the source axis that target axis j runs along.
template <class T> void resample_parallel(const Volume<T>& volume, Volume<T>& out, const Eigen::Matrix4d& map,
                                          const std::array<std::size_t, 3>& axes, const Region& region, const Manner& manner) {
  const auto tables = tap_tables(map, axes, out.shape(), region, manner);
  RowJob<T> job{volume.data(),
                volume.shape(),
                out.data(),
                out.shape(),
                tables,
                static_cast<T>(manner.outside),
                manner.nearest(0) && manner.nearest(1) && manner.nearest(2)};
  std::vector<T> moved;
  if (axes != std::array<std::size_t, 3>{0, 1, 2}) {
    moved = move_axes(job.source, job.from, axes, {}, manner.executor);
    const auto n = listed(job.from);
    job.source = moved.data(), job.from = {n[axes[0]], n[axes[1]], n[axes[2]]};
  }
  if (manner.interpolation == Interpolation::cubic) {
    std::optional<std::size_t> coarse;
    for (std::size_t j = 0; j < 3; ++j)
      if (manner.coarse_axis && static_cast<int>(axes[j]) == *manner.coarse_axis) coarse = j;
    return cubic_axes(job, coarse, manner);
  }
  for_tasks(manner.executor, job.to.z, [&](Index z) { fill_slice(job, z, manner.interpolation); });
}

}   // namespace ctseg::resampling
