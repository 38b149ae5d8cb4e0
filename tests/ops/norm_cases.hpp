// Cases of activations, of normalisations with an activation behind them, and of both behind a convolution.
#pragma once
#include <ctseg/ops/block.hpp>

#include "conv_cases.hpp"

namespace ctseg::test {

/// Every kind in turn; a kind added to kActivationKinds is tried without a change here.
inline Activation random_activation(Draw& draw) {
  constexpr Index count = std::size(kActivationKinds), usual = static_cast<Index>(ActivationKind::leaky_relu);
  const auto kind = kActivationKinds[static_cast<std::size_t>((usual + draw.below(count)) % count)];
  return {kind, kind == ActivationKind::elu ? 0.7f : 0.15f};
}
/// Every kind counts as smooth, and is checked without exception, unless it is named here.
inline bool smooth(const Activation& a) {
  return a.kind != ActivationKind::relu && a.kind != ActivationKind::leaky_relu && a.kind != ActivationKind::elu &&
         a.kind != ActivationKind::prelu;
}

/// Shared: one slope for all channels, where the kind learns its slope.
struct MakeActivation {
  ActivationKind kind;
  bool shared = true;
  template <AnySpec S> OpCase<S> operator()(S, Draw& draw) const {
    const Shape<S::kDim> x = draw.template shape<S::kDim>(draw.channels(19));
    const Activation a{kind, kind == ActivationKind::elu ? 0.7f : 0.15f};
    OpCase<S> c{.name = text(kind, " ", x), .op = ActivationOp<S>{a}, .inputs = {activations<S>(x)}, .kinks = !smooth(a)};
    if (kind == ActivationKind::prelu) c.weights = {{shared ? 1 : x.c, 0.1, 0.4}};
    return c;
  }
};

template <AnySpec S> OpCase<S> norm_case_of(const NormOp<S>& op, const Shape<S::kDim>& x, Mode mode, Index slopes) {
  OpCase<S> c{.name = text(op.name(), " ", x, op.affine ? ", affine" : "", ", ", op.activation.kind,
                           mode == Mode::train ? ", train" : ", infer"),
              .op = op,
              .inputs = {{x, dtype_of<typename S::T>()}},
              .mode = mode,
              .kinks = !smooth(op.activation)};
  if (op.affine) c.weights = {{x.c, 0.5, 1.5}, {x.c}};
  if (op.kind == NormKind::batch) c.weights.push_back({x.c, -0.5, 0.5, true}), c.weights.push_back({x.c, 0.5, 2, true});
  if (op.activation.kind == ActivationKind::prelu) c.weights.push_back({slopes, 0.1, 0.4});
  return c;
}

/// Group norm with any number of groups that divides the channels.
template <AnySpec S> NormOp<S> random_norm(Draw& draw, NormKind kind, Index channels) {
  NormOp<S> op{.kind = kind, .affine = !draw.chance(3), .activation = random_activation(draw)};
  if (op.kind != NormKind::group) return op;
  do op.groups = draw.pick({Index{8}, 1 + draw.below(channels)});
  while (channels % op.groups != 0);
  return op;
}
inline NormKind random_kind(Draw& draw) { return draw.pick({NormKind::instance, NormKind::batch, NormKind::group}); }

/// A second input of the output's shape, which is added before the activation.
template <AnySpec S> OpCase<S> with_residual(OpCase<S> c, const Shape<S::kDim>& y) {
  c.name += " + residual";
  c.inputs.push_back(activations<S>(y));
  return c;
}

struct MakeNorm {
  NormKind kind;
  bool residual = false;
  template <AnySpec S> OpCase<S> operator()(S, Draw& draw) const {
    const Index channels = draw.channels(draw.chance(4) ? 17 : 5);
    const auto op = random_norm<S>(draw, kind, channels);
    const Mode mode = draw.chance(3) ? Mode::infer : Mode::train;
    const Shape<S::kDim> x = draw.template shape<S::kDim>(channels, 2);
    const OpCase<S> c = norm_case_of<S>(op, x, mode, draw.pick({Index{1}, channels}));
    return residual ? with_residual(c, x) : c;
  }
};

struct MakeBlock {
  bool residual = false;
  template <AnySpec S> OpCase<S> operator()(S, Draw& draw) const {
    ConvNormActOp<S> op{random_conv<S>(draw), {}};
    op.conv.stride = 1;
    // Of one channel only the sign of its weight would matter: a gradient of nothing but noise.
    if (op.conv.in_channels == op.conv.groups) op.conv.in_channels *= 2;
    op.norm = random_norm<S>(draw, random_kind(draw), op.conv.out_channels);
    const auto conv = conv_case_of<S>(op.conv, draw.template shape<S::kDim>(op.conv.in_channels, 4), draw.pick({true, false}));
    const auto norm = norm_case_of<S>(op.norm, conv.inputs[0].shape.with_channels(op.conv.out_channels), Mode::train, 1);
    OpCase<S> c{.name = conv.name + " + " + norm.name,
                .op = op,
                .inputs = conv.inputs,
                .weights = conv.weights,
                .kinks = norm.kinks,
                .flop = conv.flop};
    c.weights.insert(c.weights.end(), norm.weights.begin(), norm.weights.end());
    if (!residual) return c;
    return with_residual(c, op.conv.infer_shape(conv.inputs[0].shape));
  }
};

}   // namespace ctseg::test
