// Steps that move voxels: what may be drawn, and the matrices that come of it. Axes are those of the array, z, y, x; a turn
// "about z" is in the plane of an axial slice. Of a 2-D patch (one voxel along z) only turns about z and moves in the plane
// are drawn.
#pragma once
#include "warp.hpp"

namespace ctseg {

/// Uniform in [low, high).
struct Range {
  double low = 0, high = 0;
  bool operator==(const Range&) const = default;
};
inline std::string text(const Range& r) { return text("[", r.low, ", ", r.high, ")"); }
/// From -most to most.
constexpr Range symmetric(double most) { return {-most, most}; }

struct PerAxis {
  Range z{}, y{}, x{};
};
constexpr PerAxis all_axes(Range r) { return {r, r, r}; }
struct AxisSet {
  bool z = false, y = false, x = false;
};
enum class Axis { z, y, x };

/// MONAI's RandRotate90: one to max_k quarter turns about an axis. The plane must be square.
struct RandRotate90 {
  static constexpr std::uint32_t kStream = 1;
  double probability = 0.1;
  int max_k = 3;
  Axis about = Axis::z;
};
/// MONAI's RandFlip: all named axes together.
struct RandFlip {
  static constexpr std::uint32_t kStream = 2;
  double probability = 0.1;
  AxisSet axes{};
};
/// nnU-Net's MirrorTransform: each axis on its own.
struct MirrorTransform {
  static constexpr std::uint32_t kStream = 3;
  double probability = 0.5;   // of each axis
  AxisSet axes = {true, true, true};
};
/// MONAI's RandRotate: about the middle, by turns about z, then y, then x of the turned axes.
/// Numerics  its range_x, which turns the plane of axes 1 and 2, is z here.
struct RandRotate {
  static constexpr std::uint32_t kStream = 4;
  double probability = 0.1;
  PerAxis degrees{};
  Border border = Border::border;
  LabelSampling labels = LabelSampling::nearest;
};
/// Off-diagonal numbers of MONAI's shear, named by row and column: zy adds to z a share of y.
struct ShearRange {
  Range zy{}, zx{}, yz{}, yx{}, xz{}, xy{};
};
/// MONAI's RandAffine: turn, shear, translation (voxels) and scale (added to 1), multiplied in this order; the map leads from
/// target to source, so a scale above 1 makes things smaller.
struct RandAffine {
  static constexpr std::uint32_t kStream = 5;
  double probability = 0.1;
  PerAxis degrees{};
  ShearRange shear{};
  PerAxis translate_voxels{}, scale{};
  Border border = Border::reflection;
  LabelSampling labels = LabelSampling::nearest;
};
/// nnU-Net's SpatialTransform without its elastic part, which nnU-Net does not use: turns and scale with probabilities of their
/// own. A scale above 1 makes things smaller. `scale_z` false keeps z ("dummy 2-D", for thick slices).
struct SpatialTransform {
  static constexpr std::uint32_t kStream = 6;
  double rotation_probability = 0.2, scaling_probability = 0.2;
  PerAxis degrees = all_axes(symmetric(30));
  Range scale = {0.7, 1.4};   // one for all axes
  bool scale_z = true;
  Border border = Border::zeros;
  LabelSampling labels = LabelSampling::linear;
};

namespace augment {

/// A map about the middle of the patch, drawn.
struct AffineStep {
  const char* name = "";
  Move matrix{};
  Border border = Border::zeros;
  LabelSampling labels = LabelSampling::nearest;
  bool resamples = true;   // false: a flip or quarter turn, which has no say on border and labels
};

/// Turn about array axis 0, 1 or 2 by radians, as MONAI's create_rotate.
inline Move turn(int axis, double radians) {
  Move m;
  const int a = axis == 0 ? 1 : 0, b = axis == 2 ? 1 : 2;
  const double c = std::cos(radians), s = axis == 1 ? -std::sin(radians) : std::sin(radians);
  m(a, a) = m(b, b) = c;
  m(a, b) = -s;
  m(b, a) = s;
  return m;
}
inline double radians(double degrees) { return degrees * (3.14159265358979323846 / 180); }
inline double within(RandomStream& random, const Range& r) { return random.uniform(r.low, r.high); }
/// Three numbers for z, y, x; always as many words of the stream, so that ranges do not change what follows.
inline std::array<double, 3> within(RandomStream& random, const PerAxis& r) {
  const double z = within(random, r.z), y = within(random, r.y), x = within(random, r.x);
  return {z, y, x};
}
inline bool fires(RandomStream& random, double probability) { return random.uniform() < probability; }
inline bool flat(const Extent& size) { return size[0] == 1; }

inline Move flip(bool z, bool y, bool x) { return scaling(z ? -1 : 1, y ? -1 : 1, x ? -1 : 1); }

/// np.rot90's quarter turn in the plane of the two other axes, the lower one first.
inline Move quarter_turns(Axis about, int k) {
  const int axis = static_cast<int>(about), a = axis == 0 ? 1 : 0, b = axis == 2 ? 1 : 2;
  Move once, m;
  once(a, a) = once(b, b) = 0;
  once(a, b) = 1;
  once(b, a) = -1;
  for (int i = 0; i < k; ++i) m = m * once;
  return m;
}

struct AffineParameters {
  std::array<double, 3> radians{}, translate{}, scale = {1, 1, 1};
  std::array<double, 6> shear{};   // zy, zx, yz, yx, xz, xy
};
inline Move affine_matrix(const AffineParameters& p) {
  const Move m = turn(0, p.radians[0]) * turn(1, p.radians[1]) * turn(2, p.radians[2]);
  Move shear;
  constexpr int kRow[6] = {0, 0, 1, 1, 2, 2}, kColumn[6] = {1, 2, 0, 2, 0, 1};
  for (int i = 0; i < 6; ++i) {   // each in front of the last: a shear keeps the volume
    Move one;
    one(kRow[i], kColumn[i]) = p.shear[static_cast<std::size_t>(i)];
    shear = one * shear;
  }
  Move rest = scaling(p.scale[0], p.scale[1], p.scale[2]);
  for (int d = 0; d < 3; ++d) rest(d, 3) = p.translate[static_cast<std::size_t>(d)];
  return m * shear * rest;
}

inline std::vector<AffineStep> draw(const RandRotate90& o, RandomStream random, const Extent& size) {
  if (!fires(random, o.probability)) return {};
  const auto k = static_cast<int>(random.below(o.max_k)) + 1;
  return {{"RandRotate90", quarter_turns(flat(size) ? Axis::z : o.about, k), {}, {}, false}};
}
inline std::vector<AffineStep> draw(const RandFlip& o, RandomStream random, const Extent&) {
  if (!fires(random, o.probability)) return {};
  return {{"RandFlip", flip(o.axes.z, o.axes.y, o.axes.x), {}, {}, false}};
}
inline std::vector<AffineStep> draw(const MirrorTransform& o, RandomStream random, const Extent&) {
  const bool z = fires(random, o.probability), y = fires(random, o.probability), x = fires(random, o.probability);
  const AxisSet on = {z && o.axes.z, y && o.axes.y, x && o.axes.x};
  if (!on.z && !on.y && !on.x) return {};
  return {{"MirrorTransform", flip(on.z, on.y, on.x), {}, {}, false}};
}
inline std::array<double, 3> draw_radians(const PerAxis& degrees, RandomStream& random, const Extent& size) {
  auto [z, y, x] = within(random, degrees);
  return {radians(z), flat(size) ? 0 : radians(y), flat(size) ? 0 : radians(x)};
}
inline std::vector<AffineStep> draw(const RandRotate& o, RandomStream random, const Extent& size) {
  if (!fires(random, o.probability)) return {};
  return {{"RandRotate", affine_matrix({.radians = draw_radians(o.degrees, random, size)}), o.border, o.labels}};
}
inline AffineParameters draw_affine(const RandAffine& o, RandomStream& random, const Extent& size) {
  AffineParameters p{.radians = draw_radians(o.degrees, random, size)};
  const Range shear[6] = {o.shear.zy, o.shear.zx, o.shear.yz, o.shear.yx, o.shear.xz, o.shear.xy};
  for (std::size_t i = 0; i < 6; ++i) p.shear[i] = within(random, shear[i]);
  p.translate = within(random, o.translate_voxels);
  p.scale = within(random, o.scale);
  for (double& s : p.scale) s += 1;
  if (flat(size)) {
    p.shear[0] = p.shear[1] = p.shear[2] = p.shear[4] = p.translate[0] = 0;
    p.scale[0] = 1;
  }
  return p;
}
inline std::vector<AffineStep> draw(const RandAffine& o, RandomStream random, const Extent& size) {
  if (!fires(random, o.probability)) return {};
  return {{"RandAffine", affine_matrix(draw_affine(o, random, size)), o.border, o.labels}};
}
inline std::vector<AffineStep> draw(const SpatialTransform& o, RandomStream random, const Extent& size) {
  const bool turns = fires(random, o.rotation_probability), scales = fires(random, o.scaling_probability);
  const std::array<double, 3> angle = draw_radians(o.degrees, random, size);
  const double s = within(random, o.scale);
  if (!turns && !scales) return {};
  Move m;
  if (turns) m = turn(2, angle[2]) * turn(1, angle[1]) * turn(0, angle[0]);
  if (scales) m = m * scaling(o.scale_z && !flat(size) ? s : 1, s, s);
  return {{"SpatialTransform", m, o.border, o.labels}};
}

}   // namespace augment
}   // namespace ctseg
