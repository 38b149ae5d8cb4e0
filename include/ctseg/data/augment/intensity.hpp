// Steps that change values voxel by voxel: scale, shift, contrast, gamma, noise.
#pragma once
#include "elastic.hpp"

namespace ctseg {

/// MONAI's RandScaleIntensity: x * (1 + factor).
struct RandScaleIntensity {
  static constexpr std::uint32_t kStream = 16;
  double probability = 0.1;
  Range factor = symmetric(0.1);
};
/// MONAI's RandShiftIntensity: x + offset.
struct RandShiftIntensity {
  static constexpr std::uint32_t kStream = 17;
  double probability = 0.1;
  Range offset = symmetric(0.1);
};
/// MONAI's RandAdjustContrast: ((x - min) / range)^gamma * range + min, over all channels together. retain_statistics gives the
/// result the mean and deviation that the image had.
struct RandAdjustContrast {
  static constexpr std::uint32_t kStream = 18;
  double probability = 0.1;
  Range gamma = {0.5, 4.5};
  bool invert = false, retain_statistics = false;
};
/// MONAI's RandGaussianNoise; sample_std draws the deviation from [0, std).
struct RandGaussianNoise {
  static constexpr std::uint32_t kStream = 19;
  double probability = 0.1;
  double mean = 0, std = 0.1;
  bool sample_std = true;
};
/// nnU-Net's MultiplicativeBrightnessTransform: each channel times a factor; half of the factors are below 1.
struct MultiplicativeBrightnessTransform {
  static constexpr std::uint32_t kStream = 20;
  double probability = 0.15;
  Range factor = {0.75, 1.25};
};
/// nnU-Net's ContrastTransform: (x - mean) * factor + mean in each channel, cut to the range it had.
struct ContrastTransform {
  static constexpr std::uint32_t kStream = 21;
  double probability = 0.15;
  Range factor = {0.75, 1.25};
  bool preserve_range = true;
};
/// nnU-Net's GammaTransform: RandAdjustContrast in each channel; half of the gammas are below 1.
struct GammaTransform {
  static constexpr std::uint32_t kStream = 22;
  double probability = 0.3;
  Range gamma = {0.7, 1.5};
  bool invert = false, retain_statistics = true;
};

namespace augment {

/// Drawn steps; `channel` -1 means all of them.
struct LinearStep {
  const char* name = "";
  double scale = 1, shift = 0;
  Index channel = -1;
};
struct ContrastStep {
  double factor = 1;
  bool preserve_range = true;
  Index channel = -1;
};
struct GammaStep {
  const char* name = "";
  double gamma = 1;
  bool invert = false, retain_statistics = false;
  Index channel = -1;
};
struct NoiseStep {
  double mean = 0, std = 0;
  NoiseKey key{};
};

/// nnU-Net's BGContrast: below or above 1 with one half each.
inline double around_one(RandomStream& random, const Range& r) {
  const bool below = random.uniform() < 0.5 && r.low < 1;
  const double u = random.uniform();
  return below ? r.low + (1 - r.low) * u : std::max(r.low, 1.0) + (r.high - std::max(r.low, 1.0)) * u;
}

inline std::vector<LinearStep> draw(const RandScaleIntensity& o, RandomStream random, Index) {
  if (!fires(random, o.probability)) return {};
  return {{"RandScaleIntensity", 1 + within(random, o.factor), 0, -1}};
}
inline std::vector<LinearStep> draw(const RandShiftIntensity& o, RandomStream random, Index) {
  if (!fires(random, o.probability)) return {};
  return {{"RandShiftIntensity", 1, within(random, o.offset), -1}};
}
inline std::vector<GammaStep> draw(const RandAdjustContrast& o, RandomStream random, Index) {
  if (!fires(random, o.probability)) return {};
  return {{"RandAdjustContrast", within(random, o.gamma), o.invert, o.retain_statistics, -1}};
}
inline std::vector<NoiseStep> draw(const RandGaussianNoise& o, RandomKey key) {
  RandomStream random(key);
  if (!fires(random, o.probability)) return {};
  return {{o.mean, o.sample_std ? random.uniform(0, o.std) : o.std, noise_key(key)}};
}
inline std::vector<LinearStep> draw(const MultiplicativeBrightnessTransform& o, RandomStream random, Index channels) {
  std::vector<LinearStep> steps;
  if (!fires(random, o.probability)) return steps;
  for (Index c = 0; c < channels; ++c)
    steps.push_back({"MultiplicativeBrightnessTransform", around_one(random, o.factor), 0, c});
  return steps;
}
inline std::vector<ContrastStep> draw(const ContrastTransform& o, RandomStream random, Index channels) {
  std::vector<ContrastStep> steps;
  if (!fires(random, o.probability)) return steps;
  for (Index c = 0; c < channels; ++c) steps.push_back({around_one(random, o.factor), o.preserve_range, c});
  return steps;
}
inline std::vector<GammaStep> draw(const GammaTransform& o, RandomStream random, Index channels) {
  std::vector<GammaStep> steps;
  if (!fires(random, o.probability)) return steps;
  for (Index c = 0; c < channels; ++c)
    steps.push_back({"GammaTransform", around_one(random, o.gamma), o.invert, o.retain_statistics, c});
  return steps;
}

struct Values {
  float* x;
  Index count;
};
inline Values values_of(Patch& patch, Index channel) {
  if (channel >= patch.channels)
    throw Error(Code::shape_mismatch, "augment",
                text("a step for channel ", channel, ", but the patch has ", patch.channels, ". Hint: draw for this patch."));
  if (channel < 0) return {patch.image.data(), static_cast<Index>(patch.image.size())};
  return {patch.channel(channel), patch.voxels()};
}
inline Stats stats_of(const Values& v, const Kernels& k) {
  Stats s{.pivot = static_cast<double>(v.x[0])};
  k.add_stats(s, v.x, v.count);
  return s;
}
inline double mean_of(const Stats& s, Index count) { return s.pivot + s.sum / static_cast<double>(count); }
/// Of the sample, as torch.std.
inline double deviation_of(const Stats& s, Index count) {
  const double n = static_cast<double>(count), square = s.square - s.sum * s.sum / n;
  return count > 1 ? std::sqrt(std::max(square, 0.0) / (n - 1)) : 0;
}

inline void apply(const LinearStep& step, Patch& patch) {
  const Values v = values_of(patch, step.channel);
  kernels(patch.isa).linear({.scale = static_cast<float>(step.scale), .shift = static_cast<float>(step.shift)}, v.x, v.count);
}
inline void apply(const NoiseStep& step, Patch& patch) {
  kernels(patch.isa).add_noise({.key = step.key, .mean = static_cast<float>(step.mean), .std = static_cast<float>(step.std)},
                               patch.image.data(), static_cast<Index>(patch.image.size()));
}
inline void apply(const ContrastStep& step, Patch& patch) {
  const Values v = values_of(patch, step.channel);
  const Stats s = stats_of(v, kernels(patch.isa));
  const double mean = mean_of(s, v.count);
  LinearJob job{.scale = static_cast<float>(step.factor), .shift = static_cast<float>(mean * (1 - step.factor))};
  if (step.preserve_range) job.low = s.low, job.high = s.high;
  kernels(patch.isa).linear(job, v.x, v.count);
}
/// An inverted image is -x, whose smallest value is -high.
inline void apply(const GammaStep& step, Patch& patch) {
  const Values v = values_of(patch, step.channel);
  const Kernels& k = kernels(patch.isa);
  const Stats before = stats_of(v, k);
  const double sign = step.invert ? -1 : 1, low = step.invert ? -double{before.high} : double{before.low};
  const double range = double{before.high} - double{before.low}, scale = 1 / std::max(range, 1e-7);
  Stats after{.pivot = low + range / 2};
  k.power({static_cast<float>(sign * scale), static_cast<float>(-low * scale), static_cast<float>(step.gamma),
           static_cast<float>(range), static_cast<float>(low)},
          v.x, v.count, step.retain_statistics ? &after : nullptr);
  LinearJob job{.scale = static_cast<float>(sign)};
  if (step.retain_statistics) {
    const double stretch = deviation_of(before, v.count) / std::max(deviation_of(after, v.count), 1e-7);
    job.scale = static_cast<float>(sign * stretch);
    job.shift = static_cast<float>(mean_of(before, v.count) - sign * stretch * mean_of(after, v.count));
  }
  if (step.invert || step.retain_statistics) k.linear(job, v.x, v.count);
}

}   // namespace augment
}   // namespace ctseg
