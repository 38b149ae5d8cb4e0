// What a transform's parameters may be. A recipe often comes from a file: a sigma of ten million voxels would be a kernel that
// never ends, a NaN a patch of NaN.
#pragma once
#include "../../core/finite.hpp"
#include "resolution.hpp"

namespace ctseg::augment {

struct Limits {
  double low = 0, high = 0;
};
inline constexpr Limits kDegrees{-360, 360}, kShear{-10, 10}, kVoxels{-1e6, 1e6}, kZoom{0.01, 100}, kSigma{0, 100},
    kGamma{0.01, 100}, kFactor{0, 1000}, kValues{-1e6, 1e6};

/// The parameters of one transform, each held against its limits.
/// Errors    bad_argument with the transform, the parameter, its value and its limits.
struct Parameters {
  const char* transform;

  void probability(double p, const char* name = "probability") const { number(name, p, {0, 1}); }
  void number(const char* name, double v, const Limits& l) const {
    if (!inside(v, l)) refuse(text(name, " = ", v), text("must be ", l.low, " to ", l.high, "."));
  }
  void range(const char* name, const Range& r, const Limits& l, const char* axis = "") const {
    if (!inside(r.low, l) || !inside(r.high, l) || r.low > r.high)
      refuse(text(name, axis, " = ", r),
             text("both ends must be ", l.low, " to ", l.high, ", the first not above the second."));
  }
  void axes(const char* name, const PerAxis& r, const Limits& l) const {
    range(name, r.z, l, ".z");
    range(name, r.y, l, ".y");
    range(name, r.x, l, ".x");
  }
  /// Half of what is drawn lies between low and 1.
  void around_one(const char* name, const Range& r, const Limits& l) const {
    range(name, r, l);
    if (r.high < 1)
      refuse(text(name, " = ", r), "the second end must be 1 or more, for half of what is drawn lies between the first and 1.");
  }

 private:
  static bool inside(const double& v, const Limits& l) { return is_finite(v) && v >= l.low && v <= l.high; }
  void refuse(const std::string& fact, std::string_view limits) const {
    throw Error(Code::bad_argument, transform, text(fact, "; ", limits));
  }
};

inline void check(const RandRotate90& o, const Extent& size) {
  Parameters{"RandRotate90"}.probability(o.probability);
  const auto about = static_cast<int>(o.about);
  if (o.max_k < 1 || o.max_k > 3 || about < 0 || about > 2)
    throw Error(Code::bad_argument, "RandRotate90",
                text("max_k = ", o.max_k, ", about axis ", about, "; max_k must be 1, 2 or 3, the axis z, y or x (0 to 2)."));
  const int axis = flat(size) ? 0 : about;
  const Index a = size[axis == 0 ? 1 : 0], b = size[axis == 2 ? 1 : 2];
  if (a != b)
    throw Error(Code::shape_mismatch, "RandRotate90",
                text("quarter turns of a plane of ", a, " x ", b, " voxels; it must be square. Hint: choose `about`."));
}
inline void check(const RandFlip& o) { Parameters{"RandFlip"}.probability(o.probability); }
inline void check(const MirrorTransform& o) { Parameters{"MirrorTransform"}.probability(o.probability); }
inline void check(const RandRotate& o) {
  const Parameters p{"RandRotate"};
  p.probability(o.probability);
  p.axes("degrees", o.degrees, kDegrees);
}
/// A scale is added to 1.
inline void check_affine(const Parameters& p, const RandAffine& o) {
  p.axes("degrees", o.degrees, kDegrees);
  const Range shear[6] = {o.shear.zy, o.shear.zx, o.shear.yz, o.shear.yx, o.shear.xz, o.shear.xy};
  constexpr const char* kShearNames[6] = {"shear.zy", "shear.zx", "shear.yz", "shear.yx", "shear.xz", "shear.xy"};
  for (int i = 0; i < 6; ++i) p.range(kShearNames[i], shear[i], kShear);
  p.axes("translate_voxels", o.translate_voxels, kVoxels);
  p.axes("scale", o.scale, {kZoom.low - 1, kZoom.high - 1});
}
inline void check(const RandAffine& o) {
  Parameters{"RandAffine"}.probability(o.probability);
  check_affine({"RandAffine"}, o);
}
inline void check(const SpatialTransform& o) {
  const Parameters p{"SpatialTransform"};
  p.probability(o.rotation_probability, "rotation_probability");
  p.probability(o.scaling_probability, "scaling_probability");
  p.axes("degrees", o.degrees, kDegrees);
  p.range("scale", o.scale, kZoom);
}
inline void check(const Rand3DElastic& o) {
  const Parameters p{"Rand3DElastic"};
  p.probability(o.probability);
  p.range("sigma_voxels", o.sigma_voxels, kSigma);
  p.range("magnitude_voxels", o.magnitude_voxels, kVoxels);
  check_affine(p, o.affine);
}
inline void check(const RandZoom& o) {
  const Parameters p{"RandZoom"};
  p.probability(o.probability);
  p.range("zoom", o.zoom, kZoom);
}
inline void check(const RandScaleIntensity& o) {
  const Parameters p{"RandScaleIntensity"};
  p.probability(o.probability);
  p.range("factor", o.factor, kValues);
}
inline void check(const RandShiftIntensity& o) {
  const Parameters p{"RandShiftIntensity"};
  p.probability(o.probability);
  p.range("offset", o.offset, kValues);
}
inline void check(const RandAdjustContrast& o) {
  const Parameters p{"RandAdjustContrast"};
  p.probability(o.probability);
  p.range("gamma", o.gamma, kGamma);
}
inline void check(const RandGaussianNoise& o) {
  const Parameters p{"RandGaussianNoise"};
  p.probability(o.probability);
  p.number("mean", o.mean, kValues);
  p.number("std", o.std, {0, kValues.high});
}
inline void check(const MultiplicativeBrightnessTransform& o) {
  const Parameters p{"MultiplicativeBrightnessTransform"};
  p.probability(o.probability);
  p.around_one("factor", o.factor, kFactor);
}
inline void check(const ContrastTransform& o) {
  const Parameters p{"ContrastTransform"};
  p.probability(o.probability);
  p.around_one("factor", o.factor, kFactor);
}
inline void check(const GammaTransform& o) {
  const Parameters p{"GammaTransform"};
  p.probability(o.probability);
  p.around_one("gamma", o.gamma, kGamma);
}
inline void check(const RandGaussianSmooth& o) {
  const Parameters p{"RandGaussianSmooth"};
  p.probability(o.probability);
  p.axes("sigma_voxels", o.sigma_voxels, kSigma);
}
inline void check(const GaussianBlurTransform& o) {
  const Parameters p{"GaussianBlurTransform"};
  p.probability(o.probability);
  p.probability(o.channel_probability, "channel_probability");
  p.range("sigma_voxels", o.sigma_voxels, kSigma);
}
inline void check(const SimulateLowResolutionTransform& o) {
  const Parameters p{"SimulateLowResolutionTransform"};
  p.probability(o.probability);
  p.probability(o.channel_probability, "channel_probability");
  p.range("scale", o.scale, {kZoom.low, 1});
}

}   // namespace ctseg::augment
