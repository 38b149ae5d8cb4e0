// The classic U-Net: parameter counts, names, sizes, options.
#include "support/plan_checks.hpp"

#include <ctseg/models/unet.hpp>

using namespace ctseg;
using namespace ctseg::test;

using F2 = Spec<float, 2, Cpu>;
using F3 = Spec<float, 3, Cpu>;

TEST_CASE("parameter counts of U-Net are the published ones") {
  CHECK(parameter_count(UNet<F3>(liver_unet())) == 90304449);
  CHECK(parameter_count(UNet<F3>(liver_unet_shallow())) == 22399425);
  CHECK(parameter_count(UNet<F3>(liver_unet_half())) == 22581217);
  CHECK(parameter_count(UNet<F3>({.features = {64, 128, 256, 512, 512}})) == 59892673);
  CHECK(parameter_count(UNet<F2>()) == 31042369);
  CHECK(parameter_count(UNet<F2>({.bias = false})) == 31036481);
  CHECK(parameter_count(UNet<F2>({.out_channels = 2, .norm = NormKind::none})) == 31030658);   // the paper's
  CHECK(parameter_count(UNet<F2>(slice_unet())) == 488149);
}

TEST_CASE("names of U-Net, level by level") {
  std::vector<std::string> names;
  const UNet<F2> net({.features = {2, 4}, .activation = prelu()});
  visit(net, [&](const std::string& name, const auto&) { names.push_back(name); });
  std::vector<std::string> expected;
  const auto level = [&](const std::string& prefix) {
    for (const char* conv : {".conv_0.", ".conv_1."})
      for (const char* leaf : {"conv.weight", "conv.bias", "norm.weight", "norm.bias", "norm.running_mean", "norm.running_var",
                               "activation.weight"})
        expected.push_back(prefix + conv + leaf);
  };
  level("encoder_0"), level("encoder_1");
  expected.insert(expected.end(), {"up_0.weight", "up_0.bias"});
  level("decoder_0");
  expected.insert(expected.end(), {"head.weight", "head.bias"});
  CHECK(names == expected);
}

TEST_CASE("U-Net gives its size back where the poolings divide it, and else says which sizes do") {
  const UNet<F3> net({.out_channels = 3, .features = {2, 2, 4, 4, 4}});
  CHECK((net.divisor() == std::array<Index, 3>{16, 16, 16}));
  const auto error = [&](const Shape<3>& s) -> std::string {
    Tape<F3> tape(Mode::train);
    try {
      const Shape<3> y = net.forward(tape.input(s)).shape();
      CHECK(y == s.with_channels(3));
    } catch (const Error& e) {
      CHECK(e.code() == Code::shape_mismatch);
      return e.what();
    }
    return "no error";
  };
  CHECK(error({2, 1, {16, 48, 32}}) == "no error");
  CHECK(error({1, 1, {100, 96, 81}}) ==
        "unet: input [1,1,100,96,81] is not a multiple of 16x16x16. Hint: pad it to 112x96x96 or crop it to 96x96x80.");
  CHECK(error({1, 1, {96, 96, 8}}) == "unet: input [1,1,96,96,8] is not a multiple of 16x16x16. Hint: pad it to 96x96x16.");
  CHECK(error({1, 2, {32, 32, 32}}).starts_with("encoder_0: conv: input has 2 channels, layer expects in_channels = 1"));
}

TEST_CASE("U-Net refuses what is no U-Net") {
  CHECK_THROWS_WITH_AS(UNet<F2>({.features = {8}}), "unet: features has 1 levels; must be 2 to 16.", Error);
  CHECK_THROWS_WITH_AS(UNet<F2>({.features = {}}), "unet: features has 0 levels; must be 2 to 16.", Error);
  CHECK_THROWS_AS(UNet<F2>({.features = {8, 0}}), Error);
}

TEST_CASE("options of U-Net: group norm, dropout, no fusion") {
  const UNetOptions o{.features = {4, 4}, .norm = NormKind::group, .groups = 2};
  UNetOptions parts = o, loose = o;
  parts.fused = false, loose.dropout = 0.5f;
  const auto loss = [&](const UNetOptions& options) {
    UNet<F2> net(options);
    Context<Cpu> ctx({.threads = 1, .seed = 4});
    net.initialize(ctx);
    const Sample<F2> sample({1, 1, {8, 8}}, 2, 3);
    Tape<F2> tape(Mode::train, ctx);
    return double(net.forward(tape.input(sample.x.view())).value().row(5)[0]);
  };
  CHECK(loss(o) == doctest::Approx(loss(parts)).epsilon(1e-6));
  CHECK(std::abs(loss(o) - loss(loose)) > 1e-4);
}
