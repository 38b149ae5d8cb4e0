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

/// nibabel's rule: the directions without shear (polar decomposition), then the axis that is clearest chooses first. Of axes
/// that lean two ways exactly alike (a turn by 45 or 135 degrees), to within 1e-9, the lower voxel axis chooses first, and the
/// first of the world's axes; in nibabel rounding decides there.
/// A template, though nothing varies: then who includes it and does not call it compiles none of it.
template <class = void> AxisOrder axis_order(const Affine<Ras>& affine) {
  Eigen::Matrix3d directions = affine.matrix.block<3, 3>(0, 0).colwise().normalized();
  if (!directions.allFinite() || std::abs(directions.determinant()) < 1e-9)
    throw Error(Code::bad_argument, "orientation", "the affine is singular; its three voxel axes must span space.");
  const Eigen::JacobiSVD<Eigen::Matrix3d> svd(directions, Eigen::ComputeFullU | Eigen::ComputeFullV);
  directions = svd.matrixU() * svd.matrixV().transpose();
  const Eigen::RowVector3d clearest = directions.cwiseAbs().colwise().maxCoeff();
  constexpr double kAlike = 1e-9;
  AxisOrder order;
  std::array<bool, 3> chosen{};
  for (int turn = 0; turn < 3; ++turn) {
    int axis = -1;
    for (int i = 0; i < 3; ++i)
      if (!chosen[static_cast<std::size_t>(i)] && (axis < 0 || clearest[i] > clearest[axis] + kAlike)) axis = i;
    chosen[static_cast<std::size_t>(axis)] = true;
    int world = 0;
    for (int i = 1; i < 3; ++i)
      if (std::abs(directions(i, axis)) > std::abs(directions(world, axis)) + kAlike) world = i;
    order.world[static_cast<std::size_t>(axis)] = world;
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

/// How axes change places: voxel axis j of the new order is axis `axes[j]` of the old one, run backwards where flip[j] says so.
struct AxisMoves {
  std::array<std::size_t, 3> axes{};
  std::array<bool, 3> flip{};
};
template <class T> Volume<T> move_axes(const Volume<T>& volume, const AxisMoves& how, Executor* executor = nullptr) {
  const auto& [axes, flip] = how;
  const std::array<Index, 3> extent = resampling::listed(volume.shape());
  Eigen::Matrix4d from_new = Eigen::Matrix4d::Zero();   // new voxel index to old
  from_new(3, 3) = 1;
  for (std::size_t j = 0; j < 3; ++j) {
    const int row = static_cast<int>(axes[j]);
    from_new(row, static_cast<int>(j)) = flip[j] ? -1 : 1;
    from_new(row, 3) = flip[j] ? static_cast<double>(extent[axes[j]] - 1) : 0;
  }
  return Volume<T>(Grid{{extent[axes[0]], extent[axes[1]], extent[axes[2]]}, Affine<Ras>(volume.affine().matrix * from_new)},
                   resampling::move_axes(volume.data(), volume.shape(), axes, flip, executor));
}

/// The same voxels in the same places, stored so that axes x, y, z point where `codes` says. Nothing is interpolated.
/// Errors    bad_argument for a singular affine or for codes that name no order.
template <class T> Volume<T> reorient(const Volume<T>& volume, std::string_view codes = "RAS", Executor* executor = nullptr) {
  const AxisOrder have = axis_order(volume.affine()), want = parse_axis_codes(codes);
  if (have == want) return volume;
  AxisMoves how;
  for (std::size_t j = 0; j < 3; ++j) {
    const std::size_t i =
        static_cast<std::size_t>(std::find(have.world.begin(), have.world.end(), want.world[j]) - have.world.begin());
    how.axes[j] = i;
    how.flip[j] = have.positive[i] != want.positive[j];
  }
  return move_axes(volume, how, executor);
}

/// reorient() undone: the volume stored as `reference` is, on exactly that grid, its file placement included. Which axis is
/// which comes from the two grids, not from codes, so that it is never a matter of opinion.
/// Errors    shape_mismatch if the two are not the same voxels in the same places.
template <class T> Volume<T> reorient_like(const Volume<T>& volume, const Grid& reference) {
  const Eigen::Matrix4d map = inverse_of(volume.affine().matrix) * reference.affine.matrix;
  AxisMoves how{{3, 3, 3}, {}};
  std::array<bool, 3> used{};
  for (std::size_t j = 0; j < 3; ++j)
    for (std::size_t i = 0; i < 3; ++i)
      if (const double step = map(static_cast<int>(i), static_cast<int>(j)); std::abs(step) > 0.5 && !used[i]) {
        how.axes[j] = i, how.flip[j] = step < 0, used[i] = true;
        break;
      }
  const bool parallel = used == std::array{true, true, true};
  std::optional<Volume<T>> out;
  if (parallel) out = move_axes(volume, how);
  if (!out || !same_grid(out->grid(), reference))
    throw Error(Code::shape_mismatch, "reorient_like",
                text("the volume (", volume.shape(), ") covers other places than the reference (", reference.shape,
                     "). Hint: resample_like() moves voxels between grids."));
  return Volume<T>(reference, std::move(out->voxels()));
}

#ifdef CTSEG_PREBUILT   // linked to ctseg::prebuilt, which holds these
CTSEG_PREBUILT template AxisOrder axis_order<void>(const Affine<Ras>&);
CTSEG_PREBUILT template Volume<float> reorient(const Volume<float>&, std::string_view, Executor*);
CTSEG_PREBUILT template Volume<float> reorient_like(const Volume<float>&, const Grid&);
CTSEG_PREBUILT template Volume<std::uint8_t> reorient(const Volume<std::uint8_t>&, std::string_view, Executor*);
CTSEG_PREBUILT template Volume<std::uint8_t> reorient_like(const Volume<std::uint8_t>&, const Grid&);
#endif

}   // namespace ctseg
