// How well two label maps agree: exact counts of voxels, then one division in double. What a score means when a label is
// absent is an explicit choice, because toolkits differ there and the difference hides false alarms.
#pragma once
#include <array>
#include <cmath>
#include <cstdint>
#include <limits>
#include <span>
#include <vector>

#include "../core/finite.hpp"
#include "../image/volume.hpp"

namespace ctseg {

/// Dice and IoU where the truth has no voxel of the label (a missed label scores 0 under every policy).
enum class EmptyPolicy {
  nan,        // NaN, whatever was predicted: such a case says nothing (MONAI's default)
  one_zero,   // 1 if nothing was predicted either, else 0
  nnunet,     // NaN if nothing was predicted either, else 0: false alarms count
};
inline std::string text(EmptyPolicy e) {
  return e == EmptyPolicy::nan ? "nan" : e == EmptyPolicy::one_zero ? "one_zero" : "nnunet";
}

/// The four counts of one label, and the scores that follow from them. A score without a denominator is NaN.
struct Overlap {
  Index tp = 0, fp = 0, fn = 0, tn = 0;

  double dice(EmptyPolicy policy = EmptyPolicy::nan) const { return score(2 * tp, 2 * tp + fp + fn, policy); }
  double iou(EmptyPolicy policy = EmptyPolicy::nan) const { return score(tp, tp + fp + fn, policy); }
  double sensitivity() const { return ratio(tp, tp + fn); }
  double specificity() const { return ratio(tn, tn + fp); }
  double precision() const { return ratio(tp, tp + fp); }
  double accuracy() const { return ratio(tp + tn, tp + fp + fn + tn); }
  bool operator==(const Overlap&) const = default;

 private:
  static double ratio(Index part, Index whole) {
    return whole > 0 ? static_cast<double>(part) / static_cast<double>(whole) : std::numeric_limits<double>::quiet_NaN();
  }
  double score(Index part, Index whole, EmptyPolicy policy) const {
    if (tp + fn > 0) return ratio(part, whole);
    if (policy == EmptyPolicy::nan || (policy == EmptyPolicy::nnunet && fp == 0)) return ratio(0, 0);
    return fp == 0 ? 1.0 : 0.0;
  }
};

/// Overlap of every label 0 .. labels - 1, in one pass; element i is label i.
/// Errors    shape_mismatch if the spans differ in length; bad_argument unless labels is 1 .. 256.
inline std::vector<Overlap> overlap_table(std::span<const std::uint8_t> prediction, std::span<const std::uint8_t> truth,
                                          int labels) {
  if (prediction.size() != truth.size())
    throw Error(Code::shape_mismatch, "overlap",
                text("the prediction has ", prediction.size(), " voxels, the truth has ", truth.size(), "; they must match."));
  if (labels < 1 || labels > 256) throw Error(Code::bad_argument, "overlap", text(labels, " labels; 1 to 256 can be counted."));
  std::array<Index, 256> predicted{}, present{}, both{};
  for (std::size_t i = 0; i < truth.size(); ++i) {
    ++predicted[prediction[i]];
    ++present[truth[i]];
    both[truth[i]] += prediction[i] == truth[i];
  }
  const Index voxels = static_cast<Index>(truth.size());
  std::vector<Overlap> table(static_cast<std::size_t>(labels));
  for (std::size_t l = 0; l < table.size(); ++l)
    table[l] = {.tp = both[l],
                .fp = predicted[l] - both[l],
                .fn = present[l] - both[l],
                .tn = voxels - predicted[l] - present[l] + both[l]};
  return table;
}

/// An error unless two volumes lie on one grid, to a thousandth of a voxel.
template <class A, class B> void check_same_grid(const Volume<A>& prediction, const Volume<B>& truth, std::string_view where) {
  const Grid &p = prediction.grid(), &t = truth.grid();
  if (same_grid(p, t)) return;
  if (!(p.shape == t.shape))
    throw Error(Code::shape_mismatch, where,
                text("the first volume (prediction) has ", p.shape, " voxels, the second (truth) ", t.shape,
                     "; both must lie on one grid. Hint: resample the first onto the second's grid."));
  const auto place = [](const Grid& g) {
    const Point<Ras> o = g.affine(0, 0, 0);
    return text("spacing ", g.spacing_mm(), " mm, first voxel at (", o.x, ", ", o.y, ", ", o.z, ") mm RAS");
  };
  throw Error(Code::shape_mismatch, where,
              text("the first volume (prediction) has ", place(p), ", the second (truth) ", place(t), ", or other directions; ",
                   "every corner must agree to 0.001 voxels. Hint: resample the first onto the second's grid."));
}

/// The same for volumes.
/// Errors    shape_mismatch unless both lie on one grid, to a thousandth of a voxel.
inline std::vector<Overlap> overlap_table(const Volume<std::uint8_t>& prediction, const Volume<std::uint8_t>& truth,
                                          int labels) {
  check_same_grid(prediction, truth, "overlap");
  return overlap_table(std::span(prediction.voxels()), std::span(truth.voxels()), labels);
}

/// Overlap of one label.
inline Overlap overlap(std::span<const std::uint8_t> prediction, std::span<const std::uint8_t> truth, std::uint8_t label = 1) {
  return overlap_table(prediction, truth, label + 1).back();
}
inline Overlap overlap(const Volume<std::uint8_t>& prediction, const Volume<std::uint8_t>& truth, std::uint8_t label = 1) {
  return overlap_table(prediction, truth, label + 1).back();
}
template <class A, class B>
Overlap overlap(const Volume<A>&, const Volume<B>&, std::uint8_t = 1) = delete;   // ctseg: labels are Volume<std::uint8_t>

/// Volume of a label in millilitres: voxels times the determinant of the affine, right for sheared grids too.
inline double volume_ml(const Volume<std::uint8_t>& mask, std::uint8_t label = 1) {
  Index voxels = 0;
  for (const std::uint8_t v : mask.voxels()) voxels += v == label;
  return static_cast<double>(voxels) * mask.affine().voxel_mm3() / 1000;
}

struct ThresholdOptions {
  std::uint8_t label = 1;
  bool one_sided = false;   // only ">= low" and "<= high"; else every interval
};
/// The interval of whole HU, both ends included, that scores best: voxels with low_hu <= floor(hu) <= high_hu.
struct ThresholdDice {
  double dice = 0;
  int low_hu = 0, high_hu = 0;
};
/// The best Dice that any window of HU reaches against the truth: the baseline that a network has to beat.
/// Numerics  Exhaustive over -1024 .. 3071 HU; voxels beyond (and NaN) count at the nearer end (the lower one).
/// Errors    shape_mismatch unless both lie on one grid; bad_input if the truth has no voxel of the label.
inline ThresholdDice best_threshold_dice(const Volume<float>& ct, const Volume<std::uint8_t>& truth,
                                         ThresholdOptions options = {}) {
  constexpr int kLow = -1024, kBins = 4096;
  check_same_grid(ct, truth, "best_threshold_dice");
  std::vector<Index> inside(kBins + 1), all(kBins + 1);   // [b]: voxels below bin b, once summed
  for (std::size_t i = 0; i < ct.voxels().size(); ++i) {
    const float hu = ct.voxels()[i];
    const int bin = is_nan(hu) || hu < kLow ? 0 : hu >= kLow + kBins ? kBins - 1 : static_cast<int>(std::floor(hu)) - kLow;
    ++all[static_cast<std::size_t>(bin) + 1];
    inside[static_cast<std::size_t>(bin) + 1] += truth.voxels()[i] == options.label;
  }
  for (std::size_t b = 0; b < kBins; ++b) all[b + 1] += all[b], inside[b + 1] += inside[b];
  const Index wanted = inside[kBins];
  if (wanted == 0)
    throw Error(Code::bad_input, "best_threshold_dice", text("the truth has no voxel of label ", int{options.label}, "."));
  ThresholdDice best;
  const auto offer = [&](int low, int high) {
    const std::size_t l = static_cast<std::size_t>(low), h = static_cast<std::size_t>(high) + 1;
    const double dice = 2.0 * static_cast<double>(inside[h] - inside[l]) / static_cast<double>(all[h] - all[l] + wanted);
    if (dice > best.dice) best = {.dice = dice, .low_hu = low + kLow, .high_hu = high + kLow};
  };
  for (int low = 0; low < kBins; ++low)
    for (int high = options.one_sided && low > 0 ? kBins - 1 : low; high < kBins; ++high) offer(low, high);
  return best;
}

}   // namespace ctseg
