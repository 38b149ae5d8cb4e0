// A loss that is one SegmentationLossOp, as a value. The families beside it (dice.hpp, tversky.hpp, ...) have the options.
#pragma once
#include "../nn/functional.hpp"

namespace ctseg {

/// What a label may be at most, for logits with so many channels: what the loss says, if it has a function of that name.
template <class L> Index largest_label_of(const L& loss, Index channels) {
  if constexpr (requires { loss.largest_label(channels); })
    return loss.largest_label(channels);
  else
    return std::max<Index>(channels, 2) - 1;
}

/// Beside Options stands segmentation_loss(options, channels), which says what the op sums.
template <class Options> struct SegmentationLoss {
  Options options;

  template <AnySpec S> Var<S> operator()(Var<S> logits, Var<S> labels) const {
    return logits.tape->append(SegmentationLossOp<S>{segmentation_loss(options, logits.shape().c)}, {logits, labels});
  }
  /// What a label may be at most, for logits with so many channels: any, where some are ignored.
  Index largest_label(Index channels) const {
    return segmentation_loss(options, channels).ignore_label ? 65535 : std::max<Index>(channels, 2) - 1;
  }
  std::optional<Index> ignore_label() const { return segmentation_loss(options, 1).ignore_label; }
};

}   // namespace ctseg
