// Filters along each axis: Gaussian blurs, and resizes whose taps are a table per axis (zoom, simulated low resolution).
// A slice is filtered along z, then y, then x while it is in the cache.
#pragma once
#include <cmath>

#include "../../image/sampling_rules.hpp"
#include "patch.hpp"

namespace ctseg::augment {

/// For each target index of an axis, which source indices it reads and with what weights: `count` of each; weight 0 where it
/// reads fewer, and -1 for an index that stands for zero.
struct AxisTaps {
  Index count = 1;
  std::vector<Index> index{};
  std::vector<float> weight{};

  Index size() const { return static_cast<Index>(index.size()) / count; }
  bool identity() const {
    for (Index i = 0; i < size(); ++i)
      if (count != 1 || index[static_cast<std::size_t>(i)] != i || weight[static_cast<std::size_t>(i)] != 1) return false;
    return true;
  }
};
inline AxisTaps identity_taps(Index n) {
  AxisTaps t;
  for (Index i = 0; i < n; ++i) t.index.push_back(i);
  t.weight.assign(static_cast<std::size_t>(n), 1.f);
  return t;
}

/// A symmetric kernel of odd length; beyond the border zeros, or the image mirrored about the border voxel.
inline AxisTaps kernel_taps(const std::vector<float>& kernel, Index n, bool mirror) {
  AxisTaps t{.count = static_cast<Index>(kernel.size())};
  const Index half = t.count / 2;
  for (Index i = 0; i < n; ++i)
    for (Index k = -half; k <= half; ++k) {
      Index at = i + k;
      if (mirror && n > 1) {
        at = at < 0 ? -at : at;
        at %= 2 * (n - 1);
        at = at < n ? at : 2 * (n - 1) - at;
      } else if (mirror) {
        at = 0;
      }
      t.index.push_back(at >= 0 && at < n ? at : -1);
      t.weight.push_back(kernel[static_cast<std::size_t>(k + half)]);
    }
  return t;
}

/// MONAI's kernel: the Gaussian integrated over each voxel, cut off at `truncated` sigmas and not normalised again.
inline std::vector<float> erf_kernel(double sigma, double truncated) {
  const auto tail = static_cast<Index>(std::max(sigma * truncated, 0.5) + 0.5);
  const double t = 0.70710678 / std::abs(sigma);
  std::vector<float> kernel;
  for (Index i = -tail; i <= tail; ++i) {
    const auto x = static_cast<double>(i);
    kernel.push_back(static_cast<float>(std::max(0.5 * (std::erf(t * (x + 0.5)) - std::erf(t * (x - 0.5))), 0.0)));
  }
  return kernel;
}

/// nnU-Net's kernel: the Gaussian at the voxel centres, normalised; its length is the odd number next to 6 sigma + 0.5.
inline std::vector<float> sampled_kernel(double sigma) {
  if (!(sigma > 0)) return {1};   // no blur
  const double n = sigma * 6 + 0.5;
  auto length = static_cast<Index>(std::nearbyint(n));
  if (length % 2 == 0) length += n >= static_cast<double>(length) ? 1 : -1;
  std::vector<float> kernel;
  double sum = 0;
  for (Index i = 0; i < length; ++i) {
    const double x = (static_cast<double>(i) - static_cast<double>(length - 1) / 2) / sigma;
    kernel.push_back(static_cast<float>(std::exp(-0.5 * x * x)));
    sum += double{kernel.back()};
  }
  for (float& k : kernel) k = static_cast<float>(double{k} / sum);
  return kernel;
}

/// Runs three tables over one channel. to and from do not overlap; both have the patch's extent.
class SeparableFilter {
 public:
  SeparableFilter(const Extent& size, std::array<AxisTaps, 3> taps, Isa isa)
      : size_(size), taps_{std::move(taps[0]), std::move(taps[1]), std::move(taps[2])}, kernels_(kernels(isa)) {
    const auto slice = static_cast<std::size_t>(size[1] * size[2]);
    a_.resize(slice);
    b_.resize(slice);
    regular_ = regular(taps_[2]);
    for (Index k = 0; k < taps_[2].count && !regular_; ++k)
      for (Index i = 0; i < size[2]; ++i) {
        const auto from = static_cast<std::size_t>(i * taps_[2].count + k);
        const Index at = taps_[2].taps.index[from];
        at_.push_back(static_cast<std::int32_t>(std::max<Index>(at, 0)));
        share_.push_back(at < 0 ? 0 : taps_[2].taps.weight[from]);
      }
    row_.resize(static_cast<std::size_t>(size[2] + 2 * taps_[2].count));
    rows_.resize(static_cast<std::size_t>(std::max({taps_[0].count, taps_[1].count, taps_[2].count})));
    weights_.resize(rows_.size());
  }

  void run(const float* from, float* to) {
    const Index slice = size_[1] * size_[2];
    for (Index z = 0; z < size_[0]; ++z) {
      const float* in = from + z * slice;
      if (!taps_[0].identity_) in = gather(taps_[0].taps, {from, slice, a_.data()}, z);
      float* out = to + z * slice;
      if (taps_[1].identity_ && taps_[2].identity_) {
        std::copy_n(in, slice, out);
        continue;
      }
      for (Index y = 0; y < size_[1]; ++y) {
        const float* row = in + y * size_[2];
        if (!taps_[1].identity_) row = gather(taps_[1].taps, {in, size_[2], b_.data() + y * size_[2]}, y);
        along_x(row, out + y * size_[2]);
      }
    }
  }

 private:
  struct Axis {
    AxisTaps taps;
    Index count;
    bool identity_;
    Axis(AxisTaps t) : taps(std::move(t)), count(taps.count), identity_(taps.identity()) {}
  };
  struct Lines {
    const float* from;
    Index length;   // of a line; lines follow one another
    float* to;
  };

  const float* gather(const AxisTaps& taps, const Lines& lines, Index i) {
    Index n = 0;
    for (Index k = 0; k < taps.count; ++k) {
      const auto at = static_cast<std::size_t>(i * taps.count + k);
      if (taps.index[at] < 0 || taps.weight[at] == 0) continue;
      rows_[static_cast<std::size_t>(n)] = lines.from + taps.index[at] * lines.length;
      weights_[static_cast<std::size_t>(n++)] = taps.weight[at];
    }
    kernels_.combine({rows_.data(), weights_.data(), n}, lines.to, lines.length);
    return lines.to;
  }

  /// True if every target reads the same weights around itself: then a padded row slides under the kernel.
  static bool regular(const Axis& axis) {
    const AxisTaps& t = axis.taps;
    const Index half = t.count / 2;
    if (t.count % 2 == 0 || t.count == 1) return false;
    for (Index i = 0; i < t.size(); ++i)
      for (Index k = 0; k < t.count; ++k) {
        const auto at = static_cast<std::size_t>(i * t.count + k);
        const Index straight = i + k - half;
        if (t.weight[at] != t.weight[static_cast<std::size_t>(k)]) return false;
        if (straight >= 0 && straight < t.size() && t.index[at] != straight) return false;
      }
    return true;
  }

  void along_x(const float* row, float* to) {
    const AxisTaps& t = taps_[2].taps;
    const Index n = size_[2], half = t.count / 2;
    if (taps_[2].identity_) {
      std::copy_n(row, n, to);
      return;
    }
    if (!regular_) {
      std::fill_n(to, n, 0.f);
      for (Index k = 0; k < t.count; ++k) {
        const std::int32_t* at = at_.data() + k * n;
        const float* w = share_.data() + k * n;
        for (Index i = 0; i < n; ++i) to[i] += w[i] * row[at[i]];
      }
      return;
    }
    const auto value = [&](Index i, Index k) {
      const Index at = t.index[static_cast<std::size_t>(i * t.count + k)];
      return at < 0 ? 0.f : row[at];
    };
    float* padded = row_.data();
    std::copy_n(row, n, padded + half);
    for (Index p = 0; p < half; ++p) {
      padded[p] = value(0, p);
      padded[n + half + p] = value(n - 1, half + 1 + p);
    }
    for (Index k = 0; k < t.count; ++k) {
      rows_[static_cast<std::size_t>(k)] = padded + k;
      weights_[static_cast<std::size_t>(k)] = t.weight[static_cast<std::size_t>(k)];
    }
    kernels_.combine({rows_.data(), weights_.data(), t.count}, to, n);
  }

  Extent size_;
  std::array<Axis, 3> taps_;
  const Kernels& kernels_;
  bool regular_ = false;
  std::vector<float> a_, b_, row_, weights_;
  std::vector<float> share_;   // this and at_: the kernel along x tap by tap, where it is not the same everywhere
  std::vector<std::int32_t> at_;
  std::vector<const float*> rows_;
};

/// Filters channels first .. last of the patch; the others stay.
inline void filter(Patch& patch, const std::array<AxisTaps, 3>& taps, Index channel) {
  SeparableFilter f(patch.size, {taps[0], taps[1], taps[2]}, patch.isa);
  patch.spare_image.resize(patch.image.size());
  const Index n = patch.voxels();
  for (Index c = 0; c < patch.channels; ++c)
    if (channel < 0 || c == channel)
      f.run(patch.channel(c), patch.spare_image.data() + c * n);
    else
      std::copy_n(patch.channel(c), n, patch.spare_image.data() + c * n);
  patch.image.swap(patch.spare_image);
}

}   // namespace ctseg::augment
