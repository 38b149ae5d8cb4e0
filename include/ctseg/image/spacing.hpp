// Grids with another voxel size or another number of voxels, by the rules that MONAI and nnU-Net have for them.
#pragma once
#include "resample_options.hpp"

namespace ctseg {

/// How many voxels a new spacing makes, and where they are.
/// monai   round((n - 1) * old / new + 1): the first voxel centre stays, the span between the outer centres is kept; the
///         spacing is exactly what was asked for.
/// nnunet  round(n * old / new): the field of view stays, edges included, as in scikit-image's resize (voxel i looks at
///         (i + 1/2) n / m - 1/2); the spacing becomes n * old / m, next to what was asked for.
enum class SizeRule { monai, nnunet };

namespace resampling {

template <class = void> Index extent_for(const char* axis, Index extent, double from, double to, SizeRule rule) {
  if (!is_finite(to) || to <= 0 || to > 1000)
    throw Error(Code::bad_argument, "spacing_mm", text(axis, " = ", to, "; must be > 0 and <= 1000 mm."));
  const double n = static_cast<double>(extent);
  const double size = rule == SizeRule::monai ? std::nearbyint((n - 1) * from / to + 1) : std::nearbyint(from / to * n);
  if (!is_finite(size) || size > 100000)
    throw Error(Code::bad_argument, "spacing_mm", text(axis, " = ", to, " mm makes ", size, " voxels; at most 100000."));
  return std::max<Index>(1, static_cast<Index>(size));
}

}   // namespace resampling

/// The same field of view in another number of voxels, edges on edges.
/// Errors    bad_argument for a shape that is not positive.
template <class = void> Grid grid_with_shape(const Grid& grid, Xyz<Index> shape) {
  if (grid.shape == shape) return grid;
  if (std::min({shape.x, shape.y, shape.z}) < 1)
    throw Error(Code::bad_argument, "shape", text("a grid of ", shape, " voxels; every axis needs 1 or more."));
  Grid out{shape, grid.affine};
  const auto from = resampling::listed(grid.shape), to = resampling::listed(shape);
  for (std::size_t j = 0; j < 3; ++j) {
    const double scale = static_cast<double>(from[j]) / static_cast<double>(to[j]);
    const int column = static_cast<int>(j);
    for (int row = 0; row < 3; ++row) {
      out.affine.matrix(row, 3) += grid.affine.matrix(row, column) * ((scale - 1) / 2);
      out.affine.matrix(row, column) *= scale;
    }
  }
  return out;
}

/// The same axes with another voxel size; sizes are rounded halves to even, as Python does.
/// Units     millimetres along voxel axes x, y, z
/// Errors    bad_argument for a spacing that is not in (0, 1000] mm or that makes an axis longer than 100000 voxels.
template <class = void> Grid grid_with_spacing(const Grid& grid, Xyz<double> spacing_mm, SizeRule rule = SizeRule::monai) {
  const Xyz<double> old = grid.spacing_mm();
  if (is_finite(spacing_mm.x + spacing_mm.y + spacing_mm.z) && old == spacing_mm) return grid;
  const Xyz<Index> shape{resampling::extent_for("x", grid.shape.x, old.x, spacing_mm.x, rule),
                         resampling::extent_for("y", grid.shape.y, old.y, spacing_mm.y, rule),
                         resampling::extent_for("z", grid.shape.z, old.z, spacing_mm.z, rule)};
  if (rule == SizeRule::nnunet) return grid_with_shape(grid, shape);
  Grid out{shape, grid.affine};
  const std::array<double, 3> scale{spacing_mm.x / old.x, spacing_mm.y / old.y, spacing_mm.z / old.z};
  for (int column = 0; column < 3; ++column)
    for (int row = 0; row < 4; ++row) out.affine.matrix(row, column) *= scale[static_cast<std::size_t>(column)];
  return out;
}

/// nnU-Net's rule for thick slices: the axis (0 is x) to treat on its own if the largest spacing is more than 3 times the
/// smallest, asked of the old spacing, then of the new one. None if two axes are equally thick.
template <class = void> std::optional<int> coarse_axis(Xyz<double> from_mm, Xyz<double> to_mm) {
  for (const Xyz<double>& s : {from_mm, to_mm}) {
    const std::array<double, 3> mm{s.x, s.y, s.z};
    const double most = std::max({s.x, s.y, s.z});
    if (!(most / std::min({s.x, s.y, s.z}) > 3)) continue;
    if (std::count(mm.begin(), mm.end(), most) > 1) return {};
    return static_cast<int>(std::max_element(mm.begin(), mm.end()) - mm.begin());
  }
  return {};
}

/// How nnU-Net resamples from one spacing to another: images cubic, labels by label_vote (or label_most), logits linear on
/// their way back; all of them nearest along the coarse axis.
template <class = void>
ResampleOptions nnunet_resampling(Xyz<double> from_mm, Xyz<double> to_mm, Interpolation in_plane = Interpolation::cubic) {
  return {.interpolation = in_plane, .coarse_axis = coarse_axis(from_mm, to_mm), .halves = Halves::up, .keep_range = true};
}

}   // namespace ctseg
