// Volumes on other grids: linear or cubic for images, nearest or a vote for labels. Two grids whose axes are parallel (the
// common case: another spacing, another storage order) go axis by axis; turned and sheared ones compute their taps voxel by
// voxel.
#pragma once
#include "resample_parallel.hpp"
#include "resample_turned.hpp"
#include "spacing.hpp"

namespace ctseg {
namespace resampling {

template <class T>
Volume<T> resample_region(const Volume<T>& volume, const Grid& target, const Region& region, const Manner& manner) {
  const Eigen::Matrix4d map = map_between(volume.grid(), target);
  if (manner.interpolation == Interpolation::cubic) check_finite(volume, manner.executor);
  checked(Shape<3>{1, 1, {target.shape.z, target.shape.y, target.shape.x}}, "resample");
  Volume<T> out(target, mask::zeros<T>(target.voxels(), manner.executor));
  if (const auto axes = parallel_axes(map, target.shape))
    resample_parallel(volume, out, map, *axes, region, manner);
  else if (manner.coarse_axis)
    throw Error(Code::unsupported, "resample",
                "coarse_axis needs grids with parallel axes; these are turned against each other. Hint: leave it unset.");
  else
    resample_turned(volume, out, map, region, manner);
  return out;
}

}   // namespace resampling

/// The volume's values at the voxel centres of another grid.
/// Numerics  coordinates and sums in double, rounded once (cubic: to float between axes). Integers round halves to even; a
///           neighbour without weight is not read, so NaN spreads no further than it must. Same bits for any number of threads.
/// Cost      parallel grids: linear about one read of the source and one write of the target; cubic three passes and two
///           volumes of float beside them. A target whose axes are swapped copies the source once.
/// Errors    bad_argument for a singular affine, an `outside` that T cannot hold or a vote on floating point; bad_input for
///           cubic of a volume with a voxel that is NaN or infinite (SciPy makes all of it NaN); unsupported for coarse_axis
///           on grids that are turned against each other.
template <class T> Volume<T> resample(const Volume<T>& volume, const Grid& target, const ResampleOptions& options = {}) {
  const resampling::Manner manner = resampling::manner_of<T>(options);
  resampling::map_between(volume.grid(), target);   // a grid without a place is refused, even beside itself
  if (volume.shape() == target.shape && volume.affine() == target.affine) return Volume<T>(target, volume.voxels());
  const bool image = manner.interpolation == Interpolation::linear || manner.interpolation == Interpolation::cubic;
  return resampling::resample_region(volume, target, {whole(volume.shape()), whole(target.shape), image && !options.outside},
                                     manner);
}

template <class B>
requires std::same_as<B, bool> Volume<B> resample(const Volume<B>&, const Grid&, const ResampleOptions& = {})
= delete;   // one error instead of a page

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
