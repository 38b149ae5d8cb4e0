// A segmentation network's end as one kernel each way: 1x1x1 convolution to 2..8 classes, softmax, overlap term (Dice) and
// cross entropy. Logits and probabilities live in registers and are never stored.
#pragma once
#include "../segmentation_loss.hpp"
#include "array.hpp"
#include "runtime.hpp"

namespace ctseg::cuda {

/// w [channels, classes] and bias [classes] (or null) are float in device memory; labels u8 or u16, one channel, packed.
/// Numerics  logits, probabilities in float, not rounded to the type of x, which a separate convolution would do; partial sums
///           in float per thread, added in double in fixed order. A label that is no class counts nowhere, and makes the loss the NaN
///           that tells it (segmentation_loss.hpp).
///           Sums are of this process alone.
struct HeadLoss {
  Array x, labels;
  const float *w = nullptr, *bias = nullptr;
  Index classes = 2;
};
struct HeadLossMemory {
  Index saved, forward_scratch, backward_scratch;   // bytes
};
/// Where results go: the loss, and 2 N classes + 1 doubles for backward.
struct HeadLossForward {
  float* loss = nullptr;
  double* saved = nullptr;
  std::byte* scratch = nullptr;
};
/// What is computed backward: dx assigned (may be without data), dw and db added to (may be null). `seed` is the derivative by
/// the loss, in device memory.
struct HeadLossGradient {
  const float* seed = nullptr;
  const double* saved = nullptr;   // of forward
  Array dx;
  float *dw = nullptr, *db = nullptr;
  std::byte* scratch = nullptr;
};

/// Softmax terms with up to 64 channels and 2..8 classes; no focal exponent, label smoothing or volume weights.
bool head_loss_supports(const SegmentationLossOptions&, Index channels, Index classes);
HeadLossMemory head_loss_memory(const HeadLoss&);
void head_loss_forward(Stream, const SegmentationLossOptions&, const HeadLoss&, const HeadLossForward&);
void head_loss_backward(Stream, const SegmentationLossOptions&, const HeadLoss&, const HeadLossGradient&);

}   // namespace ctseg::cuda
