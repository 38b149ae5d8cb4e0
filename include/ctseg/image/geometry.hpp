// Where voxels are in the patient. Axis order cannot be confused: geometry is Xyz with named members, tensors are z, y, x.
#pragma once
#include <Eigen/Dense>
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
inline Eigen::Matrix4d inverse_of(const Eigen::Matrix4d& affine) {
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
    const Eigen::Vector4d p = matrix * Eigen::Vector4d(x, y, z, 1);
    return {p[0], p[1], p[2]};
  }
  /// World to voxel index.
  Xyz<double> index_of(Point<Frame> p) const {
    const Eigen::Vector4d i = inverse_of(matrix) * Eigen::Vector4d(p.x, p.y, p.z, 1);
    return {i[0], i[1], i[2]};
  }
  Xyz<double> spacing_mm() const {
    return {matrix.block<3, 1>(0, 0).norm(), matrix.block<3, 1>(0, 1).norm(), matrix.block<3, 1>(0, 2).norm()};
  }
  /// Volume of one voxel; right for sheared grids too.
  double voxel_mm3() const { return std::abs(matrix.block<3, 3>(0, 0).determinant()); }
  bool operator==(const Affine& other) const { return matrix == other.matrix; }
};
inline Affine<Lps> to_lps(const Affine<Ras>& a) { return Affine<Lps>(Eigen::Vector4d(-1, -1, 1, 1).asDiagonal() * a.matrix); }
inline Affine<Ras> to_ras(const Affine<Lps>& a) { return Affine<Ras>(Eigen::Vector4d(-1, -1, 1, 1).asDiagonal() * a.matrix); }

}   // namespace ctseg
