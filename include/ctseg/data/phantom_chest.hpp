// Lungs with airways, vessels and nodules.
#pragma once
#include "phantom_patient.hpp"

namespace ctseg::phantom {

/// One lung: inside of the ribs, above the diaphragm, beside the mediastinum.
struct Lung {
  const Patient& patient;
  double side;   // +1 right, -1 left

  double distance(const Vec& p) const {
    const Trunk cavity{patient, Trunk::cavity};
    const double wide = 25 + 13 * std::clamp((60 - p.z()) / 120, 0.0, 1.0) - 14 * std::clamp((p.y() - 35) / 35, 0.0, 1.0);
    const double middle = wide + 5 * patient.lattice(p / 40) - side * (p.x() - patient.spine(p.z()).x());
    const double low = 0.6 * (diaphragm(patient, p) + 2 - p.z());
    return smooth_max(smooth_max(cavity.distance(p) + 2, middle, 14), smooth_max(low, p.z() - 212, 10), 10);
  }
  Box bounds() const { return {Vec{side > 0 ? 0.0 : -145.0, -105, -150}, Vec{side > 0 ? 145.0 : 0.0, 110, 215}}; }
};

/// Where nodules may lie: in the lung, clear of heart, spine, aorta and hilum.
struct FreeLung {
  const Lung& lung;
  const Ellipsoid& heart;

  double distance(const Vec& p) const {
    const Vec spine = lung.patient.spine(p.z()), hilum{lung.side * 36, -6, 95};
    const double near = std::max(38 - std::hypot(p.x() - spine.x(), p.y() - spine.y()), 30 - (p - hilum).norm());
    return std::max({lung.distance(p), 9 - heart.distance(p), near});
  }
  Box bounds() const { return lung.bounds(); }
};

struct PlacedNodule {
  Vec center;
  double diameter_mm;
};

inline void paint_airways(Canvas& canvas, const Patient& patient) {
  const Material airway{.hu = patient.soft(25), .core_hu = -990, .shell_mm = 1.6, .organ = Organ::airway};
  const Vec carina{4, -8, 128};
  for (const double side : {1.0, -1.0}) {
    const Vec hilum{side * 34, -8, side > 0 ? 98.0 : 92.0};
    paint_tube(canvas, {smooth_line({carina, 0.5 * (carina + hilum) + Vec{0, 0, 4}, hilum}, 4), 8, 6.5}, airway);
    paint_tube(canvas, {{hilum, hilum + Vec{side * 16, -6, -26}}, 5.5, 4}, airway);
    paint_tube(canvas, {{hilum, hilum + Vec{side * 14, 8, 22}}, 5, 3.5}, airway);
  }
  paint_tube(canvas, {smooth_line({{0, 8, 330}, {0, 10, 260}, {2, 0, 190}, carina}, 8), 10, 9.5}, airway);
}

inline void paint_lung(Canvas& canvas, const Lung& lung, double vessel_hu, RandomStream random) {
  const double side = lung.side;
  const double hu = random.uniform(-880, -820);
  canvas.paint(lung, {.hu = hu, .texture_hu = 22, .texture_mm = 24, .organ = Organ::lung});
  const Vec hilum{side * 42, -6, 92};
  std::vector<Branch> arteries;
  for (int i = 0; i < 9; ++i) {
    const Vec way = Vec{side * random.uniform(0.3, 1.1), random.uniform(-0.9, 0.9), random.uniform(-1.3, 1.0)}.normalized();
    arteries.push_back({hilum + 6 * way, way, random.uniform(4, 6.5), random.uniform(24, 34), 5});
  }
  paint_tree(canvas, Tree<Lung>{lung, arteries, random}, {.hu = vessel_hu, .organ = Organ::lung});
}

struct NodulePlan {
  int count;
  Ellipsoid heart;
  RandomStream random;
};
/// Paints nodules, solid and subsolid, and says where they are. Those outside of the grid are not listed.
inline std::vector<PlacedNodule> paint_nodules(Canvas& canvas, const Patient& patient, NodulePlan plan) {
  RandomStream& random = plan.random;
  std::vector<PlacedNodule> nodules;
  for (int i = 0; i < plan.count; ++i) {
    const Lung lung{patient, random.uniform() < 0.55 ? 1.0 : -1.0};
    const double u = random.uniform(), radius = 2.0 + 10.5 * u * u;
    const double hu = random.uniform() < 0.75 ? random.uniform(-20, 70) : random.uniform(-600, -350);
    Vec center;
    if (!place_inside(FreeLung{lung, plan.heart}, random.uniform() < 0.3 ? 0.6 * radius : radius + 4, random, center)) continue;
    const Vec radii = uneven(random, radius, 0.15);
    const double opacity = thin(canvas, radius);
    const Material material{
        .hu = hu, .texture_hu = 10, .texture_mm = 4, .opacity = opacity * opacity, .organ = Organ::lung, .mark = Mark::nodule};
    const Eigen::Matrix3d upright = Eigen::Matrix3d::Identity();
    canvas.paint(Ellipsoid{center, radii, upright, 0.12 * radius, 0.9 * radius, &patient.lattice}, material);
    if (canvas.stamp(center, material)) nodules.push_back({center, 2 * std::cbrt(radii.prod())});
  }
  return nodules;
}

}   // namespace ctseg::phantom
