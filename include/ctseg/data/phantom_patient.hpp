// The patient as a plan: how wide the trunk is at every height, where the spine runs, where the diaphragm stands. Organs are
// placed against this plan, so they fit together whatever the seed. z = 0 is the top of the right dome, about at T10.
#pragma once
#include "phantom_shapes.hpp"

namespace ctseg::phantom {

/// Numbers along z, smooth between the rows of a table (rows from low to high z).
template <std::size_t Rows, std::size_t Columns> struct Profile {
  std::array<std::array<double, Columns + 1>, Rows> rows;   // z, then the values

  std::array<double, Columns> operator()(double z) const {
    std::size_t i = 0;
    while (i + 2 < Rows && z > rows[i + 1][0]) ++i;
    const double u = std::clamp((z - rows[i][0]) / (rows[i + 1][0] - rows[i][0]), 0.0, 1.0), t = u * u * (3 - 2 * u);
    std::array<double, Columns> out;
    for (std::size_t c = 0; c < Columns; ++c) out[c] = rows[i][c + 1] + t * (rows[i + 1][c + 1] - rows[i][c + 1]);
    return out;
  }
};

// z, half width and half depth of the cavity, its y, muscle beside and behind it.
inline constexpr Profile<14, 5> kTrunk{{{{-420, 125, 78, 0, 45, 30},
                                         {-345, 125, 75, 0, 40, 30},
                                         {-240, 125, 78, 5, 16, 22},
                                         {-150, 120, 78, 5, 11, 13},
                                         {-60, 127, 85, 5, 10, 12},
                                         {20, 130, 88, 5, 11, 12},
                                         {100, 122, 82, 5, 18, 13},
                                         {160, 95, 65, 0, 58, 24},
                                         {200, 62, 48, -8, 92, 30},
                                         {228, 40, 40, -15, 32, 20},
                                         {255, 33, 36, -18, 22, 16},
                                         {310, 33, 40, -15, 22, 15},
                                         {350, 55, 72, 0, 12, 10},
                                         {430, 62, 80, 5, 6, 6}}}};
inline constexpr Profile<12, 1> kSpineY{{{{-345, -76},
                                          {-262, -50},
                                          {-225, -32},
                                          {-180, -28},
                                          {-120, -35},
                                          {-60, -47},
                                          {0, -56},
                                          {60, -59},
                                          {150, -50},
                                          {215, -32},
                                          {250, -18},
                                          {345, -8}}}};

/// What the seed says about the patient as a whole.
struct Patient {
  Lattice lattice;
  double scale;   // patient's size against the plan
  double girth_x, girth_y;
  double fat_mm;
  double scoliosis_mm, scoliosis_phase;
  double dome_mm;    // how far the diaphragm stands above or below the plan
  double hu_shift;   // of all soft tissue
  double bone_hu;    // trabecular
  bool table;
  Eigen::Matrix3d tilt;   // patient to world

  explicit Patient(RandomStream random)
      : lattice(random),
        scale(random.uniform(0.92, 1.08)),
        girth_x(random.uniform(0.94, 1.06)),
        girth_y(random.uniform(0.92, 1.08)),
        fat_mm(random.uniform(6, 24)),
        scoliosis_mm(random.uniform(0, 7)),
        scoliosis_phase(random.uniform(0, 6.28)),
        dome_mm(random.uniform(-12, 12)),
        hu_shift(random.uniform(-4, 4)),
        bone_hu(random.uniform(110, 230)),
        table(random.uniform() < 0.8) {
    const double about_x = random.uniform(-3, 3), about_y = random.uniform(-2, 2), about_z = random.uniform(-4, 4);
    tilt = turn(about_z, Vec::UnitZ()) * turn(about_y, Vec::UnitY()) * turn(about_x, Vec::UnitX());
  }

  Vec spine(double z) const {
    const double bend = scoliosis_mm * std::clamp((300 - std::abs(z)) / 150, 0.0, 1.0);
    return {bend * std::sin(z / 110 + scoliosis_phase), kSpineY(z)[0], z};
  }
  double soft(double hu) const { return hu + hu_shift; }
};

/// The trunk's cross-section at three depths: within the body wall, within the fat, within the skin.
struct Trunk {
  enum Depth { cavity, muscle, skin };
  const Patient& patient;
  Depth depth;

  double distance(const Vec& p) const {
    const auto [half_width, half_depth, center_y, beside, behind] = kTrunk(p.z());
    double a = half_width * patient.girth_x, b = half_depth * patient.girth_y, y = center_y;
    if (depth != cavity) a += beside, b += behind + 10, y -= 10;   // most of the muscle is in the back
    if (depth == skin) {
      const double belly = std::clamp((p.z() < 0 ? p.z() + 330 : 180 - p.z()) / 180, 0.25, 1.0);
      a += 1.2 * patient.fat_mm * belly, b += patient.fat_mm * belly, y += 0.25 * patient.fat_mm * belly;
    }
    const double u = p.x() / a, v = (p.y() - y) / b, round = std::sqrt(u * u + v * v);
    const double square = std::sqrt(std::sqrt(u * u * u * u + v * v * v * v)), q = 0.55 * round + 0.45 * square;
    return q > 1e-6 ? std::hypot(p.x(), p.y() - y) * (1 - 1 / q) : -std::min(a, b);
  }
  Box bounds() const { return {Vec{-260, -200, -420}, Vec{260, 200, 500}}; }
};

/// The diaphragm's height over a point: a dome on either side, a saddle for the heart.
inline double diaphragm(const Patient& patient, const Vec& p) {
  const auto dome = [&](double x, double top, double width) {
    const double u = (p.x() - x * patient.girth_x) / width, v = (p.y() - 12) / 95;
    return top - 78 * (u * u + v * v);
  };
  return patient.dome_mm + smooth_max(smooth_max(dome(64, 0, 74), dome(-68, -14, 72), 12), dome(-8, -30, 90), 12);
}

/// The sheet of muscle between lungs and abdomen.
struct Diaphragm {
  const Patient& patient;
  Trunk cavity;

  double distance(const Vec& p) const {
    return std::max(0.6 * std::abs(p.z() - diaphragm(patient, p)) - 1.5, cavity.distance(p));
  }
  Box bounds() const { return {Vec{-150, -110, -160}, Vec{150, 110, 30}}; }
};

/// Draws a place at least `depth_mm` inside of a shape; false if none was found.
template <class Shape> bool place_inside(const Shape& shape, double depth_mm, RandomStream& random, Vec& place) {
  const Box box = shape.bounds();
  for (int attempt = 0; attempt < 400; ++attempt) {
    const double x = random.uniform(box.min().x(), box.max().x()), y = random.uniform(box.min().y(), box.max().y());
    place = {x, y, random.uniform(box.min().z(), box.max().z())};
    if (shape.distance(place) < -depth_mm) return true;
  }
  return false;
}

}   // namespace ctseg::phantom
