// Validation by sliding window: whole cases, as they are segmented later.
#pragma once
#include "../infer/sliding_window.hpp"
#include "../metrics/overlap.hpp"
#include "fit.hpp"

namespace ctseg {

/// Dice per case and label, and their means.
struct ValidationTable {
  std::vector<std::vector<double>> dice{};                  // [case][label - 1]; NaN where the truth lacks the label
  std::vector<double> label_means{};                        // NaN where no case has the label
  double mean = std::numeric_limits<double>::quiet_NaN();   // of the labels that some case has
};

/// Segments every case with the network as it is, and compares with its label map.
/// Errors    those of sliding_window_labels; bad_argument without cases.
template <class Net> ValidationTable validate(Context<typename Net::Spec::Device>& ctx, const Net& net,
                                              const std::vector<Case>& cases,
                                              const SlidingWindowOptions<Net::Spec::kDim>& window) {
  if (cases.empty()) throw Error(Code::bad_argument, "validate", "no cases.");
  int labels = 1;
  for (const Case& c : cases)
    labels = std::max<int>(labels, *std::max_element(c.label.voxels().begin(), c.label.voxels().end()));
  ValidationTable table;
  std::vector<double> sums(static_cast<std::size_t>(labels)), counts(sums.size());
  for (const Case& c : cases) {
    const auto mask = sliding_window_labels(ctx, net, c.image, window);
    const auto overlaps = overlap_table(mask, c.label, labels + 1);
    auto& row = table.dice.emplace_back();
    for (std::size_t l = 0; l < sums.size(); ++l) {
      row.push_back(overlaps[l + 1].dice());
      if (!is_nan(row.back())) sums[l] += row.back(), ++counts[l];
    }
  }
  double sum = 0, known = 0;
  for (std::size_t l = 0; l < sums.size(); ++l) {
    table.label_means.push_back(counts[l] > 0 ? sums[l] / counts[l] : std::numeric_limits<double>::quiet_NaN());
    if (counts[l] > 0) sum += table.label_means[l], ++known;
  }
  if (known > 0) table.mean = sum / known;
  return table;
}

/// An observer whose score is the mean Dice over cases.
template <class Net> class DiceValidation final : public FitObserver {
 public:
  /// Context, network and cases must outlive it.
  DiceValidation(Context<typename Net::Spec::Device>& ctx, const Net& net, const std::vector<Case>& cases,
                 const SlidingWindowOptions<Net::Spec::kDim>& window)
      : ctx_(ctx), net_(net), cases_(cases), window_(window) {}

  double validate(Index) override { return (last_ = ctseg::validate(ctx_, net_, cases_, window_)).mean; }
  const ValidationTable& last() const { return last_; }

  /// The plan of a window, and logits, weights and labels of the largest case.
  Index validation_bytes() const override {
    using S = typename Net::Spec;
    Tape<S> tape(Mode::infer, ctx_.traits());
    const Var<S> logits = net_.forward(tape.input(Shape<S::kDim>{1, 1, window_.window.value}));
    const MemoryEstimate m = Plan<S>(tape, {.outputs = {logits}}).memory();
    Index voxels = 0;
    for (const Case& c : cases_) voxels = std::max(voxels, c.image.grid().voxels() / (S::kDim == 3 ? 1 : c.image.shape().z));
    return m.arena + m.prepared + voxels * (logits.shape().c * 4 + 4 + Index{sizeof(typename S::T)} + 1);
  }

 private:
  Context<typename Net::Spec::Device>& ctx_;
  const Net& net_;
  const std::vector<Case>& cases_;
  SlidingWindowOptions<Net::Spec::kDim> window_;
  ValidationTable last_;
};

}   // namespace ctseg
