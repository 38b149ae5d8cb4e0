// Where voxels are in the patient. Axis order cannot be confused: geometry is Xyz with named members, tensors are z, y, x.
#pragma once
#include <Eigen/Core>
#include <Eigen/LU>
#include <array>
#include <cmath>

#include "../core/error.hpp"
#include "vector.hpp"

namespace ctseg {

template <class T> struct Xyz {
  T x{}, y{}, z{};
  bool operator==(const Xyz&) const = default;
};
template <class T> std::string text(const Xyz<T>& v) { return text(v.x, " x ", v.y, " x ", v.z); }

/// World frames, both in millimetres. Ras: +x right, +y anterior, +z superior (NIfTI). Lps: +x left, +y posterior, +z superior
/// (DICOM, MetaImage, ITK).
struct Ras {};
struct Lps {};

template <class Frame> struct Point { double x = 0, y = 0, z = 0; };
inline Point<Lps> to_lps(Point<Ras> p) { return {-p.x, -p.y, p.z}; }
inline Point<Ras> to_ras(Point<Lps> p) { return {-p.x, -p.y, p.z}; }

/// Of a matrix whose last row is 0 0 0 1, through its 3 x 3 block: Eigen's inverse of 4 x 4 loses signs under -ffast-math.
inline Eigen::Matrix4d inverse_of(const Eigen::Matrix4d& affine) {
  return linear::Move(affine).inverse().matrix();
}

/// Voxel index (x, y, z) to world. No default: a volume without a place does not exist.
template <class Frame> struct Affine {
  Eigen::Matrix4d matrix;

  explicit Affine(const Eigen::Matrix4d& m) : matrix(m) {}
  Point<Frame> operator()(double x, double y, double z) const {
    const linear::Vec p = linear::Move(matrix)({x, y, z});
    return {p.x(), p.y(), p.z()};
  }
  /// World to voxel index.
  Xyz<double> index_of(Point<Frame> p) const {
    const linear::Vec i = linear::Move(matrix).inverse()({p.x, p.y, p.z});
    return {i.x(), i.y(), i.z()};
  }
  Xyz<double> spacing_mm() const {
    const linear::Matrix axes = linear::Move(matrix).axes;
    return {axes.x.norm(), axes.y.norm(), axes.z.norm()};
  }
  /// Volume of one voxel; right for sheared grids too.
  double voxel_mm3() const { return std::abs(linear::Move(matrix).axes.determinant()); }
  bool operator==(const Affine& other) const { return std::equal(matrix.data(), matrix.data() + 16, other.matrix.data()); }
};

/// The same place with x and y turned round: from RAS to LPS, or back.
inline Eigen::Matrix4d flipped(Eigen::Matrix4d m) {
  for (int column = 0; column < 4; ++column) m(0, column) = -m(0, column), m(1, column) = -m(1, column);
  return m;
}
inline Affine<Lps> to_lps(const Affine<Ras>& a) { return Affine<Lps>(flipped(a.matrix)); }
inline Affine<Ras> to_ras(const Affine<Lps>& a) { return Affine<Ras>(flipped(a.matrix)); }

}   // namespace ctseg
