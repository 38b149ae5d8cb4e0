// The fused block against the ops it is made of.
#pragma once
#include "norm_cases.hpp"
#include "support/op_checks.hpp"

namespace ctseg::test {

/// conv, then norm with its activation: the same values and gradients, bit for bit.
template <AnySpec S> void check_block_parts() {
  using T = typename S::T;
  Context<Cpu> ctx({.threads = 1});
  for (std::uint64_t round = 0; round < 20; ++round) {
    Draw draw({.seed = round, .op = 4});
    const bool residual = round % 2 == 1;
    const OpCase<S> whole = MakeBlock{residual}(S{}, draw);
    const auto& op = *whole.op.template get<ConvNormActOp<S>>();
    OpRun<S> run(whole, ctx, {.seed = round});
    run.forward(), run.backward();

    OpCase<S> conv_case{
        .name = "conv", .op = op.conv, .inputs = {whole.inputs[0]}, .weights = {whole.weights[0], whole.weights[1]}};
    OpRun<S> conv(conv_case, ctx, {.seed = round});
    for (Index i = 0; i < conv.x[0].elements(); ++i) conv.x[0].template at<T>(i) = run.x[0].template at<T>(i);
    conv.w = {run.w[0], run.w[1]};
    conv.forward();
    OpCase<S> norm_case{.name = "norm",
                        .op = op.norm,
                        .inputs = {{conv.info.shape, conv.info.dtype}},
                        .weights = {whole.weights.begin() + 2, whole.weights.end()}};
    if (residual) norm_case.inputs.push_back(whole.inputs[1]);
    OpRun<S> norm(norm_case, ctx, {.seed = round});
    for (Index i = 0; i < conv.y.elements(); ++i) norm.x[0].template at<T>(i) = conv.y.template at<T>(i);
    if (residual)
      for (Index i = 0; i < norm.x[1].elements(); ++i) norm.x[1].template at<T>(i) = run.x[1].template at<T>(i);
    norm.w = {run.w.begin() + 2, run.w.end()};
    norm.forward();
    for (Index i = 0; i < norm.y.elements(); ++i) norm.dy.template at<T>(i) = run.dy.template at<T>(i);
    norm.backward();
    for (Index i = 0; i < conv.y.elements(); ++i) conv.dy.template at<T>(i) = norm.dx[0].template at<T>(i);
    conv.backward();

    INFO(whole.name);
    CHECK((run.y.packed() == norm.y.packed()));
    CHECK((run.dx[0].packed() == conv.dx[0].packed()));
    if (residual) CHECK((run.dx[1].packed() == norm.dx[1].packed()));
    for (std::size_t k = 0; k < run.dw.size(); ++k) CHECK((run.dw[k] == (k < 2 ? conv.dw[k] : norm.dw[k - 2])));
  }
}

}   // namespace ctseg::test
