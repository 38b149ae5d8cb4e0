// ResidualEncoderUNet: nnU-Net's parameter count, names, sizes, first weights.
#include "network_checks.hpp"

#include <ctseg/models/residual_encoder_unet.hpp>

using namespace ctseg;
using namespace ctseg::test;

using F2 = Spec<float, 2, Cpu>;
using F3 = Spec<float, 3, Cpu>;

TEST_CASE("ResidualEncoderUNet has nnU-Net's parameter count") {
  CHECK(parameter_count(ResidualEncoderUNet<F3>()) == 102349770);
}

TEST_CASE("ResidualEncoderUNet has the names of nnU-Net's state_dict, in its order") {
  const auto names = names_of(ResidualEncoderUNet<F3>(
      {.features_per_stage = {2, 3}, .n_blocks_per_stage = {1}, .stem_channels = 4, .activation = prelu()}));
  const std::vector<std::string> expected = {"encoder.stem.convs.0.conv.weight",
                                             "encoder.stem.convs.0.conv.bias",
                                             "encoder.stem.convs.0.norm.weight",
                                             "encoder.stem.convs.0.norm.bias",
                                             "encoder.stem.convs.0.nonlin.weight",
                                             "encoder.stages.0.blocks.0.conv1.conv.weight",
                                             "encoder.stages.0.blocks.0.conv1.conv.bias",
                                             "encoder.stages.0.blocks.0.conv1.norm.weight",
                                             "encoder.stages.0.blocks.0.conv1.norm.bias",
                                             "encoder.stages.0.blocks.0.conv1.nonlin.weight",
                                             "encoder.stages.0.blocks.0.conv2.conv.weight",
                                             "encoder.stages.0.blocks.0.conv2.conv.bias",
                                             "encoder.stages.0.blocks.0.conv2.norm.weight",
                                             "encoder.stages.0.blocks.0.conv2.norm.bias",
                                             "encoder.stages.0.blocks.0.nonlin2.weight",
                                             "encoder.stages.0.blocks.0.skip.0.conv.weight",   // no pool in front
                                             "encoder.stages.0.blocks.0.skip.0.norm.weight",
                                             "encoder.stages.0.blocks.0.skip.0.norm.bias"};
  CHECK((std::vector<std::string>(names.begin(), names.begin() + std::ssize(expected)) == expected));
  CHECK(std::count(names.begin(), names.end(), "encoder.stages.1.blocks.0.skip.1.conv.weight") == 1);
  CHECK(names.back() == "decoder.seg_layers.0.bias");
  for (const auto& name : names) CHECK(name.find("skip.1.conv.bias") == std::string::npos);
}

TEST_CASE("ResidualEncoderUNet: heads of every level, sizes that fit") {
  const ResidualEncoderUNet<F3> net({.features_per_stage = {2, 3, 3}, .strides = {1, {1, 2, 2}, 2}, .n_blocks_per_stage = {1}});
  using Shapes = std::vector<Shape<3>>;
  CHECK((deep_shapes(net, {1, 1, {4, 8, 12}}) == Shapes{{1, 2, {4, 8, 12}}, {1, 2, {4, 4, 6}}}));
  CHECK(refusal(net, {1, 1, {4, 8, 11}}) ==
        "residual_encoder_unet: input [1,1,4,8,11] is not a multiple of 2x4x4. Hint: pad it to 4x8x12 or crop it to 4x8x8.");
  CHECK(bad_argument([] {
          ResidualEncoderUNet<F3>({.features_per_stage = {2, 3, 3}, .n_blocks_per_stage = {1, 2}});
        }) == "residual_encoder_unet: n_blocks_per_stage: 2 entries, expected 3. Hint: give one for all, or one each.");
  CHECK(bad_argument([] {
          ResidualEncoderUNet<F3>({.features_per_stage = {2, 3}, .n_blocks_per_stage = {0}});
        }) == "residual_encoder_unet: n_blocks_per_stage: 0 blocks in stage 0; one is the least.");
}

TEST_CASE("at first every residual block is its shortcut") {
  ResidualEncoderUNet<F2> net({.features_per_stage = {4, 6}});
  net.initialize(Context<Cpu>({.threads = 1, .seed = 4}));
  Index zeros = 0;
  visit(net, [&](const std::string& name, const Parameter<F2>& p) {
    INFO(name);
    if (name.ends_with("norm.weight")) {
      const bool last = name.find("conv2.norm") != std::string::npos;
      zeros += last ? 1 : 0;
      for (const float v : p.values()) CHECK(v == (last ? 0 : 1));
    }
    if (name.ends_with("conv.weight")) CHECK(p.values()[0] != 0);
  });
  CHECK(zeros == 1 + 3);
}

TEST_CASE("ResidualEncoderUNet: dropout works; separate ops equal fused ones") {
  const ResidualEncoderUNetOptions<2> options{.features_per_stage = {3, 4, 4}, .n_blocks_per_stage = {1, 2, 1}};
  check_dropout<ResidualEncoderUNet<F2>>(options, {1, 1, {16, 16}}, 7);
  auto separate = options;
  separate.fused = false;
  const Values<ResidualEncoderUNet<F2>> fused(options, {1, 1, {16, 16}}), parts(separate, {1, 1, {16, 16}});
  const auto one = fused.run(Mode::train, 1), other = parts.run(Mode::train, 1);   // statistics are taken in other parts
  REQUIRE(one.size() == other.size());
  for (std::size_t i = 0; i < one.size(); ++i) CHECK(one[i] == doctest::Approx(other[i]).epsilon(1e-4));
}

TEST_CASE("batch norms of ResidualEncoderUNet fold into its convolutions") {
  check_folding<ResidualEncoderUNet<F2>>({.features_per_stage = {3, 4, 4}, .n_blocks_per_stage = {1, 2, 1}}, {1, 1, {16, 16}},
                                         12);
}
