// From a voxel's scores to its label, and where that label is certain: if the same class wins at all neighbours by more than
// rounding, it wins wherever one interpolates between them, and no channel has to be interpolated there.
#pragma once
#include <cstdint>
#include <limits>
#include <string_view>
#include <vector>

#include "../core/finite.hpp"
#include "scores.hpp"

namespace ctseg {

/// argmax     the channel with the largest score, the lowest of equals; a single channel decides by the threshold
/// threshold  every channel on its own: the last one whose probability is above the threshold, 0 if none is (nnU-Net's regions)
enum class Decide { argmax, threshold };

/// How scores become labels.
struct DecisionOptions {
  Decide decide = Decide::argmax;
  double threshold = 0.5;        // a probability
  std::vector<Index> labels{};   // of each channel; empty: 0, 1, 2 ... of argmax, 1, 2 ... of threshold
};

/// A rule for voxels of so many channels. It says who wins: with argmax the channel, with thresholds the channel + 1, or 0.
class Decision {
 public:
  static constexpr std::uint16_t kUncertain = 0xffff;

  Decision(Index channels, Scores scores, const DecisionOptions& o)
      : channels_(channels), by_threshold_(o.decide == Decide::threshold || channels == 1) {
    if (channels < 1 || channels >= kUncertain)
      throw Error(Code::bad_argument, "decision", text(channels, " channels; must be 1 to ", kUncertain - 1, "."));
    if (!(is_finite(o.threshold) && o.threshold > 0 && o.threshold < 1))
      throw Error(Code::bad_argument, "decision", text("threshold = ", o.threshold, "; a probability above 0 and below 1."));
    if (!o.labels.empty() && std::ssize(o.labels) != channels)
      throw Error(Code::bad_argument, "decision",
                  text(o.labels.size(), " labels for ", channels, " channels; must be one for each channel, or none."));
    threshold_ = static_cast<float>(scores == Scores::logits ? std::log(o.threshold / (1 - o.threshold)) : o.threshold);
    if (by_threshold_) labels_.push_back(0);
    for (Index c = 0; c < channels; ++c)
      labels_.push_back(o.labels.empty() ? c + by_threshold_ : o.labels[static_cast<std::size_t>(c)]);
  }
  Index channels() const { return channels_; }
  bool by_threshold() const { return by_threshold_; }
  float threshold() const { return threshold_; }   // on the scores' scale

  /// The labels of all winners.
  /// Errors    unsupported for one that does not fit Label.
  template <class Label> std::vector<Label> labels() const {
    for (const Index label : labels_)
      if (label < 0 || label > Index{std::numeric_limits<Label>::max()})
        throw Error(
            Code::unsupported, "decision",
            text("label ", label, " (", channels_, " channels) does not fit labels of ", sizeof(Label), " byte(s), 0 to ",
                 Index{std::numeric_limits<Label>::max()}, ". Hint: labels of std::uint16_t hold 65535."));
    return {labels_.begin(), labels_.end()};
  }

  std::uint16_t winner(const float* v) const {
    if (!by_threshold_) return static_cast<std::uint16_t>(std::max_element(v, v + channels_) - v);
    Index c = channels_;
    while (c > 0 && !(v[c - 1] > threshold_)) --c;
    return static_cast<std::uint16_t>(c);
  }
  /// The winner, kUncertain if rounding could make it another one, or if a value that decides is not finite.
  std::uint16_t certain_winner(const float* v) const { return by_threshold_ ? certain_above(v) : certain_largest(v); }

 private:
  // Interpolating in double and rounding to float moves a value by less than 2^-21 of the largest neighbour.
  static constexpr float kSure = 0x1p-20f, kTiny = 1e-36f;

  std::uint16_t certain_largest(const float* v) const {
    float best = v[0], second = std::numeric_limits<float>::lowest(), lowest = v[0];
    Index top = 0;
    bool finite = is_finite(v[0]);
    for (Index c = 1; c < channels_; ++c) {
      const float value = v[c];
      finite = finite && is_finite(v[c]);
      if (value > best) {
        second = best, best = value, top = c;
      } else {
        second = std::max(second, value);
        lowest = std::min(lowest, value);
      }
    }
    const bool sure = finite && best - second > kSure * std::max(std::abs(best), std::abs(lowest)) + kTiny;
    return sure ? static_cast<std::uint16_t>(top) : kUncertain;
  }
  std::uint16_t certain_above(const float* v) const {
    for (Index c = channels_ - 1; c >= 0; --c) {
      const float value = v[c], apart = std::abs(value - threshold_);
      if (!is_finite(v[c]) || !(apart > kSure * std::max(std::abs(value), std::abs(threshold_)) + kTiny)) return kUncertain;
      if (value > threshold_) return static_cast<std::uint16_t>(c + 1);
    }
    return 0;
  }

  Index channels_;
  bool by_threshold_;
  float threshold_ = 0;
  std::vector<Index> labels_;
};

}   // namespace ctseg
