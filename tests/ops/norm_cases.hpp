// Random normalisations with every activation behind them, alone and behind a convolution.
#pragma once
#include <ctseg/ops/block.hpp>

#include "conv_cases.hpp"

namespace ctseg::test {

/// Every kind in turn; a kind added to kActivationKinds is tried without a change here.
inline Activation random_activation(RandomStream& random) {
  const auto kind = kActivationKinds[static_cast<std::size_t>(random.below(std::ssize(kActivationKinds)))];
  return {kind, kind == ActivationKind::elu ? 0.7f : 0.15f};
}
/// Every kind counts as smooth, and is checked without exception, unless it is named here.
inline bool smooth(const Activation& a) {
  return a.kind != ActivationKind::relu && a.kind != ActivationKind::leaky_relu && a.kind != ActivationKind::elu &&
         a.kind != ActivationKind::prelu;
}

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

/// Any kind; group norm with any number of groups that divides the channels.
template <AnySpec S> NormOp<S> random_norm(RandomStream& random, Index channels) {
  constexpr NormKind kinds[] = {NormKind::instance, NormKind::batch, NormKind::group};
  NormOp<S> op{.kind = kinds[random.below(3)], .affine = random.below(3) > 0, .activation = random_activation(random)};
  if (op.kind != NormKind::group) return op;
  do op.groups = 1 + random.below(channels);
  while (channels % op.groups != 0);
  return op;
}

struct MakeNorm {
  template <AnySpec S> OpCase<S> operator()(S, RandomStream& random, bool large) const {
    const Index channels = random.below(4) == 0 ? 9 + random.below(9) : 1 + random.below(5);
    const auto op = random_norm<S>(random, channels);
    const Mode mode = random.below(3) ? Mode::train : Mode::infer;
    return norm_case_of<S>(op, random_shape<S::kDim>(random, large, channels, 2), mode, random.below(2) ? 1 : channels);
  }
};

struct MakeBlock {
  template <AnySpec S> OpCase<S> operator()(S, RandomStream& random, bool large) const {
    ConvNormActOp<S> op{random_conv<S>(random), {}};
    op.conv.stride = 1;
    // Of one channel only the sign of its weight would matter: a gradient of nothing but noise.
    op.conv.in_channels += op.conv.groups;
    op.norm = random_norm<S>(random, op.conv.out_channels);
    const bool bias = random.below(2) == 0;
    const auto conv = conv_case_of<S>(op.conv, random_shape<S::kDim>(random, large, op.conv.in_channels, 4), bias);
    const auto norm = norm_case_of<S>(op.norm, conv.inputs[0].shape.with_channels(op.conv.out_channels), Mode::train, 1);
    OpCase<S> c{
        .name = conv.name + " + " + norm.name, .op = op, .inputs = conv.inputs, .weights = conv.weights, .kinks = norm.kinks};
    c.weights.insert(c.weights.end(), norm.weights.begin(), norm.weights.end());
    return c;
  }
};

/// The formulas of the docstring, statistics in two passes; running statistics get running - batch, with the unbiased variance.
template <int Dim> void check_norm_reference(Mode mode) {
  using S = Spec<double, Dim, Cpu>;
  Context<Cpu> ctx({.threads = 1});
  for (std::uint64_t round = 0; round < 40; ++round) {
    RandomStream random({.seed = round, .op = 3});
    const Shape<Dim> shape = random_shape<Dim>(random, round % 4 == 0, 1 + random.below(6), 2);
    NormOp<S> op = random_norm<S>(random, shape.c);
    op.activation = {};
    const OpCase<S> c = norm_case_of<S>(op, shape, mode, 1);
    OpRun<S> run(c, ctx, {.seed = round});
    for (Index i = 0; i < run.x[0].elements(); ++i) run.x[0].template at<double>(i) += 1000;   // a large mean must not cancel
    run.forward();
    const Volume5 x = volume_of(run.x[0].view().template as<double>());
    Volume5 expected = x;
    x.each([&](Index n, Index channel, Index z, Index y, Index w) {
      static thread_local Moments m;
      static thread_local Index last_n, last_c;
      if ((z == 0 && y == 0 && w == 0) || n != last_n || channel != last_c) {
        const Index width = op.width(shape.c);
        m = moments(x, channel / width * width, op.kind == NormKind::batch ? -1 : n, width);
        if (op.uses_running(mode))
          m = {run.w[op.running_at()][static_cast<std::size_t>(channel)],
               run.w[op.running_at() + 1][static_cast<std::size_t>(channel)], 0};
        last_n = n, last_c = channel;
      }
      double v = (x(n, channel, z, y, w) - m.mean) / std::sqrt(m.variance + double{op.eps});
      if (op.affine) v = v * run.w[0][static_cast<std::size_t>(channel)] + run.w[1][static_cast<std::size_t>(channel)];
      expected(n, channel, z, y, w) = v;
    });
    INFO(c.name);
    check_equal(volume_of(run.y.view().template as<double>()), expected, 1e-11);
    if (op.kind != NormKind::batch) continue;
    run.backward();
    for (Index channel = 0; channel < shape.c; ++channel) {
      const auto k = static_cast<std::size_t>(channel);
      const Moments m = moments(x, channel, -1);
      const std::size_t at = op.running_at();
      const double mean = mode == Mode::infer ? 0 : run.w[at][k] - m.mean;
      const double variance = mode == Mode::infer ? 0 : run.w[at + 1][k] - m.variance * m.count / (m.count - 1);
      CHECK(run.dw[at][k] - 1 == doctest::Approx(mean).epsilon(1e-10));
      CHECK(run.dw[at + 1][k] - 1 == doctest::Approx(variance).epsilon(1e-9));
    }
  }
}

}   // namespace ctseg::test
