// What the phantom is painted on, and with: shapes are signed distances in the patient's millimetres (negative inside), a
// material says which HU and which labels they leave behind. Later paint covers earlier paint, with soft edges in the CT
// (partial volume) and hard ones in the label maps.
#pragma once
#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <utility>
#include <vector>

#include "../core/parallel.hpp"
#include "../core/random.hpp"
#include "../image/volume.hpp"

namespace ctseg {

/// Labels of Phantom::organs. Vessels and tumours belong to the organ they are in.
enum class Organ : std::uint8_t {
  background,
  body,
  lung,
  liver,
  spleen,
  kidney,
  stomach,
  bowel,
  heart,
  aorta,
  airway,
  vertebra,
  rib,
  bone,
  gallbladder,
};
inline constexpr int kOrgans = 15;

namespace phantom {

using Vec = Eigen::Vector3d;   // in the patient's frame: +x right, +y anterior, +z superior, mm
using Box = Eigen::AlignedBox3d;

/// Smooth random field, about -1 .. 1, one bump per unit of length; it repeats after 16 units.
class Lattice {
 public:
  explicit Lattice(RandomStream& random) {
    for (float& v : values_) v = static_cast<float>(random.uniform(-1, 1));
  }
  double operator()(const Vec& p) const {
    int cell[3];
    double t[3];
    for (int d = 0; d < 3; ++d) {
      const double f = std::floor(p[d]), u = p[d] - f;
      cell[d] = static_cast<int>(f);
      t[d] = u * u * (3 - 2 * u);
    }
    double sum = 0;
    for (int corner = 0; corner < 8; ++corner) {
      const int i = corner & 1, j = corner >> 1 & 1, k = corner >> 2;
      const int at = ((cell[2] + k) & 15) * 256 + ((cell[1] + j) & 15) * 16 + ((cell[0] + i) & 15);
      sum += (i ? t[0] : 1 - t[0]) * (j ? t[1] : 1 - t[1]) * (k ? t[2] : 1 - t[2]) * values_[static_cast<std::size_t>(at)];
    }
    return 1.6 * sum;
  }

 private:
  std::array<float, 4096> values_{};
};

enum class Mark : std::uint8_t { none, lesion, nodule, coronary };

/// What a shape leaves behind. With a shell, `hu` is the outer shell_mm and `core_hu` what lies inside of it.
struct Material {
  double hu = 0, core_hu = 0, shell_mm = 0;
  double texture_hu = 0, texture_mm = 10;
  double opacity = 1;   // below 1 for things thinner than a voxel
  Organ organ = Organ::body;
  std::uint8_t vertebra = 0;
  Mark mark = Mark::none;
};

/// The volumes being painted, and the way from their voxels to the patient.
struct Canvas {
  Volume<float> ct;
  Volume<std::uint8_t> organs, vertebrae, lesions, nodules, coronaries;
  Eigen::Matrix4d patient_from_voxel, voxel_from_patient;
  double voxel_mm;   // edge of a cube as large as a voxel, in the patient's millimetres
  const Lattice* texture;
  Executor* executor;

  Canvas(const Grid& grid, const Eigen::Matrix4d& patient_from_world, const Lattice& lattice, Executor& where)
      : ct(grid, -1000.0f),
        organs(grid),
        vertebrae(grid),
        lesions(grid),
        nodules(grid),
        coronaries(grid),
        patient_from_voxel(patient_from_world * grid.affine.matrix),
        voxel_from_patient(inverse_of(patient_from_voxel)),
        voxel_mm(std::cbrt(std::abs(patient_from_voxel.topLeftCorner<3, 3>().determinant()))),
        texture(&lattice),
        executor(&where) {}

  /// Paints a shape: `double distance(Vec) const` and `Box bounds() const`.
  template <class Shape> void paint(const Shape& shape, const Material& material) {
    Box voxels;
    const Box box = shape.bounds();
    for (int corner = 0; corner < 8; ++corner)
      voxels.extend(to_voxel({corner & 1 ? box.max().x() : box.min().x(), corner & 2 ? box.max().y() : box.min().y(),
                              corner & 4 ? box.max().z() : box.min().z()}));
    const Xyz<Index> n = ct.shape();
    const Xyz<Index> low{clip(voxels.min().x() - 1, n.x), clip(voxels.min().y() - 1, n.y), clip(voxels.min().z() - 1, n.z)},
        high{clip(voxels.max().x() + 2, n.x), clip(voxels.max().y() + 2, n.y), clip(voxels.max().z() + 2, n.z)};
    if (low.x >= high.x || low.y >= high.y) return;
    const auto slice = [&](Index i) {
      for (Index y = low.y; y < high.y; ++y)
        for (Index x = low.x; x < high.x; ++x) paint_voxel(shape, material, {x, y, low.z + i});
    };
    if (high.z - low.z == 1)
      slice(0);
    else
      parallel_for(*executor, high.z - low.z, slice);
  }

  /// Labels the voxel that holds a point, so that things thinner than a voxel keep their label. False outside of the grid.
  bool stamp(const Vec& point, const Material& material) {
    const Vec v = to_voxel(point);
    const Xyz<Index> n = ct.shape(), at{std::lround(v.x()), std::lround(v.y()), std::lround(v.z())};
    if (at.x < 0 || at.y < 0 || at.z < 0 || at.x >= n.x || at.y >= n.y || at.z >= n.z) return false;
    label(at, material);
    return true;
  }

  Vec to_voxel(const Vec& p) const { return move(voxel_from_patient, p); }
  Vec to_patient(const Vec& v) const { return move(patient_from_voxel, v); }

 private:
  static Vec move(const Eigen::Matrix4d& m, const Vec& p) { return m.topLeftCorner<3, 3>() * p + m.topRightCorner<3, 1>(); }
  static Index clip(double i, Index count) { return static_cast<Index>(std::clamp(i, 0.0, static_cast<double>(count))); }

  template <class Shape> void paint_voxel(const Shape& shape, const Material& m, Xyz<Index> at) {
    const Vec p = to_patient({double(at.x), double(at.y), double(at.z)});
    const double distance = shape.distance(p), cover = std::min(1.0, 0.5 - distance / voxel_mm);
    if (cover <= 0) return;
    double hu = m.hu;
    if (m.shell_mm > 0) hu += (m.core_hu - m.hu) * std::clamp(0.5 - (distance + m.shell_mm) / voxel_mm, 0.0, 1.0) / cover;
    if (m.texture_hu > 0) hu += m.texture_hu * ((*texture)(p / m.texture_mm) + 0.6 * (*texture)(p / (0.37 * m.texture_mm)));
    float& voxel = ct(at.z, at.y, at.x);
    voxel += static_cast<float>(cover * m.opacity * (hu - double(voxel)));
    if (distance < 0) label(at, m);
  }

  void label(Xyz<Index> at, const Material& m) {
    organs(at.z, at.y, at.x) = static_cast<std::uint8_t>(m.organ);
    vertebrae(at.z, at.y, at.x) = m.vertebra;
    lesions(at.z, at.y, at.x) = m.mark == Mark::lesion;
    nodules(at.z, at.y, at.x) = m.mark == Mark::nodule;
    coronaries(at.z, at.y, at.x) = m.mark == Mark::coronary;
  }
};

}   // namespace phantom
}   // namespace ctseg
