// Boxes of whole voxels cut out of a volume or put around it. A box that goes beyond the volume pads, so that crop and pad are
// one operation, and its result lies where it was in the patient.
#pragma once
#include "cleanup.hpp"
#include "taps.hpp"

namespace ctseg {

/// The grid of a box of voxels.
/// Errors    shape_mismatch for a box without voxels; bad_argument for one more than 2^31 voxels away.
inline Grid crop_grid(const Grid& grid, const Box& box) {
  constexpr Index kFar = Index{1} << 31;
  const auto [first, last] = std::minmax({box.begin.x, box.begin.y, box.begin.z, box.end.x, box.end.y, box.end.z});
  if (first < -kFar || last > kFar)
    throw Error(Code::bad_argument, "crop",
                text("a box from ", box.begin, " to ", box.end, "; every number must be ", -kFar, " to ", kFar, "."));
  if (box == whole(grid.shape)) return grid;
  Grid out{box.shape(), grid.affine};
  const Point<Ras> origin = grid.affine(double(box.begin.x), double(box.begin.y), double(box.begin.z));
  out.affine.matrix(0, 3) = origin.x, out.affine.matrix(1, 3) = origin.y, out.affine.matrix(2, 3) = origin.z;
  return out;
}

/// The voxels of a box. Beyond the volume they get the value `outside`; unset (std::nullopt) repeats the volume's edge.
/// Errors    shape_mismatch for a box without voxels; bad_argument for an `outside` that T cannot hold.
template <class T> Volume<T> crop(const Volume<T>& volume, const Box& box, std::optional<double> outside = 0) {
  std::optional<T> fill;
  if (outside) fill = resampling::checked_outside<T>(*outside, "crop");
  Volume<T> out(crop_grid(volume.grid(), box));
  const Xyz<Index> from = volume.shape(), to = out.shape();
  moves::copy_box(volume.data(), {{from.z, from.y, from.x}, {box.begin.z, box.begin.y, box.begin.x}, {to.z, to.y, to.x}}, fill,
                  out.data());
  return out;
}

/// Padding to at least a shape, MONAI's SpatialPad and DivisiblePad: half of what is missing before (rounded down), the rest
/// after.
struct SpatialPad {
  Xyz<Index> shape{};                    // at least; smaller than the volume changes nothing
  Index divisible_by = 1;                // then up to a multiple of this
  std::optional<double> outside = 0.0;   // unset (std::nullopt): repeats the edge
  bool at_end = false;                   // all of it after
};
template <class = void> Box padded_box(Xyz<Index> have, const SpatialPad& pad) {
  constexpr Index kMost = Index{1} << 30;
  const auto [least, most] = std::minmax({pad.shape.x, pad.shape.y, pad.shape.z});
  if (pad.divisible_by < 1 || pad.divisible_by > kMost || least < 0 || most > kMost)
    throw Error(Code::bad_argument, "spatial_pad",
                text("divisible_by = ", pad.divisible_by, ", shape = ", pad.shape, "; must be 1 to ", kMost, ", and 0 to ",
                     kMost, " on every axis."));
  Box box;
  const auto along = [&](Index n, Index wanted, Index& begin, Index& end) {
    const Index k = pad.divisible_by, size = (std::max(n, wanted) + k - 1) / k * k;
    begin = pad.at_end ? 0 : -((size - n) / 2);
    end = begin + size;
  };
  along(have.x, pad.shape.x, box.begin.x, box.end.x);
  along(have.y, pad.shape.y, box.begin.y, box.end.y);
  along(have.z, pad.shape.z, box.begin.z, box.end.z);
  return box;
}
template <class T> Volume<T> spatial_pad(const Volume<T>& volume, const SpatialPad& pad) {
  return crop(volume, padded_box(volume.shape(), pad), pad.outside);
}

/// The smallest box around the voxels for which wanted(value) holds; none if there are none.
template <class T, class F> std::optional<Box> bounding_box(const Volume<T>& volume, F&& wanted) {
  const Xyz<Index> n = volume.shape();
  Box box{n, {0, 0, 0}};
  for (Index z = 0; z < n.z; ++z)
    for (Index y = 0; y < n.y; ++y) {
      const T* const row = &volume(z, y, 0);
      Index first = 0, last = n.x - 1;
      while (first < n.x && !wanted(row[first])) ++first;
      if (first == n.x) continue;
      while (!wanted(row[last])) --last;
      box.begin = {std::min(box.begin.x, first), std::min(box.begin.y, y), std::min(box.begin.z, z)};
      box.end = {std::max(box.end.x, last + 1), std::max(box.end.y, y + 1), z + 1};
    }
  if (box.end.z == 0) return {};
  return box;
}

/// MONAI's CropForeground: the box around everything above a threshold.
struct CropForeground {
  double threshold = 0;
  Xyz<Index> margin{};                   // voxels more on both sides
  bool allow_smaller = false;            // margins end at the volume's border; false: they pad
  Index divisible_by = 1;                // the box grows to a multiple of this, half of it before (rounded down)
  std::optional<double> outside = 0.0;   // of padding; unset (std::nullopt): repeats the edge
};

/// Errors    bad_argument if no voxel is above the threshold, for a negative margin (MONAI's rule), for divisible_by below 1.
template <class T> Box foreground_box(const Volume<T>& volume, const CropForeground& options = {}) {
  const auto found = bounding_box(volume, [&](T v) { return static_cast<double>(v) > options.threshold; });
  constexpr Index kMost = Index{1} << 30;
  const Xyz<Index> n = volume.shape(), m = options.margin;
  if (const auto [least, most] = std::minmax({m.x, m.y, m.z}); least < 0 || most > kMost)
    throw Error(
        Code::bad_argument, "crop_foreground",
        text("margin = ", m, " voxels; must be 0 to ", kMost, " on every axis. Hint: a higher threshold makes a smaller box."));
  if (options.divisible_by < 1 || options.divisible_by > kMost)
    throw Error(Code::bad_argument, "crop_foreground",
                text("divisible_by = ", options.divisible_by, "; must be 1 to ", kMost, "."));
  if (!found)
    throw Error(Code::bad_argument, "crop_foreground",
                text("none of ", n, " voxels is above threshold = ", options.threshold,
                     ". Hint: CT has air at -1000 HU, so CropForeground::threshold = -500 keeps the body."));
  Box box = *found;
  box = {{box.begin.x - m.x, box.begin.y - m.y, box.begin.z - m.z}, {box.end.x + m.x, box.end.y + m.y, box.end.z + m.z}};
  if (options.allow_smaller) box = overlap(box, whole(n));
  const Box grown = padded_box(box.shape(), {.divisible_by = options.divisible_by});
  return {{box.begin.x + grown.begin.x, box.begin.y + grown.begin.y, box.begin.z + grown.begin.z},
          {box.begin.x + grown.end.x, box.begin.y + grown.end.y, box.begin.z + grown.end.z}};
}
template <class T> Volume<T> crop_foreground(const Volume<T>& volume, const CropForeground& options = {}) {
  return crop(volume, foreground_box(volume, options), options.outside);
}

/// nnU-Net's mask of the scanned body: 1 where voxels are not exactly 0, holes filled.
template <class T> Volume<std::uint8_t> nonzero_mask(const Volume<T>& volume, Executor* executor = nullptr) {
  Volume<std::uint8_t> mask(volume.grid());
  for (std::size_t i = 0; i < mask.voxels().size(); ++i) mask.voxels()[i] = volume.voxels()[i] != T(0);
  return fill_holes(std::move(mask), {.executor = executor});
}

}   // namespace ctseg
