// Liver, spleen, kidneys, stomach, gallbladder, bowel and the vessels between them. Their HU overlap with each other and with
// muscle on purpose: what is liver can be told from place, shape and texture, not from a threshold.
#pragma once
#include "phantom_patient.hpp"

namespace ctseg::phantom {

/// The liver: two lobes under the right dome, hollowed below by stomach, gallbladder and kidney.
struct Liver {
  const Patient& patient;
  Vec right_radii, left_radii, left_center;
  double visceral_mm;   // how far the hollow underside reaches up

  Liver(const Patient& p, RandomStream random) : patient(p) {
    const double size = random.uniform(0.92, 1.1);
    right_radii = size * Vec{random.uniform(66, 76), random.uniform(76, 88), random.uniform(82, 100)};
    left_radii = size * Vec{random.uniform(58, 84), random.uniform(34, 44), random.uniform(32, 44)};
    left_center = Vec{random.uniform(-14, 8), random.uniform(34, 44), random.uniform(-58, -46) + p.dome_mm};
    visceral_mm = random.uniform(-12, 12);
  }

  double distance(const Vec& p) const {
    const Trunk cavity{patient, Trunk::cavity};
    const double top = patient.dome_mm;
    const double right = ellipsoid_distance(p - Vec{72 * patient.girth_x, 0, top - 72}, right_radii);
    const double left = ellipsoid_distance(p - left_center, left_radii);
    const double lobes = smooth_min(right, left, 25) + 4 * patient.lattice(p / 38) + 1.5 * patient.lattice(p / 15);
    // The underside: a plane that rises towards the left and the front of the patient, around the porta hepatis.
    const double under = Vec{0.62, 0.18, 0.76}.dot(p - Vec{45, 0, top - 134 + visceral_mm});
    const double porta = 30 - (p - Vec{18, -18, top - 95}).norm();
    const double roof = 0.75 * (p.z() + 4 - diaphragm(patient, p));
    const double lower = smooth_max(smooth_max(lobes, -under, 16), porta, 14);
    return smooth_max(smooth_max(lower, cavity.distance(p) + 5, 6), roof, 6);
  }
  Box bounds() const { return {Vec{-115, -105, -215}, Vec{150, 110, 18}}; }
};

inline Material liver_tissue(const Patient& patient, RandomStream& random) {
  return {.hu = patient.soft(random.uniform(52, 66)), .texture_hu = 3.5, .texture_mm = 9, .organ = Organ::liver};
}

inline void paint_lesions(Canvas& canvas, const Liver& liver, double liver_hu, int count, RandomStream random) {
  for (int i = 0; i < count; ++i) {
    const double u = random.uniform(), radius = 4 + 20 * u * u, kind = random.uniform();
    const double cyst = random.uniform(2, 12);
    const double dark = liver_hu - random.uniform(16, 36), bright = liver_hu + random.uniform(16, 30);
    const double hu = kind < 0.2 ? cyst : kind < 0.8 ? dark : bright;
    Vec center;
    if (!place_inside(liver, 0.7 * radius, random, center)) continue;
    const Vec radii = uneven(random, radius, 0.2);
    const Ellipsoid blob{center, radii, any_turn(random), 0.15 * radius, 0.8 * radius, &liver.patient.lattice};
    const Material tumour{.hu = hu,
                          .texture_hu = 4,
                          .texture_mm = 6,
                          .opacity = thin(canvas, radius),
                          .organ = Organ::liver,
                          .mark = Mark::lesion};
    canvas.paint(clipped(blob, liver, 1), tumour);
    canvas.stamp(center, tumour);
  }
}

inline void paint_liver(Canvas& canvas, const Patient& patient, int lesions, std::uint64_t seed) {
  RandomStream random({.seed = seed, .op = 21});
  const Liver liver(patient, random);
  const Material tissue = liver_tissue(patient, random);
  canvas.paint(liver, tissue);
  Material vein{.hu = tissue.hu - random.uniform(6, 18), .organ = Organ::liver};
  const double top = patient.dome_mm;
  const Vec porta{38, 0, top - 88}, cava{24, -22, top - 32};
  const std::vector<Branch> veins{{porta, Vec{0.9, -0.1, -0.1}.normalized(), 5.5, 30, 5},
                                  {porta, Vec{0.3, 0.9, 0.3}.normalized(), 4.5, 26, 4},
                                  {cava, Vec{0.9, 0.1, -0.6}.normalized(), 5, 30, 4},
                                  {cava, Vec{0.5, 0.8, -0.5}.normalized(), 4.5, 30, 4}};
  paint_tree(canvas, Tree<Liver>{liver, veins, random}, vein);
  paint_lesions(canvas, liver, tissue.hu, lesions, RandomStream({.seed = seed, .op = 22}));
}

/// Spleen, and kidneys in their fat: what lies against the back wall.
inline void paint_back_organs(Canvas& canvas, const Patient& patient, RandomStream random) {
  const Trunk cavity{patient, Trunk::cavity};
  const double top = patient.dome_mm;
  const Vec spleen_radii{random.uniform(26, 34), random.uniform(40, 52), random.uniform(42, 60)};
  const double lean = random.uniform(-25, -5), twist = random.uniform(-25, 5);
  const Ellipsoid spleen{{-92 * patient.girth_x, -34, top - 72},
                         spleen_radii,
                         turn(lean, Vec::UnitY()) * turn(twist, Vec::UnitZ()),
                         4,
                         30,
                         &patient.lattice};
  struct BelowDiaphragm {
    const Ellipsoid& organ;
    const Trunk& cavity;
    const Patient& patient;
    double distance(const Vec& p) const {
      const double inside = smooth_max(organ.distance(p), cavity.distance(p) + 5, 5);
      return smooth_max(inside, 0.75 * (p.z() + 4 - diaphragm(patient, p)), 5);
    }
    Box bounds() const { return organ.bounds(); }
  };
  canvas.paint(BelowDiaphragm{spleen, cavity, patient},
               {.hu = patient.soft(random.uniform(46, 60)), .texture_hu = 2, .texture_mm = 12, .organ = Organ::spleen});
  const double cortex = patient.soft(random.uniform(34, 52));
  for (const double side : {1.0, -1.0}) {
    const double height = top + random.uniform(-8, 8) - (side > 0 ? 132 : 118);
    const Vec center{side * random.uniform(58, 68), random.uniform(-52, -42), height};
    const Vec radii{random.uniform(25, 30), random.uniform(22, 27), random.uniform(48, 60)};
    const double outwards = side * random.uniform(6, 16), forwards = random.uniform(-8, 8);
    const Eigen::Matrix3d axes = turn(outwards, Vec::UnitY()) * turn(forwards, Vec::UnitX());
    const Vec fat = radii + Vec::Constant(7);
    const Ellipsoid capsule{center, fat, axes};
    canvas.paint(clipped(capsule, cavity, 3), {.hu = -95, .texture_hu = 6, .texture_mm = 10});
    canvas.paint(Ellipsoid{center, radii, axes, 2, 18, &patient.lattice},
                 {.hu = cortex, .texture_hu = 4, .texture_mm = 7, .organ = Organ::kidney});
    const Vec sinus = center + axes * Vec{-side * 12, 2, 0};
    canvas.paint(Ellipsoid{sinus, {12, 8, 24}, axes, 3, 9, &patient.lattice}, {.hu = -55, .texture_hu = 25, .texture_mm = 6});
  }
}

/// A hollow organ: wall, contents, and gas above a level.
template <class Shape> void paint_hollow(Canvas& canvas, const Shape& shape, const Material& wall, double gas_level_y) {
  canvas.paint(shape, wall);
  Material gas = wall;
  gas.hu = -960, gas.shell_mm = gas.texture_hu = 0;
  canvas.paint(Above<Shape>{shape, gas_level_y, wall.shell_mm}, gas);
}

inline void paint_bowel(Canvas& canvas, const Patient& patient, RandomStream random) {
  const Trunk cavity{patient, Trunk::cavity};
  for (int i = 0; i < 46; ++i) {
    const double x = random.uniform(-105, 105), y = random.uniform(-25, 75), z = random.uniform(-330, -118);
    const double r = random.uniform(11, 22);
    const Vec radii{r * random.uniform(1.0, 2.0), r, r * random.uniform(0.8, 1.6)};
    const Ellipsoid loop{{x, y, z}, radii, any_turn(random), 3, 15, &patient.lattice};
    const Material wall{.hu = patient.soft(random.uniform(30, 52)),
                        .core_hu = random.uniform(5, 60),
                        .shell_mm = 3,
                        .texture_hu = random.uniform(2, 14),
                        .texture_mm = 8,
                        .organ = Organ::bowel};
    paint_hollow(canvas, clipped(loop, cavity, 5), wall, random.uniform() < 0.3 ? y + 0.2 * r : y + 99);
  }
}

inline void paint_stomach(Canvas& canvas, const Patient& patient, RandomStream random) {
  struct Stomach {
    const Patient& patient;
    Vec fundus, corpus, antrum;
    double width;
    double distance(const Vec& p) const {
      const double bag = smooth_min(capsule_distance(p, fundus, corpus, width, 0.8 * width),
                                    capsule_distance(p, corpus, antrum, 0.8 * width, 0.4 * width), 12);
      const double roof = 0.75 * (p.z() + 5 - diaphragm(patient, p));
      const Trunk cavity{patient, Trunk::cavity};
      return smooth_max(smooth_max(bag, cavity.distance(p) + 6, 6), roof, 6);
    }
    Box bounds() const { return {Vec{-120, -85, -185}, Vec{50, 100, 10}}; }
  };
  const double top = patient.dome_mm;
  const Stomach stomach{patient,
                        {-58, random.uniform(-8, 8), top - 55},
                        {-62, random.uniform(22, 36), top - 100},
                        {random.uniform(-8, 12), 42, top - 128},
                        random.uniform(28, 40)};
  const Material wall{.hu = patient.soft(random.uniform(38, 55)),
                      .core_hu = random.uniform(5, 65),
                      .shell_mm = 5,
                      .texture_hu = random.uniform(2, 10),
                      .texture_mm = 12,
                      .organ = Organ::stomach};
  paint_hollow(canvas, stomach, wall, random.uniform(18, 62));
}

inline void paint_gallbladder(Canvas& canvas, const Patient& patient, RandomStream random) {
  if (random.uniform() < 0.2) return;   // taken out
  const Vec center{random.uniform(38, 50), random.uniform(34, 46), -108 + patient.dome_mm};
  const Vec radii{13, random.uniform(16, 22), random.uniform(20, 28)};
  canvas.paint(Ellipsoid{center, radii, turn(25, Vec::UnitY())},
               {.hu = 40, .core_hu = random.uniform(4, 18), .shell_mm = 1.5, .organ = Organ::gallbladder});
}

}   // namespace ctseg::phantom
