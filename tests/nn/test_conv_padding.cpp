// What a convolution sees beyond the border: zeros, the border again, or its mirror image.
#include <doctest/doctest.h>

#include <ctseg/core/tensor.hpp>
#include <ctseg/nn/layers.hpp>
#include <ctseg/nn/plan.hpp>
#include <ctseg/nn/run.hpp>
#include <ctseg/ops/cpu.hpp>

using namespace ctseg;

using S = Spec<double, 2, Cpu>;

static Conv<S> sum_of_three(PadMode mode) {
  Conv<S> conv({.kernel = {1, 3}, .padding_mode = mode, .bias = false});
  for (double& v : conv.weight.edit()) v = 1;
  return conv;
}
static std::vector<double> row_of(Var<S> y) { return {y.value().data, y.value().data + y.shape().elements()}; }

TEST_CASE("conv pads with zeros, the border, or its mirror image") {
  Tensor<double, 2> x({.n = 1, .c = 1, .space = {1, 3}});
  x.view().data[0] = 1, x.view().data[1] = 10, x.view().data[2] = 100;
  Context<Cpu> ctx({.threads = 1});
  Tape<S> tape(Mode::train, ctx);
  const auto input = tape.input(x.view());
  CHECK(row_of(sum_of_three(PadMode::constant)(input)) == std::vector<double>{11, 111, 110});
  CHECK(row_of(sum_of_three(PadMode::replicate)(input)) == std::vector<double>{12, 111, 210});
  CHECK(row_of(sum_of_three(PadMode::reflect)(input)) == std::vector<double>{21, 111, 120});
}

TEST_CASE("a block pads as its convolution says, fused or not") {
  Tensor<double, 2> x({.n = 2, .c = 2, .space = {5, 4}});
  RandomStream random({.seed = 1});
  for (Index i = 0; i < x.shape().elements(); ++i) x.view().data[i] = random.normal();
  Context<Cpu> ctx({.threads = 1});
  std::vector<std::vector<double>> results;
  for (bool fused : {true, false})
    for (PadMode mode : {PadMode::reflect, PadMode::constant}) {
      Block<S> block({.conv = {.in_channels = 2, .out_channels = 3, .padding_mode = mode}, .fused = fused});
      RandomStream weights({.seed = 2});
      for (double& v : block.conv.weight.edit()) v = weights.normal();
      Tape<S> tape(Mode::train, ctx);
      const auto y = block(tape.input(x.view()));
      CHECK(y.shape() == Shape<2>{.n = 2, .c = 3, .space = {5, 4}});
      results.push_back(row_of(y));
    }
  CHECK(results[0] == results[2]);
  CHECK(results[1] == results[3]);
  CHECK(results[0] != results[1]);
}

TEST_CASE("conv padding: errors") {
  const auto message = [](auto make) -> std::string {
    try {
      make();
    } catch (const Error& e) {
      return e.what();
    }
    return "no error";
  };
  CHECK(message([] { Conv<S>({.padding_mode = PadMode::reflect, .transposed = true}); }) ==
        "conv_transpose: padding_mode is not constant; only zeros can be padded here.");
  CHECK(message([] { Conv<S>({.padding = Axes<2>(-1)}); }) == "conv: padding -1x-1; must be 0 or more.");
  CHECK(message([] {
          Conv<S>({.output_padding = {0, 1}});
        }) ==
        "conv: output_padding 0x1 along spatial axis 1; must be 0 or more and below 1: only a transposed convolution has one.");
  CHECK(message([] {
          Conv<S>({.stride = 2, .output_padding = {1, 2}, .transposed = true});
        }) ==
        "conv_transpose: output_padding 1x2 along spatial axis 1; must be 0 or more and below 2, the larger of stride and "
        "dilation.");
  Context<Cpu> ctx({.threads = 1});
  Tape<S> tape(Mode::infer, ctx);
  const Tensor<double, 2> x({.n = 1, .c = 1, .space = {3, 1}});
  const auto input = tape.input(x.view());
  const Conv<S> conv({.padding_mode = PadMode::reflect});
  CHECK(message([&] { conv(input); }).starts_with("pad: reflects 1 and 1 voxels along spatial axis 1 of [1,1,3,1]"));
}
