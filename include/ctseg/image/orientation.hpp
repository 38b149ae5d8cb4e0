// Which way the voxel axes point in the patient, and volumes turned to a wanted order by flips and swaps alone.
#pragma once
#include <string>
#include <string_view>

#include "taps.hpp"

namespace ctseg {

/// The world axis closest to each voxel axis, each world axis used once.
struct AxisOrder {
  std::array<int, 3> world{};       // for voxel axis x, y, z: 0 left-right, 1 posterior-anterior, 2 inferior-superior
  std::array<bool, 3> positive{};   // towards right, anterior, superior
  bool operator==(const AxisOrder&) const = default;
};

/// nibabel's rule: the directions without shear (polar decomposition), then the axis that is clearest chooses first.
/// A template, though nothing varies: then who includes it and does not call it compiles none of it.
template <class = void> AxisOrder axis_order(const Affine<Ras>& affine) {
  Eigen::Matrix3d directions = affine.matrix.block<3, 3>(0, 0).colwise().normalized();
  if (!directions.allFinite() || std::abs(directions.determinant()) < 1e-9)
    throw Error(Code::bad_argument, "orientation", "the affine is singular; its three voxel axes must span space.");
  const Eigen::JacobiSVD<Eigen::Matrix3d> svd(directions, Eigen::ComputeFullU | Eigen::ComputeFullV);
  directions = svd.matrixU() * svd.matrixV().transpose();
  const Eigen::RowVector3d clearest = directions.cwiseAbs().colwise().maxCoeff();
  AxisOrder order;
  std::array<bool, 3> chosen{};
  for (int turn = 0; turn < 3; ++turn) {
    int axis = -1;
    for (int i = 0; i < 3; ++i)
      if (!chosen[static_cast<std::size_t>(i)] && (axis < 0 || clearest[i] > clearest[axis])) axis = i;
    chosen[static_cast<std::size_t>(axis)] = true;
    Eigen::Index world = 0;
    directions.col(axis).cwiseAbs().maxCoeff(&world);
    order.world[static_cast<std::size_t>(axis)] = static_cast<int>(world);
    order.positive[static_cast<std::size_t>(axis)] = directions(world, axis) > 0;
    directions.row(world).setZero();
  }
  return order;
}

/// "RAS", "LPI", ...: where voxel axis x, then y, then z points.
template <class = void> std::string axis_codes(const Affine<Ras>& affine) {
  const AxisOrder order = axis_order(affine);
  std::string codes;
  for (std::size_t i = 0; i < 3; ++i) codes += (order.positive[i] ? "RAS" : "LPI")[order.world[i]];
  return codes;
}
template <class = void> std::string axis_codes(const Grid& grid) { return axis_codes(grid.affine); }

/// The order that three letters name.
/// Errors    bad_argument unless each of R/L, A/P, S/I appears once.
inline AxisOrder parse_axis_codes(std::string_view codes) {
  AxisOrder order;
  std::array<bool, 3> seen{};
  for (std::size_t i = 0; i < 3 && codes.size() == 3; ++i) {
    const std::size_t up = std::string_view("RAS").find(codes[i]), down = std::string_view("LPI").find(codes[i]);
    const std::size_t world = std::min(up, down);
    if (world >= 3 || seen[world]) break;
    seen[world] = true;
    order.world[i] = static_cast<int>(world);
    order.positive[i] = up < 3;
  }
  if (!(seen[0] && seen[1] && seen[2]))
    throw Error(Code::bad_argument, "orientation",
                text("axis codes \"", codes, "\"; must be three letters, one each of R or L, A or P, S or I, like \"RAS\"."));
  return order;
}

/// The same voxels in the same places, stored so that axes x, y, z point where `codes` says. Nothing is interpolated.
/// Errors    bad_argument for a singular affine or for codes that name no order.
template <class T> Volume<T> reorient(const Volume<T>& volume, std::string_view codes = "RAS", Executor* executor = nullptr) {
  const AxisOrder have = axis_order(volume.affine()), want = parse_axis_codes(codes);
  if (have == want) return volume;
  const std::array<Index, 3> extent = resampling::listed(volume.shape());
  std::array<std::size_t, 3> axes{};
  std::array<bool, 3> flip{};
  Eigen::Matrix4d from_new = Eigen::Matrix4d::Zero();   // new voxel index to old
  from_new(3, 3) = 1;
  for (std::size_t j = 0; j < 3; ++j) {
    std::size_t i = 0;
    while (have.world[i] != want.world[j]) ++i;
    axes[j] = i;
    flip[j] = have.positive[i] != want.positive[j];
    from_new(static_cast<int>(i), static_cast<int>(j)) = flip[j] ? -1 : 1;
    from_new(static_cast<int>(i), 3) = flip[j] ? static_cast<double>(extent[i] - 1) : 0;
  }
  return Volume<T>(Grid{{extent[axes[0]], extent[axes[1]], extent[axes[2]]}, Affine<Ras>(volume.affine().matrix * from_new)},
                   resampling::move_axes(volume.data(), volume.shape(), axes, flip, executor));
}

/// reorient() undone: the volume stored as `reference` is, on exactly that grid, its file placement included.
/// Errors    shape_mismatch if the two are not the same voxels in the same places.
template <class T> Volume<T> reorient_like(const Volume<T>& volume, const Grid& reference) {
  Volume<T> out = reorient(volume, axis_codes(reference));
  if (!same_grid(out.grid(), reference))
    throw Error(Code::shape_mismatch, "reorient_like",
                text("the volume (", volume.shape(), ") covers other places than the reference (", reference.shape,
                     "). Hint: resample_like() moves voxels between grids."));
  return Volume<T>(reference, std::move(out.voxels()));
}

#ifdef CTSEG_PREBUILT   // linked to ctseg::prebuilt, which holds these
CTSEG_PREBUILT template AxisOrder axis_order<void>(const Affine<Ras>&);
CTSEG_PREBUILT template Volume<float> reorient(const Volume<float>&, std::string_view, Executor*);
CTSEG_PREBUILT template Volume<float> reorient_like(const Volume<float>&, const Grid&);
CTSEG_PREBUILT template Volume<std::uint8_t> reorient(const Volume<std::uint8_t>&, std::string_view, Executor*);
CTSEG_PREBUILT template Volume<std::uint8_t> reorient_like(const Volume<std::uint8_t>&, const Grid&);
#endif

}   // namespace ctseg
