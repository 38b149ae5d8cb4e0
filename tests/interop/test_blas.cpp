// A convolution done by BLAS: what every op must pass, and the same numbers as our own.
#include <ctseg/interop/blas.hpp>

#include "ops/conv_cases.hpp"
#include "support/op_checks.hpp"

extern "C" void openblas_set_num_threads(int threads);

using namespace ctseg;
using namespace ctseg::test;

namespace {
struct MakePointwiseBlas {
  template <AnySpec S> OpCase<S> operator()(S, Draw& draw) const {
    const Index in = draw.channels(9), out = draw.channels(9);
    const bool bias = draw.pick({true, false});
    const auto x = draw.template shape<S::kDim>(in);
    return {.name = text("pointwise by BLAS ", x, " to ", out),
            .op = interop::PointwiseBlasOp<S>{out},
            .inputs = {activations<S>(x)},
            .weights = {{in * out}, {bias ? out : 0}},
            .linear = !bias};
  }
};
}   // namespace

TEST_CASE("pointwise convolution by BLAS: derivatives, adjoint, float") {
  openblas_set_num_threads(1);
  Context<Cpu> ctx({.threads = 1});
  for (std::uint64_t round = 0; round < 60; ++round) {
    Draw a({.seed = round}), b = a;
    const auto in_double = MakePointwiseBlas{}(Spec<double, 3, Cpu>{}, a);
    const auto in_float = MakePointwiseBlas{}(Spec<float, 3, Cpu>{}, b);
    check_gradients(in_double, ctx, round + 1);
    if (in_double.linear) check_adjoint(in_double, ctx, round + 1);
    check_unwanted(in_float, ctx);
    check_precision(in_float, in_double, ctx, 2e-6);
  }
}

TEST_CASE("pointwise convolution by BLAS equals the convolution") {
  using S = Spec<double, 3, Cpu>;
  openblas_set_num_threads(1);
  Conv<S> layer({.in_channels = 7, .out_channels = 5, .kernel = 1});
  RandomStream random({.seed = 4});
  for (auto* p : {&layer.weight, &layer.bias})
    for (double& v : p->edit()) v = random.normal();
  Tensor<double, 3> x({.n = 2, .c = 7, .space = {3, 5, 4}});
  for (Index i = 0; i < x.shape().elements(); ++i) x.view().data[i] = random.normal();
  Context<Cpu> ctx({.threads = 1});
  Tape<S> tape(Mode::infer, ctx);
  const auto input = tape.input(x.view());
  const auto ours = layer(input), theirs = interop::pointwise_by_blas(input, layer);
  for (Index i = 0; i < ours.shape().elements(); ++i)
    CHECK(theirs.value().data[i] == doctest::Approx(ours.value().data[i]).epsilon(1e-13));

  const auto refused = [&](const ConvOptions<3>& o) {
    const Conv<S> conv(o);
    CHECK_THROWS_AS(interop::pointwise_by_blas(input, conv), Error);
  };
  refused({.in_channels = 7, .out_channels = 5});
  refused({.in_channels = 7, .out_channels = 5, .kernel = 1, .stride = 2});
  refused({.in_channels = 7, .out_channels = 5, .kernel = 1, .padding = Axes<3>(1)});
  refused({.in_channels = 7, .out_channels = 5, .kernel = 1, .padding = Axes<3>(1), .padding_mode = PadMode::replicate});
  refused({.in_channels = 7, .out_channels = 7, .kernel = 1, .groups = 7});
  refused({.in_channels = 7, .out_channels = 5, .kernel = 1, .stride = 2, .transposed = true});
}
