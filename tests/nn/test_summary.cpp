// The summary of a network: parameters, multiply-adds and shapes.
#include <doctest/doctest.h>

#include <ctseg/models/basic_unet.hpp>
#include <ctseg/models/residual_unet.hpp>
#include <ctseg/models/unet.hpp>
#include <ctseg/nn/plan.hpp>
#include <ctseg/nn/summary.hpp>
#include <ctseg/ops/cpu.hpp>

using namespace ctseg;
using F2 = Spec<float, 2, Cpu>;
using F3 = Spec<float, 3, Cpu>;

/// Of one pass, and that the parameters are the model's.
template <class Net> static double giga_multiply_adds(const Net& net, const Shape<Net::Spec::kDim>& x) {
  const NetworkSummary s = summarize(net, x);
  CHECK(s.parameters == parameter_count(net));
  return static_cast<double>(s.multiply_adds) * 1e-9;
}

TEST_CASE("multiply-adds are those the networks are known for") {
  const Shape<3> cube{1, 1, {128, 128, 128}};
  CHECK(giga_multiply_adds(UNet<F3>(liver_unet()), cube) == doctest::Approx(1898.6).epsilon(0.005));
  CHECK(giga_multiply_adds(UNet<F3>(liver_unet_shallow()), cube) == doctest::Approx(1787.8).epsilon(0.005));
  CHECK(giga_multiply_adds(UNet<F3>(liver_unet_half()), cube) == doctest::Approx(475.6).epsilon(0.005));
  CHECK(giga_multiply_adds(UNet<F2>(), {1, 1, {512, 512}}) == doctest::Approx(192.4).epsilon(0.005));
  CHECK(giga_multiply_adds(UNet<F2>(slice_unet()), {1, 1, {512, 512}}) == doctest::Approx(0.94).epsilon(0.005));
  CHECK(giga_multiply_adds(ResidualUNet<F3>(nodule_unet()), {1, 1, {64, 256, 256}}) == doctest::Approx(91.8).epsilon(0.005));
  CHECK(giga_multiply_adds(ResidualUNet<F3>(nodule_unet_small()), {1, 1, {48, 192, 192}}) ==
        doctest::Approx(9.9).epsilon(0.005));
  CHECK(giga_multiply_adds(BasicUNet<F3>(coronary_unet()), {1, 1, {96, 96, 96}}) == doctest::Approx(227.0).epsilon(0.005));
}

TEST_CASE("a summary has a row per op, and totals") {
  const UNet<F2> net({.features = {2, 4}});
  const NetworkSummary s = summarize(net, {2, 1, {8, 6}});
  REQUIRE(s.layers.size() == 10);   // 2 + pool and 2, up, concat, 2, head
  const LayerSummary& first = s.layers[0];
  CHECK(first.scope == "encoder_0");
  CHECK(first.op == "Conv+Norm+Act");
  CHECK(first.shape == "[2,2,8,6]");
  CHECK(first.parameters == 2 * 9 + 2 + 4);
  CHECK(first.multiply_adds == 96 * 18);
  CHECK(first.flop == 2 * 96 * 18 + 8 * 192);
  CHECK(first.activation_bytes == 4 * 192);
  const LayerSummary& up = s.layers[5];
  CHECK(up.op == "ConvTranspose");
  CHECK(up.multiply_adds == 2 * 12 * 4 * 4 * 2);   // every input voxel meets four taps
  CHECK(s.parameters == parameter_count(net));
  const std::string table = text(s);
  CHECK(table.starts_with("input [2,1,8,6] f32 on scalar, standard\nscope "));
  CHECK(std::count(table.begin(), table.end(), '\n') == 14);
  CHECK(
      table.find("\nencoder_0            Conv+Norm+Act   [2,2,8,6]                            24       0.000        0.001  "
                 "direct\n") !=
      std::string::npos);
  std::string printed;
  print_summary(net, {2, 1, {8, 6}},
                {[](void* to, std::string_view line) { static_cast<std::string*>(to)->append(line).append("\n"); }, &printed});
  CHECK(printed == table);
  CHECK_THROWS_AS(summarize(net, {2, 1, {7, 6}}), Error);
}

TEST_CASE("a summary and a plan say which engine every convolution runs on, as shape and accuracy decide") {
  const BasicUNet<F3> net;
  const Shape<3> cube{1, 1, {48, 48, 48}};
  const auto engines = [&](Accuracy accuracy) {
    const NetworkSummary s = summarize(net, cube, {.isa = Isa::scalar16, .accuracy = accuracy});
    CHECK(s.device == "scalar16, " + text(accuracy));
    std::vector<std::string> at;   // the first block, the second, pooling, the head
    for (const std::size_t i : {std::size_t{0}, std::size_t{1}, std::size_t{2}, s.layers.size() - 1})
      at.push_back(s.layers[i].engine);
    return at;
  };
  using Engines = std::vector<std::string>;
  CHECK(engines(Accuracy::strict) == Engines{"direct", "direct", "", "direct"});
  CHECK(engines(Accuracy::standard) == Engines{"direct", "F(2,3)", "", "direct"});
  CHECK(engines(Accuracy::fast) == Engines{"direct", "F(4,3)", "", "direct"});

  const Conv<F3> flat({.in_channels = 64, .out_channels = 64, .kernel = {1, 3, 3}}),
      uneven({.in_channels = 64, .out_channels = 64});
  const auto engine = [](const Conv<F3>& conv, const Shape<3>& shape, Isa isa) {
    Tape<F3> tape(Mode::infer, {.isa = isa, .accuracy = Accuracy::fast});
    const auto y = conv(tape.input(shape));
    const std::string name = summarize(tape).layers[0].engine, plan = Plan<F3>(tape, {.outputs = {y}}).summary();
    CHECK(plan.find(" " + name + " ") != std::string::npos);
    CHECK(plan.ends_with("; " + text(isa) + ", fast\n"));
    return name;
  };
  for (const Isa isa : kIsas) {
    if (!available(isa)) continue;
    CHECK(engine(flat, {1, 64, {9, 32, 32}}, isa) == "F(4,3)");
    CHECK(engine(uneven, {1, 64, {2, 32, 32}}, isa) == "F(2,3)F(4,3)F(4,3)");
    CHECK(engine(flat, {1, 64, {9, 1, 1}}, isa) == "direct");
  }
  const Conv<Spec<double, 3, Cpu>> plain({.in_channels = 64, .out_channels = 64});
  Tape<Spec<double, 3, Cpu>> tape(Mode::infer);
  plain(tape.input(cube.with_channels(64)));
  CHECK(summarize(tape).layers[0].engine.empty());   // double has one way
}

TEST_CASE("a layer that is called twice has its parameters once") {
  const Conv<F2> conv({.in_channels = 3, .out_channels = 3});
  Tape<F2> tape(Mode::train);
  conv(conv(tape.input(Shape<2>{1, 3, {4, 4}})));
  const NetworkSummary s = summarize(tape);
  CHECK(s.layers[0].parameters == 84);
  CHECK(s.layers[1].parameters == 0);
  CHECK(s.multiply_adds == 2 * 16 * 81);
  for (const bool affine : {true, false}) {   // running statistics are counted neither time
    const Block<F2> block({.conv = {.in_channels = 3, .out_channels = 3}, .norm = NormKind::batch, .affine = affine});
    Tape<F2> blocks(Mode::infer);
    block(block(blocks.input(Shape<2>{1, 3, {4, 4}})));
    const NetworkSummary b = summarize(blocks);
    CHECK(b.layers[0].parameters == 84 + (affine ? 6 : 0));
    CHECK(b.layers[1].parameters == 0);
  }
}
