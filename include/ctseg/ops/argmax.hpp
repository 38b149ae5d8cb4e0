// Labels: the class of the largest value, where wanted straight from the network's last convolution.
#pragma once
#include "conv.hpp"

namespace ctseg {

struct Labelling;   // Kernel<Labelling, S>: facts(head, facts), prepare(head, p), forward(head, f)

/// Class of the largest value of every voxel, the first of equals; a NaN counts as the largest (as in PyTorch). With a head the
/// values are those of that 1x1x1 convolution of x, and never stored: of C classes a voxel costs one byte instead of 4 C.
/// Shapes    x [N, C, D, H, W] -> y [N, 1, D, H, W] of u8
/// Weights   those of the head, if there is one.
/// Numerics  of ConvOp; the labels are those of its stored values.
/// Gradient  none: backward throws.
/// Cost      C - 1 comparisons a voxel, and the head's FLOP; reads x once, writes one byte a voxel. Keeps nothing.
/// Errors    unsupported for more than 256 classes, and in backward; bad_argument for a head that is not 1x1x1.
/// PyTorch   torch.argmax(head(x), dim=1, keepdim=True)
template <AnySpec S> struct ArgmaxOp {
  std::optional<ConvOp<S>> head{};

  std::string_view name() const { return head ? "Conv+Argmax" : "Argmax"; }

  /// True for a convolution of one tap without padding: voxels stay apart.
  static bool fits(const ConvOp<S>& conv) {
    return !conv.transposed && conv.kernel.product() == 1 && conv.stride.product() == 1 && conv.padding == Axes<S::kDim>(0) &&
           conv.groups == 1;
  }
  Inferred<S> infer(const Facts<S>& f) const {
    if (head && !fits(*head))
      throw Error(Code::bad_argument, "argmax",
                  text("a head with kernel ", head->kernel, ", stride ", head->stride, ", padding ", head->padding, " and ",
                       head->groups, " groups; must be 1x1x1, stride 1, without padding. Hint: argmax of its output."));
    Inferred<S> of_head;
    if (head) of_head = head->infer(f);
    const Index classes = head ? head->out_channels : f.x().c;
    if (classes > 256) throw Error(Code::unsupported, "argmax", text(classes, " classes; labels of u8 hold 256 at most."));
    of_head.shape = f.x().with_channels(1), of_head.dtype = Dtype::u8;
    of_head.ahead = 0;   // its tasks do not come in waves
    if (head) Kernel<Labelling, S>::facts(*head, f, of_head);
    return of_head;
  }
  void prepare(const Prepare<S>& p) const {
    if (head) Kernel<Labelling, S>::prepare(*head, p);
  }
  void forward(const Forward<S>& f) const { Kernel<Labelling, S>::forward(head, f); }
  void backward(const Backward<S>&) const {
    throw Error(Code::unsupported, "argmax", "labels have no gradient. Hint: train on the logits.");
  }
};

}   // namespace ctseg
