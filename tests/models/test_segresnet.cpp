// SegResNet: parameter counts, names, sizes, options.
#include "support/plan_checks.hpp"

#include <ctseg/models/segresnet.hpp>

using namespace ctseg;
using namespace ctseg::test;

using D2 = Spec<double, 2, Cpu>;
using F2 = Spec<float, 2, Cpu>;
using F3 = Spec<float, 3, Cpu>;
using Names = std::vector<std::string>;

TEST_CASE("parameter counts of SegResNet are the published ones") {
  CHECK(parameter_count(SegResNet<F3>()) == 1176186);
  CHECK(parameter_count(SegResNet<F3>({.in_channels = 4, .out_channels = 3, .init_filters = 16})) == 4702227);
  CHECK(parameter_count(SegResNet<F3>({.out_channels = 105, .init_filters = 32})) == 18799401);
  SegResNetOptions o{.in_channels = 4, .out_channels = 3, .init_filters = 16, .upsample_mode = SegResNetUpsample::deconv};
  CHECK(parameter_count(SegResNet<F3>(o)) == 4745347);   // counted in MONAI 1.5
  o.upsample_mode = SegResNetUpsample::pixelshuffle;
  CHECK(parameter_count(SegResNet<F3>(o)) == 5864339);
}

static Names names_of(const SegResNetOptions& o) {
  Names names;
  const SegResNet<F2> net(o);
  visit(net, [&](const std::string& name, const auto&) { names.push_back(name); });
  return names;
}

TEST_CASE("names of SegResNet are those of MONAI's state_dict, in its order") {
  SegResNetOptions o{.blocks_down = {1, 2}, .blocks_up = {1}, .upsample_mode = SegResNetUpsample::deconv};
  Names expected = {"convInit.conv.weight"};
  const auto block = [&](const std::string& prefix) {
    for (const char* name :
         {"norm1.weight", "norm1.bias", "norm2.weight", "norm2.bias", "conv1.conv.weight", "conv2.conv.weight"})
      expected.push_back(prefix + name);
  };
  block("down_layers.0.1.");
  expected.emplace_back("down_layers.1.0.conv.weight");
  block("down_layers.1.1.");
  block("down_layers.1.2.");
  block("up_layers.0.0.");
  for (const char* name : {"up_samples.0.0.conv.weight", "up_samples.0.1.deconv.weight", "up_samples.0.1.deconv.bias",
                           "conv_final.0.weight", "conv_final.0.bias", "conv_final.2.conv.weight", "conv_final.2.conv.bias"})
    expected.emplace_back(name);
  CHECK(names_of(o) == expected);
  o.upsample_mode = SegResNetUpsample::pixelshuffle;
  const Names shuffled = names_of(o);
  CHECK(std::count(shuffled.begin(), shuffled.end(), "up_samples.0.1.pixelshuffle.conv_block.bias") == 1);
  o.affine = false;
  CHECK(names_of(o).size() == shuffled.size() - 2 * (2 * 4 + 1));
}

TEST_CASE("SegResNet gives its size back where its levels divide it, and else says which sizes do") {
  const SegResNet<F3> net({.out_channels = 3});
  CHECK((net.divisor() == std::array<Index, 3>{8, 8, 8}));
  Tape<F3> tape(Mode::train);
  const Shape<3> fits{1, 1, {8, 16, 24}};
  CHECK(net.forward(tape.input(fits)).shape() == fits.with_channels(3));
  CHECK(SegResNet<F3>({.use_conv_final = false}).forward(tape.input(fits)).shape() == fits.with_channels(8));
  CHECK_THROWS_WITH_AS(
      net.forward(tape.input(Shape<3>{1, 1, {8, 16, 20}})),
      "segresnet: input [1,1,8,16,20] is not a multiple of 8x8x8. Hint: pad it to 8x16x24 or crop it to 8x16x16.", Error);
}

TEST_CASE("SegResNet refuses options that cannot be") {
  CHECK_THROWS_WITH_AS(SegResNet<F2>({.blocks_down = {1, 2, 2}}),
                       "segresnet: 3 numbers in blocks_down and 3 in blocks_up; must be 2 to 16, and one less.", Error);
  CHECK_THROWS_WITH_AS(SegResNet<F2>({.blocks_down = {1, -3}, .blocks_up = {1}}),
                       "segresnet: a level of -3 blocks; must be 0 or more.", Error);
  CHECK_THROWS_WITH_AS(SegResNet<F2>({.dropout_prob = -0.5f}), doctest::Contains("p = -0.5"), Error);
  CHECK_THROWS_WITH_AS(SegResNet<F2>({.activation = prelu()}), doctest::Contains("prelu would share one slope"), Error);
  CHECK_THROWS_WITH_AS(SegResNet<F2>({.init_filters = 4}), doctest::Contains("8 groups do not divide 4 channels"), Error);
}

TEST_CASE("SegResNet drops channels behind its first convolution, and only in training") {
  SegResNet<D2> net({.blocks_down = {1, 1}, .blocks_up = {1}, .dropout_prob = 0.4f}),
      calm({.blocks_down = {1, 1}, .blocks_up = {1}});
  const Context<Cpu> seeds({.threads = 1, .seed = 8});
  net.initialize(seeds), calm.initialize(seeds);
  const auto x = random_tensor<double>(Shape<2>{2, 1, {8, 12}}, 5);
  const auto value = [&](const SegResNet<D2>& n, Mode mode) {
    Context<Cpu> ctx({.threads = 1, .seed = 3});
    Tape<D2> tape(mode, ctx);
    const auto y = n.forward(tape.input(x.view())).value();
    double sum = 0;
    for (Index r = 0; r < y.rows(); ++r) sum += y.row(r)[0] * double(r + 1);
    return sum;
  };
  CHECK(value(net, Mode::train) != value(calm, Mode::train));
  CHECK(value(net, Mode::infer) == value(calm, Mode::infer));
  Tape<D2> tape(Mode::train);
  net.forward(tape.input(x.shape()));
  int at = -1;
  for (std::size_t k = 0; k < tape.nodes().size(); ++k)
    if (tape.nodes()[k].op->name() == "ChannelDropout") at = at < 0 ? static_cast<int>(k) : 1000;
  CHECK(at == 2);   // input, convolution, dropout
}
