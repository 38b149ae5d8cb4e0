// Normalisation on the card against the CPU's in double: statistics, the pass behind them, and both ways back.
#include <doctest/doctest.h>

#include <ctseg/ops/cuda/norm.hpp>
#include <ctseg/ops/norm.hpp>

#include "op_numbers.hpp"

using namespace ctseg;
using namespace ctseg::test;

namespace {

struct NormCase {
  NormKind kind = NormKind::instance;
  Shape<3> x{2, 8, {4, 3, 5}};
  Activation activation{};
  bool affine = true, residual = false;
  Mode mode = Mode::train;
  Index groups = 1, pitch = 0;
  bool on_x = false, on_dy = false, frozen = false;
  double mean = 0;
};
std::string text(const NormCase& c) {
  return ctseg::text(static_cast<int>(c.kind), " of ", c.x, " ", c.activation.kind, c.affine ? " affine" : "",
                     c.residual ? " + residual" : "", c.mode == Mode::train ? " train" : " infer", " pitch ", c.pitch);
}

template <AnySpec S> NormOp<S> op_of(const NormCase& c) {
  return {.kind = c.kind, .affine = c.affine, .activation = c.activation, .groups = c.groups};
}
template <class T> NumbersCase numbers_of(const NormCase& c) {
  const Index count = c.x.elements();
  NumbersCase t{.inputs = {{c.x, random_numbers<T>(count, 1, c.mean - 1, c.mean + 2), c.pitch}},
                .dy = random_numbers<T>(count, 2),
                .y_pitch = c.pitch,
                .mode = c.mode,
                .on_x = c.on_x,
                .on_dy = c.on_dy};
  if (c.residual) t.inputs.push_back({c.x, random_numbers<T>(count, 3)});
  const auto add = [&](Index size, std::uint64_t seed, double low, double high) {
    t.weights.push_back({random_numbers<float>(size, seed, low, high), !c.frozen});
  };
  if (c.affine) add(c.x.c, 4, 0.5, 1.5), add(c.x.c, 5, -1, 1);
  if (c.kind == NormKind::batch) add(c.x.c, 6, -0.5, 0.5), add(c.x.c, 7, 0.5, 2);
  if (c.activation.kind == ActivationKind::prelu) add(c.activation.per_channel ? c.x.c : 1, 8, 0.1, 0.4);
  return t;
}

struct Tolerance {
  double y, dx, dw;
};
template <class T> void compare(const NormCase& c, const Tolerance& allowed) {
  static Context<Cpu> cpu({.threads = 1});
  static Context<Cuda> card;
  const NumbersCase numbers = numbers_of<T>(c);
  const NumbersResult wanted = OpNumbers<Spec<double, 3, Cpu>>(cpu)(op_of<Spec<double, 3, Cpu>>(c), numbers);
  const NumbersResult got = OpNumbers<Spec<T, 3, Cuda>>(card)(op_of<Spec<T, 3, Cuda>>(c), numbers);
  INFO(text(c));
  CHECK(distance(got.y, wanted.y) < allowed.y);
  for (std::size_t k = 0; k < got.dx.size(); ++k) CHECK(distance(got.dx[k], wanted.dx[k]) < allowed.dx);
  for (std::size_t k = 0; k < got.dw.size(); ++k) {
    INFO("weights ", k);
    CHECK(distance(got.dw[k], wanted.dw[k], 1) < allowed.dw);
  }
}
constexpr Tolerance kFloat{2e-6, 3e-6, 1e-5}, kBf16{8e-3, 1e-2, 1e-2}, kHalf{1e-3, 2e-3, 2e-3};

}   // namespace

TEST_CASE("norms of any number of channels, images and rows") {
  for (const Shape<3>& x : {Shape<3>{1, 1, {3, 4, 5}},
                            {2, 2, {4, 3, 3}},
                            {1, 3, {7, 5, 3}},
                            {1, 32, {9, 9, 9}},
                            {2, 33, {5, 6, 7}},
                            {1, 72, {4, 4, 4}}})
    for (const NormKind kind : {NormKind::instance, NormKind::batch}) {
      compare<float>({.kind = kind, .x = x, .activation = leaky_relu()}, kFloat);
      compare<bf16>({.kind = kind, .x = x, .activation = relu()}, kBf16);
    }
  compare<half>({.x = {1, 16, {6, 5, 4}}, .activation = prelu()}, kHalf);
  for (const Shape<3>& x : {Shape<3>{2, 7, {1, 1, 2}}, {1, 40, {1, 2, 1}}})   // dx is all but 0
    compare<float>({.x = x, .activation = leaky_relu()}, {1e-5, 1e-2, 1e-5});
}

TEST_CASE("activations behind a norm, with and without a residual") {
  for (const ActivationKind kind : kActivationKinds)
    for (const bool residual : {false, true}) {
      const Activation a{kind, kind == ActivationKind::elu ? 0.7f : 0.15f};
      compare<float>({.kind = NormKind::instance, .activation = a, .residual = residual}, kFloat);
      compare<float>({.kind = NormKind::batch, .x = {2, 5, {3, 4, 2}}, .activation = a, .residual = residual}, kFloat);
    }
  for (const NormKind kind : {NormKind::instance, NormKind::batch, NormKind::group})
    compare<float>({.kind = kind, .activation = prelu_per_channel(), .residual = true, .groups = 4}, kFloat);
  compare<bf16>({.x = {1, 16, {6, 5, 4}}, .activation = prelu_per_channel(), .residual = true}, kBf16);
}

TEST_CASE("groups of channels share statistics") {
  for (const Index groups : {1, 2, 4, 8})
    compare<float>({.kind = NormKind::group, .activation = prelu(), .groups = groups}, kFloat);
  compare<float>({.kind = NormKind::group, .x = {2, 72, {3, 4, 3}}, .activation = gelu(), .groups = 6}, kFloat);
  compare<float>({.kind = NormKind::group, .x = {2, 9, {3, 4, 3}}, .affine = false, .groups = 3}, kFloat);
}

TEST_CASE("ranges of channels of wider buffers, and results where the inputs were") {
  compare<float>({.x = {2, 8, {4, 3, 5}}, .activation = relu(), .residual = true, .pitch = 24}, kFloat);
  compare<float>({.x = {2, 8, {4, 3, 5}}, .activation = relu(), .pitch = 11}, kFloat);
  compare<bf16>({.x = {1, 16, {4, 3, 5}}, .activation = leaky_relu(), .pitch = 32}, kBf16);
  for (const NormKind kind : {NormKind::instance, NormKind::batch})
    compare<float>({.kind = kind, .activation = elu(), .residual = true, .on_x = true, .on_dy = true}, kFloat);
}

TEST_CASE("outside of training batch norm uses its running statistics, instance norm its own") {
  for (const NormKind kind : {NormKind::batch, NormKind::instance, NormKind::group})
    for (const bool residual : {false, true})
      compare<float>({.kind = kind, .activation = prelu(), .residual = residual, .mode = Mode::infer, .groups = 2}, kFloat);
  compare<float>({.kind = NormKind::batch, .affine = false, .mode = Mode::infer}, kFloat);
  compare<float>({.kind = NormKind::batch, .mode = Mode::infer, .frozen = true}, kFloat);
  compare<float>({.kind = NormKind::batch, .activation = prelu(), .frozen = true}, kFloat);
}

TEST_CASE("neither a large mean nor odd first rows cost digits") {
  compare<float>({.x = {1, 8, {9, 9, 9}}, .mean = 1000}, {2e-3, 2e-3, 5e-2});   // what x itself has left of its digits
  Context<Cpu> cpu({.threads = 1});
  Context<Cuda> card;
  NumbersCase odd = numbers_of<float>({.x = {1, 4, {12, 10, 10}}, .affine = false});
  for (std::size_t i = 0; i < 6 * 4; ++i) odd.inputs[0].values[i] = 1e4;
  const NormOp<Spec<double, 3, Cpu>> on_cpu{.affine = false};
  const NormOp<Spec<float, 3, Cuda>> on_card{.affine = false};
  CHECK(distance(OpNumbers<Spec<float, 3, Cuda>>(card)(on_card, odd).y, OpNumbers<Spec<double, 3, Cpu>>(cpu)(on_cpu, odd).y) <
        2e-6);
}

TEST_CASE("relu makes 0 of minus infinity and leaves a NaN") {
  Context<Cuda> card;
  const float low = -std::numeric_limits<float>::infinity();
  NumbersCase c{.inputs = {{{1, 4, {1, 1, 2}}, {low, 2, std::nan(""), -1, 3, 4, 5, 6}}},
                .weights = {{{0, 0, 0, 0}}, {{1, 1, 1, 1}}},
                .dy = Numbers(8, 1.0),
                .mode = Mode::infer};
  const NormOp<Spec<float, 3, Cuda>> op{.kind = NormKind::batch, .affine = false, .activation = relu()};
  const Numbers y = OpNumbers<Spec<float, 3, Cuda>>(card)(op, c).y;
  CHECK(y[0] == 0);
  CHECK(std::isnan(y[2]));
  CHECK(y[3] == 0);
  CHECK(y[7] == doctest::Approx(6).epsilon(1e-4));
}
