// Where windows lie and what their voxels weigh, by MONAI's and by nnU-Net's rules.
#pragma once
#include <algorithm>
#include <cmath>
#include <vector>

#include "../core/finite.hpp"
#include "../ops/axes.hpp"

namespace ctseg {

enum class Blend { gaussian, constant };
/// Whose steps and weights. monai: equal steps, the last one shorter, weights of 1e-3 or more. nnunet: steps spread evenly.
enum class WindowRule { monai, nnunet };
/// What a window sees around a volume that is smaller than it; the volume sits in its middle.
enum class WindowPadding { constant, reflect, replicate, circular };

template <int Dim> struct SlidingWindowOptions {
  Axes<Dim> window = 96;
  double overlap = 0.5;   // fraction of the window that neighbours share; nnU-Net's tile_step_size is 1 - overlap
  WindowRule rule = WindowRule::monai;
  Blend blend = Blend::gaussian;
  WindowPadding padding = WindowPadding::constant;
  float outside = 0;   // value of WindowPadding::constant
  Index batch = 1;     // windows per call of the network
};

struct WindowStep {
  double overlap = 0.5;
  WindowRule rule = WindowRule::monai;
};

/// First voxels of the windows along one axis.
/// Source    monai: step = int(window * (1 - overlap)), at least 1, the last window moved back to end with the volume
///           (dense_patch_slices). nnunet: n = ceil((extent - window) / (window * (1 - overlap))) + 1 windows at
///           round(i * (extent - window) / (n - 1)), halves to even (compute_steps_for_sliding_window).
inline std::vector<Index> window_starts(Index extent, Index window, const WindowStep& step) {
  if (extent <= window) return {0};
  std::vector<Index> starts;
  const auto size = static_cast<double>(window), room = static_cast<double>(extent - window);
  if (step.rule == WindowRule::nnunet) {
    const double share = std::nearbyint((1 - step.overlap) * 1e12) / 1e12;   // 1 - 0.7 is not 0.3, and ceil would notice
    const double steps = std::min(room, std::ceil(room / (size * share)));   // at most one window a voxel
    for (double i = 0; i <= steps; ++i) starts.push_back(static_cast<Index>(std::nearbyint(i * (room / steps))));
    return starts;
  }
  const Index by = std::max<Index>(1, static_cast<Index>(size * (1 - step.overlap)));
  for (Index s = 0; s + window < extent; s += by) starts.push_back(s);
  starts.push_back(extent - window);
  return starts;
}

/// The same by monai's rule.
inline std::vector<Index> window_starts(Index extent, Index window, double overlap) {
  return window_starts(extent, window, WindowStep{overlap, WindowRule::monai});
}

/// Weight of every voxel along one axis: a Gaussian of sigma window / 8 around the middle, monai's at (window - 1) / 2,
/// nnunet's at the voxel window / 2. (SciPy's filter, which nnU-Net asks, ends at 4 sigma: just outside the window.)
inline std::vector<float> blend_profile(Index window, Blend blend, WindowRule rule = WindowRule::monai) {
  std::vector<float> w(static_cast<std::size_t>(window), 1.f);
  const double sigma = 0.125 * static_cast<double>(window);
  const double middle = rule == WindowRule::nnunet ? static_cast<double>(window / 2) : static_cast<double>(window - 1) / 2;
  for (std::size_t i = 0; blend == Blend::gaussian && i < w.size(); ++i) {
    const double d = (static_cast<double>(i) - middle) / sigma;
    w[i] = static_cast<float>(std::exp(-0.5 * d * d));
  }
  return w;
}

namespace detail {

/// All windows of a volume in their order, z slowest. Two dimensions: windows of one slice, for every slice.
struct WindowGrid {
  std::array<Index, 3> image{1, 1, 1}, window{1, 1, 1};
  std::array<std::vector<Index>, 3> starts{{{0}, {0}, {0}}};
  std::array<std::vector<float>, 3> profile{{{1.f}, {1.f}, {1.f}}};
  float least = 0;   // weights are max(z * y * x, least)

  Index count(std::size_t axis) const { return std::ssize(starts[axis]); }
  Index windows() const { return count(0) * count(1) * count(2); }
  /// Numbers of the window along the axes.
  std::array<Index, 3> place(Index w) const { return {w / (count(1) * count(2)), w / count(2) % count(1), w % count(2)}; }
  std::array<Index, 3> start(Index w) const {
    const std::array<Index, 3> at = place(w);
    std::array<Index, 3> s{};
    for (std::size_t a = 0; a < 3; ++a) s[a] = starts[a][static_cast<std::size_t>(at[a])];
    return s;
  }
  bool padded() const {
    for (std::size_t a = 0; a < 3; ++a)
      if (image[a] < window[a]) return true;
    return false;
  }
};

/// Errors    bad_argument for an overlap outside [0, 1), windows or batches below 1.
template <int Dim> WindowGrid make_window_grid(const Shape<Dim>& image, const SlidingWindowOptions<Dim>& o) {
  if (!is_finite(o.overlap) || o.overlap < 0 || o.overlap >= 1)
    throw Error(Code::bad_argument, "sliding_window", text("overlap = ", o.overlap, "; must be at least 0 and below 1."));
  if (o.batch < 1) throw Error(Code::bad_argument, "sliding_window", text("batch = ", o.batch, "; must be 1 or more."));
  WindowGrid grid;
  if constexpr (Dim == 2) {
    grid.image[0] = image.n;
    grid.starts[0].resize(static_cast<std::size_t>(image.n));
    for (std::size_t z = 0; z < grid.starts[0].size(); ++z) grid.starts[0][z] = static_cast<Index>(z);
  }
  for (std::size_t d = 0; d < Dim; ++d) {
    const std::size_t a = d + 3 - Dim;
    if (o.window.value[d] < 1)
      throw Error(Code::bad_argument, "sliding_window", text("window ", o.window, "; must be 1 or more."));
    grid.image[a] = image.space[d];
    grid.window[a] = o.window.value[d];
    grid.starts[a] = window_starts(grid.image[a], grid.window[a], {o.overlap, o.rule});
    if (grid.image[a] < grid.window[a]) grid.starts[a] = {-((grid.window[a] - grid.image[a]) / 2)};
    grid.profile[a] = blend_profile(grid.window[a], o.blend, o.rule);
  }
  if (o.blend == Blend::gaussian && o.rule == WindowRule::monai) grid.least = 1e-3f;
  if (o.blend == Blend::gaussian && o.rule == WindowRule::nnunet)   // largest weight 10, which mattered to its halves
    for (float& w : grid.profile[2]) w *= 10;
  return grid;
}

/// Voxel of an axis of n voxels that a window sees at place p, which may lie outside; -1: none.
constexpr Index padded_at(Index p, Index n, WindowPadding padding) {
  if (p >= 0 && p < n) return p;
  if (padding == WindowPadding::constant) return -1;
  if (padding == WindowPadding::replicate || n == 1) return std::clamp<Index>(p, 0, n - 1);
  const Index period = padding == WindowPadding::circular ? n : 2 * (n - 1);
  const Index folded = ((p % period) + period) % period;
  return folded < n ? folded : period - folded;
}

}   // namespace detail

}   // namespace ctseg
