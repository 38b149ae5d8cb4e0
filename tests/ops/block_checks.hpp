// The fused block against the ops it is made of.
#pragma once
#include "norm_cases.hpp"
#include "support/op_checks.hpp"

namespace ctseg::test {

/// `count` numbers that differ by at most `tolerance` of the largest, or of `least`; 0: bit for bit.
template <class T> void check_near(const T* a, const T* b, Index count, double tolerance, double least = 0) {
  double largest = least, apart = 0;
  for (Index i = 0; i < count; ++i) {
    largest = std::max(largest, std::abs(double{b[i]}));
    apart = std::max(apart, is_finite(a[i]) ? std::abs(double{a[i]} - double{b[i]}) : 1e30);
  }
  CHECK(apart <= tolerance * largest);
}
template <AnySpec S> void check_rooms(Room<S::kDim>& a, Room<S::kDim>& b, double tolerance) {
  const auto left = a.packed(), right = b.packed();
  REQUIRE(left.size() == right.size());
  using T = typename S::T;
  check_near(reinterpret_cast<const T*>(left.data()), reinterpret_cast<const T*>(right.data()), a.elements(), tolerance);
}

template <class T, int Dim> void copy(Room<Dim>& from, Room<Dim>& to) {
  for (Index i = 0; i < to.elements(); ++i) to.template at<T>(i) = from.template at<T>(i);
}

/// conv, then norm with its activation: the same values and, in training, gradients.
template <AnySpec S> void check_against_parts(const OpCase<S>& whole, Context<Cpu>& ctx, std::uint64_t seed, double tolerance) {
  using T = typename S::T;
  const bool residual = whole.inputs.size() > 1, train = whole.mode == Mode::train;
  const auto& op = *whole.op.template get<ConvNormActOp<S>>();
  OpRun<S> run(whole, ctx, {.seed = seed});
  run.forward();

  OpCase<S> conv_case{.name = "conv",
                      .op = op.conv,
                      .inputs = {whole.inputs[0]},
                      .weights = {whole.weights[0], whole.weights[1]},
                      .mode = whole.mode};
  OpRun<S> conv(conv_case, ctx, {.seed = seed});
  copy<T>(run.x[0], conv.x[0]);
  conv.w = {run.w[0], run.w[1]};
  conv.forward();
  OpCase<S> norm_case{.name = "norm",
                      .op = op.norm,
                      .inputs = {{conv.info.shape, conv.info.dtype}},
                      .weights = {whole.weights.begin() + 2, whole.weights.end()},
                      .mode = whole.mode};
  if (residual) norm_case.inputs.push_back(whole.inputs[1]);
  OpRun<S> norm(norm_case, ctx, {.seed = seed});
  copy<T>(conv.y, norm.x[0]);
  if (residual) copy<T>(run.x[1], norm.x[1]);
  norm.w = {run.w.begin() + 2, run.w.end()};
  norm.forward();
  INFO(whole.name);
  check_rooms<S>(run.y, norm.y, tolerance);
  CHECK(run.guards_intact());
  if (!train) return;

  run.backward();
  copy<T>(run.dy, norm.dy);
  norm.backward();
  copy<T>(norm.dx[0], conv.dy);
  conv.backward();
  check_rooms<S>(run.dx[0], conv.dx[0], 20 * tolerance);   // gradients are divided by sigma
  if (residual) check_rooms<S>(run.dx[1], norm.dx[1], tolerance);
  for (std::size_t k = 0; k < run.dw.size(); ++k) {
    const auto& parts = k < 2 ? conv.dw[k] : norm.dw[k - 2];
    if (k == 1 && op.norm.width(op.conv.out_channels) == 1) {
      for (const auto& v : run.dw[1]) CHECK(v == 1);   // it started at 1, and the norm takes the channel's mean away
    } else {
      check_near(run.dw[k].data(), parts.data(), std::ssize(parts), 20 * tolerance, 1);
    }
  }
}

template <AnySpec S> void check_block_parts(double tolerance) {
  Context<Cpu> ctx({.threads = 1});
  for (std::uint64_t round = 0; round < 20; ++round) {
    Draw draw({.seed = round, .op = 4});
    check_against_parts<S>(MakeBlock{round % 2 == 1}(S{}, draw), ctx, round, tolerance);
  }
}

}   // namespace ctseg::test
