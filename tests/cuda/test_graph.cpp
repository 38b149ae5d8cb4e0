// A run that was recorded does what an eager one does, bit for bit: new inputs, weights and random numbers reach it.
#include <doctest/doctest.h>

#include <ctseg/cuda.hpp>
#include <ctseg/models/unet.hpp>
#include <ctseg/ops/cpu.hpp>
#include <ctseg/optim/adam.hpp>
#include <ctseg/loss/loss.hpp>

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

  /// Loss and gradients of batch number `number`.
  std::vector<float> gradients(Gradients<S>& g, int number, StepDone told = {}) {
    Tensor<float, 3> image(x.shape());
    Tensor<std::uint8_t, 3> label(x.shape());
    for (Index i = 0; i < 128; ++i) {
      image.data()[i] = static_cast<float>((i * (number + 3)) % 11) / 5 - 1;
      label.data()[i] = static_cast<std::uint8_t>((i + number) % 3 == 0);
    }
    from_host<S>(ctx, std::as_const(image).view(), run.input(x));
    from_host<S>(ctx, std::as_const(label).view(), run.input_as<std::uint8_t>(labels));
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
