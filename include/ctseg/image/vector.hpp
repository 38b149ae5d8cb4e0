// Vectors of three numbers and the few operations that orientation and phantom need, under Eigen's names. Eigen itself would
// do, but its expression templates made the phantom alone cost its users three times what including Eigen costs.
#pragma once
#include <algorithm>
#include <cmath>
#include <limits>

#include <Eigen/Core>

namespace ctseg::linear {

class Vec {
 public:
  Vec() = default;
  constexpr Vec(double x, double y, double z) : at_{x, y, z} {}
  static constexpr Vec Constant(double v) { return {v, v, v}; }
  static constexpr Vec UnitX() { return {1, 0, 0}; }
  static constexpr Vec UnitY() { return {0, 1, 0}; }
  static constexpr Vec UnitZ() { return {0, 0, 1}; }

  constexpr double x() const { return at_[0]; }
  constexpr double y() const { return at_[1]; }
  constexpr double z() const { return at_[2]; }
  constexpr double operator[](std::size_t d) const { return at_[d]; }

  Vec operator-() const { return {-x(), -y(), -z()}; }
  friend Vec operator+(const Vec& a, const Vec& b) { return {a.x() + b.x(), a.y() + b.y(), a.z() + b.z()}; }
  friend Vec operator-(const Vec& a, const Vec& b) { return {a.x() - b.x(), a.y() - b.y(), a.z() - b.z()}; }
  friend Vec operator*(double s, const Vec& v) { return {s * v.x(), s * v.y(), s * v.z()}; }
  friend Vec operator*(const Vec& v, double s) { return s * v; }
  friend Vec operator/(const Vec& v, double s) { return {v.x() / s, v.y() / s, v.z() / s}; }

  double dot(const Vec& b) const { return x() * b.x() + (y() * b.y() + z() * b.z()); }
  double squaredNorm() const { return dot(*this); }
  double norm() const { return std::sqrt(squaredNorm()); }
  Vec normalized() const { return squaredNorm() > 0 ? *this / norm() : *this; }
  Vec cross(const Vec& b) const { return {y() * b.z() - z() * b.y(), z() * b.x() - x() * b.z(), x() * b.y() - y() * b.x()}; }
  Vec cwiseProduct(const Vec& b) const { return {x() * b.x(), y() * b.y(), z() * b.z()}; }
  Vec cwiseQuotient(const Vec& b) const { return {x() / b.x(), y() / b.y(), z() / b.z()}; }
  Vec cwiseMin(const Vec& b) const { return {std::min(x(), b.x()), std::min(y(), b.y()), std::min(z(), b.z())}; }
  Vec cwiseMax(const Vec& b) const { return {std::max(x(), b.x()), std::max(y(), b.y()), std::max(z(), b.z())}; }
  Vec cwiseAbs() const { return {std::abs(x()), std::abs(y()), std::abs(z())}; }
  double minCoeff() const { return std::min({x(), y(), z()}); }
  double prod() const { return x() * (y() * z()); }

 private:
  double at_[3];
};

/// A 3 x 3 matrix by its columns.
struct Matrix {
  Vec x = Vec::UnitX(), y = Vec::UnitY(), z = Vec::UnitZ();

  Vec row(std::size_t i) const { return {x[i], y[i], z[i]}; }
  Matrix transpose() const { return {row(0), row(1), row(2)}; }
  Matrix cwiseAbs() const { return {x.cwiseAbs(), y.cwiseAbs(), z.cwiseAbs()}; }
  Matrix inverse() const {
    const Vec a = y.cross(z), b = z.cross(x), c = x.cross(y);
    const double scale = 1 / x.dot(a);
    return Matrix{scale * a, scale * b, scale * c}.transpose();
  }
  double determinant() const {
    const Vec top = row(0), rest = row(1).cross(row(2));
    return top.x() * rest.x() + top.y() * rest.y() + top.z() * rest.z();
  }
  friend Vec operator*(const Matrix& m, const Vec& v) { return {m.row(0).dot(v), m.row(1).dot(v), m.row(2).dot(v)}; }
  friend Matrix operator*(const Matrix& a, const Matrix& b) { return {a * b.x, a * b.y, a * b.z}; }
};

/// p to axes * p + origin.
struct Move {
  Matrix axes;
  Vec origin;

  Move() = default;
  Move(const Matrix& a, const Vec& o) : axes(a), origin(o) {}
  explicit Move(const Eigen::Matrix4d& m) {
    const auto column = [&](int i) { return Vec{m(0, i), m(1, i), m(2, i)}; };
    axes = {column(0), column(1), column(2)}, origin = column(3);
  }
  Eigen::Matrix4d matrix() const {
    Eigen::Matrix4d m;
    for (int i = 0; i < 3; ++i) {
      const auto row = static_cast<std::size_t>(i);
      m(i, 0) = axes.x[row], m(i, 1) = axes.y[row], m(i, 2) = axes.z[row], m(i, 3) = origin[row];
    }
    m(3, 0) = m(3, 1) = m(3, 2) = 0, m(3, 3) = 1;
    return m;
  }
  Move inverse() const {
    const Matrix back = axes.inverse();
    return {back, -(back * origin)};
  }
  Vec operator()(const Vec& p) const { return axes * p + origin; }
  friend Move operator*(const Move& a, const Move& b) { return {a.axes * b.axes, a(b.origin)}; }
};

/// A turn by some degrees about an axis.
inline Matrix turn(double degrees, const Vec& about) {
  const double angle = degrees * 0.017453292519943295, c = std::cos(angle);
  const Vec axis = about.normalized(), s = std::sin(angle) * axis, v = (1 - c) * axis;
  const double xy = v.x() * axis.y(), xz = v.x() * axis.z(), yz = v.y() * axis.z();
  return {{v.x() * axis.x() + c, xy + s.z(), xz - s.y()},
          {xy - s.z(), v.y() * axis.y() + c, yz + s.x()},
          {xz + s.y(), yz - s.x(), v.z() * axis.z() + c}};
}

/// An axis-parallel box, empty at first.
class Box {
 public:
  Box() = default;
  Box(const Vec& low, const Vec& high) : min_(low), max_(high) {}
  const Vec& min() const { return min_; }
  const Vec& max() const { return max_; }
  Vec center() const { return (min_ + max_) / 2; }
  Vec sizes() const { return max_ - min_; }
  void extend(const Vec& p) { min_ = min_.cwiseMin(p), max_ = max_.cwiseMax(p); }

 private:
  static constexpr double kMost = std::numeric_limits<double>::max();
  Vec min_ = Vec::Constant(kMost), max_ = Vec::Constant(-kMost);
};

}   // namespace ctseg::linear
