// V-Net, MONAI's and the paper's: parameter counts, names, sizes, dropout, options.
#include "support/plan_checks.hpp"

#include <ctseg/models/vnet.hpp>
#include <ctseg/nn/fold.hpp>

using namespace ctseg;
using namespace ctseg::test;

using D2 = Spec<double, 2, Cpu>;
using F2 = Spec<float, 2, Cpu>;
using F3 = Spec<float, 3, Cpu>;

TEST_CASE("parameter counts of V-Net are the published ones") {
  CHECK(parameter_count(VNet<F3>()) == 45597898);
  CHECK(parameter_count(VNet<F3>({.out_channels = 1})) == 45593892);
  CHECK(parameter_count(VNet<F3>({.out_channels = 26})) == 45694642);
  CHECK(parameter_count(VNet<F3>({.out_channels = 26, .activation = prelu_per_channel()})) == 45698284);
  CHECK(parameter_count(VNet<F3>(original_vnet())) == 61982682);
  // The lite head saves 5^3 * 32 * 26 weights and gamma and beta, and its 1^3 convolution has 32 inputs instead of 26.
  CHECK(parameter_count(VNet<F3>({.out_channels = 26, .lite_head = true})) == 45694642 - 125 * 32 * 26 - 2 * 26 + 6 * 26);
}

template <AnySpec S> static std::vector<std::string> names_of(const VNet<S>& net, const std::string& stage) {
  std::vector<std::string> names;
  visit(net, [&](const std::string& name, const auto&) {
    if (name.starts_with(stage)) names.push_back(name.substr(stage.size()));
  });
  return names;
}
using Names = std::vector<std::string>;

TEST_CASE("names of V-Net are those of MONAI's state_dict, in its order") {
  const VNet<F2> net({.activation = prelu_per_channel(), .width = 2});
  const Names unit = {"act_function.weight",   "conv_block.conv.weight",        "conv_block.adn.N.weight",
                      "conv_block.adn.N.bias", "conv_block.adn.N.running_mean", "conv_block.adn.N.running_var"};
  CHECK(names_of(net, "in_tr.") == unit);
  Names down = {"down_conv.weight",     "bn1.weight",          "bn1.bias", "bn1.running_mean", "bn1.running_var",
                "act_function1.weight", "act_function2.weight"};
  for (const char* op : {"ops.0.", "ops.1."})
    for (const std::string& name : unit) down.push_back(op + name);
  CHECK(names_of(net, "down_tr256.") == down);
  Names up = down;
  up[0] = "up_conv.weight";
  up.insert(up.begin() + 1, "up_conv.bias");
  CHECK(names_of(net, "up_tr128.") == up);
  Names out = unit;
  out[0] = "act_function1.weight";
  out.insert(out.end(), {"conv2.weight", "conv2.bias"});
  CHECK(names_of(net, "out_tr.") == out);
  CHECK(names_of(VNet<F2>({.lite_head = true, .width = 2}), "out_tr.") == Names{"conv2.weight", "conv2.bias"});
  CHECK(names_of(VNet<F2>(original_vnet({.width = 2})), "down_tr32.") ==
        Names{"down_conv.weight", "down_conv.bias", "act_function1.weight", "ops.0.act_function.weight",
              "ops.0.conv_block.conv.weight", "ops.0.conv_block.conv.bias"});
}

TEST_CASE("bias: never in the up stages of MONAI's V-Net") {
  const VNet<F2> net({.bias = true, .width = 2});
  const auto has = [&](const std::string& name) { return names_of(net, name).size() == 1; };
  CHECK(has("in_tr.conv_block.conv.bias"));
  CHECK(has("down_tr32.down_conv.bias"));
  CHECK(has("down_tr32.ops.0.conv_block.conv.bias"));
  CHECK(has("out_tr.conv_block.conv.bias"));
  CHECK(!has("up_tr32.ops.0.conv_block.conv.bias"));
}

TEST_CASE("V-Net gives its size back where 16 divides it, and else says which sizes do") {
  const VNet<F3> net({.in_channels = 2, .out_channels = 5, .width = 2});
  CHECK((net.divisor() == std::array<Index, 3>{16, 16, 16}));
  Tape<F3> tape(Mode::train);
  const Shape<3> fits{2, 2, {16, 48, 32}};
  CHECK(net.forward(tape.input(fits)).shape() == fits.with_channels(5));
  CHECK_THROWS_WITH_AS(
      net.forward(tape.input(Shape<3>{1, 2, {16, 40, 32}})),
      "vnet: input [1,2,16,40,32] is not a multiple of 16x16x16. Hint: pad it to 16x48x32 or crop it to 16x32x32.", Error);
  CHECK_THROWS_WITH_AS(net.forward(tape.input(Shape<3>{1, 1, {16, 16, 32}})), doctest::Contains("input has 1 channels"), Error);
}

TEST_CASE("V-Net refuses options that cannot be") {
  CHECK_THROWS_WITH_AS(VNet<F3>({.in_channels = 3}),
                       "vnet: in_channels = 3; the input is doubled until it has width = 16 channels, so they must be 16, half "
                       "of that, a quarter ...",
                       Error);
  CHECK_THROWS_AS(VNet<F3>({.in_channels = 1, .width = 12}), Error);
  CHECK_THROWS_WITH_AS(VNet<F2>({.in_channels = 0}), "conv: in_channels = 0, out_channels = 16; both must be 1 or more.",
                       Error);
  CHECK_THROWS_WITH_AS(VNet<F2>({.dropout_prob_down = -1}), doctest::Contains("p = -1; must be at least 0"), Error);
  CHECK_THROWS_WITH_AS(VNet<F2>({.units_down = {1, 0, 1, 1}}), "vnet: a stage of 0 units; must be 1 or more.", Error);
}

/// Where dropout stands, as "stage:op".
static Names dropouts(const VNet<F2>& net) {
  Tape<F2> tape(Mode::train);
  net.forward(tape.input(Shape<2>{2, 1, {32, 32}}));
  Names found;
  for (const auto& node : tape.nodes())
    if (node.op->name().ends_with("Dropout")) found.push_back(text(node.scope, ":", node.op->name()));
  return found;
}

TEST_CASE("V-Net's dropout stands at MONAI's eight places") {
  CHECK(dropouts(VNet<F2>({.width = 2})) ==
        Names{"down_tr128:ChannelDropout", "down_tr256:ChannelDropout", "up_tr256:ChannelDropout", "up_tr256:ChannelDropout",
              "up_tr128:ChannelDropout", "up_tr128:ChannelDropout", "up_tr64:ChannelDropout", "up_tr32:ChannelDropout"});
  CHECK(dropouts(VNet<F2>({.dropout_prob_down = 0, .dropout_prob_up = {0, 0.1f}, .width = 2})) ==
        Names{"up_tr256:ChannelDropout", "up_tr128:ChannelDropout", "up_tr64:ChannelDropout", "up_tr32:ChannelDropout"});
  CHECK(dropouts(VNet<F2>(original_vnet({.width = 2}))).empty());
}

template <AnySpec S> static double eager_loss(const VNet<S>& net, const Sample<S>& sample, Mode mode) {
  Context<Cpu> ctx({.threads = 1, .seed = 3});
  Tape<S> tape(mode, ctx);
  return dice_ce(net.forward(tape.input(sample.x.view())), tape.input(sample.labels.view())).scalar();
}
template <AnySpec S> static double planned_loss(const VNet<S>& net, const Sample<S>& sample) {
  Context<Cpu> ctx({.threads = 1, .seed = 3});
  Tape<S> tape(Mode::train, ctx.traits());
  const auto x = tape.input(sample.x.shape()), labels = tape.input(sample.labels.shape(), Dtype::u8);
  const auto loss = dice_ce(net.forward(x), labels);
  const Plan<S> plan(tape, {.loss = loss});
  Run<S> run(plan, ctx);
  sample.fill(run, x, labels);
  run.forward();
  return run.scalar(loss);
}

TEST_CASE("V-Net by a plan is the eager V-Net; dropout acts in training only") {
  VNet<D2> net({.width = 2}), calm({.dropout_prob_down = 0, .dropout_prob_up = {0, 0}, .dropout_prob_shallow = 0, .width = 2});
  const Context<Cpu> seeds({.threads = 1, .seed = 8});
  net.initialize(seeds), calm.initialize(seeds);
  const Sample<D2> sample({2, 1, {32, 48}}, 2, 1);
  const double train = eager_loss(net, sample, Mode::train);
  CHECK(train == planned_loss(net, sample));
  CHECK(train != eager_loss(calm, sample, Mode::train));
  CHECK(eager_loss(net, sample, Mode::infer) == eager_loss(calm, sample, Mode::infer));
}

TEST_CASE("every batch norm of V-Net folds into its convolution") {
  VNet<D2> net({.activation = prelu_per_channel(), .width = 2});
  net.initialize(Context<Cpu>({.threads = 1, .seed = 8}));
  RandomStream random({.seed = 4});
  for (auto* p : net.parameters())
    if (p->role() == Role::averaged)
      for (double& v : p->edit()) v += random.uniform(0, 0.5);
  VNet<D2> folded = net;
  CHECK(fold_batch_norm(folded) == 24);
  const auto x = random_tensor<double>(Shape<2>{1, 1, {32, 16}}, 4);
  Context<Cpu> ctx({.threads = 1});
  Tape<D2> a(Mode::infer, ctx), b(Mode::infer, ctx);
  const auto y = net.forward(a.input(x.view())).value(), z = folded.forward(b.input(x.view())).value();
  double apart = 0, largest = 0;
  for (Index r = 0; r < y.rows(); ++r) {
    apart = std::max(apart, std::abs(y.row(r)[1] - z.row(r)[1]));
    largest = std::max(largest, std::abs(y.row(r)[1]));
  }
  CHECK(apart <= 1e-12 * largest);
}

TEST_CASE("the input is repeated channel by channel: 0, 1, 0, 1") {
  VNet<D2> net(original_vnet({.in_channels = 2, .width = 4}));
  for (auto* p : net.parameters())
    for (double& v : p->edit()) v = 0;
  Context<Cpu> ctx({.threads = 1});
  Tape<D2> tape(Mode::infer, ctx);
  const auto x = random_tensor<double>(Shape<2>{1, 2, {16, 16}}, 4);
  net.forward(tape.input(x.view()));
  for (int id = 0; id < std::ssize(tape.nodes()); ++id) {   // the sum of in_tr, whose convolution and slopes are 0
    if (tape.nodes()[static_cast<std::size_t>(id)].inputs.size() < 2) continue;
    if (tape.nodes()[static_cast<std::size_t>(id)].op->name() != "Conv+Norm+Act") continue;
    const auto sum = tape.value(Var<D2>{&tape, id}).as<const double>();
    for (Index c = 0; c < 4; ++c) CHECK(sum.row(7)[c] == std::max(0.0, x.view().row(7)[c % 2]));
    return;
  }
  FAIL("no sum");
}
