// A volume: voxels and their place in the patient, never one without the other.
#pragma once
#include <optional>
#include <utility>
#include <vector>

#include "../core/finite.hpp"
#include "../core/shape.hpp"
#include "geometry.hpp"

namespace ctseg {

/// The placement fields of the NIfTI header a volume came from, so that what ctseg writes on the same grid carries the same
/// bits.
struct NiftiPlacement {
  int qform_code = 0, sform_code = 0, xyzt_units = 2;
  std::array<double, 8> pixdim{};
  std::array<double, 3> quatern{}, qoffset{};
  std::array<double, 12> srow{};   // row x, then y, then z
  bool operator==(const NiftiPlacement&) const = default;
};

/// Grid of a volume: how many voxels, and where they are.
struct Grid {
  Xyz<Index> shape;
  Affine<Ras> affine;
  std::optional<NiftiPlacement> nifti{};   // only while the affine is still the file's

  Xyz<double> spacing_mm() const { return affine.spacing_mm(); }
  Index voxels() const { return shape.x * shape.y * shape.z; }
};
/// Same shape and the same place, to `tolerance_voxels` at every corner.
template <class = void> bool same_grid(const Grid& a, const Grid& b, double tolerance_voxels = 1e-3) {
  if (!(a.shape == b.shape)) return false;
  for (int corner = 0; corner < 8; ++corner) {
    const double x = corner & 1 ? double(a.shape.x - 1) : 0, y = corner & 2 ? double(a.shape.y - 1) : 0,
                 z = corner & 4 ? double(a.shape.z - 1) : 0;
    const Xyz<double> i = a.affine.index_of(b.affine(x, y, z));
    if (!is_finite(i.x + i.y + i.z) || std::abs(i.x - x) > tolerance_voxels || std::abs(i.y - y) > tolerance_voxels ||
        std::abs(i.z - z) > tolerance_voxels)
      return false;
  }
  return true;
}

/// Voxels in memory order z, y, x (x fastest) on a grid. volume(z, y, x) is a voxel, like a tensor's.
template <class T> class Volume {
 public:
  static_assert(std::is_arithmetic_v<T> && !std::is_same_v<T, bool>,
                "ctseg: the voxels of a Volume are numbers; a mask is a Volume<std::uint8_t>");
  Volume() = delete;   // ctseg: a volume has a place in the patient; give it a Grid
  explicit Volume(Grid grid, T fill = T(0)) : grid_(std::move(grid)) {
    checked(tensor_shape(), "volume");
    voxels_.assign(static_cast<std::size_t>(grid_.voxels()), fill);
  }
  Volume(Grid grid, std::vector<T> voxels) : grid_(std::move(grid)), voxels_(std::move(voxels)) {
    checked(tensor_shape(), "volume");
    if (static_cast<Index>(voxels_.size()) != grid_.voxels())
      throw Error(Code::shape_mismatch, "volume",
                  text(voxels_.size(), " voxels for a grid of ", grid_.shape, " = ", grid_.voxels(), "."));
  }

  const Grid& grid() const { return grid_; }
  Xyz<Index> shape() const { return grid_.shape; }
  Xyz<double> spacing_mm() const { return grid_.spacing_mm(); }
  const Affine<Ras>& affine() const { return grid_.affine; }
  Shape<3> tensor_shape() const { return {1, 1, {grid_.shape.z, grid_.shape.y, grid_.shape.x}}; }

  T* data() { return voxels_.data(); }
  const T* data() const { return voxels_.data(); }
  std::vector<T>& voxels() { return voxels_; }
  const std::vector<T>& voxels() const { return voxels_; }
  T& operator()(Index z, Index y, Index x) { return voxels_[at(z, y, x)]; }
  const T& operator()(Index z, Index y, Index x) const { return voxels_[at(z, y, x)]; }

 private:
  std::size_t at(Index z, Index y, Index x) const {
    return static_cast<std::size_t>((z * grid_.shape.y + y) * grid_.shape.x + x);
  }
  Grid grid_;
  std::vector<T> voxels_;
};

#ifdef CTSEG_PREBUILT   // linked to ctseg::prebuilt, which holds these
CTSEG_PREBUILT template class Volume<float>;
CTSEG_PREBUILT template class Volume<std::uint8_t>;
#endif

}   // namespace ctseg
