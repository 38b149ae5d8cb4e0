// The way of a volume through turns, crops, pads and resamplings, and the exact way back. Every grid on the way is known, and
// so which voxels of one are voxels of the other: all steps around a resampling are done in the one pass that resamples.
#pragma once
#include "resample.hpp"

namespace ctseg {

namespace path {

/// One grid on the way, and how it came from the one before.
struct Stage {
  Grid grid;
  bool resampled = false;   // else whole voxels were moved: turned, cropped, padded
  SizeRule rule = SizeRule::monai;
  std::optional<Xyz<double>> wanted_mm{};   // of a resampling: what was asked for, where whole voxels make it a little more
};

/// The voxels of `inner`, whose voxels are voxels of `outer`, as a box in outer's indices.
template <class = void> Box box_in(const Grid& outer, const Grid& inner) {
  const Eigen::Matrix4d map = resampling::map_between(outer, inner);
  const std::array<Index, 3> n = resampling::listed(inner.shape);
  std::array<Index, 3> low{}, end{};
  for (int j = 0; j < 3; ++j) {
    const double a = map(j, 3);
    double b = a;
    for (int k = 0; k < 3; ++k) b += map(j, k) * static_cast<double>(n[static_cast<std::size_t>(k)] - 1);
    low[static_cast<std::size_t>(j)] = static_cast<Index>(std::nearbyint(std::min(a, b)));
    end[static_cast<std::size_t>(j)] = static_cast<Index>(std::nearbyint(std::max(a, b))) + 1;
  }
  return {{low[0], low[1], low[2]}, {end[0], end[1], end[2]}};
}

/// What all grids of [first, last) have of `grid`, one of them.
template <class = void> Box shared_box(const Grid& grid, const Stage* const* first, const Stage* const* last) {
  Box box = whole(grid.shape);
  for (; first != last; ++first) box = overlap(box, box_in(grid, (*first)->grid));
  return box;
}
inline bool has_voxels(const Box& box) { return std::min({box.shape().x, box.shape().y, box.shape().z}) > 0; }

/// One resampling and all that is moved around it, or moves alone (nearest, voxel on voxel).
struct Pass {
  Grid from, to;
  resampling::Region region;
  ResampleOptions options;

  bool has_voxels() const { return path::has_voxels(region.readable) && path::has_voxels(region.written); }
};

}   // namespace path

/// Where a prepared volume came from. Other volumes of the same scan (labels) can take the same way, and results the way back.
class GridPath {
 public:
  explicit GridPath(Grid original) { stages_.push_back({std::move(original)}); }

  /// The next grid holds whole voxels of the one before: turned, cropped or padded.
  void moved_to(const Grid& grid) { stages_.push_back({grid}); }
  /// `wanted_mm`: the spacing that was asked for, by which nnU-Net tells thick slices on both ways; unset: the grid's.
  void resampled_to(const Grid& grid, SizeRule rule, std::optional<Xyz<double>> wanted_mm = {}) {
    stages_.push_back({grid, true, rule, wanted_mm});
  }

  const Grid& original() const { return stages_.front().grid; }
  const Grid& prepared() const { return stages_.back().grid; }

  /// The way there, for labels and masks on the original grid; what was padded gets `outside`.
  template <class T> Volume<T> to_prepared(const Volume<T>& volume, const ResampleOptions& options = {}) const {
    std::vector<const path::Stage*> way;
    for (const path::Stage& s : stages_) way.push_back(&s);
    return walk(volume, way, options);
  }
  /// The way back: on exactly the original grid, its file placement included. What was cropped away gets `outside` (default 0).
  /// Without a resampling on the way every voxel comes back as it is; with one, values at the border of what was kept repeat.
  /// Numerics  one pass for each resampling and all that is around it. By default linear for floating point (logits), nearest
  ///           for integers (masks), along a coarse axis of nnU-Net's rule nearest for both.
  /// Errors    shape_mismatch for a volume that is not on the prepared grid.
  template <class T> Volume<T> to_original(const Volume<T>& volume, const ResampleOptions& options = {}) const {
    return walk(volume, way_back(), options);
  }
  /// The way back as the one pass that it is, for who resamples a stream of slices; none if more than one step resamples.
  std::optional<path::Pass> pass_to_original(const ResampleOptions& options = {}) const {
    const std::vector<const path::Stage*> way = way_back();
    const Stretch all = stretch_from(way, 0);
    if (all.last != way.data() + way.size()) return {};
    return describe(all, options);
  }

 private:
  std::vector<const path::Stage*> way_back() const {
    std::vector<const path::Stage*> way;
    for (const path::Stage& s : stages_) way.insert(way.begin(), &s);
    return way;
  }
  /// True if going from a to b, neighbours on the way in either direction, resamples.
  static const path::Stage* resampling_between(const path::Stage* a, const path::Stage* b) {
    const path::Stage* later = std::max(a, b);   // both lie in stages_
    return later->resampled ? later : nullptr;
  }

  template <class T>
  static Volume<T> walk(const Volume<T>& volume, const std::vector<const path::Stage*>& way, const ResampleOptions& options) {
    if (!same_grid(volume.grid(), way.front()->grid))
      throw Error(
          Code::shape_mismatch, "grid_path",
          text("the volume (", volume.shape(), ") is not on the grid this way begins at (", way.front()->grid.shape, ")."));
    std::optional<Volume<T>> at;
    for (std::size_t begin = 0; begin + 1 < way.size();) {
      const Stretch s = stretch_from(way, begin);
      at.emplace(run(at ? *at : volume, describe(s, options)));
      begin = static_cast<std::size_t>(s.last - way.data()) - 1;
    }
    return Volume<T>(way.back()->grid, at ? std::move(at->voxels()) : volume.voxels());
  }

  /// Stages [first, last), with at most one resampling, that between middle[-1] and middle[0].
  struct Stretch {
    const path::Stage* const* first;
    const path::Stage* const* middle;
    const path::Stage* const* last;
  };
  /// As far as one pass goes.
  static Stretch stretch_from(const std::vector<const path::Stage*>& way, std::size_t begin) {
    std::size_t end = begin + 1, middle = 0;   // middle: the first stage behind the resampling
    while (end < way.size() && !(middle > 0 && resampling_between(way[end - 1], way[end]))) {
      if (resampling_between(way[end - 1], way[end])) middle = end;
      ++end;
    }
    return {&way[begin], middle > 0 ? &way[middle] : nullptr, way.data() + end};
  }
  static path::Pass describe(const Stretch& s, ResampleOptions options) {
    const Grid &from = s.first[0]->grid, &to = s.last[-1]->grid;
    resampling::Region region{whole(from.shape), path::shared_box(to, s.middle ? s.middle : s.first, s.last), true};
    if (s.middle) {
      region.readable = path::shared_box(from, s.first, s.middle);
      const Grid& before = s.middle[-1]->grid;
      const path::Stage* const made = resampling_between(s.middle[-1], s.middle[0]);
      const auto mm = [&](const path::Stage* stage) {
        return stage == made && made->wanted_mm ? *made->wanted_mm : stage->grid.spacing_mm();
      };
      if (made->rule == SizeRule::nnunet) {
        options.halves = Halves::up;
        options.coarse_axis = coarse_axis(mm(s.middle[-1]), mm(s.middle[0]));
        if (const auto axes = resampling::parallel_axes(resampling::map_between(from, before), before.shape);
            options.coarse_axis && axes)
          options.coarse_axis = static_cast<int>((*axes)[static_cast<std::size_t>(*options.coarse_axis)]);
      }
    } else {
      options.interpolation = Interpolation::nearest;
    }
    return {from, to, region, options};
  }
  template <class T> static Volume<T> run(const Volume<T>& volume, const path::Pass& pass) {
    const resampling::Manner manner = resampling::manner_of<T>(pass.options);
    if (!pass.has_voxels()) return Volume<T>(pass.to, static_cast<T>(manner.outside));
    return resampling::resample_region(volume, pass.to, pass.region, manner);
  }

  std::vector<path::Stage> stages_;
};

}   // namespace ctseg
