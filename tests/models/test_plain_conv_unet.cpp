// PlainConvUNet: nnU-Net's parameter counts, names, sizes and heads.
#include "network_checks.hpp"

#include <ctseg/models/plain_conv_unet.hpp>

using namespace ctseg;
using namespace ctseg::test;

using F2 = Spec<float, 2, Cpu>;
using F3 = Spec<float, 3, Cpu>;

TEST_CASE("PlainConvUNet has nnU-Net's parameter counts") {
  CHECK(parameter_count(PlainConvUNet<F3>()) == 31195594);
  CHECK(parameter_count(PlainConvUNet<F2>()) == 46324558);
  CHECK(PlainConvUNet<F2>().divisor() == Axes<2>(128));
}

TEST_CASE("PlainConvUNet has the names of nnU-Net's state_dict, in its order") {
  using Names = std::vector<std::string>;
  CHECK(
      (names_of(PlainConvUNet<F3>({.features_per_stage = {2, 3}, .n_conv_per_stage = {1}, .n_conv_per_stage_decoder = {2}})) ==
       Names{"encoder.stages.0.0.convs.0.conv.weight",
             "encoder.stages.0.0.convs.0.conv.bias",
             "encoder.stages.0.0.convs.0.norm.weight",
             "encoder.stages.0.0.convs.0.norm.bias",
             "encoder.stages.1.0.convs.0.conv.weight",
             "encoder.stages.1.0.convs.0.conv.bias",
             "encoder.stages.1.0.convs.0.norm.weight",
             "encoder.stages.1.0.convs.0.norm.bias",
             "decoder.stages.0.convs.0.conv.weight",
             "decoder.stages.0.convs.0.conv.bias",
             "decoder.stages.0.convs.0.norm.weight",
             "decoder.stages.0.convs.0.norm.bias",
             "decoder.stages.0.convs.1.conv.weight",
             "decoder.stages.0.convs.1.conv.bias",
             "decoder.stages.0.convs.1.norm.weight",
             "decoder.stages.0.convs.1.norm.bias",
             "decoder.transpconvs.0.weight",
             "decoder.transpconvs.0.bias",
             "decoder.seg_layers.0.weight",
             "decoder.seg_layers.0.bias"}));
  const auto names = names_of(PlainConvUNet<F2>({.features_per_stage = {2, 3},
                                                 .n_conv_per_stage = {1},
                                                 .conv_bias = false,
                                                 .norm = NormKind::batch,
                                                 .activation = prelu()}));
  CHECK((Names(names.begin(), names.begin() + 6) ==
         Names{"encoder.stages.0.0.convs.0.conv.weight", "encoder.stages.0.0.convs.0.norm.weight",
               "encoder.stages.0.0.convs.0.norm.bias", "encoder.stages.0.0.convs.0.norm.running_mean",
               "encoder.stages.0.0.convs.0.norm.running_var", "encoder.stages.0.0.convs.0.nonlin.weight"}));
}

TEST_CASE("seg_layers count from the coarsest level, the logits from the finest") {
  PlainConvUNet<F2> net({.out_channels = 2, .features_per_stage = {2, 3, 4}});
  for (auto* p : net.parameters())
    for (auto& v : p->edit()) v = 0;
  visit(net, [](const std::string& name, auto& p) {
    if (name == "decoder.seg_layers.0.bias") p.edit()[1] = 5;   // of the level of half size
    if (name == "decoder.seg_layers.1.bias") p.edit()[1] = 7;
  });
  Context<Cpu> ctx({.threads = 1});
  Tape<F2> tape(Mode::infer, ctx);
  const auto x = tape.input(random_tensor<float>(Shape<2>{1, 1, {8, 8}}, 1).view());
  const auto y = net.forward_deep(x);
  REQUIRE(y.size() == 2);
  CHECK(y[0].value().row(0)[1] == 7);
  CHECK(y[1].value().row(0)[1] == 5);
  CHECK(net.forward(x).value().row(0)[1] == 7);
}

TEST_CASE("anisotropic plans: every level has its own size, kernels shrink with it") {
  const PlainConvUNet<F3> net({.out_channels = 3,
                               .features_per_stage = {2, 3, 4, 4},
                               .kernel_sizes = {{1, 3, 3}, {1, 3, 3}, 3, 3},
                               .strides = {1, {1, 2, 2}, {1, 2, 2}, 2}});
  CHECK(net.divisor() == Axes<3>{2, 8, 8});
  using Shapes = std::vector<Shape<3>>;
  CHECK((deep_shapes(net, {2, 1, {4, 16, 24}}) == Shapes{{2, 3, {4, 16, 24}}, {2, 3, {4, 8, 12}}, {2, 3, {4, 4, 6}}}));
  visit(net, [](const std::string& name, const Parameter<F3>& p) {
    using Extents = std::vector<Index>;
    if (name == "encoder.stages.1.0.convs.0.conv.weight") CHECK((p.shape() == Extents{3, 2, 1, 3, 3}));
    if (name == "decoder.transpconvs.1.weight") CHECK((p.shape() == Extents{4, 3, 1, 2, 2}));
    if (name == "decoder.stages.1.convs.0.conv.weight") CHECK((p.shape() == Extents{3, 6, 1, 3, 3}));
  });
}

TEST_CASE("PlainConvUNet names what must divide its input, and the sizes nearby") {
  const PlainConvUNet<F3> net({.features_per_stage = {2, 2, 2, 2}, .strides = {1, {1, 2, 2}, 2, 2}});
  CHECK(refusal(net, {1, 1, {8, 24, 40}}) == "no error");
  CHECK(refusal(net, {1, 1, {9, 24, 40}}) ==
        "plain_conv_unet: input [1,1,9,24,40] is not a multiple of 4x8x8. Hint: pad it to 12x24x40 or crop it to 8x24x40.");
  CHECK(refusal(net, {1, 1, {8, 24, 7}}) ==
        "plain_conv_unet: input [1,1,8,24,7] is not a multiple of 4x8x8. Hint: pad it to 8x24x8.");
  CHECK(refusal(net, {1, 2, {8, 24, 40}})
            .starts_with("encoder.stages.0: conv: input has 2 channels, layer expects in_channels = 1"));
  CHECK(refusal(net, {1, 1, {4, 8, 8}}).starts_with("encoder.stages.3: norm: input [1,2,1,1,1] has one value per channel"));
}

TEST_CASE("PlainConvUNet refuses lists that do not fit together") {
  using Net = PlainConvUNet<F3>;
  CHECK(bad_argument([] {
          Net({.features_per_stage = {2, 3, 4}, .strides = {1, 2}});
        }) == "plain_conv_unet: strides: 2 entries, expected 3. Hint: give one for all, or one each.");
  CHECK(bad_argument([] {
          Net({.features_per_stage = {2, 3, 4}, .n_conv_per_stage_decoder = {1, 1, 1}});
        }) == "plain_conv_unet: n_conv_per_stage_decoder: 3 entries, expected 2. Hint: give one for all, or one each.");
  CHECK(bad_argument([] { Net({.features_per_stage = {2}}); }).starts_with("plain_conv_unet: 1 stages; two are the least."));
  CHECK(bad_argument([] {
          Net({.features_per_stage = {2, 3}, .kernel_sizes = {3, {3, 2, 3}}});
        }) == "plain_conv_unet: stage 1 has kernel 3x2x3 and stride 2x2x2; kernels must be odd, strides 1 or more.");
  CHECK(bad_argument([] { Net({.features_per_stage = {2, 3}, .strides = {1, 0}}); }).find("stride 0x0x0") != std::string::npos);
  CHECK(bad_argument([] {
          Net({.features_per_stage = {2, 3}, .n_conv_per_stage = {0}});
        }) == "stage: 0 blocks; one is the least.");
}

TEST_CASE("first weights are He's, biases zero, norms 1 and 0") {
  PlainConvUNet<F2> net({.features_per_stage = {16, 32}});
  net.initialize(Context<Cpu>({.threads = 1, .seed = 4}));
  visit(net, [](const std::string& name, const Parameter<F2>& p) {
    INFO(name);
    double sum = 0, squares = 0;
    for (const double v : p.values()) sum += v, squares += v * v;
    const auto count = static_cast<double>(p.size());
    if (p.layout() != WeightLayout::plain && count >= 512) {   // 5 % is three deviations of 512 draws' spread
      CHECK(std::sqrt(squares / count) == doctest::Approx(std::sqrt(2 / (1.0001 * double(p.fan_in())))).epsilon(0.1));
      CHECK(std::abs(sum / count) < 4 * std::sqrt(squares) / count);
    }
    if (p.layout() == WeightLayout::plain) CHECK(sum == (name.ends_with("norm.weight") ? count : 0));
  });
}

TEST_CASE("PlainConvUNet: dropout works; separate ops equal fused ones") {
  check_dropout<PlainConvUNet<F2>>({.features_per_stage = {3, 4, 4}}, {1, 1, {16, 16}}, 10);
  const Values<PlainConvUNet<F2>> fused({.features_per_stage = {3, 4}}, {1, 1, {8, 8}}),
      parts({.features_per_stage = {3, 4}, .fused = false}, {1, 1, {8, 8}});
  const auto one = fused.run(Mode::train, 1), other = parts.run(Mode::train, 1);   // statistics are taken in other parts
  REQUIRE(one.size() == other.size());
  for (std::size_t i = 0; i < one.size(); ++i) CHECK(one[i] == doctest::Approx(other[i]).epsilon(1e-4));
}

TEST_CASE("batch norms of PlainConvUNet fold into its convolutions") {
  check_folding<PlainConvUNet<F2>>({.features_per_stage = {3, 4, 4}}, {1, 1, {16, 16}}, 10);
}
