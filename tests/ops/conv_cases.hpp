// Random convolutions, and what they are compared with.
#pragma once
#include "support/op_checks.hpp"
#include "support/op_reference.hpp"

namespace ctseg::test {

template <AnySpec S> OpCase<S> conv_case_of(const ConvOp<S>& op, const Shape<S::kDim>& x, bool bias) {
  const double bound = 1 / std::sqrt(static_cast<double>(op.in_channels / op.groups * op.kernel.product()));
  return {.name = text(op.name(), " ", x, " to ", op.out_channels, ", kernel ", op.kernel, ", stride ", op.stride, ", padding ",
                       op.padding, ", output padding ", op.output_padding, ", dilation ", op.dilation, ", ", op.groups,
                       " groups", bias ? ", bias" : ""),
          .op = op,
          .inputs = {{x, dtype_of<typename S::T>()}},
          .weights = {{op.kernel.product() * op.in_channels / op.groups * op.out_channels, -bound, bound},
                      {bias ? op.out_channels : 0}},
          .linear = !bias};
}

/// Half of the cases have dilations of 1 to 3, a third has 2 or 3 groups, and with one channel each they are depthwise.
template <AnySpec S> void spread(ConvOp<S>& op, RandomStream& random) {
  if (random.below(2) == 0)
    for (Index& d : op.dilation.value) d = 1 + random.below(3);
  if (random.below(3) == 0) op.groups = 2 + random.below(2);
  op.in_channels *= op.groups, op.out_channels *= op.groups;
}

/// Kernels 1, 2, 3 and {1, 3, 3}; strides 1 and 2; no, half and full padding; few odd channels.
template <AnySpec S> ConvOp<S> random_conv(RandomStream& random) {
  ConvOp<S> op{.in_channels = 1 + random.below(4), .out_channels = 1 + random.below(6)};
  const Index kind = random.below(5);
  op.kernel = Axes<S::kDim>(kind < 3 ? kind + 1 : 3);
  if (kind == 3) op.kernel.value[0] = 1;
  if (kind == 4) op.out_channels += 16;   // wider than a vector
  for (std::size_t d = 0; d < S::kDim; ++d) {
    op.stride.value[d] = 1 + random.below(2);
    op.padding.value[d] = random.below(op.kernel.value[d]);
  }
  spread(op, random);
  for (std::size_t d = 0; d < S::kDim; ++d)   // so that three voxels are enough
    op.padding.value[d] += ((op.dilation.value[d] - 1) * (op.kernel.value[d] - 1) + 1) / 2;
  return op;
}
struct MakeConv {
  template <AnySpec S> OpCase<S> operator()(S, RandomStream& random, bool large) const {
    const ConvOp<S> op = random_conv<S>(random);
    const bool bias = random.below(2) == 0;
    return conv_case_of<S>(op, random_shape<S::kDim>(random, large, op.in_channels, 3), bias);
  }
};
/// k2 s2, k3 s2 p1 with output padding 1, and anything else that is legal.
struct MakeConvTransposed {
  template <AnySpec S> OpCase<S> operator()(S, RandomStream& random, bool large) const {
    ConvOp<S> op{.in_channels = 1 + random.below(4), .out_channels = 1 + random.below(5), .transposed = true};
    const Index kind = random.below(3);
    if (kind == 0) op.kernel = 2, op.stride = 2, op.padding = 0;
    if (kind == 1) op.kernel = 3, op.stride = 2, op.padding = 1, op.output_padding = 1;
    if (kind == 2)
      for (std::size_t d = 0; d < S::kDim; ++d) {
        op.kernel.value[d] = 1 + random.below(3);
        op.stride.value[d] = 1 + random.below(2);
        op.padding.value[d] = random.below(op.kernel.value[d]) / 2;
        op.output_padding.value[d] = random.below(op.stride.value[d]);
      }
    spread(op, random);
    const bool bias = random.below(2) == 0;
    return conv_case_of<S>(op, random_shape<S::kDim>(random, large, op.in_channels, 2), bias);
  }
};

template <class Make, int Dim> void check_conv_reference() {
  using S = Spec<double, Dim, Cpu>;
  Context<Cpu> ctx({.threads = 1});
  for (std::uint64_t round = 0; round < 200; ++round) {
    RandomStream random({.seed = round, .op = 2});
    const OpCase<S> c = Make{}(S{}, random, false);
    const ConvOp<S>& op = *c.op.template get<ConvOp<S>>();
    OpRun<S> run(c, ctx, {.seed = round});
    run.forward();
    const Taps taps{three(op.kernel, 1),   three(op.stride, 1),         three(op.padding, 0),
                    three(op.dilation, 1), three(op.output_padding, 0), op.groups};
    const Volume5 x = volume_of(run.x[0].view().template as<double>()), y = volume_of(run.y.view().template as<double>());
    const auto weight = tap_weights(run.w[0], op.in_channels / op.groups, op.out_channels / op.groups, taps.kernel);
    INFO(c.name);
    check_equal(y,
                op.transposed ? conv_transposed_reference(x, op.out_channels, weight, run.w[1], taps)
                              : conv_reference(x, op.out_channels, weight, run.w[1], taps),
                1e-14);
  }
}

}   // namespace ctseg::test
