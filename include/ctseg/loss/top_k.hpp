// Cross entropy of the hardest voxels.
#pragma once
#include "../nn/functional.hpp"

namespace ctseg {

struct TopK;   // Kernel<TopK, S>

struct TopKOptions {
  double percent = 10;                   // of all voxels of the batch
  std::vector<double> class_weights{};   // of the labels, one per channel
  std::optional<Index> ignore_label{};
};

/// Mean of the largest `percent` of w[label] * -log p[label] over all voxels of the batch (one voxel at least).
/// Shapes    logits [N, C, D, H, W] (C = 1: the sigmoid), labels u8 or u16 [N, 1, D, H, W] -> [1, 1, 1, 1, 1] of Acc
/// Numerics  of equal voxels the first in memory count. Ignored voxels cost 0 but count among all voxels, as in nnU-Net. A NaN
///           counts as infinite.
/// Gradient  dlogits assigned, 0 but in the chosen voxels; reads logits and labels again.
/// Cost      one softmax per voxel and a selection on one thread; keeps one number per voxel.
/// Errors    bad_argument unless 0 < percent <= 100; those of SegmentationLossOp.
/// PyTorch   nnunetv2's TopKLoss(k=percent): torch.topk(F.cross_entropy(x, labels, reduction="none").view(-1), k)[0].mean()
template <AnySpec S> struct TopKOp {
  TopKOptions options;

  std::string_view name() const { return "TopK"; }
  Inferred<S> infer(const Facts<S>& f) const {
    check_loss(terms(), f.x(), f.labels(1));
    if (!is_finite(options.percent) || options.percent <= 0 || options.percent > 100)
      throw Error(Code::bad_argument, "top_k_loss", text("percent = ", options.percent, "; must be above 0 and at most 100."));
    const auto bytes = Kernel<TopK, S>::memory(f.x());
    Inferred<S> out{
        .dtype = dtype_of<typename S::Acc>(), .saved = bytes.saved, .forward_scratch = bytes.scratch, .reads_inputs = true};
    out.shape.space.fill(1);
    return out;
  }
  void forward(const Forward<S>& f) const { Kernel<TopK, S>::forward(terms(), count(f.x().rows()), f); }
  void backward(const Backward<S>& b) const {
    if (b.wants()) Kernel<TopK, S>::backward(terms(), count(b.x().rows()), b);
  }

 private:
  SegmentationLossOptions terms() const {
    return {.name = "top_k_loss",
            .voxel = {.weight = 1, .weighted_mean = true, .positive = options.class_weights},
            .ignore_label = options.ignore_label};
  }
  Index count(Index voxels) const {
    return std::max<Index>(1, static_cast<Index>(static_cast<double>(voxels) * options.percent / 100));
  }
};

struct TopKLoss {
  TopKOptions options;
  template <AnySpec S> Var<S> operator()(Var<S> logits, Var<S> labels) const {
    return logits.tape->append(TopKOp<S>{options}, {logits, labels});
  }
  Index largest_label(Index channels) const { return options.ignore_label ? 65535 : std::max<Index>(channels, 2) - 1; }
};
/// Cross entropy of the hardest voxels; see TopKOp. nnU-Net's DC_and_topk_loss: sum_of(nnunet_dice_ce({.ce_weight = 0}),
/// top_k_loss()).
inline TopKLoss top_k_loss(const TopKOptions& options = {}) { return {options}; }

}   // namespace ctseg

#include "cpu/top_k.hpp"
