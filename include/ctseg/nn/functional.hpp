// Ops as functions of values: how a model says what happens. Functions record an op on the tape of their input; layers with
// weights are in layers.hpp.
#pragma once
#include "../ops/argmax.hpp"
#include "../ops/average_pool.hpp"
#include "../ops/block.hpp"
#include "../ops/concat.hpp"
#include "../ops/dice_ce.hpp"
#include "../ops/dropout.hpp"
#include "../ops/multiply.hpp"
#include "../ops/pad.hpp"
#include "../ops/pixel_shuffle.hpp"
#include "../ops/pool.hpp"
#include "../ops/slice.hpp"
#include "../ops/softmax.hpp"
#include "../ops/upsample.hpp"
#include "tape.hpp"

namespace ctseg {

template <AnySpec S> Var<S> activate(Var<S> x, const Activation& a) { return x.tape->append(ActivationOp<S>{a}, {x}); }
template <AnySpec S> Var<S> relu(Var<S> x) { return activate(x, relu()); }
template <AnySpec S> Var<S> leaky_relu(Var<S> x, float slope = 0.01f) { return activate(x, leaky_relu(slope)); }
template <AnySpec S> Var<S> elu(Var<S> x, float alpha = 1) { return activate(x, elu(alpha)); }
template <AnySpec S> Var<S> sigmoid(Var<S> x) { return activate(x, sigmoid()); }
template <AnySpec S> Var<S> gelu(Var<S> x) { return activate(x, gelu()); }
template <AnySpec S> Var<S> prelu(Var<S> x, const Parameter<S>& slope) {
  return x.tape->append(ActivationOp<S>{prelu()}, {x}, {slope});
}
template <AnySpec S> Var<S> softmax(Var<S> x) { return x.tape->append(SoftmaxOp<S>{}, {x}); }

/// Labels of u8: the class of the largest logit. Logits straight from a 1x1x1 convolution are not stored for it.
template <AnySpec S> Var<S> argmax(Var<S> logits) {
  const Node<S>& node = logits.tape->nodes()[at(logits.id)];
  const auto* head = node.op.template get<ConvOp<S>>();
  if (!head || !ArgmaxOp<S>::fits(*head)) return logits.tape->append(ArgmaxOp<S>{}, {logits});
  const Var<S> x{logits.tape, node.inputs[0]};
  return x.tape->append(ArgmaxOp<S>{*head}, std::span<const Var<S>>(&x, 1), std::vector<Weights<S>>(node.weights));
}

template <AnySpec S> Var<S> max_pool(Var<S> x, MaxPoolOp<S> options = {}) { return x.tape->append(options, {x}); }
template <AnySpec S> Var<S> average_pool(Var<S> x, AveragePoolOp<S> options = {}) { return x.tape->append(options, {x}); }
template <AnySpec S> Var<S> adaptive_average_pool(Var<S> x, std::type_identity_t<Axes<S::kDim>> size) {
  return x.tape->append(AdaptiveAveragePoolOp<S>{size}, {x});
}
template <AnySpec S> Var<S> upsample(Var<S> x, UpsampleOp<S> options = {}) { return x.tape->append(options, {x}); }
template <AnySpec S> Var<S> pixel_shuffle(Var<S> x, Index factor) { return x.tape->append(PixelShuffleOp<S>{factor}, {x}); }
template <AnySpec S> Var<S> dropout(Var<S> x, float p) { return x.tape->append(DropoutOp<S>{p, false}, {x}); }
template <AnySpec S> Var<S> channel_dropout(Var<S> x, float p) { return x.tape->append(DropoutOp<S>{p, true}, {x}); }
/// Pads as `pads.mode` says: replicate, reflect or constant.
template <AnySpec S> Var<S> pad(Var<S> x, PadOp<S> pads) { return x.tape->append(pads, {x}); }
template <AnySpec S> Var<S> replicate_pad(Var<S> x, PadOp<S> pads) {
  pads.mode = PadMode::replicate;
  return pad(x, pads);
}

template <AnySpec S> Var<S> concat(Var<S> a, Var<S> b) { return a.tape->append(ConcatOp<S>{}, {a, b}); }
/// Channels [first, first + count).
template <AnySpec S> Var<S> slice_channels(Var<S> x, Index first, Index count) {
  return x.tape->append(SliceOp<S>{first, count}, {x});
}
/// a * b, where b may have one channel for all of a's.
template <AnySpec S> Var<S> multiply(Var<S> a, Var<S> b) { return a.tape->append(MultiplyOp<S>{}, {a, b}); }
/// a + scale * b.
template <AnySpec S> Var<S> add(Var<S> a, Var<S> b, typename S::Acc scale = 1) {
  return a.tape->append(AddOp<S>{scale}, {a, b});
}

template <AnySpec S> Var<S> dice_ce(Var<S> logits, Var<S> labels, const DiceCeOptions& options = {}) {
  return logits.tape->append(DiceCeOp<S>{options}, {logits, labels});
}

}   // namespace ctseg

#include "prebuilt_ops.hpp"
