// Training with deep supervision: fit hands all heads of a network to a loss that takes them.
#include <doctest/doctest.h>

#include <ctseg/loss/deep_supervision.hpp>
#include <ctseg/models/plain_conv_unet.hpp>
#include <ctseg/ops/cpu.hpp>
#include <ctseg/train/fit.hpp>

using namespace ctseg;
using S = Spec<float, 3, Cpu>;

namespace {

Case box_case(std::uint8_t odd_label = 0) {
  const Grid grid{{.x = 20, .y = 20, .z = 20}, Affine<Ras>(Eigen::Matrix4d::Identity())};
  Case c{"box", Volume<float>(grid), Volume<std::uint8_t>(grid)};
  for (Index z = 0; z < 20; ++z)
    for (Index y = 0; y < 20; ++y)
      for (Index x = 0; x < 20; ++x) {
        c.label(z, y, x) = z > 8 && y > 7 && x < 12;
        c.image(z, y, x) = static_cast<float>(c.label(z, y, x)) + 0.3f * std::sin(static_cast<float>(z * y + x));
      }
  if (odd_label) c.label(0, 0, 0) = odd_label;
  return c;
}

struct Trained {
  FitResult result;
  std::vector<double> moved;   // by how far the weights of each head, coarsest first
};
Trained train(const Loss<S>& loss, Index steps) {
  Context<Cpu> ctx{{.threads = 1, .seed = 3}};
  PlainConvUNet<S> net({.features_per_stage = {3, 4, 4, 4}});
  net.initialize(ctx);
  const PlainConvUNet<S> before = net;
  AdamW<S> adam{net.parameters(), {.learning_rate = 1e-2f, .weight_decay = 0}};
  Trained t{fit(ctx, net, adam, PatchSampler<S>({box_case()}, {.patch = 16}), {.steps = steps, .loss = loss}), {}};
  for (const char* head : {"decoder.seg_layers.0.weight", "decoder.seg_layers.1.weight", "decoder.seg_layers.2.weight"}) {
    std::vector<float> from;
    visit(before, [&](const std::string& name, const auto& p) {
      if (name == head) from.assign(p.values().begin(), p.values().end());
    });
    visit(net, [&](const std::string& name, const auto& p) {
      double most = 0;
      for (std::size_t i = 0; name == head && i < from.size(); ++i)
        most = std::max(most, std::abs(double{p.values()[i] - from[i]}));
      if (name == head) t.moved.push_back(most);
    });
  }
  return t;
}

}   // namespace

TEST_CASE("every head learns under deep supervision, the finest alone without") {
  const Trained plain = train(dice_ce(), 3), deep = train(deep_supervision(dice_ce()), 3);
  CHECK(plain.moved[0] == 0);
  CHECK(plain.moved[1] == 0);
  for (const double moved : {plain.moved[2], deep.moved[0], deep.moved[1], deep.moved[2]}) CHECK(moved > 1e-3);
}

TEST_CASE("nnU-Net's weights leave out the coarsest head, and sum to one") {
  const Trained deep = train(deep_supervision(dice_ce(), {.mode = SupervisionMode::nnunet}), 3);
  CHECK(deep.moved[0] == 0);
  CHECK(deep.moved[1] > 1e-3);
  // 2/3 and 1/3 of two heads are the mean of what 1 and 0, and 0 and 1, give with these shares.
  const double fine = train(deep_supervision(dice_ce(), {.weights = {1, 0, 0}}), 1).result.loss,
               half = train(deep_supervision(dice_ce(), {.weights = {0, 1, 0}}), 1).result.loss;
  CHECK(fine == doctest::Approx(train(dice_ce(), 1).result.loss).epsilon(1e-6));
  CHECK(train(deep_supervision(dice_ce(), {.mode = SupervisionMode::nnunet}), 1).result.loss ==
        doctest::Approx((2 * fine + half) / 3).epsilon(1e-5));
}

TEST_CASE("a network without other heads trains as without deep supervision; labels are the inner loss's affair") {
  Context<Cpu> ctx{{.threads = 1, .seed = 3}};
  PlainConvUNet<S> net({.features_per_stage = {3, 4}});   // one head
  net.initialize(ctx);
  AdamW<S> adam{net.parameters(), {}};
  const PatchSampler<S> sampler({box_case(255)}, {.patch = 16});
  CHECK_THROWS_WITH_AS(fit(ctx, net, adam, sampler, {.steps = 1, .loss = deep_supervision(dice_ce())}),
                       doctest::Contains("labels go up to 255"), Error);
  const auto loss = deep_supervision(dice_ce({.ignore_label = 255}));
  CHECK(fit(ctx, net, adam, sampler, {.steps = 1, .loss = loss}).steps == 1);
}
