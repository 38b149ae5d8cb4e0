// CT numbers to network input: windows, ranges, zero mean and unit deviation. A volume that is passed with std::move is changed
// in place. NaN voxels count in no statistic and stay NaN, except that a window turns them into 0. The functions are templates
// with nothing to vary: who includes them and does not call them compiles none of it.
#pragma once
#include <algorithm>
#include <limits>
#include <utility>

#include "../core/finite.hpp"
#include "taps.hpp"

namespace ctseg {

/// The range of CT numbers that fills black to white. Default: abdominal soft tissue (centre 40, width 400).
struct WindowHu {
  double low = -160, high = 240;
};
inline void check(const WindowHu& window) {
  if (!is_finite(window.low) || !is_finite(window.high) || window.low >= window.high)
    throw Error(Code::bad_argument, "window_hu",
                text("from ", window.low, " to ", window.high, "; low must be below high, both finite."));
}

namespace intensity {

template <class F> void each_voxel(Volume<float>& volume, Executor* executor, F&& f) {
  const Index slice = volume.shape().x * volume.shape().y;
  resampling::for_tasks(executor, volume.shape().z, [&](Index z) {
    float* const at = volume.data() + z * slice;
    for (Index i = 0; i < slice; ++i) at[i] = static_cast<float>(f(at[i], z * slice + i));
  });
}
/// The same for those that are not NaN, in double.
template <class F> void each_number(Volume<float>& volume, Executor* executor, F&& f) {
  each_voxel(volume, executor, [&](const float& v, Index i) { return is_nan(v) ? v : static_cast<float>(f(double{v}, i)); });
}

struct Moments {
  double count = 0, sum = 0;
};
/// Sums of term(v) over the voxels that chosen(v, i) names, slice by slice: the bits do not depend on threads.
template <class Chosen, class Term>
Moments sum_of(const Volume<float>& volume, Executor* executor, const Chosen& chosen, const Term& term) {
  const Index slice = volume.shape().x * volume.shape().y;
  std::vector<Moments> parts(static_cast<std::size_t>(volume.shape().z));
  resampling::for_tasks(executor, volume.shape().z, [&](Index z) {
    Moments part;
    for (Index i = z * slice; i < (z + 1) * slice; ++i)
      if (const float& v = volume.data()[i]; chosen(v, i)) part.sum += term(double{v}), part.count += 1;
    parts[static_cast<std::size_t>(z)] = part;
  });
  Moments all;
  for (const Moments& part : parts) all.sum += part.sum, all.count += part.count;
  return all;
}

}   // namespace intensity

/// The window as [0, 1], values outside clipped; NaN becomes 0.
template <class = void>
Volume<float> apply_window(Volume<float> ct, const WindowHu& window = {}, Executor* executor = nullptr) {
  check(window);
  const double low = window.low, scale = 1 / (window.high - window.low);
  intensity::each_voxel(ct, executor, [=](const float& v, Index) {
    return !is_nan(v) && double{v} > low ? std::min((double{v} - low) * scale, 1.0) : 0.0;
  });
  return ct;
}

/// MONAI's ScaleIntensityRange: (v - a_min) / (a_max - a_min) * (b_max - b_min) + b_min; a_min = a_max only shifts.
struct ScaleIntensityRange {
  double a_min = 0, a_max = 1, b_min = 0, b_max = 1;
  bool clip = false;   // to [b_min, b_max]
};
template <class = void>
Volume<float> scale_intensity_range(Volume<float> volume, const ScaleIntensityRange& r, Executor* executor = nullptr) {
  if (r.a_min == r.a_max) {
    intensity::each_number(volume, executor, [&](double v, Index) { return v - r.a_min + r.b_min; });
    return volume;
  }
  const double scale = (r.b_max - r.b_min) / (r.a_max - r.a_min);
  const double low = r.clip ? r.b_min : -std::numeric_limits<double>::infinity();
  const double high = r.clip ? r.b_max : std::numeric_limits<double>::infinity();
  intensity::each_number(volume, executor,
                         [&](double v, Index) { return std::min(std::max((v - r.a_min) * scale + r.b_min, low), high); });
  return volume;
}

/// MONAI's ScaleIntensity: the volume's own range becomes [minv, maxv] (a constant volume becomes v * minv, as there).
struct ScaleIntensity {
  double minv = 0, maxv = 1;
};
template <class = void>
Volume<float> scale_intensity(Volume<float> volume, const ScaleIntensity& to = {}, Executor* executor = nullptr) {
  float low = std::numeric_limits<float>::infinity(), high = -low;
  for (const float& v : volume.voxels())
    if (!is_nan(v)) low = std::min(low, v), high = std::max(high, v);
  if (!(low < high)) {
    intensity::each_number(volume, executor, [&](double v, Index) { return v * to.minv; });
    return volume;
  }
  return scale_intensity_range(std::move(volume), {double{low}, double{high}, to.minv, to.maxv}, executor);
}

/// Which voxels a z-score counts and changes: all; those that are not exactly 0 (MONAI's NormalizeIntensity(nonzero=True));
/// those where a mask is not 0 (nnU-Net after a crop to the nonzero region).
enum class Voxels { all, nonzero, mask };
struct ZScore {
  Voxels voxels = Voxels::all;
  const Volume<std::uint8_t>* mask = nullptr;   // for Voxels::mask; as a step of preprocessing it is the mask of CropNonzero
};

/// (v - mean) / deviation; the deviation is the population's, values that are all the same become 0. The other voxels stay.
/// Numerics  two passes in double, summed slice by slice: the bits do not depend on threads.
/// Errors    shape_mismatch for a mask of another shape; bad_argument for Voxels::mask without one.
template <class = void> Volume<float> z_score(Volume<float> volume, const ZScore& options = {}, Executor* executor = nullptr) {
  const std::uint8_t* mask = nullptr;
  if (options.voxels == Voxels::mask) {
    if (!options.mask) throw Error(Code::bad_argument, "z_score", "Voxels::mask without a mask. Hint: set ZScore::mask.");
    if (!(options.mask->shape() == volume.shape()))
      throw Error(Code::shape_mismatch, "z_score",
                  text("the mask has ", options.mask->shape(), " voxels, the volume ", volume.shape(), "."));
    mask = options.mask->data();
  }
  const bool nonzero = options.voxels == Voxels::nonzero;
  const auto counts = [=](Index i, double v) { return (!nonzero || v != 0) && (!mask || mask[i] != 0); };
  const auto chosen = [&](const float& v, Index i) { return !is_nan(v) && counts(i, double{v}); };
  const auto mean_of = [&](auto&& term) {
    const intensity::Moments m = intensity::sum_of(volume, executor, chosen, term);
    return m.count > 0 ? m.sum / m.count : 0;
  };
  const double mean = mean_of([](double v) { return v; });
  const double deviation = std::sqrt(mean_of([=](double v) { return (v - mean) * (v - mean); }));
  const double scale = deviation > 0 ? 1 / deviation : 1;
  intensity::each_number(volume, executor, [&](double v, Index i) { return counts(i, v) ? (v - mean) * scale : v; });
  return volume;
}

/// nnU-Net's CT normalisation: clipped to [low, high], then (v - mean) / deviation, with numbers of the whole data set
/// (ct_normalization() of its fingerprint). Without limits it is MONAI's NormalizeIntensity(subtrahend, divisor).
struct CtNormalization {
  double mean = 0, deviation = 1;
  double low = -std::numeric_limits<double>::infinity(), high = std::numeric_limits<double>::infinity();
};
template <class = void> Volume<float> normalize_ct(Volume<float> ct, const CtNormalization& n, Executor* executor = nullptr) {
  if (!(n.low <= n.high) || !(n.deviation >= 0))
    throw Error(Code::bad_argument, "normalize_ct",
                text("low = ", n.low, ", high = ", n.high, ", deviation = ", n.deviation,
                     "; low must not be above high, the deviation not below 0."));
  const double scale = 1 / std::max(n.deviation, 1e-8);
  intensity::each_number(ct, executor,
                         [&](double v, Index) { return (std::min(std::max(v, n.low), n.high) - n.mean) * scale; });
  return ct;
}

}   // namespace ctseg
