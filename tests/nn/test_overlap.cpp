// Inference writes results over the source that a convolution has passed: less memory, the same bits.
#include "support/plan_checks.hpp"

#include <ctseg/nn/init.hpp>
#include <ctseg/nn/layers.hpp>

using namespace ctseg;
using namespace ctseg::test;

namespace {

/// Convolutions in a row; `skip`: the second one's result is half of a concatenation.
template <int Dim> struct Chain {
  using S = Spec<float, Dim, Cpu>;
  Conv<S> first, second, third;
  bool skip;

  Chain(Index channels, Index kernel, bool with_skip)
      : first({.in_channels = 1, .out_channels = channels}),
        second({.in_channels = channels, .out_channels = channels, .kernel = kernel}),
        third({.in_channels = with_skip ? 2 * channels : channels, .out_channels = channels, .kernel = kernel}),
        skip(with_skip) {
    initialize_default(*this, 3);
  }
  Var<S> forward(Var<S> x) const {
    const auto y = second(first(x));
    return third(skip ? concat(y, first(x)) : y);
  }
  template <class Self, class F> static void each(Self& self, const std::string& prefix, F f) {
    Conv<S>::each(self.first, prefix + "first.", f);
    Conv<S>::each(self.second, prefix + "second.", f);
    Conv<S>::each(self.third, prefix + "third.", f);
  }
};

template <int Dim> void check(const Chain<Dim>& net, const Shape<Dim>& shape, Isa isa, Accuracy accuracy) {
  using S = Spec<float, Dim, Cpu>;
  const auto image = random_tensor<float>(shape, 5);
  for (const int threads : {1, 3}) {
    Context<Cpu> ctx({.threads = threads, .isa = isa, .accuracy = accuracy});
    Tape<S> eager(Mode::infer, ctx), list(Mode::infer, ctx.traits());
    const auto expected = net.forward(eager.input(image.view()));
    const auto x = list.input(shape), y = net.forward(x);
    const Plan<S> plan(list, {.outputs = {y}});
    INFO(text(isa) << ", " << text(accuracy) << ", " << text(shape) << ", " << threads << " threads\n" << plan.peak());
    Index scratch = 0;
    for (const auto& node : plan.nodes()) scratch = std::max(scratch, node.info.forward_scratch);
    const Index whole = bytes_of<float>(shape.n * shape.voxels() * net.third.op().in_channels),
                result = bytes_of<float>(y.shape().elements());
    CHECK(plan.live_bytes() - scratch < whole + result * 8 / 10);
    Run<S> run(plan, ctx);
    poison(run.arena());
    for (int repeat = 0; repeat < 2; ++repeat) {
      Sample<S>::copy(image, run.input(x));
      run.forward();
      CHECK(same_bits<S>(run.output(y), expected.value()));
    }
  }
}

}   // namespace

TEST_CASE("results overlap their source in all accuracies, for one and several images") {
  const Isa isa = detect_isa();
  for (const Accuracy accuracy : {Accuracy::strict, Accuracy::standard, Accuracy::fast}) {
    check<3>(Chain<3>(16, 3, false), {.n = 1, .c = 1, .space = {90, 17, 18}}, isa, accuracy);
    check<3>(Chain<3>(16, 3, true), {.n = 1, .c = 1, .space = {90, 18, 17}}, isa, accuracy);
    check<3>(Chain<3>(16, 3, true), {.n = 5, .c = 1, .space = {20, 19, 17}}, isa, accuracy);
  }
}
TEST_CASE("results overlap their source for other kernels and on other paths") {
  for (const Isa isa : {Isa::scalar, Isa::scalar16})
    check<3>(Chain<3>(8, 3, true), {.n = 1, .c = 1, .space = {40, 13, 12}}, isa, Accuracy::standard);
  const Isa isa = detect_isa();
  check<3>(Chain<3>(8, 5, false), {.n = 1, .c = 1, .space = {70, 16, 15}}, isa, Accuracy::fast);
  check<3>(Chain<3>(8, 1, true), {.n = 1, .c = 1, .space = {96, 11, 15}}, isa, Accuracy::standard);
}
