// Deep supervision: a loss at every resolution that the network's decoder has a head for.
#pragma once
#include "head_loss.hpp"
#include "labels.hpp"
#include "weighted_sum.hpp"

namespace ctseg {

/// By what a head counts, finest first. exp: 1, 1/2, 1/4 ..., 1/16 at least; same: 1; two: 1, 1/2, 1/2 ... (MONAI's, whose sum
/// is more than 1). nnunet: 1, 1/2, 1/4 ... with 0 for the coarsest, divided by their sum.
enum class SupervisionMode { exp, same, two, nnunet };

struct DeepSupervisionOptions {
  SupervisionMode mode = SupervisionMode::exp;
  std::vector<double> weights{};   // in place of a mode's; one per head at least
};

/// Errors    bad_argument for no heads, fewer weights than heads, or a weight below 0 or not a number.
inline std::vector<double> supervision_weights(const DeepSupervisionOptions& o, std::size_t heads) {
  if (heads == 0 || (!o.weights.empty() && o.weights.size() < heads))
    throw Error(Code::bad_argument, "deep_supervision",
                text(heads, " heads and ", o.weights.size(), " weights; must be a head at least, and a weight for each."));
  for (const double& w : o.weights)
    if (!is_finite(w) || w < 0)
      throw Error(Code::bad_argument, "deep_supervision", text("a weight is ", w, "; must be 0 or more."));
  if (!o.weights.empty()) return {o.weights.begin(), o.weights.begin() + static_cast<std::ptrdiff_t>(heads)};
  std::vector<double> out;
  double sum = 0;
  for (std::size_t k = 0; k < heads; ++k) {
    const double halved = std::pow(0.5, static_cast<double>(k));
    const bool coarsest = k > 0 && k + 1 == heads;
    out.push_back(o.mode == SupervisionMode::same  ? 1
                  : o.mode == SupervisionMode::two ? (k == 0 ? 1 : 0.5)
                  : o.mode == SupervisionMode::exp ? std::max(halved, 0.0625)
                                                   : (coarsest ? 0 : halved));
    sum += out.back();
  }
  if (o.mode == SupervisionMode::nnunet)
    for (double& w : out) w /= sum;
  return out;
}

template <class L> struct DeepSupervision {
  static constexpr bool kTakesHeads = true;   // fit gives it net.forward_deep(x), where a network has that
  L loss;
  DeepSupervisionOptions options;

  /// The weighted sum over heads, finest first. A head of weight 0 is not looked at, and gets no gradient from here.
  template <AnySpec S> Var<S> operator()(const std::vector<Var<S>>& heads, Var<S> labels) const {
    std::vector<Var<S>> losses;
    std::vector<double> weights;
    const std::vector<double> all = supervision_weights(options, heads.size());
    for (std::size_t k = 0; k < heads.size(); ++k) {
      if (all[k] == 0) continue;
      losses.push_back(with_head(loss(heads[k], resize_labels(labels, heads[k].shape().space))));
      weights.push_back(all[k]);
    }
    if (losses.empty())
      throw Error(Code::bad_argument, "deep_supervision", text("all ", heads.size(), " heads have weight 0."));
    return labels.tape->append(WeightedSumOp<S>{std::move(weights)}, std::span<const Var<S>>(losses), {});
  }
  /// One head: the loss itself.
  template <AnySpec S> Var<S> operator()(Var<S> logits, Var<S> labels) const { return loss(logits, labels); }
  Index largest_label(Index channels) const { return largest_label_of(loss, channels); }
};
/// A loss for a list of logits, finest first; labels are taken to each size by the nearest voxel (nearest-exact).
/// PyTorch   monai.losses.DeepSupervisionLoss(loss, weight_mode); nnunetv2's DeepSupervisionWrapper
template <class L> DeepSupervision<L> deep_supervision(L loss, const DeepSupervisionOptions& options = {}) {
  return {std::move(loss), options};
}

}   // namespace ctseg
