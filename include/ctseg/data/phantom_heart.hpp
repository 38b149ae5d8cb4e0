// Heart with chambers, great vessels, and the tree of coronary arteries on its surface.
#pragma once
#include "phantom_patient.hpp"

namespace ctseg::phantom {

/// Where the heart lies. Its own axes: 0 from base to apex, 1 to the right ventricle, 2 down and back.
struct Heart {
  Vec center, radii;
  Eigen::Matrix3d axes;
  double blood_hu, right_hu, muscle_hu;

  Heart(const Patient& patient, bool contrast, RandomStream& random) {
    center = {-20 + random.uniform(-4, 4), 24 + random.uniform(-4, 4), 30 + 0.7 * patient.dome_mm};
    radii = random.uniform(0.93, 1.07) * Vec{59, 43, 41};
    const Vec long_axis = Vec{-0.62, 0.48, -0.62 + random.uniform(-0.12, 0.12)}.normalized();
    const Vec right = (Vec{0.75, 0.6, -0.2} - Vec{0.75, 0.6, -0.2}.dot(long_axis) * long_axis).normalized();
    axes << long_axis, right, long_axis.cross(right);
    blood_hu = contrast ? random.uniform(320, 430) : patient.soft(random.uniform(38, 52));
    right_hu = contrast ? random.uniform(120, 250) : blood_hu;
    muscle_hu = contrast ? random.uniform(85, 120) : patient.soft(random.uniform(46, 58));
  }
  Vec at(double along, double right, double down) const { return center + axes * Vec{along, right, down}; }
  /// A point over the heart's surface: u = -1 at the base, 1 at the apex; 0 degrees towards the right ventricle, 90 down
  /// and back.
  Vec surface(double u, double degrees) const {
    const double s = std::sqrt(std::max(0.0, 1 - u * u)), angle = degrees * 0.017453292519943295;
    return center + axes * (1.05 * radii.cwiseProduct(Vec{u, s * std::cos(angle), s * std::sin(angle)}));
  }
  Vec root() const { return at(-26, -2, -24); }   // of the aorta
};

inline void paint_chambers(Canvas& canvas, const Patient& patient, const Heart& heart) {
  const Lattice* lattice = &patient.lattice;
  const Vec fat = heart.radii + Vec{4, 6, 6};
  canvas.paint(Ellipsoid{heart.center, fat, heart.axes, 2, 18, lattice}, {.hu = -88, .texture_hu = 8, .texture_mm = 8});
  canvas.paint(Ellipsoid{heart.center, heart.radii, heart.axes, 1.5, 16, lattice},
               {.hu = heart.muscle_hu, .texture_hu = 3, .organ = Organ::heart});
  const auto chamber = [&](const Vec& place, const Vec& radii, double hu) {
    canvas.paint(Ellipsoid{heart.center + heart.axes * place, radii, heart.axes, 1.5, 12, lattice},
                 {.hu = hu, .texture_hu = 3, .organ = Organ::heart});
  };
  chamber({10, -15, 2}, {36, 16, 17}, heart.blood_hu);     // left ventricle
  chamber({4, 22, -4}, {36, 13, 25}, heart.right_hu);      // right ventricle
  chamber({-36, -10, 12}, {17, 24, 20}, heart.blood_hu);   // left atrium
  chamber({-32, 24, 10}, {19, 17, 20}, heart.right_hu);    // right atrium
}

inline void paint_great_vessels(Canvas& canvas, const Patient& patient, const Heart& heart) {
  const double hilum_z = 100;
  const Material arterial{.hu = heart.blood_hu, .texture_hu = 2, .organ = Organ::aorta};
  const Material venous{.hu = heart.right_hu, .texture_hu = 2};
  const auto beside_spine = [&](double x, double y, double z) { return Vec{patient.spine(z) + Vec{x, y, 0}}; };
  // Pulmonary trunk with both arteries, upper and lower cava.
  const Vec trunk = heart.at(-30, 18, -28), fork{-10, 20, hilum_z + 8};
  paint_tube(canvas, {smooth_line({heart.at(-18, 22, -20), trunk, fork}, 4), 13, 13}, venous);
  paint_tube(canvas, {smooth_line({fork, {14, 6, hilum_z + 2}, {40, -2, hilum_z - 4}}, 4), 10, 7}, venous);
  paint_tube(canvas, {smooth_line({fork, {-28, 6, hilum_z + 2}, {-42, -4, hilum_z - 4}}, 4), 10, 7}, venous);
  const Vec atrium = heart.at(-34, 24, 8);
  paint_tube(canvas, {smooth_line({{24, 20, 172}, {26, 18, 120}, atrium}, 5), 8, 9.5}, venous);
  paint_tube(canvas,
             {smooth_line({atrium,
                           {22, 0, patient.dome_mm - 22},
                           {20, -20, patient.dome_mm - 60},
                           beside_spine(15, 28, -120),
                           beside_spine(14, 27, -225)},
                          4),
              10.5, 9},
             venous);
  // The aorta: up, over to the left and back, down in front of the spine, into two at L4.
  const Vec root = heart.root();
  paint_tube(
      canvas,
      {smooth_line({root, {6, 30, 96}, {6, 24, 124}, {-4, 6, 147}, {-16, -12, 145}, beside_spine(-20, 24, 115)}, 5), 14.5, 12},
      arterial);
  paint_tube(canvas,
             {smooth_line({beside_spine(-20, 24, 115), beside_spine(-18, 23, 40), beside_spine(-10, 27, -50),
                           beside_spine(-9, 27, -120), beside_spine(-6, 27, -196)},
                          5),
              12, 8.5},
             arterial);
  for (const double side : {1.0, -1.0}) {
    const std::vector<Vec> iliac{beside_spine(-6, 27, -192), {side * 30, 5, -250}, {side * 62, 20, -320}};
    paint_tube(canvas, {smooth_line(iliac, 4), 6, 5}, arterial);
    paint_tube(canvas, {smooth_line({{-2 + 4 * side, 4, 146}, {side * 20, 2, 190}, {side * 26, -4, 300}}, 4), 5, 3}, arterial);
  }
}

/// One artery as a way over the heart's surface, from a start to a thin end.
struct Artery {
  std::vector<std::array<double, 2>> way;   // u, degrees
  double radius_first, radius_last;
  bool from_root = false;
};

inline void paint_artery(Canvas& canvas, const Heart& heart, const Artery& artery, RandomStream& random) {
  const Lattice& bumps = *canvas.texture;
  std::vector<Vec> points;
  if (artery.from_root) points.push_back(heart.root());
  for (const auto& [u, degrees] : artery.way) {
    const Vec on = heart.surface(u, degrees), q = on / 9;   // wander with the place: a branch starts where its parent runs
    points.push_back(on + 1.5 * Vec{bumps(q), bumps(q + Vec{5, 0, 0}), bumps(q + Vec{0, 5, 0})});
  }
  const Tube tube{smooth_line(points, 8), artery.radius_first, artery.radius_last};
  const Material lumen{.hu = heart.blood_hu, .organ = Organ::heart, .mark = Mark::coronary};
  paint_tube(canvas, tube, lumen);
  // Where the tube is thinner than a voxel, the voxels along its middle keep the tree in one piece.
  for (std::size_t i = 0; i + 1 < tube.points.size(); ++i) {
    const Vec step = tube.points[i + 1] - tube.points[i];
    const int pieces = 1 + static_cast<int>(3 * step.norm() / canvas.voxel_mm);
    for (int s = 0; s <= pieces; ++s) canvas.stamp(tube.points[i] + step * (double(s) / pieces), lumen);
  }
  if (random.uniform() < 0.35) {   // a calcified plaque in the wall
    const Vec place = tube.points[static_cast<std::size_t>(random.below(static_cast<Index>(tube.points.size() / 2)))];
    const double r = random.uniform(0.8, 1.6);
    const Vec center = place + 0.8 * artery.radius_first * direction(random);
    canvas.paint(Ellipsoid{center, {r, r, 1.4 * r}},
                 {.hu = 850, .opacity = thin(canvas, r), .organ = Organ::heart, .mark = Mark::coronary});
  }
}

/// Left main, LAD with diagonals, circumflex with marginals, RCA with its branches: tapering from 4 to 1 mm.
inline void paint_coronaries(Canvas& canvas, const Heart& heart, RandomStream random) {
  const double size = random.uniform(0.9, 1.1), turned = random.uniform(-6, 6);
  const auto draw = [&](Artery artery) {
    for (auto& point : artery.way) point[1] += turned;
    artery.radius_first *= size, artery.radius_last *= size;
    paint_artery(canvas, heart, artery, random);
  };
  draw({{{-0.34, -108}, {-0.15, -112}}, 2.2, 2.0, true});                                                 // left main
  draw({{{-0.15, -112}, {0.1, -106}, {0.35, -104}, {0.6, -100}, {0.8, -96}, {0.95, -80}}, 1.9, 0.6});     // LAD
  draw({{{-0.15, -112}, {-0.2, -140}, {-0.24, -170}, {-0.24, -200}, {-0.2, -225}}, 1.7, 0.7});            // circumflex
  draw({{{-0.3, -72}, {-0.22, -45}, {-0.2, -15}, {-0.2, 20}, {-0.2, 55}, {-0.2, 82}}, 2.0, 1.2, true});   // right
  draw({{{-0.2, 82}, {0.1, 88}, {0.4, 90}, {0.65, 94}}, 1.2, 0.5});   // posterior descending
  draw({{{-0.2, 20}, {0.1, 24}, {0.4, 30}}, 1.0, 0.5});               // acute marginal
  draw({{{0.1, -106}, {0.28, -128}, {0.48, -140}}, 1.1, 0.5});        // first diagonal
  draw({{{0.35, -104}, {0.52, -122}, {0.68, -132}}, 0.9, 0.5});       // second diagonal
  draw({{{-0.24, -170}, {0.05, -172}, {0.35, -170}}, 1.1, 0.5});      // obtuse marginal
  if (random.uniform() < 0.6) draw({{{-0.24, -200}, {0.05, -204}, {0.3, -208}}, 0.9, 0.5});
}

}   // namespace ctseg::phantom
