// Convolutions against plain loops.
#pragma once
#include "conv_cases.hpp"
#include "support/op_checks.hpp"
#include "support/op_reference.hpp"

namespace ctseg::test {

template <class Make, int Dim> void check_conv_reference() {
  using S = Spec<double, Dim, Cpu>;
  Context<Cpu> ctx({.threads = 1});
  for (std::uint64_t round = 0; round < 200; ++round) {
    Draw draw({.seed = round, .op = 2});
    const OpCase<S> c = Make{}(S{}, draw);
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
