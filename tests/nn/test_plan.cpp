// What a plan does beyond having the right bits: less memory, sharing, refusing what cannot be.
#include <thread>

#include "support/plan_checks.hpp"

#include <ctseg/models/basic_unet.hpp>

using namespace ctseg;
using namespace ctseg::test;

using S = Spec<float, 2, Cpu>;

static BasicUNetOptions small_net() { return {.features = {4, 4, 8, 8, 8, 4}}; }

TEST_CASE("the parts of a concatenation are written where they belong, and dying inputs are overwritten") {
  Tape<S> list(Mode::infer);
  const Conv<S> conv({.in_channels = 1, .out_channels = 8, .kernel = 1});
  const auto x = list.input({.n = 1, .c = 1, .space = {32, 32}});
  const auto joined = concat(conv(x), conv(x));
  const Plan<S> plan(list, {.outputs = {joined}});
  const Index voxels = 32 * 32 * 4;
  CHECK(plan.arena_bytes() == (1 + 16) * voxels);   // the input and the whole, no copies of the parts
  CHECK(plan.live_bytes() == plan.arena_bytes());

  Tape<S> chain(Mode::infer);
  auto y = conv(chain.input({.n = 1, .c = 1, .space = {32, 32}}));
  for (int k = 0; k < 5; ++k) y = add(sigmoid(relu(y)), y);
  const Plan<S> in_place(chain, {.outputs = {y}});
  CHECK(in_place.arena_bytes() <= (1 + 2 * 8) * voxels);
}

TEST_CASE("inference needs less than training, checkpointed training is in between; the bound holds") {
  const BasicUNet<S> net(small_net());
  const Shape<2> shape{.n = 2, .c = 1, .space = {64, 64}};
  Tape<S> train(Mode::train), infer(Mode::infer);
  const auto loss = dice_ce(net.forward(train.input(shape)), train.input(shape, Dtype::u8));
  const Plan<S> inference(infer, {.outputs = {net.forward(infer.input(shape))}}), training(train, {.loss = loss});
  const Plan<S> thrifty(train, {.loss = loss, .checkpoint = {"conv_0", "upcat_1"}});
  CHECK(inference.arena_bytes() < thrifty.arena_bytes());
  CHECK(thrifty.arena_bytes() < training.arena_bytes());
  for (const auto* plan : {&inference, &training, &thrifty}) {
    CHECK(plan->live_bytes() <= plan->arena_bytes());
    CHECK(static_cast<double>(plan->arena_bytes()) < 1.25 * static_cast<double>(plan->live_bytes()));
  }
}

TEST_CASE("recomputed stages hold nothing between forward and backward") {
  std::vector<Block<S>> blocks;
  for (int k = 0; k < 16; ++k)
    blocks.emplace_back(BlockOptions<2>{.conv = {.in_channels = 4, .out_channels = 4}, .fused = false});
  Tape<S> list(Mode::train);
  auto y = list.input({.n = 1, .c = 4, .space = {32, 32}});
  PlanOptions<S> all;
  for (std::size_t k = 0; k < 16; ++k) {
    const std::string stage = text("stage_", k / 4);
    const auto scope = list.scope(stage);
    y = blocks[k](y);
    if (k % 4 == 0) all.checkpoint.push_back(stage);
  }
  all.loss = dice_ce(y, list.input({.n = 1, .c = 1, .space = {32, 32}}, Dtype::u8));
  const Plan<S> keeping(list, {.loss = all.loss, .again = false}), training(list, {.loss = all.loss}), thrifty(list, all);
  CHECK(thrifty.live_bytes() < keeping.live_bytes() / 2);
  CHECK(thrifty.live_bytes() < training.live_bytes());
}

TEST_CASE("the memory estimate counts what there will be, a shared parameter once") {
  Conv<S> conv({.in_channels = 4, .out_channels = 4});
  Tape<S> list(Mode::train);
  const auto x = list.input({.n = 1, .c = 4, .space = {8, 8}});
  const auto loss = dice_ce(conv(conv(conv(x))), list.input({.n = 1, .c = 1, .space = {8, 8}}, Dtype::u8));
  const Plan<S> plan(list, {.loss = loss});
  const MemoryEstimate m = plan.memory();
  CHECK(m.parameters == (9 * 16 + 4) * 4);
  CHECK(m.gradients == m.parameters);
  CHECK(m.optimizer == 2 * m.parameters);
  CHECK(m.arena == plan.arena_bytes());
  CHECK(m.total() == m.arena + m.prepared + 4 * m.parameters);
  const MemoryEstimate inference = Plan<S>(list, {.outputs = {loss}}).memory();
  CHECK(inference.gradients + inference.optimizer == 0);
}

TEST_CASE("the summary names every op, its scope and its shape") {
  const BasicUNet<S> net(small_net());
  Tape<S> list(Mode::infer);
  const Plan<S> plan(list, {.outputs = {net.forward(list.input({.n = 1, .c = 1, .space = {33, 40}}))}});
  char expected[60];
  const std::string summary = plan.summary();
  for (const auto& node : plan.nodes()) {
    CHECK(summary.find(std::string(node.op->name())) != std::string::npos);
    CHECK(summary.find(node.scope) != std::string::npos);
    CHECK(summary.find(text(node.value())) != std::string::npos);
  }
  CHECK(std::ranges::count(summary, '\n') == std::ssize(plan.nodes()) + 1);
  CHECK(summary.find("inference: ") != std::string::npos);
  const std::string peak = plan.peak();
  std::snprintf(expected, sizeof expected, "%.1f MB alive at step", static_cast<double>(plan.live_bytes()) / 1e6);
  CHECK(peak.starts_with(expected));
  CHECK(peak.find(" value       of ") != std::string::npos);
}

TEST_CASE("one const plan, one const net and its prepared weights serve four threads") {
  BasicUNet<S> net(small_net());
  Context<Cpu> ctx({.threads = 1, .seed = 4});
  net.initialize(ctx);
  const BasicUNet<S>& shared_net = net;
  const Sample<S> sample({.n = 1, .c = 1, .space = {37, 41}}, 2, 1);
  Tape<S> eager(Mode::infer, ctx), list(Mode::infer, ctx.traits());
  const auto expected = shared_net.forward(eager.input(sample.x.view()));
  const auto x = list.input(sample.x.shape()), y = shared_net.forward(x);
  const Plan<S> plan(list, {.outputs = {y}});
  const Prepared<S> prepared(plan, ctx);
  std::vector<int> same(4);
  std::vector<std::thread> threads;
  for (int& hits : same)
    threads.emplace_back([&] {
      Context<Cpu> mine({.threads = 2});
      Run<S> run(plan, mine, prepared);
      for (int window = 0; window < 5; ++window) {
        Sample<S>::copy(sample.x, run.input(x));
        run.forward();
        hits += same_bits<S>(run.output(y), expected.value());
      }
    });
  for (auto& thread : threads) thread.join();
  CHECK((same == std::vector<int>(4, 5)));
}

TEST_CASE("weights are prepared again when they change, not before") {
  Conv<S> conv({.in_channels = 3, .out_channels = 5});
  initialize_default(conv, 1);
  Context<Cpu> ctx({.threads = 1});
  const auto image = random_tensor<float>(Shape<2>{1, 3, {9, 9}}, 2);
  Tape<S> list(Mode::infer, ctx.traits());
  const auto x = list.input(image.shape()), y = conv(x);
  const Plan<S> plan(list, {.outputs = {y}});
  Prepared<S> prepared(plan, ctx);
  Run<S> own(plan, ctx), shared(plan, ctx, prepared);
  const auto matches = [&](Run<S>& run) {
    Tape<S> eager(Mode::infer, ctx);
    const auto expected = conv(eager.input(image.view()));
    Sample<S>::copy(image, run.input(x));
    run.forward();
    return same_bits<S>(run.output(y), expected.value());
  };
  CHECK(matches(own));
  CHECK(matches(shared));
  for (float& v : conv.weight.edit()) v *= -1.5f;
  CHECK(matches(own));
  if (plan.memory().prepared > 0) CHECK_FALSE(matches(shared));
  prepared.refresh(ctx);
  CHECK(matches(shared));
}

TEST_CASE("errors of plans and runs") {
  Tape<S> list(Mode::train), infer(Mode::infer);
  const Conv<S> conv({.in_channels = 1, .out_channels = 2});
  const Shape<2> shape{.n = 1, .c = 1, .space = {8, 8}};
  const auto x = list.input(shape), labels = list.input(shape, Dtype::u8), y = conv(x), loss = dice_ce(y, labels),
             unused = relu(y), z = infer.input(shape);
  CHECK_THROWS_WITH_AS((Plan<S>(list, {})), "plan: neither outputs nor a loss: nothing to do.", Error);
  CHECK_THROWS_WITH_AS((Plan<S>(list, {.loss = loss, .checkpoint = {"down"}})),
                       "plan: no op was recorded in a scope called down.", Error);
  CHECK_THROWS_WITH_AS((Plan<S>(infer, {.outputs = {z}, .loss = z})),
                       "plan: a loss needs ops recorded for training. Hint: Tape{Mode::train}.", Error);
  CHECK_THROWS_AS(x.value(), Error);   // shapes only
  Context<Cpu> ctx({.threads = 1, .isa = Isa::scalar});
  const Plan<S> plan(list, {.outputs = {y}});
  Run<S> run(plan, ctx);
  CHECK_THROWS_WITH_AS(run.output(unused),
                       text("run: value ", unused.id, " is not part of this plan: no output needs it.").c_str(), Error);
  CHECK_THROWS_AS(run.input_as<std::uint8_t>(x), Error);
  Gradients<S> none({});
  CHECK_THROWS_WITH_AS(run.backward(none), "backward: this plan has no loss. Hint: set PlanOptions::loss.", Error);
  Context<Cpu> other({.threads = 1, .isa = Isa::scalar16});
  CHECK_THROWS_WITH_AS((Run<S>(plan, other)), "run: the plan was made for another device. Hint: Tape(mode, ctx.traits()).",
                       Error);
  Tape<S> eager(Mode::infer, ctx);
  CHECK_THROWS_AS(eager.backward(conv(eager.input(shape)), none), Error);
}

TEST_CASE("a raised stop token ends a run") {
  std::stop_source source;
  Context<Cpu> ctx({.threads = 1, .isa = Isa::scalar, .cancel = source.get_token()});
  Tape<S> list(Mode::infer);
  const auto x = list.input({.n = 1, .c = 1, .space = {8, 8}}), y = relu(x);
  const Plan<S> plan(list, {.outputs = {y}});
  Run<S> run(plan, ctx);
  source.request_stop();
  try {
    run.forward();
    FAIL("expected an error");
  } catch (const Error& e) {
    CHECK(e.code() == Code::cancelled);
  }
}
