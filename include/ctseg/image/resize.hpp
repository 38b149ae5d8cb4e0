// A volume in another number of voxels, whatever their size becomes.
#pragma once
#include "resample.hpp"

namespace ctseg {

/// How resize() finds its values; s = old / new extent.
/// linear   at (i + 1/2) s - 1/2, border repeated: PyTorch's trilinear without align_corners, MONAI's Resize(mode="trilinear")
/// nearest  voxel floor(i s), in float: PyTorch's legacy nearest, so voxel 41 of 2 made 82 is 0, not 1
/// area     mean of the voxels that voxel i touches: PyTorch's adaptive average, the default of MONAI's Resize
/// cubic    at linear's places, clipped to the volume's range: scikit-image's resize(order=3, mode="edge", anti_aliasing=False)
enum class ResizeMode { linear, nearest, area, cubic };

struct Resize {
  Xyz<Index> shape{};   // 0 keeps an axis
  ResizeMode mode = ResizeMode::area;
};
template <class = void> Grid grid_with_shape(const Grid& grid, const Resize& resize) {
  const auto or_old = [](Index wanted, Index old) { return wanted == 0 ? old : wanted; };
  const Xyz<Index> want = resize.shape, have = grid.shape;
  return grid_with_shape(grid, Xyz<Index>{or_old(want.x, have.x), or_old(want.y, have.y), or_old(want.z, have.z)});
}

/// The volume on a grid of another shape with the same field of view; its affine says where the voxels are.
/// Numerics  linear and cubic as resample(); area in double along one axis after the other, float between them.
/// Errors    bad_argument for a negative extent; bad_input for cubic of voxels that are not finite.
template <class T> Volume<T> resize(const Volume<T>& volume, const Resize& options, Executor* executor = nullptr) {
  using namespace resampling;
  const Grid grid = grid_with_shape(volume.grid(), options);
  if (options.mode == ResizeMode::linear || options.mode == ResizeMode::cubic)
    return resample(volume, grid,
                    {.interpolation = options.mode == ResizeMode::cubic ? Interpolation::cubic : Interpolation::linear,
                     .executor = executor,
                     .keep_range = true});
  const auto from = listed(volume.shape()), to = listed(grid.shape);
  Volume<T> out(grid);
  if (options.mode == ResizeMode::nearest) {
    std::array<AxisTaps, 3> taps;
    for (std::size_t j = 0; j < 3; ++j) {
      taps[j].resize(to[j]);
      for (Index i = 0; i < to[j]; ++i) taps[j].set(i, 0, {.low = sampling::nearest_index({from[j], to[j]}, i)});
    }
    const RowJob<T> job{volume.data(), volume.shape(), out.data(), out.shape(), taps, T(0), true};
    for_tasks(executor, grid.shape.z, [&](Index z) { nearest_slice(job, z); });
    return out;
  }
  using Middle = std::conditional_t<std::is_same_v<T, double>, double, float>;
  std::array<LineMap, 3> maps;
  for (std::size_t j = 0; j < 3; ++j)
    if (from[j] != to[j]) maps[j] = area_map(from[j], to[j]);
  const std::vector<Middle> copy(volume.voxels().begin(), volume.voxels().end());
  const Lattice<Middle> means = resample_lines<Middle>(copy.data(), volume.shape(), maps, executor);
  for (std::size_t i = 0; i < means.voxels.size(); ++i) out.voxels()[i] = rounded<T>(static_cast<double>(means.voxels[i]));
  return out;
}

}   // namespace ctseg
