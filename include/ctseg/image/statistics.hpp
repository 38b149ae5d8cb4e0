// Percentiles, and the intensity fingerprint of a data set's foreground, from which nnU-Net's CT normalisation is made.
#pragma once
#include <span>

#include "intensity.hpp"

namespace ctseg {

/// Percentiles of values, q in [0, 100], by numpy's linear rule: at (n - 1) q / 100 between the sorted values.
/// Cost      selection, not sorting: about n log(number of q).
/// Errors    bad_argument without values, for NaN among them, or for a q outside [0, 100].
template <class = void> std::vector<double> percentiles(std::vector<float> values, std::span<const double> q) {
  for (const double& p : q)   // first: a NaN cannot be sorted
    if (values.empty() || !is_finite(p) || p < 0 || p > 100)
      throw Error(Code::bad_argument, "percentiles",
                  text("q = ", p, " of ", values.size(), " values; must be 0 to 100 of some."));
  for (const float& v : values)
    if (is_nan(v)) throw Error(Code::bad_argument, "percentiles", "NaN among the values; drop them first.");
  std::vector<double> out(q.size());
  std::vector<std::size_t> order(q.size());
  for (std::size_t i = 0; i < q.size(); ++i) order[i] = i;
  std::sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) { return q[a] < q[b]; });
  auto done = values.begin();   // everything before is in its place
  const auto value_at = [&](Index i) {
    const auto at = values.begin() + i;
    if (at >= done) std::nth_element(done, at, values.end()), done = at + 1;
    return double{*at};
  };
  for (const std::size_t i : order) {
    const double at = static_cast<double>(values.size() - 1) * (q[i] / 100), below = std::floor(at);
    const double a = value_at(static_cast<Index>(below)), t = at - below;
    out[i] = t > 0 ? a + (value_at(static_cast<Index>(below) + 1) - a) * t : a;
  }
  return out;
}
template <class = void> std::vector<double> percentiles(const Volume<float>& volume, std::span<const double> q) {
  return percentiles(volume.voxels(), q);
}

/// What nnU-Net's fingerprint says of the foreground's values.
struct IntensityStatistics {
  double mean = 0, median = 0, deviation = 0, min = 0, max = 0, percentile_00_5 = 0, percentile_99_5 = 0;
};
/// Of the values of all cases together; the deviation is the population's.
template <class = void> IntensityStatistics intensity_statistics(const std::vector<float>& values) {
  const double q[] = {0, 0.5, 50, 99.5, 100};
  const std::vector<double> p = percentiles(values, q);
  const double n = static_cast<double>(values.size());
  double sum = 0, squares = 0;
  for (const float v : values) sum += double{v};
  for (const float v : values) squares += (double{v} - sum / n) * (double{v} - sum / n);
  return {sum / n, p[2], std::sqrt(squares / n), p[0], p[4], p[1], p[3]};
}
template <class = void> CtNormalization ct_normalization(const IntensityStatistics& s) {
  return {.mean = s.mean, .deviation = s.deviation, .low = s.percentile_00_5, .high = s.percentile_99_5};
}

/// The foreground of a data set, case by case.
class IntensityFingerprint {
 public:
  /// Of a case with more foreground than `per_case` that many voxels are taken, evenly spread over it in the order of memory
  /// (nnU-Net draws them at random).
  explicit IntensityFingerprint(Index per_case = 1'000'000) : per_case_(per_case) {}

  /// The CT numbers where labels are above 0, NaN left out.
  /// Errors    shape_mismatch if the two differ in shape.
  template <class T> void add(const Volume<float>& ct, const Volume<T>& labels) {
    if (!(ct.shape() == labels.shape()))
      throw Error(Code::shape_mismatch, "fingerprint",
                  text("a scan of ", ct.shape(), " voxels, labels of ", labels.shape(), "."));
    const auto counts = [&](std::size_t i) { return labels.voxels()[i] > T(0) && !is_nan(ct.voxels()[i]); };
    Index found = 0, seen = 0, taken = 0;
    for (std::size_t i = 0; i < ct.voxels().size(); ++i) found += counts(i);
    const Index wanted = std::min(found, per_case_);
    for (std::size_t i = 0; i < ct.voxels().size() && taken < wanted; ++i)
      if (counts(i) && ++seen * wanted >= (taken + 1) * found) values_.push_back(ct.voxels()[i]), ++taken;
  }
  const std::vector<float>& values() const { return values_; }
  IntensityStatistics statistics() const { return intensity_statistics(values_); }

 private:
  Index per_case_;
  std::vector<float> values_;
};

}   // namespace ctseg
