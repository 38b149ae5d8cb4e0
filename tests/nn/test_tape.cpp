// The eager tape: values at once, gradients added, frozen parameters, scopes, random numbers.
#include "support/plan_checks.hpp"

#include <ctseg/nn/init.hpp>
#include <ctseg/nn/layers.hpp>

using namespace ctseg;
using namespace ctseg::test;

using S = Spec<double, 2, Cpu>;

TEST_CASE("values used by several consumers receive all their gradients") {
  // loss = sum over paths; with y = conv1x1(x) of weight w: add(y, y, 3) = 4 y, so d/dw is four times that of y alone.
  Conv<S> conv({.in_channels = 1, .out_channels = 2, .kernel = 1});
  initialize_default(conv, 3);
  const Sample<S> sample({.n = 1, .c = 1, .space = {4, 5}}, 2, 1);
  Context<Cpu> ctx({.threads = 1});
  const auto gradient = [&](auto use) {
    Tape<S> tape(Mode::train, ctx);
    Gradients<S> g({&conv.weight});
    const auto y = conv(tape.input(sample.x.view()));
    tape.backward(dice_ce(use(y), tape.input(sample.labels.view())), g);
    return std::vector<double>(g.flat().begin(), g.flat().end());
  };
  const auto doubled = gradient([](auto y) { return add(y, y, 3); });
  const auto chained = gradient([](auto y) { return add(add(y, y), add(y, y)); });
  for (std::size_t i = 0; i < doubled.size(); ++i) CHECK(doubled[i] == doctest::Approx(chained[i]).epsilon(1e-12));
}

TEST_CASE("gradients are added, scaled by the seed, and frozen parameters change no other") {
  Block<S> block({.conv = {.in_channels = 1, .out_channels = 2}, .activation = prelu()});
  initialize_default(block, 1);
  const Sample<S> sample({.n = 2, .c = 1, .space = {6, 5}}, 2, 1);
  Context<Cpu> ctx({.threads = 1});
  Tape<S> tape(Mode::train, ctx);
  const auto loss = dice_ce(block(tape.input(sample.x.view())), tape.input(sample.labels.view()));
  Gradients<S> all(parameters_of<S>(block)), twice(parameters_of<S>(block)), scaled(parameters_of<S>(block)),
      few({&block.norm.gamma, &block.conv.bias});
  tape.backward(loss, all);
  tape.backward(loss, twice), tape.backward(loss, twice);
  tape.backward(loss, scaled, 1024);
  tape.backward(loss, few);
  for (std::size_t i = 0; i < all.flat().size(); ++i) {
    CHECK(twice.flat()[i] == doctest::Approx(2 * all.flat()[i]).epsilon(1e-12));
    CHECK(scaled.flat()[i] == 1024 * all.flat()[i]);
  }
  for (const Parameter<S>* p : {&block.norm.gamma, &block.conv.bias})
    for (std::size_t i = 0; i < few.of(*p).size(); ++i) CHECK(few.of(*p)[i] == all.of(*p)[i]);
}

TEST_CASE("the gradient of a value between parameter and loss can be looked at") {
  Conv<S> conv({.in_channels = 1, .out_channels = 2, .kernel = 1});
  initialize_default(conv, 3);
  const Sample<S> sample({.n = 1, .c = 1, .space = {4, 5}}, 2, 1);
  Context<Cpu> ctx({.threads = 1});
  Tape<S> tape(Mode::train, ctx);
  const auto logits = conv(tape.input(sample.x.view()));
  Gradients<S> g(parameters_of<S>(conv));
  tape.backward(dice_ce(logits, tape.input(sample.labels.view()), {.dice_weight = 0}), g);
  const auto d = tape.gradient(logits);
  for (Index r = 0; r < d.rows(); ++r)
    CHECK(d.row(r)[0] + d.row(r)[1] == doctest::Approx(0));   // softmax minus one-hot sums to 0
  CHECK(std::abs(d.row(0)[0]) > 0);
}

TEST_CASE("scopes nest and end") {
  Tape<S> tape(Mode::infer);
  const auto x = tape.input({.space = {2, 2}});
  {
    const auto outer = tape.scope("a");
    relu(x);
    {
      const auto inner = tape.scope("b");
      relu(x);
    }
    relu(x);
  }
  relu(x);
  std::vector<std::string> scopes;
  for (const auto& node : tape.nodes()) scopes.push_back(node.scope);
  CHECK((scopes == std::vector<std::string>{"", "a", "a/b", "a", ""}));
}

TEST_CASE("dropout differs from pass to pass and from op to op, and repeats from the same seed and run") {
  const auto image = random_tensor<double>(Shape<2>{1, 4, {9, 9}}, 1);
  const auto pass = [&](Context<Cpu>& ctx) {
    Tape<S> tape(Mode::train, ctx);
    const auto x = tape.input(image.view()), a = dropout(x, 0.5f), b = dropout(x, 0.5f);
    CHECK_FALSE(same_bits<S>(a.value(), b.value()));
    return std::vector<double>(a.value().data, a.value().data + image.shape().elements());
  };
  Context<Cpu> first({.threads = 1, .seed = 1}), again({.threads = 1, .seed = 1}), other({.threads = 1, .seed = 2});
  const auto a = pass(first), b = pass(first);
  CHECK(a != b);
  CHECK(pass(again) == a);
  CHECK(pass(other) != a);
}

TEST_CASE("a cancelled context stops backward as well") {
  Conv<S> conv({.in_channels = 1, .out_channels = 2});
  initialize_default(conv, 3);
  const Sample<S> sample({.n = 1, .c = 1, .space = {4, 5}}, 2, 1);
  std::stop_source stop;
  Context<Cpu> ctx({.threads = 1, .cancel = stop.get_token()});
  Tape<S> tape(Mode::train, ctx);
  const auto loss = dice_ce(conv(tape.input(sample.x.view())), tape.input(sample.labels.view()));
  Gradients<S> gradients(parameters_of<S>(conv));
  stop.request_stop();
  try {
    tape.backward(loss, gradients);
    FAIL("expected an error");
  } catch (const Error& e) {
    CHECK(e.code() == Code::cancelled);
  }
}
