#include <doctest/doctest.h>

#include <ctseg/models/basic_unet.hpp>
#include <ctseg/ops/cpu.hpp>
#include <ctseg/train/fit.hpp>

using namespace ctseg;
using S = Spec<float, 3, Cpu>;

namespace {

/// A bright box on noise.
Case box_case(std::uint64_t seed, Index size = 34) {
  const Grid grid{{.x = size, .y = size, .z = size}, Affine<Ras>(Eigen::Matrix4d::Identity())};
  Case c{text("box_", Index(seed)), Volume<float>(grid), Volume<std::uint8_t>(grid)};
  RandomStream random({seed});
  const Index z0 = random.below(8), y0 = random.below(8), x0 = random.below(8);
  for (Index z = 0; z < size; ++z)
    for (Index y = 0; y < size; ++y)
      for (Index x = 0; x < size; ++x) {
        const bool inside = z >= z0 && z < z0 + 12 && y >= y0 && y < y0 + 10 && x >= x0 && x < x0 + 9;
        c.label(z, y, x) = inside;
        c.image(z, y, x) = static_cast<float>(inside + 0.5 * random.normal());
      }
  return c;
}

constexpr BasicUNetOptions kSmall{.features = {4, 4, 6, 6, 8, 4}, .dropout = 0.1f};

struct Trained {
  FitResult result;
  std::vector<float> weights;
};
Trained train(int threads, const FitOptions<S>& options) {
  Context<Cpu> ctx{{.threads = threads, .seed = 11}};
  BasicUNet<S> net{kSmall};
  net.initialize(ctx);
  AdamW<S> adam{net.parameters(), {.learning_rate = 5e-3f}};
  const PatchSampler<S> sampler({box_case(1), box_case(2)}, {.patch = 32});
  Trained t{fit(ctx, net, adam, sampler, options), {}};
  visit(net, [&](const std::string&, const Parameter<S>& p) {
    t.weights.insert(t.weights.end(), p.values().begin(), p.values().end());
  });
  return t;
}

}   // namespace

TEST_CASE("training has the same bits for 1, 2 and 4 threads") {
  const FitOptions<S> options{.steps = 6};
  const Trained one = train(1, options);
  CHECK(one.result.steps == 6);
  for (const int threads : {2, 4}) {
    const Trained more = train(threads, options);
    CHECK(more.weights == one.weights);
    CHECK(more.result.loss == one.result.loss);
  }
}

TEST_CASE("recomputing stages changes memory, not one bit of the result") {
  const Trained plain = train(2, {.steps = 3}), thrifty = train(2, {.steps = 3, .recompute = {"conv_0", "upcat_1"}});
  CHECK(plain.weights == thrifty.weights);
  CHECK(thrifty.result.memory.arena < plain.result.memory.arena);
}

TEST_CASE("the loss falls, progress is told after every step, and the learning rate is given back") {
  Context<Cpu> ctx{{.threads = 2, .seed = 1}};
  BasicUNet<S> net{{.features = {4, 4, 6, 6, 8, 4}}};
  net.initialize(ctx);
  AdamW<S> adam{net.parameters(), {.learning_rate = 1e-2f}};
  const PatchSampler<S> sampler({box_case(1), box_case(2)}, {.patch = 32});
  std::vector<FitProgress> seen;
  auto observer = on_step([&](const FitProgress& p) { seen.push_back(p); });
  const FitOptions<S> options{.steps = 40, .schedule = {.kind = ScheduleKind::cosine, .warm_up = 5}, .observer = &observer};
  fit(ctx, net, adam, sampler, options);
  REQUIRE(seen.size() == 40);
  CHECK(seen.back().step == 40);
  CHECK(seen.back().eta_seconds == 0);
  CHECK(seen.back().loss < 0.8 * seen.front().loss);
  CHECK(adam.learning_rate() == double{1e-2f});
  CHECK(text(FitProgress{.step = 12,
                         .steps = 40,
                         .loss = 0.5,
                         .learning_rate = 1e-3,
                         .steps_per_second = 2,
                         .eta_seconds = 74,
                         .memory_bytes = 12'000'000}) ==
        "step 12/40  loss 0.5000  rate 1.0e-03  2.00 steps/s  ETA 1:14  12 MB");
}

TEST_CASE("going on where a training ended gives the bits of the straight run") {
  const FitOptions<S> straight{.steps = 5, .schedule = {.kind = ScheduleKind::cosine, .warm_up = 2}};
  const Trained all = train(2, straight);
  Context<Cpu> ctx{{.threads = 1, .seed = 11}};
  BasicUNet<S> net{kSmall};
  net.initialize(ctx);
  AdamW<S> adam{net.parameters(), {.learning_rate = 5e-3f}};
  const PatchSampler<S> sampler({box_case(1), box_case(2)}, {.patch = 32});
  std::stop_source stop;
  Context<Cpu> interrupted{{.threads = 1, .seed = 11, .cancel = stop.get_token()}};
  FitOptions<S> part = straight;
  auto observer = on_step([&](const FitProgress& p) {
    if (p.step == 2) stop.request_stop();
  });
  part.observer = &observer;
  CHECK_THROWS_AS(fit(interrupted, net, adam, sampler, part), Error);
  ctx.next_run();   // what else the context did does not matter
  FitOptions<S> rest = straight;
  rest.first_step = 2;
  CHECK(fit(ctx, net, adam, sampler, rest).steps == 3);
  std::vector<float> weights;
  visit(net, [&](const std::string&, const Parameter<S>& p) {
    weights.insert(weights.end(), p.values().begin(), p.values().end());
  });
  CHECK(weights == all.weights);
}

TEST_CASE("a moved network is still the one that the optimizer trains; a foreign one is refused") {
  Context<Cpu> ctx{{.threads = 1, .seed = 1}};
  auto first = std::make_unique<BasicUNet<S>>(BasicUNetOptions{.features = {4, 4, 4, 4, 4, 4}});
  first->initialize(ctx);
  AdamW<S> adam{first->parameters(), {}};
  BasicUNet<S> net = std::move(*first);
  first.reset();
  const PatchSampler<S> sampler({box_case(1)}, {.patch = 32});
  const BasicUNet<S> before = net;
  fit(ctx, net, adam, sampler, {.steps = 1, .batch = 1});
  std::vector<std::vector<float>> old;
  visit(before, [&](const std::string&, const Parameter<S>& p) { old.emplace_back(p.values().begin(), p.values().end()); });
  std::size_t k = 0;
  visit(net, [&](const std::string& name, const Parameter<S>& p) {
    if (name.ends_with("weight")) CHECK_MESSAGE(!std::ranges::equal(p.values(), old[k]), name);
    ++k;
  });
  BasicUNet<S> other = before;
  CHECK_THROWS_WITH_AS(fit(ctx, other, adam, sampler, {.steps = 1}), doctest::Contains("holds no parameter"), Error);
}

TEST_CASE("labels beyond the classes are refused before any work") {
  Context<Cpu> ctx{{.threads = 1, .seed = 1}};
  BasicUNet<S> net{{.features = {4, 4, 4, 4, 4, 4}}};
  AdamW<S> adam{net.parameters(), {}};
  Case c = box_case(1);
  c.label(1, 1, 1) = 7;
  const PatchSampler<S> sampler({c}, {.patch = 32});
  CHECK_THROWS_WITH_AS(fit(ctx, net, adam, sampler, {.steps = 1}),
                       doctest::Contains("labels go up to 7, the network has 2 classes"), Error);
}

TEST_CASE("one channel trains on labels 0 and 1; labels that the loss ignores may be anything") {
  Context<Cpu> ctx{{.threads = 1, .seed = 1}};
  BasicUNet<S> net{{.out_channels = 1, .features = {4, 4, 4, 4, 4, 4}}};
  net.initialize(ctx);
  AdamW<S> adam{net.parameters(), {}};
  CHECK(fit(ctx, net, adam, PatchSampler<S>({box_case(1)}, {.patch = 32}), {.steps = 1, .batch = 1}).steps == 1);
  Case c = box_case(1);
  c.label(1, 1, 1) = 255;
  const PatchSampler<S> sampler({c}, {.patch = 32});
  CHECK_THROWS_WITH_AS(fit(ctx, net, adam, sampler, {.steps = 1, .batch = 1}),
                       doctest::Contains("labels go up to 255, the network has 2 classes, 0 .. 1"), Error);
  CHECK(fit(ctx, net, adam, sampler, {.steps = 1, .batch = 1, .loss = dice_ce({.ignore_label = 255})}).steps == 1);
}

TEST_CASE("steps without finite gradients are skipped and named; ten in a row end the training") {
  std::string log;
  Context<Cpu> ctx{{.threads = 1,
                    .seed = 1,
                    .log = {[](void* user, std::string_view line) { *static_cast<std::string*>(user) += line; }, &log}}};
  BasicUNet<S> net{{.features = {4, 4, 4, 4, 4, 4}}};
  net.initialize(ctx);
  AdamW<S> adam{net.parameters(), {}};
  Case bad = box_case(1);
  bad.name = "broken";
  for (float& v : bad.image.voxels()) v = std::bit_cast<float>(0x7fc00000u);
  const PatchSampler<S> sampler({bad}, {.patch = 32});
  const std::vector<float> before(net.parameters()[0]->values().begin(), net.parameters()[0]->values().end());
  CHECK_THROWS_WITH_AS(fit(ctx, net, adam, sampler, {.steps = 20}), doctest::Contains("ten steps in a row"), Error);
  CHECK(log.find("broken") != std::string::npos);
  CHECK(std::equal(before.begin(), before.end(), net.parameters()[0]->values().begin()));
}

TEST_CASE("a memory limit is checked before any work") {
  CHECK_THROWS_WITH_AS(train(1, {.steps = 1, .max_memory = 1 << 20}), doctest::Contains("MiB, allowed are 1 MiB"), Error);
}

TEST_CASE("cancelling leaves whole steps behind") {
  std::stop_source stop;
  Context<Cpu> ctx{{.threads = 1, .seed = 1, .cancel = stop.get_token()}};
  BasicUNet<S> net{{.features = {4, 4, 4, 4, 4, 4}}};
  net.initialize(ctx);
  AdamW<S> adam{net.parameters(), {}};
  const PatchSampler<S> sampler({box_case(1)}, {.patch = 32});
  auto observer = on_step([&](const FitProgress& p) {
    if (p.step == 3) stop.request_stop();
  });
  const FitOptions<S> options{.steps = 50, .observer = &observer};
  CHECK_THROWS_WITH_AS(fit(ctx, net, adam, sampler, options), doctest::Contains("asked to stop"), Error);
  CHECK(adam.steps() == 3);
}
