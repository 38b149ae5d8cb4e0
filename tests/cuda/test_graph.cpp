// A run that was recorded does what an eager one does, bit for bit: new inputs, weights and random numbers reach it.
#include <doctest/doctest.h>

#include <cstring>

#include <ctseg/cuda.hpp>
#include <ctseg/loss/loss.hpp>
#include <ctseg/models/unet.hpp>
#include <ctseg/ops/cpu.hpp>
#include <ctseg/optim/adam.hpp>

using namespace ctseg;
using S = Spec<float, 3, Cuda>;

namespace {

/// A network with dropout and its optimizer, at work with graphs or without.
struct Steps {
  Context<Cuda> ctx;
  UNet<S> net{{.out_channels = 2, .features = {4, 8}, .dropout = 0.3f}};
  AdamW<S> adam;
  Tape<S> tape;
  Var<S> x, labels, loss;
  Plan<S> plan;
  Run<S> run;

  explicit Steps(bool graphs)
      : ctx({.threads = 1, .seed = 5, .cuda = {.graphs = graphs}}),
        adam((net.initialize(ctx), net.parameters()), {.learning_rate = 1e-2}),
        tape(Mode::train, ctx.traits()),
        x(tape.input({1, 1, {4, 4, 8}})),
        labels(tape.input({1, 1, {4, 4, 8}}, Dtype::u8)),
        loss(dice_ce(net.forward(x), labels)),
        plan(tape, {.loss = loss}),
        run(plan, ctx) {}

  void load(int number) {
    Tensor<float, 3> image(x.shape());
    Tensor<std::uint8_t, 3> label(x.shape());
    for (Index i = 0; i < 128; ++i) {
      image.data()[i] = static_cast<float>((i * (number + 3)) % 11) / 5 - 1;
      label.data()[i] = static_cast<std::uint8_t>((i + number) % 3 == 0);
    }
    from_host<S>(ctx, std::as_const(image).view(), run.input(x));
    from_host<S>(ctx, std::as_const(label).view(), run.input_as<std::uint8_t>(labels));
  }
  /// Loss and gradients of batch number `number`.
  std::vector<float> gradients(Gradients<S>& g, int number, StepDone told = {}) {
    load(number);
    g.zero();
    run.forward();
    run.backward(g, 1, told);
    std::vector<float> all = g.download();
    all.push_back(static_cast<float>(run.scalar(loss)));
    return all;
  }
};

}   // namespace

TEST_CASE("five steps: recorded and eager give the same bits") {
  Steps eager(false), recorded(true);
  Gradients<S> a(eager.net.parameters()), b(recorded.net.parameters());
  std::vector<float> before;
  for (int step = 0; step < 5; ++step) {
    const auto one = eager.gradients(a, step), other = recorded.gradients(b, step);
    CHECK((one == other));
    CHECK((one != before));
    CHECK(recorded.run.recorded() == (step > 0));
    eager.adam.step(eager.ctx, a), recorded.adam.step(recorded.ctx, b);
    before = one;
  }
  CHECK_FALSE(eager.run.recorded());
}

TEST_CASE("the same batch again draws other numbers: dropout follows the run, not the recording") {
  Steps s(true);
  Gradients<S> g(s.net.parameters());
  s.gradients(g, 1), s.gradients(g, 1);
  const auto third = s.gradients(g, 1), fourth = s.gradients(g, 1);
  CHECK((third != fourth));
  s.ctx.resume_at(2);
  CHECK((s.gradients(g, 1) == third));
}

TEST_CASE("weights that the host changes, other gradients, and a listener reach a recorded run") {
  Steps eager(false), recorded(true);
  Gradients<S> a(eager.net.parameters()), b(recorded.net.parameters()), c(recorded.net.parameters());
  const auto both = [&](Gradients<S>& of_recorded, int number, StepDone told = {}) {
    CHECK((eager.gradients(a, number) == recorded.gradients(of_recorded, number, told)));
  };
  for (int step = 0; step < 3; ++step) both(b, step);
  for (Steps* s : {&eager, &recorded}) (*s->net.parameters().front()).edit()[1] += 0.5f;
  both(b, 3);
  for (int step = 4; step < 8; ++step) both(c, step);   // recorded again
  both(b, 8);
  int told = 0;
  both(b, 9, {[](void* n, int) { ++*static_cast<int*>(n); }, &told});
  CHECK(told > 5);
  both(b, 10);
}

TEST_CASE("other gradients in the same place are other gradients") {
  Steps eager(false), recorded(true);
  std::vector<Parameter<S>*> some = recorded.net.parameters(), theirs = eager.net.parameters();
  std::optional<Gradients<S>> a(theirs), b(some);
  for (int step = 0; step < 3; ++step) CHECK((eager.gradients(*a, step) == recorded.gradients(*b, step)));
  const float* const before = b->flat().data();
  for (auto* all : {&some, &theirs}) std::reverse(all->begin(), all->end());   // the same size, each elsewhere
  a.reset(), b.reset();
  a.emplace(theirs), b.emplace(some);
  if (cuda::emulated()) CHECK(b->flat().data() == before);
  for (int step = 3; step < 6; ++step) CHECK((eager.gradients(*a, step) == recorded.gradients(*b, step)));
}

TEST_CASE("a whole step as one launch: rates, scales and weights of the host reach it, and its bits are those of the parts") {
  Steps parts(false), whole(true);
  Gradients<S> a(parts.net.parameters()), b(whole.net.parameters());
  const auto scale_of = [](int step) { return step < 6 ? 1024.f : 512.f; };
  for (int step = 0; step < 9; ++step) {
    const double rate = 1 - 0.1 * step;
    const cuda::Judgement judgement{.inverse_scale = 1 / double(scale_of(step)), .longest = 0.5, .binding = true};
    for (Steps* s : {&parts, &whole}) {
      s->load(step);
      if (step == 5) s->net.parameters().front()->edit()[1] += 0.5f;
    }
    a.zero(), b.zero();
    parts.run.forward(), parts.run.backward(a, scale_of(step));
    a.judge(parts.ctx, judgement), parts.adam.step(parts.ctx, a, rate);

    whole.adam.ready(whole.ctx, b, whole.adam.next(rate));
    const auto behind = [&] { b.judge(whole.ctx, judgement), whole.adam.launch(whole.ctx); };
    whole.run.step(b, behind, {.seed = scale_of(step), .depends = whole.adam.depends()});
    whole.adam.moved(whole.ctx, b), whole.adam.set_steps(step + 1);

    CHECK(whole.run.recorded() == ((step >= 2 && step < 6) || step > 6));
    CHECK((a.download() == b.download()));
    const auto of_parts = parts.net.parameters(), of_whole = whole.net.parameters();
    for (std::size_t k = 0; k < of_parts.size(); ++k) {
      const auto v = of_parts[k]->values(), w = of_whole[k]->values();
      CHECK(std::equal(v.begin(), v.end(), w.begin(), w.end()));
    }
  }
}

TEST_CASE("work that cannot be recorded is done as it comes, and said once") {
  std::string log;
  Context<Cuda> ctx(
      {.log = {[](void* user, std::string_view line) { (*static_cast<std::string*>(user) += line) += '\n'; }, &log}});
  Memory<Cuda> memory = ctx.allocate(4);
  Replay<Cuda> replay;
  for (int i = 0; i < 5; ++i) {
    cuda::clear(ctx.stream(), memory.data(), 4);
    const float one = 1;
    replay(ctx, {}, [&] {
      ctx.synchronize();   // a card that records does not wait
      cuda::copy_to_device(ctx.stream(), memory.data(), &one, 4);
    });
    CHECK(ctx.read(reinterpret_cast<const float*>(memory.data())) == 1);
    CHECK_FALSE(replay.recorded());
  }
  CHECK((log.find("cuda: not recorded: ") == 0));
  CHECK((log.find("not recorded", 20) == log.npos));
}

TEST_CASE("weights on one card are refused by a context on another") {
  Parameter<S> p({.shape = {4}});
  const Weights<S> w = p;
  w.residence->bring(std::make_shared<cuda::OwnedStream>(0));
  try {
    w.residence->bring(std::make_shared<cuda::OwnedStream>(1));
    FAIL("taken");
  } catch (const Error& error) {
    CHECK(error.code() == Code::unsupported);
    CHECK(std::strstr(error.what(),
                      "these weights lie on card 0, the context is on card 1. Hint: a copy of the model for each card."));
  }
  CHECK_THROWS_WITH(Context<Cuda>({.cuda = {.device = 63}}), doctest::Contains("cuda.device = 63; there "));
}
