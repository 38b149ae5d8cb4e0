// Boxes of whole voxels cut out of a volume or put around it. A box that goes beyond the volume pads, so that crop and pad are
// one operation, and its result lies where it was in the patient.
#pragma once
#include "cleanup.hpp"
#include "taps.hpp"

namespace ctseg {

/// The grid of a box of voxels.
inline Grid crop_grid(const Grid& grid, const Box& box) {
  if (box == whole(grid.shape)) return grid;
  Grid out{box.shape(), grid.affine};
  const Point<Ras> origin = grid.affine(double(box.begin.x), double(box.begin.y), double(box.begin.z));
  out.affine.matrix(0, 3) = origin.x, out.affine.matrix(1, 3) = origin.y, out.affine.matrix(2, 3) = origin.z;
  return out;
}

/// The voxels of a box. Beyond the volume they get the value `outside`; unset (std::nullopt) repeats the volume's edge.
/// Errors    shape_mismatch for a box without voxels.
template <class T> Volume<T> crop(const Volume<T>& volume, const Box& box, std::optional<double> outside = 0) {
  Volume<T> out(crop_grid(volume.grid(), box), static_cast<T>(outside.value_or(0)));
  const Xyz<Index> from = volume.shape(), to = out.shape();
  const Box shared = overlap(box, whole(from));
  if (!outside) {
    for (Index z = 0; z < to.z; ++z)
      for (Index y = 0; y < to.y; ++y)
        for (Index x = 0; x < to.x; ++x)
          out(z, y, x) =
              volume(std::clamp<Index>(z + box.begin.z, 0, from.z - 1), std::clamp<Index>(y + box.begin.y, 0, from.y - 1),
                     std::clamp<Index>(x + box.begin.x, 0, from.x - 1));
  } else if (shared.begin.x < shared.end.x) {
    for (Index z = shared.begin.z; z < shared.end.z; ++z)
      for (Index y = shared.begin.y; y < shared.end.y; ++y)
        std::copy_n(&volume(z, y, shared.begin.x), shared.end.x - shared.begin.x,
                    &out(z - box.begin.z, y - box.begin.y, shared.begin.x - box.begin.x));
  }
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
  if (pad.divisible_by < 1 || std::min({pad.shape.x, pad.shape.y, pad.shape.z}) < 0)
    throw Error(
        Code::bad_argument, "spatial_pad",
        text("divisible_by = ", pad.divisible_by, ", shape = ", pad.shape, "; must be 1 or more, and no extent below 0."));
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

/// Errors    bad_argument if no voxel is above the threshold.
template <class T> Box foreground_box(const Volume<T>& volume, const CropForeground& options = {}) {
  const auto found = bounding_box(volume, [&](T v) { return static_cast<double>(v) > options.threshold; });
  if (!found || options.divisible_by < 1)
    throw Error(Code::bad_argument, "crop_foreground",
                found ? text("divisible_by = ", options.divisible_by, "; must be 1 or more.")
                      : text("none of ", volume.shape(), " voxels is above threshold = ", options.threshold,
                             ". Hint: CT has air at -1000 HU, so CropForeground::threshold = -500 keeps the body."));
  Box box = *found;
  const Xyz<Index> n = volume.shape(), m = options.margin;
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
