// AdamW against its recurrence written out, and what it must leave alone.
#include <doctest/doctest.h>

#include <ctseg/optim/adam.hpp>

using namespace ctseg;

using D = Spec<double, 3, Cpu>;
using F = Spec<float, 3, Cpu>;

TEST_CASE("three steps, by the paper's algorithm") {
  const double rate = 0.5, beta1 = 0.9, beta2 = 0.999, eps = 1e-8, decay = 0.25;
  Parameter<D> p({.shape = {2}});
  p.edit()[0] = 1, p.edit()[1] = -2;
  AdamW<D> adam({&p}, {.learning_rate = 0.5, .weight_decay = 0.25});
  Gradients<D> g({&p});
  Context<Cpu> ctx({.threads = 1});
  const double gradients[3][2] = {{0.1, -3}, {-0.2, 0}, {0.4, 1e-3}};
  double w[2] = {1, -2}, m[2] = {}, v[2] = {};
  for (int t = 1; t <= 3; ++t) {
    for (int i = 0; i < 2; ++i) {
      const double d = gradients[t - 1][i];
      g.flat()[static_cast<std::size_t>(i)] = d;
      m[i] = beta1 * m[i] + (1 - beta1) * d;
      v[i] = beta2 * v[i] + (1 - beta2) * d * d;
      const double m_hat = m[i] / (1 - std::pow(beta1, t)), v_hat = v[i] / (1 - std::pow(beta2, t));
      w[i] = w[i] - rate * decay * w[i] - rate * m_hat / (std::sqrt(v_hat) + eps);
    }
    adam.step(ctx, g);
    CHECK(adam.steps() == t);
    CHECK(p.values()[0] == doctest::Approx(w[0]).epsilon(1e-14));
    CHECK(p.values()[1] == doctest::Approx(w[1]).epsilon(1e-14));
    CHECK(g.flat()[0] == gradients[t - 1][0]);
  }
  // The first step of Adam is the sign of the gradient times the rate; with w = 1, decay 0.25: 1 - 0.5 * 0.25 - 0.5.
  Parameter<D> one({.shape = {1}, .fill = 1});
  AdamW<D> fresh({&one}, {.learning_rate = 0.5, .weight_decay = 0.25});
  Gradients<D> slope({&one});
  slope.flat()[0] = 7;
  fresh.step(ctx, slope);
  CHECK(one.values()[0] == doctest::Approx(0.375).epsilon(1e-8));
}

TEST_CASE("the learning rate can change; the version moves with every step") {
  Parameter<D> p({.shape = {1}, .fill = 1});
  AdamW<D> adam({&p}, {.learning_rate = 0.5f, .weight_decay = 0});
  Gradients<D> g({&p});
  g.flat()[0] = 1;
  Context<Cpu> ctx({.threads = 1});
  adam.set_learning_rate(0);
  const auto version = *Weights<D>(p).version;
  adam.step(ctx, g);
  CHECK(p.values()[0] == 1);
  CHECK(*Weights<D>(p).version > version);
  CHECK(adam.learning_rate() == 0);
}

TEST_CASE("running statistics follow by their own rate, frozen parameters stay") {
  Parameter<D> running({.shape = {2}, .fill = 4, .role = Role::averaged, .average_rate = 0.25}),
      frozen({.shape = {2}, .fill = 3}), trained({.shape = {1}, .fill = 1});
  AdamW<D> adam({&running, &frozen, &trained}, {.learning_rate = 0.1f});
  Gradients<D> g({&running, &trained});
  g.of(running)[0] = 4 - 10.0, g.of(running)[1] = 0, g.of(trained)[0] = 1;   // running - batch
  Context<Cpu> ctx({.threads = 1});
  const auto version = *Weights<D>(frozen).version;
  adam.step(ctx, g);
  CHECK(running.values()[0] == doctest::Approx(0.75 * 4 + 0.25 * 10).epsilon(1e-14));
  CHECK(running.values()[1] == 4);   // no weight decay
  CHECK(frozen.values()[0] == 3);
  CHECK(*Weights<D>(frozen).version == version);
  CHECK(trained.values()[0] < 1);
}

TEST_CASE("any number of threads gives the same bits") {
  const auto train = [](int threads) {
    Parameter<F> p({.shape = {100003}});
    RandomStream random({.seed = 1});
    for (float& v : p.edit()) v = static_cast<float>(random.normal());
    AdamW<F> adam({&p}, {});
    Gradients<F> g({&p});
    Context<Cpu> ctx({.threads = threads});
    for (int step = 0; step < 3; ++step) {
      for (float& v : g.flat()) v = static_cast<float>(random.normal());
      adam.step(ctx, g);
    }
    return std::vector<float>(p.values().begin(), p.values().end());
  };
  const auto one = train(1);
  CHECK((train(2) == one));
  CHECK((train(4) == one));
}

TEST_CASE("adamw refuses options that are no numbers of their range") {
  Parameter<D> p({.shape = {1}});
  CHECK_THROWS_AS(AdamW<D>({&p}, {.learning_rate = NAN}), Error);
  CHECK_THROWS_AS(AdamW<D>({&p}, {.beta1 = 1}), Error);
  CHECK_THROWS_AS(AdamW<D>({&p}, {.eps = -1}), Error);
}
