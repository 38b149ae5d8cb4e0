// Max pooling on the card, against the CPU's.
#include <doctest/doctest.h>

#include "op_twin.hpp"

namespace {

using namespace ctseg;
using namespace ctseg::test;

template <class T> void check_pool(Context<Cuda>& ctx, const Axes<3>& kernel, const Axes<3>& stride) {
  const auto make = [&]<class S>(S) { return MaxPoolOp<S>{kernel.value, stride.value}; };
  for (const Index channels : {1, 3, 8, 32})
    for (const Margins margins : {Margins{0, 0}, Margins{8, 8}, Margins{1, 0}}) {
      check_op<T, 3>(ctx, make, {Shape<3>{2, channels, {5, 4, 7}}}, {.margins = margins});   // grid values: many ties
      check_op<T, 3>(ctx, make, {Shape<3>{1, channels, {4, 4, 6}}}, {.margins = margins});
    }
}

TEST_CASE("card: max pooling, windows side by side, with what is left behind them") {
  Context<Cuda> ctx({.threads = 1});
  const auto check = [&]<class T>(T) {
    check_pool<T>(ctx, 2, 2);
    check_pool<T>(ctx, {1, 2, 2}, {1, 2, 2});
    check_pool<T>(ctx, 3, 3);
    check_pool<T>(ctx, {2, 1, 3}, {2, 1, 3});
  };
  check(float{}), check(bf16{}), check(half{});
}

TEST_CASE("card: max pooling, windows that overlap or leave gaps") {
  Context<Cuda> ctx({.threads = 1});
  const auto check = [&]<class T>(T) {
    check_pool<T>(ctx, 3, 2);
    check_pool<T>(ctx, 2, 1);
    check_pool<T>(ctx, {1, 2, 2}, {2, 1, 3});
  };
  check(float{}), check(bf16{}), check(half{});
}

TEST_CASE("card: max pooling in 2-D, and for inference") {
  Context<Cuda> ctx({.threads = 1});
  const auto pool = []<class S>(S) { return MaxPoolOp<S>{}; };
  check_op<bf16, 2>(ctx, pool, {Shape<2>{2, 16, {7, 6}}});
  check_op<float, 2>(ctx, pool, {Shape<2>{1, 5, {6, 9}}});
  Twin<float, 3> x(ctx, {1, 8, {2, 4, 4}}), y(ctx, {1, 8, {1, 2, 2}});
  x.draw(1);
  const ConvWindow window = make_window<3>(x.host().shape.space, y.host().shape.space, {.kernel = 2, .stride = 2});
  Kernel<Pooling, Spec<float, 3, Cpu>>::forward(ctx.host(), window, x.host(), y.host(), nullptr);
  Kernel<Pooling, Spec<float, 3, Cuda>>::forward(ctx, window, x.card(), y.card(), nullptr);
  CHECK(y.wrong(0) == 0);
}

TEST_CASE("card: max pooling of NaN, infinities and equals: the CPU's values and winners") {
  Context<Cuda> ctx({.threads = 1});
  const Shape<3> from{1, 8, {4, 4, 8}}, to{1, 8, {2, 2, 4}};
  Twin<float, 3> x(ctx, from), y(ctx, to);
  Twin<std::uint8_t, 3> winner(ctx, to);
  x.draw(1);
  RandomStream random({.seed = 5});
  const float inf = std::numeric_limits<float>::infinity(), special[] = {std::nanf(""), inf, -inf, 0.f, -0.f};
  for (Index i = 0; i < x.elements(); ++i)
    if (random.below(3) == 0) x[i] = special[random.below(5)];
  x.upload();
  const ConvWindow window = make_window<3>(from.space, to.space, {.kernel = 2, .stride = 2});
  Kernel<Pooling, Spec<float, 3, Cpu>>::forward(ctx.host(), window, x.host(), y.host(), winner.host().data);
  Kernel<Pooling, Spec<float, 3, Cuda>>::forward(ctx, window, x.card(), y.card(), winner.card().data);
  CHECK(y.wrong(0) == 0);
  CHECK(winner.wrong(0) == 0);
}

}   // namespace
