// Whether probabilities mean what they say: of the voxels that were given 80 %, are 80 % foreground?
#pragma once
#include <cmath>
#include <cstdint>
#include <limits>
#include <span>
#include <vector>

#include "../core/finite.hpp"
#include "../core/shape.hpp"

namespace ctseg {

/// What is held against what.
enum class Reliability {
  probability,   // a voxel's probability against whether it is foreground (MONAI's calibration_binning)
  confidence,    // that of the likelier side (0.5 to 1) against whether that side is right (Guo et al.)
};
inline std::string text(Reliability r) { return r == Reliability::probability ? "probability" : "confidence"; }

struct CalibrationOptions {
  int bins = 15;   // of equal width; each holds its upper end, the first 0 too
  Reliability reliability = Reliability::probability;
  std::uint8_t label = 1;
};

/// One bar of the reliability diagram. Means of nothing are NaN.
struct CalibrationBin {
  Index count = 0;
  double mean_probability = 0, mean_truth = 0;
};
struct Calibration {
  std::vector<CalibrationBin> bins;
  double ece = 0;     // expected calibration error: |mean probability - mean truth|, weighted by counts
  double mce = 0;     // maximal: the largest of them
  double brier = 0;   // mean of (probability - truth)^2, of the foreground in either case
  double nll = 0;     // mean of -log of the probability of what is true, at least 1e-7
};

/// Calibration of the probability of one label.
/// Numerics  sums in double, in the order of memory. No voxels: all NaN.
/// Errors    shape_mismatch if the spans differ in length; bad_argument for bins beyond 1 .. 10000; bad_input for a
///           probability that is not 0 to 1.
/// Source    Guo et al., On calibration of modern neural networks, ICML 2017; Brier, Monthly Weather Review 78(1), 1950.
inline Calibration calibration(std::span<const float> probability, std::span<const std::uint8_t> truth,
                               const CalibrationOptions& options = {}) {
  if (probability.size() != truth.size())
    throw Error(Code::shape_mismatch, "calibration",
                text(probability.size(), " probabilities and ", truth.size(), " voxels of the truth; they must match."));
  if (options.bins < 1 || options.bins > 10000)
    throw Error(Code::bad_argument, "calibration", text("bins = ", options.bins, "; must be 1 to 10000."));
  constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
  Calibration out;
  out.bins.resize(static_cast<std::size_t>(options.bins));
  for (std::size_t i = 0; i < truth.size(); ++i) {
    const double p = double{probability[i]};
    if (!is_finite(probability[i]) || p < 0 || p > 1)
      throw Error(Code::bad_input, "calibration",
                  text("probability ", i, " is ", p, "; must be 0 to 1. Hint: softmax or sigmoid first."));
    const bool is = truth[i] == options.label;
    out.brier += (p - is) * (p - is);
    out.nll -= std::log(std::max(is ? p : 1 - p, 1e-7));
    const bool side = options.reliability == Reliability::confidence && p < 0.5;   // the background is likelier
    const double q = side ? 1 - p : p;
    const int bin = std::max(0, static_cast<int>(std::ceil(q * options.bins)) - 1);
    CalibrationBin& b = out.bins[static_cast<std::size_t>(bin)];
    ++b.count;
    b.mean_probability += q;
    b.mean_truth += options.reliability == Reliability::probability ? is : is != side;
  }
  const double all = truth.empty() ? kNan : static_cast<double>(truth.size());
  for (CalibrationBin& b : out.bins) {
    const double count = b.count ? static_cast<double>(b.count) : kNan;
    b.mean_probability /= count, b.mean_truth /= count;
    if (b.count == 0) continue;
    const double gap = std::abs(b.mean_probability - b.mean_truth);
    out.ece += gap * count / all;
    out.mce = std::max(out.mce, gap);
  }
  out.brier /= all, out.nll /= all;
  if (truth.empty()) out.ece = out.mce = kNan;
  return out;
}

}   // namespace ctseg
