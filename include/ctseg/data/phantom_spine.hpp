// The skeleton: 25 vertebrae in order (C1..C7, T1..T12, L1..L5, sacrum), ribs, sternum, shoulders, pelvis and skull.
#pragma once
#include "phantom_patient.hpp"

namespace ctseg::phantom {

inline constexpr int kVertebrae = 25;
inline constexpr int kSacrum = 25;

/// How tall a vertebra with the disc below it is; 1 = C1 .. 24 = L5.
inline double vertebra_pitch(int level) {
  if (level == 1) return 16;
  if (level == 2) return 21;
  if (level <= 7) return 17.5;
  if (level <= 19) return 19.5 + 0.72 * (level - 8);
  return 32 + 0.9 * (level - 20);
}
/// Height of the middle of a vertebra's body on the plan: T10 lies at z = 0.
inline double vertebra_z(int level) {
  constexpr int kT10 = 17;
  double z = 0;
  for (int v = level; v < kT10; ++v) z += 0.5 * (vertebra_pitch(v) + vertebra_pitch(v + 1));
  for (int v = kT10; v < level; ++v) z -= 0.5 * (vertebra_pitch(v) + vertebra_pitch(v + 1));
  return z;
}

/// One vertebra above the sacrum: body, arch around the canal, spinous and transverse processes.
struct Vertebra {
  Vec center;
  Eigen::Matrix3d axes;   // columns: right, front, up along the spine
  double half_height, half_width, half_depth;
  double canal_radius, spinous_mm, drop_mm, transverse_mm;
  bool atlas, axis;

  Vertebra(const Patient& patient, int level, RandomStream& random) : atlas(level == 1), axis(level == 2) {
    const double z = vertebra_z(level), along = std::clamp((level - 3) / 21.0, 0.0, 1.0);
    center = patient.spine(z);
    const Vec up = (patient.spine(z + 6) - patient.spine(z - 6)).normalized();
    const Vec front = (Vec::UnitY() - up.y() * up).normalized();
    axes << front.cross(up), front, up;
    const bool cervical = level <= 7, lumbar = level >= 20;
    const double size = random.uniform(0.95, 1.05);
    half_height = 0.5 * (vertebra_pitch(level) - (lumbar ? 8.5 : cervical ? 4.5 : 4)) * random.uniform(0.96, 1.0);
    half_width = size * (11.5 + 12.5 * along);
    half_depth = size * (8 + 9 * along);
    canal_radius = cervical ? 8.5 : lumbar ? 9.0 : 7.5;
    if (atlas) canal_radius = 14, half_height = 6;
    spinous_mm = cervical ? (level == 7 ? 24 : 15) : lumbar ? 27 : 24;
    drop_mm = cervical ? 6 : lumbar ? 6 : 20;
    transverse_mm = atlas ? 38 : cervical ? 25 : lumbar ? 40 : 31;
  }

  double distance(const Vec& p) const {
    const Vec q = axes.transpose() * (p - center);
    const double canal_y = atlas ? -8 : -(half_depth + canal_radius - 1.5);
    const double rho = std::hypot(q.x() / 1.15, q.y() - canal_y);
    double d = smooth_max(std::abs(rho - canal_radius - 2.2) - 2.8, std::abs(q.z() - 1) - 0.62 * half_height, 2);
    if (!atlas) {
      const double u = std::min(1.0, std::abs(q.z()) / half_height), waist = 0.9 + 0.1 * u * u;
      const double a = half_width * waist, b = half_depth * waist, k = std::hypot(q.x() / a, q.y() / b);
      const double radial = k > 1e-6 ? std::hypot(q.x(), q.y()) * (1 - 1 / k) : -b;
      d = smooth_min(d, smooth_max(radial, std::abs(q.z()) - half_height, 3), 2);
    }
    if (axis) d = smooth_min(d, capsule_distance(q, {0, 1, half_height}, {0, 2, half_height + 14}, 5, 4.5), 2);
    const double back = canal_y - canal_radius;
    d = smooth_min(d, capsule_distance(q, {0, back - 2, 0}, {0, back - spinous_mm, -drop_mm}, 3.6, 3.4), 2);
    const Vec side{std::abs(q.x()), q.y(), q.z()};
    const double thick = atlas ? 6.5 : 3.6;
    const Vec root{canal_radius + 3, canal_y + 3, 1}, tip{transverse_mm, canal_y - 3, 2};
    d = smooth_min(d, capsule_distance(side, root, tip, thick, 3.4), 2);
    return std::max(d, canal_radius - rho);
  }
  Box bounds() const {
    const double back = half_depth + 2 * canal_radius + spinous_mm + 6;
    const Vec low{-transverse_mm - 5, -back, -half_height - drop_mm - 3};
    const Vec high{transverse_mm + 5, half_depth + 10, half_height + 21};
    return box_around(center + axes * (0.5 * (low + high)), axes.cwiseAbs() * (0.5 * (high - low)));
  }
};

/// The sacrum: five fused pieces that narrow and curve back, with wings at the top.
struct Sacrum {
  Vec top;   // middle of its upper end

  double distance(const Vec& p) const {
    const Vec q = p - top;
    double d = 1e9;
    for (int piece = 0; piece < 5; ++piece) {
      const double bend = 7.0 * piece - 0.6 * piece * piece;
      const Vec center{0, -2 - 1.2 * bend, -10 - 19.0 * piece};
      d = smooth_min(d, ellipsoid_distance(q - center, {48 - 9.0 * piece, 15 - 2.0 * piece, 15}), 5);
    }
    return std::max(d, 6 - std::hypot(q.x() / 1.4, q.y() + 17 - 0.32 * q.z()));   // the canal runs on behind
  }
  Box bounds() const { return {top + Vec{-52, -50, -106}, top + Vec{52, 16, 8}}; }
};
inline Sacrum sacrum_of(const Patient& patient) { return {patient.spine(vertebra_z(24) - 0.5 * vertebra_pitch(24) - 1)}; }

inline Material bone(const Patient& patient, Organ organ) {
  return {.hu = 430 + patient.bone_hu,
          .core_hu = patient.bone_hu,
          .shell_mm = 1.7,
          .texture_hu = 22,
          .texture_mm = 6,
          .organ = organ};
}

inline void paint_vertebrae(Canvas& canvas, const Patient& patient, RandomStream random) {
  std::vector<Vec> discs, canal;
  for (int level = 2; level <= 24; ++level) discs.push_back(patient.spine(vertebra_z(level)));
  const Material disc{.hu = patient.soft(78), .texture_hu = 6};
  paint_tube(canvas, {discs, 9.5, 18}, disc);
  for (double z = vertebra_z(1) + 10; z > vertebra_z(kVertebrae); z -= 14) {
    const double lumbar = std::clamp((60 - z) / 200, 0.0, 1.0);
    canal.push_back(patient.spine(z) + Vec{0, -18 - 7 * lumbar, 0});
  }
  for (int level = 1; level < kSacrum; ++level) {
    Material material = bone(patient, Organ::vertebra);
    material.core_hu += random.uniform(-12, 12);
    material.vertebra = static_cast<std::uint8_t>(level);
    canvas.paint(Vertebra(patient, level, random), material);
  }
  Material material = bone(patient, Organ::vertebra);
  material.vertebra = kSacrum;
  canvas.paint(sacrum_of(patient), material);
  // The dural sac stays well inside of the canal: it must not eat labels of the bone around it.
  paint_tube(canvas, {canal, 5.5, 5}, {.hu = patient.soft(22), .core_hu = patient.soft(38), .shell_mm = 2});
}

inline void paint_ribs(Canvas& canvas, const Patient& patient) {
  for (int rib = 1; rib <= 12; ++rib) {
    const int level = 7 + rib;
    // How far a rib reaches around the chest, in radians from the back.
    const double reach = rib <= 7 ? 2.75 : rib <= 10 ? 2.5 - 0.12 * (rib - 7) : 1.75 - 0.35 * (rib - 11);
    const double z0 = vertebra_z(level);
    const double fall = rib == 1 ? 18 : 32 + 4.5 * std::min(rib, 8);
    for (const double side : {1.0, -1.0}) {
      const Vec head = patient.spine(z0 + 4) + Vec{side * 22, -14, 0};
      std::vector<Vec> line{head};
      for (int step = 1; step <= 14; ++step) {
        const double angle = 0.38 + (reach - 0.38) * step / 14.0, z = z0 - fall * std::pow(angle / 2.75, 1.3);
        const auto [half_width, half_depth, y, beside, behind] = kTrunk(std::min(z, 205.0));
        const double a = half_width * patient.girth_x + 3, b = half_depth * patient.girth_y + 3;
        const double u = std::sin(angle), v = -std::cos(angle), square = std::sqrt(std::sqrt(u * u * u * u + v * v * v * v));
        const double reach_out = 1 / (0.55 + 0.45 * square);   // on the outline that Trunk draws
        line.push_back({side * a * u * reach_out, y + b * v * reach_out, z});
      }
      const std::size_t bony = rib <= 10 ? line.size() - 3 : line.size();
      const std::vector<Vec> bone_line(line.begin(), line.begin() + static_cast<std::ptrdiff_t>(bony)),
          cartilage(line.begin() + static_cast<std::ptrdiff_t>(bony) - 1, line.end());
      if (cartilage.size() > 1) paint_tube(canvas, {cartilage, 4.5, 4.5}, {.hu = 95, .texture_hu = 8});
      Material material = bone(patient, Organ::rib);
      material.hu += 250, material.shell_mm = 1.3;
      paint_tube(canvas, {bone_line, 5.2, 4.8}, material);
    }
  }
}

inline void paint_other_bones(Canvas& canvas, const Patient& patient) {
  const Material other = bone(patient, Organ::bone);
  const auto front = [&](double z) {
    const auto wall = kTrunk(z);
    return wall[2] + wall[1] * patient.girth_y;
  };
  canvas.paint(Ellipsoid{{0, front(150) + 1, 150}, {24, 6, 26}, turn(-18, Vec::UnitX())}, other);
  canvas.paint(Ellipsoid{{0, front(85) + 5, 88}, {17, 5.5, 58}, turn(-6, Vec::UnitX())}, other);
  for (const double side : {1.0, -1.0}) {
    const auto mirrored = [&](double x, double y, double z) { return Vec{side * x, y, z}; };
    paint_tube(canvas, {smooth_line({mirrored(14, 45, 186), mirrored(65, 42, 202), mirrored(120, 5, 214)}, 5), 6, 5.5}, other);
    const Ellipsoid blade{mirrored(92, -66, 146), {4.5, 36, 56}, turn(side * 62, Vec::UnitZ())};
    canvas.paint(clipped(blade, Trunk{patient, Trunk::muscle}, 7), other);
    canvas.paint(Ellipsoid{mirrored(138, -8, 186), {21, 22, 22}}, other);                                   // head of the arm
    canvas.paint(Ellipsoid{mirrored(84, -38, -262), {8, 52, 60}, turn(side * -38, Vec::UnitZ())}, other);   // ilium
    canvas.paint(Ellipsoid{mirrored(96, 2, -352), {24, 26, 34}}, other);                                    // hip
  }
  Material skull = other;
  skull.hu = 900, skull.core_hu = 36, skull.shell_mm = 7, skull.texture_hu = 3;
  canvas.paint(Ellipsoid{{0, 12, vertebra_z(1) + 96}, {64, 82, 82}}, skull);
}

}   // namespace ctseg::phantom
