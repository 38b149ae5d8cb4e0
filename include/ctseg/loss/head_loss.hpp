// The end of a segmentation network in training, 1x1x1 convolution and loss, as one op: logits and their gradient are never
// stored. Only where a device has a kernel for both; elsewhere they stay two ops.
#pragma once
#include "../nn/functional.hpp"

namespace ctseg {

struct HeadLosses;   // Kernel<HeadLosses, S>: fits, memory, forward, backward; a device need not have it

/// The loss of head(x).
/// Shapes    x [N, Cin, D, H, W], labels u8 or u16 [N, 1, D, H, W] -> [1, 1, 1, 1, 1] of Acc
/// Weights   those of the head.
/// Numerics  of SegmentationLossOp, on logits that are not rounded to T.
/// Gradient  dx assigned, dw and db added. Reads x and labels again.
/// Cost      reads x once forward and once backward, and writes dx. Keeps 2 N C + 1 doubles.
template <AnySpec S> struct HeadLossOp {
  ConvOp<S> head;
  SegmentationLossOptions options;

  std::string_view name() const { return "Conv+Loss"; }
  Inferred<S> infer(const Facts<S>& f) const {
    const Shape<S::kDim> logits = head.infer_shape(f.x());
    check_loss(options, logits, f.labels(1));
    const auto bytes = Kernel<HeadLosses, S>::memory(f.x(), logits.c);
    Inferred<S> out{.dtype = dtype_of<typename S::Acc>(),
                    .saved = bytes.saved,
                    .forward_scratch = bytes.forward_scratch,
                    .backward_scratch = bytes.backward_scratch,
                    .reads_inputs = true};
    out.shape.space.fill(1);
    return out;
  }
  void forward(const Forward<S>& f) const { Kernel<HeadLosses, S>::forward(options, head.out_channels, f); }
  void backward(const Backward<S>& b) const { Kernel<HeadLosses, S>::backward(options, head.out_channels, b); }
};

/// The same loss, recorded on shapes, as one op with the 1x1x1 convolution that its logits come from; where that cannot be, the
/// loss itself. Whoever wants the logits as well gets them as before.
template <AnySpec S> Var<S> with_head(Var<S> loss) {
  if constexpr (requires { Kernel<HeadLosses, S>::kThere; }) {
    const Nodes<S>& nodes = loss.tape->nodes();
    const Node<S>& node = nodes[at(loss.id)];
    std::optional<SegmentationLossOptions> sums;
    if (const auto* op = node.op.template get<SegmentationLossOp<S>>()) sums = op->options;
    if (const auto* op = node.op.template get<DiceCeOp<S>>())
      sums = segmentation_loss(op->options, nodes[at(node.inputs[0])].info.shape.c);
    if (!sums || loss.tape->eager()) return loss;
    const Node<S> logits = nodes[at(node.inputs[0])];
    const auto* head = logits.op.template get<ConvOp<S>>();
    if (!head || !ArgmaxOp<S>::fits(*head) || !Kernel<HeadLosses, S>::fits(*sums, head->in_channels, head->out_channels))
      return loss;
    const std::array<Var<S>, 2> inputs{Var<S>{loss.tape, logits.inputs[0]}, Var<S>{loss.tape, node.inputs[1]}};
    return loss.tape->append(HeadLossOp<S>{*head, *std::move(sums)}, std::span<const Var<S>>(inputs), logits.weights);
  }
  return loss;
}

}   // namespace ctseg
