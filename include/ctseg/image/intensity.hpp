// CT numbers to network input: a window in Hounsfield units, or zero mean and unit deviation.
#pragma once
#include <algorithm>
#include <utility>

#include "../core/finite.hpp"
#include "volume.hpp"

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

/// The window as [0, 1], values outside clipped; NaN becomes 0. A volume that is passed with std::move is changed in place.
inline Volume<float> apply_window(Volume<float> ct, const WindowHu& window = {}) {
  check(window);
  const double scale = 1 / (window.high - window.low);
  for (float& v : ct.voxels())
    v = !is_nan(v) && v > window.low ? static_cast<float>(std::min((v - window.low) * scale, 1.0)) : 0.f;
  return ct;
}

/// (v - mean) / deviation over the whole volume; the deviation is the population's, a constant volume becomes 0.
/// Numerics  two passes in double, summed slice by slice: the bits do not depend on threads.
inline Volume<float> z_score(Volume<float> volume) {
  const Index slice = volume.shape().x * volume.shape().y;
  const auto mean_of = [&](auto&& term) {
    double total = 0;
    for (Index z = 0; z < volume.shape().z; ++z) {
      double sum = 0;
      for (Index i = 0; i < slice; ++i) sum += term(double{volume.data()[z * slice + i]});
      total += sum;
    }
    return total / static_cast<double>(volume.grid().voxels());
  };
  const double mean = mean_of([](double v) { return v; });
  const double deviation = std::sqrt(mean_of([&](double v) { return (v - mean) * (v - mean); }));
  const double scale = deviation > 0 ? 1 / deviation : 1;
  for (float& v : volume.voxels()) v = static_cast<float>((v - mean) * scale);
  return volume;
}

}   // namespace ctseg
