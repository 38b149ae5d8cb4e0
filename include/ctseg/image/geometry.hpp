// Where voxels are in the patient. Axis order cannot be confused: geometry is Xyz with named members, tensors are z, y, x.
// Matrices and what is hard about them are Eigen's; sums of three terms are written out, which compiles in a tenth of the time.
#pragma once
#include <Eigen/Dense>
#include <algorithm>
#include <array>
#include <cmath>

#include "../core/error.hpp"

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
template <class = void> Eigen::Matrix4d inverse_of(const Eigen::Matrix4d& affine) {
  Eigen::Matrix4d out = Eigen::Matrix4d::Identity();
  out.block<3, 3>(0, 0) = affine.block<3, 3>(0, 0).inverse();
  out.block<3, 1>(0, 3) = -(out.block<3, 3>(0, 0) * affine.block<3, 1>(0, 3));
  return out;
}

/// Voxel index (x, y, z) to world. No default: a volume without a place does not exist.
template <class Frame> struct Affine {
  Eigen::Matrix4d matrix;

  explicit Affine(const Eigen::Matrix4d& m) : matrix(m) {}
  Point<Frame> operator()(double x, double y, double z) const {
    return {along(0, x, y, z), along(1, x, y, z), along(2, x, y, z)};
  }
  /// World to voxel index.
  Xyz<double> index_of(Point<Frame> p) const {
    const Point<Frame> i = Affine(inverse_of(matrix))(p.x, p.y, p.z);
    return {i.x, i.y, i.z};
  }
  Xyz<double> spacing_mm() const { return {length(0), length(1), length(2)}; }
  /// Volume of one voxel; right for sheared grids too.
  double voxel_mm3() const { return std::abs(matrix.block<3, 3>(0, 0).determinant()); }
  bool operator==(const Affine& other) const { return std::equal(matrix.data(), matrix.data() + 16, other.matrix.data()); }

 private:
  double along(int world, double x, double y, double z) const {
    return matrix(world, 0) * x + matrix(world, 1) * y + matrix(world, 2) * z + matrix(world, 3);
  }
  double length(int axis) const { return std::hypot(matrix(0, axis), matrix(1, axis), matrix(2, axis)); }
};

/// The same place with x and y turned round: from RAS to LPS, or back.
inline Eigen::Matrix4d flipped(Eigen::Matrix4d m) {
  for (int column = 0; column < 4; ++column) m(0, column) = -m(0, column), m(1, column) = -m(1, column);
  return m;
}
inline Affine<Lps> to_lps(const Affine<Ras>& a) { return Affine<Lps>(flipped(a.matrix)); }
inline Affine<Ras> to_ras(const Affine<Lps>& a) { return Affine<Ras>(flipped(a.matrix)); }

}   // namespace ctseg
