// Random networks in double: their gradients against central differences.
#include "support/op_checks.hpp"
#include "support/plan_checks.hpp"
#include "support/random_graph.hpp"

using namespace ctseg;
using namespace ctseg::test;

using S = Spec<double, 2, Cpu>;

/// All trained parameters moved at once along a random direction; false where the step met a kink.
static bool check_direction(std::uint64_t seed) {
  RandomNet<S> net(seed);
  RandomStream random({.seed = seed, .op = 12});
  const Sample<S> sample({.n = 2, .c = net.in_channels(), .space = {3 + random.below(3), 3 + random.below(4)}}, 3, seed);
  Context<Cpu> ctx({.threads = 1, .seed = 9});
  const auto loss = [&](Gradients<S>* into) {
    ctx.resume_at(0);   // the same dropout every time
    Tape<S> tape(Mode::train, ctx);
    const auto l = dice_ce(net.forward(tape.input(sample.x.view())).back(), tape.input(sample.labels.view()));
    if (into) tape.backward(l, *into);
    return l.scalar();
  };
  std::vector<Parameter<S>*> trained;
  for (auto* p : parameters_of<S>(net))
    if (p->role() == Role::trained) trained.push_back(p);
  Gradients<S> g(trained);
  loss(&g);
  double slope = 0, size = 0, step = 0, moved = 0;
  std::vector<std::vector<double>> along(trained.size());
  for (std::size_t k = 0; k < trained.size(); ++k)
    for (double d : g.of(*trained[k])) {
      along[k].push_back(random.normal());
      slope += d * along[k].back(), size += d * d;
    }
  const Difference numeric = difference(step, 0.1 * std::sqrt(size), [&] {
    for (std::size_t k = 0; k < trained.size(); ++k) {
      const auto values = trained[k]->edit();
      for (std::size_t i = 0; i < values.size(); ++i) values[i] += (step - moved) * along[k][i];
    }
    moved = step;
    return loss(nullptr);
  });
  if (!numeric.trusted) return false;
  INFO("graph " << seed << ": difference " << numeric.value << ", backward " << slope);
  CHECK(std::abs(numeric.value - slope) <= 1e-6 * std::max(std::abs(slope), 0.1 * std::sqrt(size)));
  return true;
}

TEST_CASE("100 random networks: gradients equal central differences") {
  int checked = 0;
  for (std::uint64_t seed = 2000; seed < 2100; ++seed) checked += check_direction(seed);
  CHECK(checked > 60);
}
