// Memory of every network's plans: what is made again in backward has the same bits, and packing wastes little.
#include "network_checks.hpp"

#include <ctseg/loss/loss.hpp>
#include <ctseg/models/attention_unet.hpp>
#include <ctseg/models/basic_unet.hpp>
#include <ctseg/models/dynunet.hpp>
#include <ctseg/models/plain_conv_unet.hpp>
#include <ctseg/models/residual_encoder_unet.hpp>
#include <ctseg/models/residual_unet.hpp>
#include <ctseg/models/segresnet.hpp>
#include <ctseg/models/unet.hpp>
#include <ctseg/models/vnet.hpp>

using namespace ctseg;
using namespace ctseg::test;

using S = Spec<float, 3, Cpu>;

namespace {

/// The loss of all heads, where a network has several.
template <class Net> Var<S> loss_of(const Net& net, Var<S> x, Var<S> labels) {
  if constexpr (requires { net.forward_deep(x); }) {
    const auto heads = net.forward_deep(x);
    Var<S> sum = dice_ce(heads[0], labels);
    for (std::size_t k = 1; k < heads.size(); ++k)
      if (heads[k].shape().space == labels.shape().space) sum = add(sum, dice_ce(heads[k], labels), 0.5f);
    return sum;
  } else {
    return dice_ce(net.forward(x), labels);
  }
}

struct Step {
  double loss;
  std::vector<float> gradients;
};
template <class Net> Step train(Net& net, const Plan<S>& plan, const Sample<S>& sample, Var<S> x, Var<S> labels, Var<S> loss) {
  Context<Cpu> ctx({.threads = 2, .seed = 7});
  Run<S> run(plan, ctx);
  poison(run.arena());
  Gradients<S> gradients(parameters_of<S>(net));
  gradients.zero();
  sample.fill(run, x, labels);
  run.forward();
  run.backward(gradients);
  return {run.scalar(loss), {gradients.flat().begin(), gradients.flat().end()}};
}

/// most: what is left of training's arena.
template <class Net> void check(const char* name, Net net, double most) {
  INFO(name);
  net.initialize(Context<Cpu>({.threads = 1, .seed = 8}));
  const Sample<S> sample({.n = 1, .c = 1, .space = {32, 16, 16}}, 2, 5);
  const auto traits = Context<Cpu>({.threads = 1}).traits();
  Tape<S> list(Mode::train, traits), infer(Mode::infer, traits);
  const auto x = list.input(sample.x.shape()), labels = list.input(sample.labels.shape(), Dtype::u8);
  const auto loss = loss_of(net, x, labels);
  const Plan<S> keeping(list, {.loss = loss, .again = false}), thrifty(list, {.loss = loss});
  const Plan<S> inference(infer, {.outputs = {net.forward(infer.input(sample.x.shape()))}});
  INFO("training " << keeping.arena_bytes() << " -> " << thrifty.arena_bytes() << "\n" << thrifty.peak());
  CHECK(double(thrifty.arena_bytes()) < most * double(keeping.arena_bytes()));
  CHECK(double(inference.arena_bytes()) < 1.15 * double(inference.live_bytes()));
  for (const Plan<S>* plan : {&keeping, &thrifty}) CHECK(double(plan->arena_bytes()) < 1.1 * double(plan->live_bytes()));
  const Step a = train(net, keeping, sample, x, labels, loss), b = train(net, thrifty, sample, x, labels, loss);
  CHECK(a.loss == b.loss);
  CHECK(std::memcmp(a.gradients.data(), b.gradients.data(), a.gradients.size() * sizeof(float)) == 0);
  double sum = 0;
  for (const float g : a.gradients) sum += std::abs(double(g));
  CHECK(sum > 0);
}
}   // namespace

TEST_CASE("outputs made again in backward change no bit and save memory; packing wastes little") {
  check("BasicUNet", BasicUNet<S>({.features = {8, 8, 8, 16, 16, 8}}), 0.85);
  check("BasicUNet, dropout", BasicUNet<S>({.features = {8, 8, 8, 16, 16, 8}, .dropout = 0.2f}), 0.85);
  check("UNet", UNet<S>({.features = {8, 8, 16}}), 0.85);
  check("VNet", VNet<S>(), 1.001);
  check("SegResNet", SegResNet<S>({.in_channels = 1, .out_channels = 2}), 0.9);
}
TEST_CASE("the same of networks with lists of options") {
  check("DynUNet", DynUNet<S>({.out_channels = 2, .strides = {1, 2, 2}, .filters = {8, 8, 16}, .deep_supervision = true}), 0.9);
  check("ResidualUNet", ResidualUNet<S>({.channels = {8, 16, 16}, .strides = {2, 2}, .num_res_units = 2}), 1.001);
  check("AttentionUnet", AttentionUnet<S>({.channels = {8, 8, 16}, .strides = {2, 2}}), 1.001);
  check("PlainConvUNet", PlainConvUNet<S>({.features_per_stage = {8, 8, 16}, .kernel_sizes = {3, 3, 3}, .strides = {1, 2, 2}}),
        0.9);
  check("ResidualEncoderUNet",
        ResidualEncoderUNet<S>({.features_per_stage = {8, 8, 16}, .kernel_sizes = {3, 3, 3}, .strides = {1, 2, 2}}), 1.001);
}
