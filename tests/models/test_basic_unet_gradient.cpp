// The derivatives of a whole network by central differences, 2-D and 3-D.
#include "support/op_checks.hpp"
#include "support/plan_checks.hpp"

#include <ctseg/models/basic_unet.hpp>

using namespace ctseg;
using namespace ctseg::test;

/// A few values of every parameter. Smooth activations; a maximum that changes hands shows as disagreeing steps and is skipped.
template <int Dim> static void check_network(const Shape<Dim>& shape) {
  using S = Spec<double, Dim, Cpu>;
  BasicUNet<S> net({.features = {2, 3, 3, 4, 4, 2}, .activation = elu()});
  Context<Cpu> ctx({.threads = 1, .seed = 5});
  net.initialize(ctx);
  const Sample<S> sample(shape, 2, 1);
  const auto loss = [&](Gradients<S>* into) {
    Tape<S> tape(Mode::train, ctx);
    const auto l = dice_ce(net.forward(tape.input(sample.x.view())), tape.input(sample.labels.view()));
    if (into) tape.backward(l, *into);
    return l.scalar();
  };
  Gradients<S> g(net.parameters());
  loss(&g);
  double largest = 0;
  for (double v : g.flat()) largest = std::max(largest, std::abs(v));
  int tried = 0, skipped = 0;
  RandomStream random({.seed = 2});
  visit(net, [&](const std::string& name, Parameter<S>& p) {
    for (int k = 0; k < 4 - Dim; ++k, ++tried) {
      const auto i = static_cast<std::size_t>(random.below(p.size()));
      const Difference numeric = difference(p.edit()[i], 1e-2 * largest, [&] { return loss(nullptr); });
      const double exact = g.of(p)[i];
      INFO(name << "[" << i << "]: difference " << numeric.value << ", backward " << exact);
      skipped += !numeric.trusted;
      if (numeric.trusted)
        CHECK(std::abs(numeric.value - exact) <= 1e-6 * std::max({std::abs(numeric.value), std::abs(exact), 1e-2 * largest}));
    }
  });
  CHECK(tried > 75);
  CHECK(skipped < tried / 20);
}

TEST_CASE("gradients of BasicUNet, 2-D") { check_network<2>({1, 1, {33, 35}}); }
TEST_CASE("gradients of BasicUNet, 3-D") { check_network<3>({1, 1, {16, 17, 33}}); }
