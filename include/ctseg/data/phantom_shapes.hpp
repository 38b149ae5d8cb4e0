// The phantom's building blocks: signed distances in millimetres (negative inside, near enough to Euclidean at the surface)
// and a box that holds them.
#pragma once
#include "phantom_canvas.hpp"

namespace ctseg::phantom {

/// Larger and smaller of two distances, rounded over about k mm: intersection and union with soft edges.
inline double smooth_max(double a, double b, double k) {
  const double h = std::max(0.0, 1 - std::abs(a - b) / k);
  return std::max(a, b) + 0.25 * k * h * h;
}
inline double smooth_min(double a, double b, double k) { return -smooth_max(-a, -b, k); }

/// Distance to an axis-parallel ellipsoid around the origin.
inline double ellipsoid_distance(const Vec& p, const Vec& radii) {
  const Vec q = p.cwiseQuotient(radii);
  const double k0 = q.norm(), k1 = q.cwiseQuotient(radii).norm();
  return k1 > 1e-9 ? k0 * (k0 - 1) / k1 : -radii.minCoeff();
}
/// Distance to the line from a to b with radius ra at a and rb at b.
inline double capsule_distance(const Vec& p, const Vec& a, const Vec& b, double ra, double rb) {
  const Vec ab = b - a;
  const double t = std::clamp((p - a).dot(ab) / std::max(ab.squaredNorm(), 1e-9), 0.0, 1.0);
  return (p - a - t * ab).norm() - (ra + t * (rb - ra));
}

inline Box box_around(const Vec& center, const Vec& half) { return {center - half, center + half}; }

inline Eigen::Matrix3d turn(double degrees, const Vec& axis) {
  return Eigen::AngleAxisd(degrees * 0.017453292519943295, axis.normalized()).toRotationMatrix();
}

struct Ellipsoid {
  Vec center, radii;
  Eigen::Matrix3d axes = Eigen::Matrix3d::Identity();   // columns: the directions of the radii
  double lumps_mm = 0, lump_size_mm = 30;               // how uneven the surface is
  const Lattice* lattice = nullptr;

  double distance(const Vec& p) const {
    const double d = ellipsoid_distance(axes.transpose() * (p - center), radii);
    return lattice ? d + lumps_mm * (*lattice)(p / lump_size_mm) : d;
  }
  Box bounds() const {
    const Vec half = (axes * radii.asDiagonal()).rowwise().norm();
    return box_around(center, half + Vec::Constant(1.3 * lumps_mm + 1));
  }
};

/// Tapered tube from a to b, round at both ends.
struct Capsule {
  Vec a, b;
  double radius_a, radius_b;

  double distance(const Vec& p) const { return capsule_distance(p, a, b, radius_a, radius_b); }
  Box bounds() const {
    const Vec r = Vec::Constant(std::max(radius_a, radius_b));
    return {a.cwiseMin(b) - r, a.cwiseMax(b) + r};
  }
};

/// A inside of B, with the edge rounded over `round_mm`; `inset_mm` shrinks B first.
template <class A, class B> struct Clipped {
  const A& a;
  const B& b;
  double inset_mm = 0, round_mm = 4;

  double distance(const Vec& p) const { return smooth_max(a.distance(p), b.distance(p) + inset_mm, round_mm); }
  Box bounds() const { return a.bounds(); }
};
template <class A, class B> Clipped<A, B> clipped(const A& a, const B& b, double inset_mm = 0) { return {a, b, inset_mm, 4}; }

/// What of a shape lies above a level of y: gas rises to the front of a patient on the back.
template <class A> struct Above {
  const A& a;
  double level_y, inset_mm;

  double distance(const Vec& p) const { return std::max(a.distance(p) + inset_mm, level_y - p.y()); }
  Box bounds() const { return a.bounds(); }
};

/// The part of the opacity that a tube of this radius keeps in a voxel that is wider than the tube.
inline double thin(const Canvas& canvas, double radius) { return std::min(1.0, 1.6 * radius / canvas.voxel_mm); }

struct Tube {
  std::vector<Vec> points;
  double radius_first, radius_last;
};
/// Paints a tube through points, its radius going evenly from the first point's to the last one's. A shell is painted as a
/// wide tube and then a narrow one: piece by piece, the ends of the pieces would close it off.
inline void paint_tube(Canvas& canvas, const Tube& tube, Material material) {
  if (const double shell = std::exchange(material.shell_mm, 0); shell > 0) {
    paint_tube(canvas, tube, material);
    material.hu = material.core_hu;
    return paint_tube(canvas, {tube.points, tube.radius_first - shell, tube.radius_last - shell}, material);
  }
  const std::vector<Vec>& points = tube.points;
  const double step = (tube.radius_last - tube.radius_first) / static_cast<double>(points.size() - 1);
  for (std::size_t i = 0; i + 1 < points.size(); ++i) {
    const double ra = tube.radius_first + step * double(i), rb = ra + step;
    material.opacity = thin(canvas, 0.5 * (ra + rb));
    canvas.paint(Capsule{points[i], points[i + 1], ra, rb}, material);
  }
}

/// A smooth line through points (Catmull-Rom), `pieces` between each two.
inline std::vector<Vec> smooth_line(const std::vector<Vec>& points, int pieces) {
  std::vector<Vec> line;
  const std::size_t last = points.size() - 1;
  for (std::size_t i = 0; i < last; ++i) {
    const Vec &p0 = points[i ? i - 1 : 0], &p1 = points[i], &p2 = points[i + 1], &p3 = points[std::min(i + 2, last)];
    for (int s = 0; s < pieces; ++s) {
      const double t = double(s) / pieces;
      const Vec linear = p2 - p0, square = 2 * p0 - 5 * p1 + 4 * p2 - p3, cube = 3 * p1 - p0 - 3 * p2 + p3;
      line.push_back(p1 + 0.5 * t * (linear + t * (square + t * cube)));
    }
  }
  line.push_back(points[last]);
  return line;
}

inline Vec direction(RandomStream& random) {
  for (;;) {
    const double x = random.uniform(-1, 1), y = random.uniform(-1, 1), z = random.uniform(-1, 1), n = x * x + y * y + z * z;
    if (n > 1e-4 && n < 1) return Vec(x, y, z) / std::sqrt(n);
  }
}

inline Eigen::Matrix3d any_turn(RandomStream& random) {
  const double degrees = random.uniform(0, 180);   // first: the order of arguments is the compiler's choice
  return turn(degrees, direction(random));
}
/// Radii of a lump that is a sphere but for the share `by`.
inline Vec uneven(RandomStream& random, double radius, double by) {
  const double x = random.uniform(1 - by, 1 + by), y = random.uniform(1 - by, 1 + by), z = random.uniform(1 - by, 1 + by);
  return radius * Vec{x, y, z};
}

/// A branch of a vessel tree inside of an organ: where it is, where it goes, how thick and how often it may still fork.
struct Branch {
  Vec from, heading;
  double radius, length;
  int forks;
};

template <class Shape> struct Tree {
  const Shape& inside;
  std::vector<Branch> open;
  RandomStream& random;
};
/// Paints a tree of vessels that fork until they are used up or leave the shape.
template <class Shape> void paint_tree(Canvas& canvas, Tree<Shape> tree, const Material& material) {
  auto& [inside, open, random] = tree;
  while (!open.empty()) {
    const Branch b = open.back();
    open.pop_back();
    Vec to = b.from + b.length * b.heading;
    for (int attempt = 0; attempt < 4 && inside.distance(to) > -2 - b.radius; ++attempt)
      to = b.from + b.length * (0.8 - 0.15 * attempt) * (b.heading + 0.7 * direction(random)).normalized();
    if (inside.distance(to) > -1 - b.radius) continue;
    const Vec middle = 0.5 * (b.from + to) + 0.06 * b.length * direction(random);
    paint_tube(canvas, {{b.from, middle, to}, b.radius, 0.85 * b.radius}, material);
    if (b.forks == 0) continue;
    const Vec heading = (to - b.from).normalized(), side = heading.cross(direction(random)).normalized();
    const double split = random.uniform(0.4, 0.6), angle = random.uniform(0.7, 1.2);
    for (int child = 0; child < 2; ++child) {
      const double share = child ? split : 1 - split;
      open.push_back({to, (heading + (child ? angle : -angle) * (1 - share) * 1.3 * side).normalized(),
                      0.85 * b.radius * std::cbrt(share), b.length * random.uniform(0.75, 0.95), b.forks - 1});
    }
  }
}

}   // namespace ctseg::phantom
