// May this network run with Accuracy::fast? The answer is a measurement on a case of one's own: both ways, voxel by voxel.
#pragma once
#include <chrono>
#include <limits>

#include "../metrics/overlap.hpp"
#include "sliding_window.hpp"

namespace ctseg {

/// What is compared, and what may differ at most.
template <int Dim> struct AccuracyCheckOptions {
  Accuracy accuracy = Accuracy::fast;
  Accuracy against = Accuracy::strict;
  SlidingWindowOptions<Dim> window{};
  double least_agreement = 0.99999;   // share of the voxels that keep their label
  double least_dice = 0.9999;         // of every label that either mask has
};

/// How labels made with one accuracy differ from those made with another.
struct AccuracyReport {
  Accuracy accuracy = Accuracy::fast, against = Accuracy::strict;
  Index voxels = 0, differ = 0;              // labels that differ
  std::vector<Overlap> labels{};             // element i: label i of one mask in the other
  double max_difference = 0, largest = 0;    // of logits, and the largest logit; infinite if one is not finite
  double seconds = 0, against_seconds = 0;   // of all windows, without planning and packing
  bool holds = false;                        // the limits of the check

  double agreement() const { return 1 - static_cast<double>(differ) / static_cast<double>(voxels); }
  /// 1 for a label that both masks lack.
  double dice(std::size_t label) const { return labels.at(label).dice(EmptyPolicy::one_zero); }
};

inline std::string text(const AccuracyReport& r) {
  char line[160];
  std::snprintf(line, sizeof line,
                "%s against %s: %.5f %% of %lld voxels agree, logits differ by %.1e of %.3g, %.2f s for %.2f s",
                text(r.accuracy).c_str(), text(r.against).c_str(), 100 * r.agreement(), static_cast<long long>(r.voxels),
                r.max_difference, r.largest, r.seconds, r.against_seconds);
  std::string out = line;
  for (std::size_t l = 0; l < r.labels.size(); ++l) {
    std::snprintf(line, sizeof line, "%s %zu: %.6f", l ? "," : "; Dice of label", l, r.dice(l));
    out += line;
  }
  return out + (r.holds ? "; the limits hold" : "; the limits do not hold");
}

namespace detail {

/// A network with one accuracy, on a context of its own, and the seconds that it took.
template <class Net> struct TimedNetwork {
  using S = typename Net::Spec;
  Context<Cpu> ctx;
  Predictor<Net> predict;
  double seconds = 0;

  TimedNetwork(ContextOptions o, Accuracy accuracy, const Net& net, const Shape<S::kDim>& window)
      : ctx((o.accuracy = accuracy, o)), predict(ctx, net, window) {
    std::fill_n(predict.input().data, window.elements(), typename S::T(0));
    predict();   // packs the weights and touches the memory
  }
  Tensor<float, S::kDim> operator()(In<S> image, const SlidingWindowOptions<S::kDim>& o) {
    const auto start = std::chrono::steady_clock::now();
    auto logits = sliding_window<S>(ctx, predict, image, o);
    seconds += std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    return logits;
  }
};

/// Classes of the largest logits; of a single logit, whether it is above 0.
template <int Dim> std::vector<std::uint8_t> labels_of(const Tensor<float, Dim>& logits) {
  std::vector<std::uint8_t> labels(static_cast<std::size_t>(logits.shape().voxels()));
  if (logits.shape().c > 1)
    argmax(logits, labels.data());
  else
    std::transform(logits.data(), logits.data() + std::ssize(labels), labels.begin(), [](float v) { return v > 0; });
  return labels;
}

template <int Dim> void add(AccuracyReport& r, const Tensor<float, Dim>& got, const Tensor<float, Dim>& want) {
  for (Index i = 0; i < want.shape().elements(); ++i) {
    const double w = want.data()[i], apart = std::abs(got.data()[i] - w);
    r.largest = std::max(r.largest, std::abs(w));
    if (!(apart <= r.max_difference)) r.max_difference = is_finite(apart) ? apart : std::numeric_limits<double>::infinity();
  }
  const auto mine = labels_of(got), theirs = labels_of(want);
  const auto table = overlap_table(mine, theirs, static_cast<int>(std::max<Index>(2, want.shape().c)));
  r.labels.resize(table.size());
  for (std::size_t l = 0; l < table.size(); ++l) {
    Overlap& o = r.labels[l];
    o.tp += table[l].tp, o.fp += table[l].fp, o.fn += table[l].fn, o.tn += table[l].tn;
    r.differ += table[l].fp;   // every voxel that differs is one label's false positive
  }
  r.voxels += std::ssize(mine);
}

}   // namespace detail

/// Segments a case with either accuracy and compares the labels. A 2-D network sees the axial slices one by one. The context's
/// options say threads and instruction set; their accuracy is not used.
/// Cost      Both plans are in memory together; one pass over the case with each.
/// Errors    bad_argument if both accuracies are the same; what the network says of the window.
template <class Net> AccuracyReport check_accuracy(const ContextOptions& options, const Net& net, const Volume<float>& image,
                                                   const std::type_identity_t<AccuracyCheckOptions<Net::Spec::kDim>>& o = {}) {
  using S = typename Net::Spec;
  static_assert(std::is_same_v<typename S::T, float>, "ctseg: only float has accuracies to choose from");
  if (o.accuracy == o.against)
    throw Error(Code::bad_argument, "check_accuracy", text("would compare ", o.accuracy, " with itself."));
  const Shape<S::kDim> window{o.window.batch, 1, o.window.window.value};
  detail::TimedNetwork<Net> mine(options, o.accuracy, net, window), theirs(options, o.against, net, window);
  if (mine.predict.output_shape().c > 256)
    throw Error(Code::unsupported, "check_accuracy",
                text(mine.predict.output_shape().c, " classes do not fit labels of uint8."));
  AccuracyReport r{.accuracy = o.accuracy, .against = o.against};
  const auto space = image.tensor_shape().space;
  Shape<S::kDim> shape{1, 1, {}};
  std::copy_n(space.end() - S::kDim, S::kDim, shape.space.begin());
  for (Index first = 0; first < image.grid().voxels(); first += shape.voxels()) {
    const In<S> piece{image.data() + first, shape, 1};
    const auto want = theirs(piece, o.window);
    detail::add(r, mine(piece, o.window), want);
  }
  r.seconds = mine.seconds, r.against_seconds = theirs.seconds;
  r.holds = is_finite(r.max_difference) && r.agreement() >= o.least_agreement;
  for (std::size_t l = 0; l < r.labels.size(); ++l) r.holds = r.holds && r.dice(l) >= o.least_dice;
  return r;
}

/// Accuracy::fast if this case allows it, else Accuracy::standard: what to put into ContextOptions::accuracy. A case must have
/// the labels that matter; of several, all must hold (check_accuracy).
template <class Net> Accuracy choose_accuracy(const ContextOptions& options, const Net& net, const Volume<float>& image,
                                              const std::type_identity_t<AccuracyCheckOptions<Net::Spec::kDim>>& o = {}) {
  return check_accuracy(options, net, image, o).holds ? o.accuracy : Accuracy::standard;
}

}   // namespace ctseg
