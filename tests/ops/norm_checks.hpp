// Normalisation against its formulas.
#pragma once
#include "norm_cases.hpp"
#include "support/op_checks.hpp"
#include "support/op_reference.hpp"

namespace ctseg::test {

/// The formulas of the docstring, statistics in two passes; running statistics get running - batch, with the unbiased variance.
template <int Dim> void check_norm_reference(Mode mode) {
  using S = Spec<double, Dim, Cpu>;
  Context<Cpu> ctx({.threads = 1});
  for (std::uint64_t round = 0; round < 40; ++round) {
    Draw draw({.seed = round, .op = 3}, round % 4 == 0 ? CaseSize::threads : CaseSize::odd);
    const Shape<Dim> shape = draw.template shape<Dim>(draw.channels(6), 2);
    NormOp<S> op = random_norm<S>(draw, random_kind(draw), shape.c);
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
