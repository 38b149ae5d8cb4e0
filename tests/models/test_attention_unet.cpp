// Attention U-Net and its gate: parameter counts, names, sizes, options, the gate's formula.
#include "support/plan_checks.hpp"

#include <ctseg/models/attention_unet.hpp>
#include <ctseg/nn/fold.hpp>

using namespace ctseg;
using namespace ctseg::test;

using D2 = Spec<double, 2, Cpu>;
using F2 = Spec<float, 2, Cpu>;
using F3 = Spec<float, 3, Cpu>;

TEST_CASE("the parameter count of the attention U-Net") { CHECK(parameter_count(AttentionUnet<F3>()) == 5909130); }

/// Of the layers: the first name of each, without its leaf.
static std::vector<std::string> layers_of(const AttentionUnet<F2>& net) {
  std::vector<std::string> layers;
  visit(net, [&](const std::string& name, const auto&) {
    const std::string layer = name.substr(0, name.rfind('.'));
    if (layers.empty() || layers.back() != layer) layers.push_back(layer);
  });
  return layers;
}

TEST_CASE("names of the attention U-Net are those of MONAI's state_dict, in its order") {
  std::vector<std::string> expected;
  const auto add = [&](const std::string& prefix, std::initializer_list<const char*> names) {
    for (const char* name : names) expected.push_back(prefix + name);
  };
  const auto two_conv = [&](const std::string& prefix) {
    add(prefix, {"conv.0.conv", "conv.0.adn.N", "conv.1.conv", "conv.1.adn.N"});
  };
  const auto level = [&](const std::string& prefix) {
    add(prefix + "attention.", {"W_g.0.conv", "W_g.1", "W_x.0.conv", "W_x.1", "psi.0.conv", "psi.1"});
    add(prefix, {"upconv.up.conv", "upconv.up.adn.N", "merge.conv", "merge.adn.A"});
  };
  two_conv("model.0.");
  level("model.1.");
  two_conv("model.1.submodule.0.");
  level("model.1.submodule.1.");
  two_conv("model.1.submodule.1.submodule.");
  add("model.2.", {"conv"});
  CHECK(layers_of(AttentionUnet<F2>({.channels = {2, 4, 6}, .strides = {2, 2}})) == expected);
}

TEST_CASE("the attention U-Net gives its size back where the strides divide it, and else says which sizes do") {
  const AttentionUnet<F3> net({.out_channels = 3, .channels = {2, 2, 4}, .strides = {{1, 2, 2}, {2, 3, 2}}});
  CHECK((net.divisor() == std::array<Index, 3>{2, 6, 4}));
  Tape<F3> tape(Mode::train);
  const Shape<3> fits{1, 1, {4, 6, 12}};
  CHECK(net.forward(tape.input(fits)).shape() == fits.with_channels(3));
  CHECK_THROWS_WITH_AS(
      net.forward(tape.input(Shape<3>{1, 1, {4, 7, 12}})),
      "attention_unet: input [1,1,4,7,12] is not a multiple of 2x6x4. Hint: pad it to 4x12x12 or crop it to 4x6x12.", Error);
}

TEST_CASE("the attention U-Net refuses options that cannot be") {
  CHECK_THROWS_WITH_AS(AttentionUnet<F2>({.channels = {4, 8, 16}, .strides = {2}}),
                       "attention_unet: 3 channels and 1 strides; must be two channels or more, and one stride less.", Error);
  CHECK_THROWS_WITH_AS(AttentionUnet<F2>({.channels = {}, .strides = {}}), doctest::Contains("0 channels and 0 strides"),
                       Error);
  const Axes<2> far = 1 << 11;   // times itself more than Axes takes, often enough more than 64 bits
  CHECK_THROWS_WITH_AS(AttentionUnet<F2>({.channels = {2, 2, 2}, .strides = {far, far}}),
                       "axes: 4194304; must be at most 1048576.", Error);
  CHECK_THROWS_WITH_AS(AttentionUnet<F2>({.up_kernel_size = 2}),
                       "attention_unet: kernel_size 3x3, up_kernel_size 2x2; must be odd.", Error);
}

TEST_CASE("the attention U-Net drops values in its convolutions, never in up, and only in training") {
  const AttentionUnetOptions<2> o{.channels = {2, 4, 6}, .strides = {2, 2}, .dropout = 0.3f};
  AttentionUnet<D2> net(o), calm({.channels = o.channels, .strides = o.strides});
  const Context<Cpu> seeds({.threads = 1, .seed = 8});
  net.initialize(seeds), calm.initialize(seeds);
  const auto x = random_tensor<double>(Shape<2>{2, 1, {16, 12}}, 5);
  const auto value = [&](const AttentionUnet<D2>& n, Mode mode, int* dropouts = nullptr) {
    Context<Cpu> ctx({.threads = 1, .seed = 3});
    Tape<D2> tape(mode, ctx);
    const auto y = n.forward(tape.input(x.view())).value();
    for (const auto& node : tape.nodes())
      if (dropouts && node.op->name() == "Dropout") ++*dropouts;
    double sum = 0;
    for (Index r = 0; r < y.rows(); ++r) sum += y.row(r)[0] * double(r + 1);
    return sum;
  };
  int dropouts = 0;
  CHECK(value(net, Mode::train, &dropouts) != value(calm, Mode::train));
  CHECK(dropouts == 2 * 3 + 2);   // three pairs of convolutions, two merges
  CHECK(value(net, Mode::infer) == value(calm, Mode::infer));
}

TEST_CASE("the attention gate is its formula") {
  AttentionGate<D2> gate({.gate_channels = 2, .skip_channels = 1, .inner_channels = 1, .norm = NormKind::batch});
  visit(gate, [&](const std::string& name, Parameter<D2>& p) {   // batch norm in inference: (v - mean) / sqrt(1 + eps)
    const auto v = p.edit();
    if (name == "W_g.0.conv.weight") v[0] = 0.5, v[1] = -2;
    if (name == "W_g.0.conv.bias") v[0] = 0.25;
    if (name == "W_x.0.conv.weight") v[0] = 3;
    if (name == "W_x.1.bias") v[0] = -0.5;
    if (name == "psi.0.conv.weight") v[0] = -1.5;
    if (name == "psi.1.running_mean") v[0] = 0.125;
  });
  const auto g = random_tensor<double>(Shape<2>{1, 2, {3, 5}}, 6), x = random_tensor<double>(Shape<2>{1, 1, {3, 5}}, 7);
  Context<Cpu> ctx({.threads = 1});
  Tape<D2> tape(Mode::infer, ctx);
  const auto y = gate(tape.input(g.view()), tape.input(x.view())).value();
  const double norm = 1 / std::sqrt(1 + 1e-5);
  int closed = 0;
  for (Index r = 0; r < y.rows(); ++r) {
    const double *gr = g.view().row(r), xr = x.view().row(r)[0];
    const double sum = norm * (0.5 * gr[0] - 2 * gr[1] + 0.25) + norm * 3 * xr - 0.5;
    const double psi = norm * (-1.5 * std::max(sum, 0.0) - 0.125);
    CHECK(y.row(r)[0] == doctest::Approx(xr / (1 + std::exp(-psi))).epsilon(1e-7));
    closed += sum < 0;
  }
  CHECK(closed > 2);
  CHECK(closed < 13);
}

TEST_CASE("batch norms of the attention U-Net fold, its instance norms stay") {
  AttentionUnet<F2> net({.channels = {2, 4, 6}, .strides = {2, 2}});
  CHECK(fold_batch_norm(net) == 2 * 3 + 2 * (3 + 1));   // pairs of convolutions; three of each gate and one of each up
}

TEST_CASE("the attention gate wants its two inputs at one size") {
  const AttentionGate<F2> gate({.gate_channels = 2, .skip_channels = 2, .inner_channels = 1});
  Tape<F2> tape(Mode::train);
  CHECK_THROWS_AS(gate(tape.input(Shape<2>{1, 2, {4, 4}}), tape.input(Shape<2>{1, 2, {8, 8}})), Error);
}
