// Steps that blur or change the resolution of the image: Gaussian smoothing, simulated low resolution, zoom.
#pragma once
#include "intensity.hpp"

namespace ctseg {

/// MONAI's RandGaussianSmooth: a sigma for each axis, the kernel cut off at four of them; beyond the border zeros, which darken
/// it.
struct RandGaussianSmooth {
  static constexpr std::uint32_t kStream = 32;
  double probability = 0.1;
  PerAxis sigma_voxels = all_axes({0.25, 1.5});
};
/// nnU-Net's GaussianBlurTransform: each channel with its own probability and sigmas, mirrored beyond the border.
struct GaussianBlurTransform {
  static constexpr std::uint32_t kStream = 33;
  double probability = 0.2, channel_probability = 0.5;
  Range sigma_voxels = {0.5, 1};   // each axis its own
};
/// nnU-Net's SimulateLowResolutionTransform: every voxel of a coarser grid takes its nearest, and linear interpolation brings
/// the patch back to its size. One scale for all axes.
struct SimulateLowResolutionTransform {
  static constexpr std::uint32_t kStream = 34;
  double probability = 0.25, channel_probability = 0.5;
  Range scale = {0.5, 1};
  bool scale_z = true;   // false: dummy 2-D
};
/// MONAI's RandZoom: one factor for all axes, above 1 makes things larger. `area` averages the voxels under each target voxel,
/// as MONAI, in a pass of its own; `linear` joins the other moves in theirs.
enum class ZoomMode { area, linear };
struct RandZoom {
  static constexpr std::uint32_t kStream = 8;
  double probability = 0.1;
  Range zoom = {0.9, 1.1};
  ZoomMode mode = ZoomMode::area;
};

namespace augment {

struct SmoothStep {
  std::array<double, 3> sigma_voxels{};
  bool mirror = false;   // nnU-Net's kernel and border; else MONAI's
  Index channel = -1;
};
struct LowResolutionStep {
  std::array<double, 3> scale{};
  Index channel = -1;
};
struct ZoomStep {
  double zoom = 1;
};

inline std::vector<SmoothStep> draw(const RandGaussianSmooth& o, RandomStream random, Index) {
  if (!fires(random, o.probability)) return {};
  return {{within(random, o.sigma_voxels), false, -1}};
}
inline std::vector<SmoothStep> draw(const GaussianBlurTransform& o, RandomStream random, Index channels) {
  std::vector<SmoothStep> steps;
  if (!fires(random, o.probability)) return steps;
  for (Index c = 0; c < channels; ++c) {
    const bool on = fires(random, o.channel_probability);
    const std::array<double, 3> sigma = within(random, all_axes(o.sigma_voxels));
    if (on) steps.push_back({sigma, true, c});
  }
  return steps;
}
inline std::vector<LowResolutionStep> draw(const SimulateLowResolutionTransform& o, RandomStream random, Index channels) {
  std::vector<LowResolutionStep> steps;
  if (!fires(random, o.probability)) return steps;
  for (Index c = 0; c < channels; ++c) {
    const bool on = fires(random, o.channel_probability);
    const double s = within(random, o.scale);
    if (on) steps.push_back({{o.scale_z ? s : 1, s, s}, c});
  }
  return steps;
}
inline std::vector<ZoomStep> draw(const RandZoom& o, RandomStream random, const Extent&) {
  if (!fires(random, o.probability)) return {};
  return {{within(random, o.zoom)}};
}

/// The nearest voxel of n on a grid of m, and back to n by linear interpolation. In float, as PyTorch: it decides which is
/// nearest.
inline AxisTaps low_resolution_taps(Index n, Index m) {
  if (m == n) return identity_taps(n);
  AxisTaps t{.count = 2};
  const float down = static_cast<float>(n) / static_cast<float>(m), up = static_cast<float>(m) / static_cast<float>(n);
  const auto source = [&](Index j) { return std::min(static_cast<Index>((static_cast<float>(j) + 0.5f) * down), n - 1); };
  for (Index i = 0; i < n; ++i) {
    const float at = std::max(up * (static_cast<float>(i) + 0.5f) - 0.5f, 0.f);
    const Index low = std::min(static_cast<Index>(at), m - 1), high = std::min(low + 1, m - 1);
    const float w = at - static_cast<float>(low);
    t.index.insert(t.index.end(), {source(low), source(high)});
    t.weight.insert(t.weight.end(), {1 - w, w});
  }
  return t;
}

/// A zoomed axis of m voxels, cut or repeated to n again: target voxel i is its voxel at(i). MONAI's crop and pad.
struct ZoomedAxis {
  sampling::AxisPair pair;

  ZoomedAxis(Index n, double zoom)
      : pair{n, std::max<Index>(static_cast<Index>(std::floor(static_cast<double>(n) * zoom)), 1)} {}
  Index at(Index i) const {
    const auto [n, m] = pair;
    return std::clamp<Index>(i + (m > n ? m / 2 - n / 2 : -((n - m) / 2)), 0, m - 1);
  }
};
/// Means over the voxels under each target voxel.
inline AxisTaps area_zoom_taps(Index n, double zoom) {
  const ZoomedAxis axis(n, zoom);
  if (axis.pair.m == n) return identity_taps(n);
  AxisTaps t{.count = sampling::longest_span(axis.pair)};
  for (Index i = 0; i < n; ++i) {
    const sampling::Span span = sampling::area_span(axis.pair, axis.at(i));
    for (Index k = 0; k < t.count; ++k) {
      const bool in = k < span.count();
      t.index.push_back(in ? span.begin + k : span.begin);
      t.weight.push_back(in ? 1 / static_cast<float>(span.count()) : 0);
    }
  }
  return t;
}
/// Nearest voxel of the same zoom, for labels: index only.
inline std::vector<Index> nearest_zoom(Index n, double zoom) {
  const ZoomedAxis axis(n, zoom);
  std::vector<Index> from;
  for (Index i = 0; i < n; ++i) from.push_back(sampling::nearest_index(axis.pair, axis.at(i)));
  return from;
}

inline void apply(const SmoothStep& step, Patch& patch) {
  std::array<AxisTaps, 3> taps;
  for (std::size_t d = 0; d < 3; ++d) {
    const std::vector<float> kernel = step.mirror ? sampled_kernel(step.sigma_voxels[d]) : erf_kernel(step.sigma_voxels[d], 4);
    taps[d] = d == 0 && flat(patch.size) ? identity_taps(1) : kernel_taps(kernel, patch.size[d], step.mirror);
  }
  filter(patch, taps, step.channel);
}
inline void apply(const LowResolutionStep& step, Patch& patch) {
  std::array<AxisTaps, 3> taps;
  for (std::size_t d = 0; d < 3; ++d) {
    const double m = std::nearbyint(static_cast<double>(patch.size[d]) * step.scale[d]);
    taps[d] = low_resolution_taps(patch.size[d], std::max<Index>(static_cast<Index>(m), 1));
  }
  filter(patch, taps, step.channel);
}
inline void apply(const ZoomStep& step, Patch& patch) {
  std::array<AxisTaps, 3> taps;
  for (std::size_t d = 0; d < 3; ++d)
    taps[d] = d == 0 && flat(patch.size) ? identity_taps(1) : area_zoom_taps(patch.size[d], step.zoom);
  filter(patch, taps, -1);
  if (patch.label.empty()) return;
  std::array<std::vector<Index>, 3> at;
  for (std::size_t d = 0; d < 3; ++d) at[d] = nearest_zoom(patch.size[d], d == 0 && flat(patch.size) ? 1 : step.zoom);
  patch.spare_label.resize(patch.label.size());
  std::uint8_t* to = patch.spare_label.data();
  for (Index z : at[0])
    for (Index y : at[1]) {
      const std::uint8_t* row = patch.label.data() + (z * patch.size[1] + y) * patch.size[2];
      for (Index x : at[2]) *to++ = row[x];
    }
  patch.label.swap(patch.spare_label);
}

}   // namespace augment
}   // namespace ctseg
