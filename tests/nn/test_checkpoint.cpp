// Corners of recomputation: a loss, an input or a value that nobody needs inside a checkpointed scope.
#include "support/plan_checks.hpp"

#include <ctseg/nn/init.hpp>
#include <ctseg/nn/layers.hpp>

using namespace ctseg;
using namespace ctseg::test;

using S = Spec<double, 2, Cpu>;

namespace {
struct Net {
  Block<S> first{{.conv = {.in_channels = 1, .out_channels = 4}, .activation = prelu()}},
      second{{.conv = {.in_channels = 4, .out_channels = 4}}};
  Conv<S> head{{.in_channels = 4, .out_channels = 2, .kernel = 1}};
  template <class Self, class F> static void each(Self& self, const std::string& prefix, F f) {
    Block<S>::each(self.first, prefix + "first.", f);
    Block<S>::each(self.second, prefix + "second.", f);
    Conv<S>::each(self.head, prefix + "head.", f);
  }
};
enum Where { outside, inside };

/// Everything in one scope, which is recomputed; gradients against the eager tape.
void check(Where inputs, Where loss_at, bool dead) {
  Net net;
  initialize_default(net, 2);
  const Sample<S> sample({.n = 2, .c = 1, .space = {9, 10}}, 2, 3);
  struct Vars {
    Var<S> x, labels, loss;
  };
  const auto record = [&](Tape<S>& tape, auto x_of, auto labels_of) {
    Vars v;
    if (inputs == outside) v.x = x_of(), v.labels = labels_of();
    Var<S> logits;
    {
      const auto scope = tape.scope("all");
      if (inputs == inside) v.x = x_of(), v.labels = labels_of();
      const auto a = net.first(v.x);
      logits = net.head(net.second(a));
      if (dead) add(dice_ce(net.head(relu(a)), v.labels), dice_ce(logits, v.labels));   // nobody asks for it
      if (loss_at == inside) v.loss = dice_ce(logits, v.labels);
    }
    if (loss_at == outside) v.loss = dice_ce(logits, v.labels);
    return v;
  };
  Context<Cpu> ctx({.threads = 1});
  Tape<S> eager(Mode::train, ctx), list(Mode::train, ctx.traits());
  const auto e = record(
      eager, [&] { return eager.input(sample.x.view()); }, [&] { return eager.input(sample.labels.view()); });
  const auto p = record(
      list, [&] { return list.input(sample.x.shape()); }, [&] { return list.input(sample.labels.shape(), Dtype::u8); });
  Gradients<S> expected(parameters_of<S>(net)), gradients(parameters_of<S>(net));
  eager.backward(e.loss, expected);
  const Plan<S> plan(list, {.loss = p.loss, .checkpoint = {"all"}});
  Run<S> run(plan, ctx);
  poison(run.arena());
  sample.fill(run, p.x, p.labels);
  run.forward();
  run.backward(gradients);
  CHECK(run.scalar(p.loss) == e.loss.scalar());
  CHECK(same_bits(read_only(gradients).flat(), read_only(expected).flat()));
}
}   // namespace

TEST_CASE("a recomputed scope may hold the loss") { check(outside, inside, false); }
TEST_CASE("a recomputed scope may hold inputs") { check(inside, outside, false); }
TEST_CASE("a recomputed scope may hold values that nobody needs") { check(outside, outside, true); }
TEST_CASE("a recomputed scope may hold all of them") { check(inside, inside, true); }
