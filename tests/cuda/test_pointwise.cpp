// Ops that look at one voxel at a time, on the card: against the CPU's kernels, which have tests of their own.
#include <doctest/doctest.h>

#include <ctseg/ops/concat.hpp>
#include <ctseg/ops/slice.hpp>

#include "op_twin.hpp"

namespace {

using namespace ctseg;
using namespace ctseg::test;

/// Packs of 16 bytes, one value at a time, and channels that begin in the middle of a row; all sizes odd.
const std::vector<Shape<3>> kShapes = {{1, 1, {3, 5, 7}}, {2, 3, {1, 3, 5}}, {2, 8, {3, 1, 5}}, {1, 33, {2, 3, 3}}, {1, 32, {2, 2, 9}}};
const std::vector<Margins> kMargins = {{0, 0}, {8, 16}, {1, 2}};

template <class F> void each_type(F f) { f(float{}), f(bf16{}), f(half{}); }

/// Every shape and margin, every type; and in 2-D.
template <class Make> void check_everywhere(const Make& make, double tolerance, std::size_t inputs = 1) {
  Context<Cuda> ctx({.threads = 1});
  each_type([&]<class T>(T) {
    for (const auto& shape : kShapes)
      for (const auto margins : kMargins)
        check_op<T, 3>(ctx, make, std::vector(inputs, shape), {.tolerance = tolerance, .margins = margins});
    check_op<T, 2>(ctx, make, std::vector(inputs, Shape<2>{2, 8, {5, 3}}), {.tolerance = tolerance});
  });
}

template <class T, int Dim> cuda::Array array(Twin<T, Dim>& t) { return cuda::array_of(t.card()); }

TEST_CASE("card: copies, sums and fills with a factor, between ranges of channels") {
  Context<Cuda> ctx({.threads = 1});
  each_type([&]<class T>(T) {
    using H = Kernel<Elementwise, Spec<T, 3, Cpu>>;
    using C = Kernel<Elementwise, Spec<T, 3, Cuda>>;
    for (const auto& shape : kShapes)
      for (const auto margins : kMargins) {
        CAPTURE(text(shape));
        Twin<T, 3> from(ctx, shape, {3, 0}), to(ctx, shape, margins), sum(ctx, shape, margins), set(ctx, shape, margins);
        from.draw(1), sum.draw(2);
        H::copy(ctx.host(), View<const T, 3>(from.host()), to.host(), -0.5f);
        C::copy(ctx, View<const T, 3>(from.card()), to.card(), -0.5f);
        H::add(ctx.host(), View<const T, 3>(to.host()), sum.host(), 0.25f);
        C::add(ctx, View<const T, 3>(to.card()), sum.card(), 0.25f);
        H::fill(ctx.host(), T(1.7f), set.host());
        C::fill(ctx, T(1.7f), set.card());
        CHECK(to.wrong(0) + sum.wrong(0) + set.wrong(0) == 0);
        H::copy(ctx.host(), View<const T, 3>(sum.host()), to.host());
        C::copy(ctx, View<const T, 3>(sum.card()), to.card());
        CHECK(to.wrong(0) == 0);
      }
  });
}

TEST_CASE("card: labels and losses are copied as they are") {
  Context<Cuda> ctx({.threads = 1});
  Twin<std::uint8_t, 3> from(ctx, {1, 1, {3, 5, 7}}), to(ctx, {1, 1, {3, 5, 7}});
  for (Index i = 0; i < from.elements(); ++i) from[i] = to[i] = static_cast<std::uint8_t>(i);
  from.upload();
  cuda::copy(ctx.stream(), {array(from), array(to)});
  CHECK(to.wrong(0) == 0);
  Twin<float, 3> loss(ctx, {1, 1, {1, 1, 1}});   // beside activations of bf16
  loss[0] = 3;
  Kernel<Elementwise, Spec<bf16, 3, Cuda>>::fill(ctx, 1.f, loss.card());
  Kernel<Elementwise, Spec<bf16, 3, Cuda>>::add(ctx, View<const float, 3>(loss.card()), loss.card(), 2);
  CHECK(loss.wrong(0) == 0);
}

TEST_CASE("card: sums, concatenation and slices as ops") {
  check_everywhere([]<class S>(S) { return AddOp<S>{-0.5f}; }, 0, 2);
  check_everywhere([]<class S>(S) { return ConcatOp<S>{}; }, 0, 3);
  Context<Cuda> ctx({.threads = 1});
  each_type([&]<class T>(T) {
    check_op<T, 3>(ctx, []<class S>(S) { return SliceOp<S>{8, 16}; }, std::vector<Shape<3>>{{2, 40, {2, 3, 2}}});
    check_op<T, 3>(ctx, []<class S>(S) { return SliceOp<S>{2, 3}; }, std::vector<Shape<3>>{{1, 7, {2, 3, 2}}});
  });
}

TEST_CASE("card: activations with a bend equal the CPU's bit for bit") {
  for (const Activation a : {relu(), leaky_relu(0.1f), Activation{}})
    check_everywhere([a]<class S>(S) { return ActivationOp<S>{a}; }, 0);
}
TEST_CASE("card: activations with a curve") {
  for (const Activation a : {elu(0.7f), sigmoid(), gelu()})
    check_everywhere([a]<class S>(S) { return ActivationOp<S>{a}; }, 1e-6);
}

TEST_CASE("card: what activations do to infinities and NaN") {
  Context<Cuda> ctx({.threads = 1});
  const float inf = std::numeric_limits<float>::infinity();
  for (const ActivationKind kind : kActivationKinds) {
    if (kind == ActivationKind::prelu) continue;
    CAPTURE(name_of(kind));
    Twin<float, 3> x(ctx, {1, 1, {1, 1, 6}}), y(ctx, {1, 1, {1, 1, 6}});
    const float values[] = {inf, -inf, std::nanf(""), 0, 100, -100};
    for (Index i = 0; i < 6; ++i) x[i] = values[i];
    x.upload();
    const Activation a{kind, 0.1f};
    Kernel<Pointwise, Spec<float, 3, Cpu>>::forward(ctx.host(), a, x.host(), {}, y.host());
    Kernel<Pointwise, Spec<float, 3, Cuda>>::forward(ctx, a, x.card(), {}, y.card());
    CHECK(y.wrong(1e-6) == 0);
  }
}

/// dslope of prelu by its definition, in double, beside what dy * derivative is.
struct PReluCase {
  Shape<3> shape;
  Index slopes;
  Margins margins;
};
template <class T> void check_prelu(Context<Cuda>& ctx, const PReluCase& c) {
  CAPTURE(text(c.shape));
  CAPTURE(c.slopes);
  Twin<T, 3> x(ctx, c.shape, c.margins), dy(ctx, c.shape, c.margins), y(ctx, c.shape, c.margins), dx(ctx, c.shape, c.margins);
  x.draw(1), dy.draw(2);
  Twin<float, 3> slope(ctx, {1, c.slopes, {1, 1, 1}}), dslope(ctx, {1, c.slopes, {1, 1, 1}});
  slope.draw(3), dslope.draw(4);
  const Index step = c.slopes > 1 ? 1 : 0;
  std::vector<double> sum(static_cast<std::size_t>(c.slopes));
  for (Index i = 0; i < x.elements(); ++i) {
    const Index k = i % c.shape.c * step;
    const float v = static_cast<float>(x[i]), d = static_cast<float>(dy[i]);
    y[i] = T(v > 0 ? v : slope[k] * v);
    dx[i] = T(v > 0 ? d : slope[k] * d);
    sum[static_cast<std::size_t>(k)] += v > 0 ? 0 : double{v} * double{d};
  }
  for (Index k = 0; k < c.slopes; ++k) dslope[k] += static_cast<float>(sum[static_cast<std::size_t>(k)]);
  const cuda::Activating a{prelu(), {slope.card().data, c.slopes}};
  Memory<Cuda> scratch = poisoned(ctx, cuda::slope_scratch(c.shape.c));
  cuda::activate(ctx.stream(), a, {array(x), array(y)});
  cuda::activate_backward(ctx.stream(), a, {array(x), array(dy), array(dx), dslope.card().data, scratch.data()});
  CHECK(y.wrong(0) == 0);
  CHECK(dx.wrong(0) == 0);
  CHECK(dslope.wrong(1e-6) == 0);
  cuda::activate_backward(ctx.stream(), a, {array(x), array(dy), array(dy), nullptr, nullptr});   // frozen, dx on dy
  for (Index i = 0; i < dy.elements(); ++i) dy[i] = dx[i];
  CHECK(dy.wrong(0) == 0);
}
TEST_CASE("card: prelu, and the gradients of its slopes") {
  Context<Cuda> ctx({.threads = 1});
  for (const auto margins : kMargins)
    for (const auto& shape : kShapes) {
      check_prelu<float>(ctx, {shape, 1, margins});
      check_prelu<float>(ctx, {shape, shape.c, margins});
      check_prelu<bf16>(ctx, {shape, shape.c, margins});
    }
  check_prelu<half>(ctx, {{1, 32, {4, 8, 8}}, 32, {}});
  check_prelu<bf16>(ctx, {{2, 8, {9, 10, 11}}, 8, {}});       // more than one block
  check_prelu<float>(ctx, {{1, 1100, {1, 2, 3}}, 1100, {}});   // more packs than a block has threads
}

TEST_CASE("card: products, also with a gate of one channel") {
  check_everywhere([]<class S>(S) { return MultiplyOp<S>{}; }, 0, 2);
  Context<Cuda> ctx({.threads = 1});
  each_type([&]<class T>(T) {
    for (const Index channels : {2, 3, 8, 32, 40, 300})
      for (const auto margins : kMargins)
        check_op<T, 3>(ctx, []<class S>(S) { return MultiplyOp<S>{}; },
                       std::vector<Shape<3>>{{2, channels, {1, 3, 5}}, {2, 1, {1, 3, 5}}},
                       {.tolerance = 1e-6, .margins = margins});
  });
}

TEST_CASE("card: dropout draws the CPU's mask") {
  for (const bool channelwise : {false, true})
    check_everywhere([channelwise]<class S>(S) { return DropoutOp<S>{0.3f, channelwise}; }, 0);
  Context<Cuda> ctx({.threads = 1});
  check_op<bf16, 3>(ctx, []<class S>(S) { return DropoutOp<S>{0.3f}; }, {kShapes[2]}, {.mode = Mode::infer});
}

TEST_CASE("card: dropout that was recorded draws another mask each run") {
  Context<Cuda> ctx({.threads = 1, .seed = 11});
  using S = Spec<float, 3, Cuda>;
  Twin<float, 3> x(ctx, kShapes[2], {}), y(ctx, kShapes[2], {});
  x.draw(1);
  Kernel<Dropping, S>::apply(ctx, {0.5f}, {.op = 7}, x.card(), y.card());   // loads the kernel
  RandomKey key = ctx.next_run();
  ctx.begin_recording();
  key.op = 7;
  Kernel<Dropping, S>::apply(ctx, {0.5f}, key, x.card(), y.card());
  const auto recording = ctx.end_recording();
  for (int run = 0; run < 2; ++run) {
    key = ctx.next_run(), key.op = 7;
    recording.play(ctx.stream());
    Kernel<Dropping, Spec<float, 3, Cpu>>::apply(ctx.host(), {0.5f}, key, x.host(), y.host());
    CHECK(y.wrong(0) == 0);
  }
}

TEST_CASE("card: softmax") {
  check_everywhere([]<class S>(S) { return SoftmaxOp<S>{}; }, 1e-6);
  Context<Cuda> ctx({.threads = 1});
  for (const Index channels : {2, 9, 17, 105, 300})
    check_op<float, 3>(ctx, []<class S>(S) { return SoftmaxOp<S>{}; }, {Shape<3>{1, channels, {1, 3, 13}}}, {.tolerance = 1e-6});
}

/// The first of the largest, a NaN the largest of all.
template <class F> std::uint8_t best_of(Index classes, F value) {
  Index best = 0;
  for (Index c = 1; c < classes; ++c)
    if (!std::isnan(value(best)) && (std::isnan(value(c)) || value(c) > value(best))) best = c;
  return static_cast<std::uint8_t>(best);
}

TEST_CASE("card: argmax, with ties and NaN") {
  Context<Cuda> ctx({.threads = 1});
  each_type([&]<class T>(T) {
    for (const Index classes : {1, 2, 3, 8, 105}) {
      Twin<T, 3> x(ctx, {2, classes, {1, 5, 29}}, {1, 0});
      Twin<std::uint8_t, 3> y(ctx, {2, 1, {1, 5, 29}});
      x.draw(1);
      for (Index r = 3; r < 290; r += 7) x[r * classes + r % classes] = T(std::nanf(""));
      x.upload();
      for (Index r = 0; r < 290; ++r) y[r] = best_of(classes, [&](Index c) { return number_of(x[r * classes + c]); });
      cuda::argmax(ctx.stream(), {}, {array(x), array(y)});
      CHECK(y.wrong(0) == 0);
    }
  });
}

TEST_CASE("card: argmax of a head compares what the head would store") {
  Context<Cuda> ctx({.threads = 1});
  each_type([&]<class T>(T) {
    for (const Index classes : {2, 3, 8, 19})
      for (const Index channels : {1, 7, 16}) {
        Twin<T, 3> x(ctx, {1, channels, {1, 5, 29}});
        Twin<float, 3> w(ctx, {1, channels * classes, {1, 1, 1}}), bias(ctx, {1, classes, {1, 1, 1}});
        Twin<std::uint8_t, 3> y(ctx, {1, 1, {1, 5, 29}});
        x.draw(1), w.draw(2), bias.draw(3);   // sums of these are exact
        for (Index r = 0; r < 145; ++r)
          y[r] = best_of(classes, [&](Index k) {
            float sum = bias[k];
            for (Index c = 0; c < channels; ++c) sum += static_cast<float>(x[r * channels + c]) * w[c * classes + k];
            return number_of(T(sum));
          });
        cuda::argmax(ctx.stream(), {w.card().data, bias.card().data, classes}, {array(x), array(y)});
        CHECK(y.wrong(0) == 0);
      }
  });
}

}   // namespace
