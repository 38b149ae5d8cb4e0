// Losses as values: what fit is handed.
#include "support/plan_checks.hpp"

#include <ctseg/loss/loss.hpp>

using namespace ctseg;
using namespace ctseg::test;

using S = Spec<double, 2, Cpu>;

TEST_CASE("dice_ce() is the op with its options, and Loss holds it or any callable") {
  Context<Cpu> ctx({.threads = 1});
  Tape<S> tape(Mode::train, ctx);
  const Sample<S> sample({.n = 2, .c = 3, .space = {5, 6}}, 3, 1);
  const auto logits = tape.input(sample.x.view()), labels = tape.input(sample.labels.view());
  const DiceCeOptions options{.ce_weight = 0.25f, .include_background = false, .batch = true};
  const Loss<S> direct = dice_ce(options);
  const Loss<S> own = [](Var<S> x, Var<S> y) { return add(dice_ce(x, y), dice_ce(x, y), -0.5); };
  CHECK(direct(logits, labels).scalar() == dice_ce(logits, labels, options).scalar());
  CHECK(own(logits, labels).scalar() == doctest::Approx(0.5 * dice_ce(logits, labels).scalar()).epsilon(1e-14));
  const Loss<S> copy = own;
  CHECK(copy(logits, labels).scalar() == own(logits, labels).scalar());
  CHECK(direct(logits, labels).shape() == Shape<2>{1, 1, {1, 1}});
}
