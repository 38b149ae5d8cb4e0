// Optimizers, clipping, loss scaling and weight averages on the card, each beside the CPU's.
#include <doctest/doctest.h>

#include <ctseg/cuda.hpp>
#include <ctseg/ops/cpu.hpp>
#include <ctseg/optim/adam.hpp>
#include <ctseg/optim/loss_scaler.hpp>
#include <ctseg/optim/sgd.hpp>

using namespace ctseg;
using Host = Spec<float, 3, Cpu>;
using Card = Spec<float, 3, Cuda>;

namespace {

/// One value, odd numbers of them, more than one piece; a running statistic; and a frozen one, last.
template <AnySpec S> struct Weighted {
  std::vector<Parameter<S>> all;
  Weighted() {
    for (const Index size : {1, 3, 4099, 8192, 20003}) all.emplace_back(ParameterOptions{.shape = {size}});
    all.emplace_back(ParameterOptions{.shape = {37}, .role = Role::averaged, .average_rate = 0.1});
    all.emplace_back(ParameterOptions{.shape = {5}, .fill = 3});
    RandomStream random({1});
    for (std::size_t k = 0; k + 1 < all.size(); ++k)
      for (float& w : all[k].edit()) w = static_cast<float>(random.normal());
  }
  std::vector<Parameter<S>*> trained() {
    std::vector<Parameter<S>*> some;
    for (std::size_t k = 0; k + 1 < all.size(); ++k) some.push_back(&all[k]);
    return some;
  }
};

/// Largest distance between the values of both, relative to the largest value.
double distance(std::span<const float> a, std::span<const float> b) {
  REQUIRE(a.size() == b.size());
  double most = 1e-30, far = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    most = std::max(most, std::abs(double(a[i])));
    const double d = std::abs(double(a[i]) - double(b[i]));
    far = d <= far ? far : d;   // keeps a NaN
  }
  return far / most;
}

/// Twins: the same values and gradients on both sides.
struct Pair {
  Context<Cpu> cpu{{.threads = 1}};
  Context<Cuda> cuda{{.threads = 1}};
  Weighted<Host> host;
  Weighted<Card> card;
  Gradients<Host> g{host.trained()};
  Gradients<Card> d{card.trained()};

  void draw(std::uint64_t seed, double size = 1) {
    RandomStream random({seed});
    g.zero(), d.zero();
    for (std::size_t k = 0; k + 1 < host.all.size(); ++k) {
      for (float& x : g.of(host.all[k])) x = static_cast<float>(size * random.normal() * (k == 1 ? 1e-3 : 1));
      d.upload(card.all[k], g.of(host.all[k]));
    }
  }
  double weights_apart() {
    double most = 0;
    for (std::size_t k = 0; k < host.all.size(); ++k)
      most = std::max(most, distance(host.all[k].values(), card.all[k].values()));
    return most;
  }
};

template <class A, class B> void check_twenty_steps(Pair& p, A& of_host, B& of_card) {
  for (int step = 0; step < 20; ++step) {
    p.draw(static_cast<std::uint64_t>(10 + step));
    of_host.step(p.cpu, p.g, 1 - 0.03 * step);
    of_card.step(p.cuda, p.d, 1 - 0.03 * step);
  }
  CHECK(of_card.steps() == 20);
  CHECK(p.weights_apart() < 1e-6);
  std::vector<std::vector<float>> moments;
  of_host.each_moment([&](std::size_t, std::size_t, std::span<float> m) { moments.emplace_back(m.begin(), m.end()); });
  std::size_t k = 0;
  of_card.each_moment([&](std::size_t, std::size_t, std::span<float> m) { CHECK(distance(moments.at(k++), m) < 1e-6); });
  CHECK(k == moments.size());
  CHECK(p.card.all.back().values()[0] == 3);
}

}   // namespace

TEST_CASE("Adam, AdamW and SGD stay within 1e-6 of the CPU over twenty steps") {
  SUBCASE("AdamW") {
    Pair p;
    AdamW<Host> a(p.host.trained(), {.learning_rate = 1e-2});
    AdamW<Card> b(p.card.trained(), {.learning_rate = 1e-2});
    check_twenty_steps(p, a, b);
  }
  SUBCASE("Adam with an L2 penalty") {
    Pair p;
    Adam<Host> a(p.host.trained(), {.learning_rate = 1e-2, .weight_decay = 0.1});
    Adam<Card> b(p.card.trained(), {.learning_rate = 1e-2, .weight_decay = 0.1});
    check_twenty_steps(p, a, b);
  }
  SUBCASE("SGD as nnU-Net's") {
    Pair p;
    const SgdOptions o{.learning_rate = 1e-2, .momentum = 0.99, .weight_decay = 3e-5, .nesterov = true};
    Sgd<Host> a(p.host.trained(), o);
    Sgd<Card> b(p.card.trained(), o);
    check_twenty_steps(p, a, b);
  }
  SUBCASE("SGD with momentum, and without") {
    for (const double momentum : {0.9, 0.0}) {
      Pair p;
      Sgd<Host> a(p.host.trained(), {.momentum = momentum, .weight_decay = 1e-2});
      Sgd<Card> b(p.card.trained(), {.momentum = momentum, .weight_decay = 1e-2});
      check_twenty_steps(p, a, b);
    }
  }
}

TEST_CASE("moments written on the host count, as after a checkpoint") {
  Pair p;
  AdamW<Card> straight(p.card.trained(), {});
  Weighted<Card> copy;
  AdamW<Card> resumed(copy.trained(), {});
  Gradients<Card> d(copy.trained());
  p.draw(7);
  straight.step(p.cuda, p.d);
  for (std::size_t k = 0; k < copy.all.size(); ++k) copy.all[k] = p.card.all[k];
  std::vector<std::vector<float>> moments;
  straight.each_moment([&](std::size_t, std::size_t, std::span<float> m) { moments.emplace_back(m.begin(), m.end()); });
  std::size_t k = 0;
  resumed.each_moment([&](std::size_t, std::size_t, std::span<float> m) { std::copy_n(moments.at(k++).begin(), m.size(), m.begin()); });
  resumed.set_steps(straight.steps());
  p.draw(8);
  d.upload(p.d.download());
  straight.step(p.cuda, p.d), resumed.step(p.cuda, d);
  for (std::size_t j = 0; j < copy.all.size(); ++j) CHECK(distance(p.card.all[j].values(), copy.all[j].values()) == 0);
}

TEST_CASE("norm, clipping and loss scale are the CPU's") {
  Pair p;
  p.draw(3);
  const double norm = gradient_norm(p.cpu, p.g);
  CHECK(gradient_norm(p.cuda, p.d) == doctest::Approx(norm).epsilon(1e-12));
  CHECK(clip_gradient_norm(p.cuda, p.d, norm / 4) == doctest::Approx(clip_gradient_norm(p.cpu, p.g, norm / 4)).epsilon(1e-12));
  CHECK(gradient_norm(p.cuda, p.d) == doctest::Approx(norm / 4).epsilon(1e-6));
  for (std::size_t k = 0; k + 1 < p.host.all.size(); ++k)
    CHECK(distance(p.g.of(p.host.all[k]), p.d.download(p.card.all[k])) < 2e-7);
  CHECK(clip_gradient_norm(p.cuda, p.d, norm) == doctest::Approx(norm / 4).epsilon(1e-6));   // short enough
  CHECK_THROWS_AS(clip_gradient_norm(p.cuda, p.d, 0), Error);

  const LossScaler scaler({.initial = 1024});
  p.draw(4, 1024);
  CHECK(scaler.unscale(p.g));
  CHECK(scaler.unscale(p.d));
  for (std::size_t k = 0; k + 1 < p.host.all.size(); ++k)
    CHECK(distance(p.g.of(p.host.all[k]), p.d.download(p.card.all[k])) == 0);
}

TEST_CASE("one bad number anywhere, a statistic's too, and nothing moves") {
  for (const std::size_t bad : {std::size_t{0}, std::size_t{4}, std::size_t{5}})
    for (const float value : {std::numeric_limits<float>::infinity(), std::numeric_limits<float>::quiet_NaN()}) {
      Pair p;
      AdamW<Card> adam(p.card.trained(), {});
      WeightAverage<Card> average(p.card.trained());
      average.update(p.cuda);
      p.draw(5);
      std::vector<float> g = p.d.download(p.card.all[bad]);
      g.back() = value;
      p.d.upload(p.card.all[bad], g);
      p.d.judge(p.cuda, {.binding = true});
      adam.step(p.cuda, p.d);
      average.update(p.cuda, p.d.facts());
      CHECK(p.d.outcome().bad == 1);
      CHECK(p.weights_apart() == 0);
      adam.each_moment([&](std::size_t, std::size_t, std::span<float> m) { CHECK(m.front() == 0); });
      CHECK(distance(average.averages()[4], p.card.all[4].values()) == 0);
      CHECK_FALSE(LossScaler({.initial = 2}).unscale(p.d));

      p.draw(5);   // zero() forgets it
      adam.step(p.cuda, p.d);
      CHECK(p.weights_apart() > 1e-4);
    }
}

TEST_CASE("a binding judgement unscales and clips inside the step") {
  Pair p;
  Sgd<Host> a(p.host.trained(), {});
  Sgd<Card> b(p.card.trained(), {});
  p.draw(6);
  const double norm = clip_gradient_norm(p.cpu, p.g, 0.5);
  a.step(p.cpu, p.g);
  std::vector<float> scaled = p.d.download();
  for (std::size_t i = 0; i < p.d.trained().size(); ++i) scaled[i] *= 256;
  p.d.upload(scaled);
  p.d.judge(p.cuda, {.inverse_scale = 1.0 / 256, .longest = 0.5, .binding = true});
  b.step(p.cuda, p.d);
  CHECK(p.d.outcome().norm == doctest::Approx(norm).epsilon(1e-12));
  CHECK(p.weights_apart() < 1e-7);
}

TEST_CASE("a weight average follows, changes places with the weights, and comes back") {
  Pair p;
  WeightAverage<Host> a(p.host.trained(), {.decay = 0.9});
  WeightAverage<Card> b(p.card.trained(), {.decay = 0.9});
  CHECK(distance(a.averages()[3], b.averages()[3]) == 0);   // before any update, on the host
  Sgd<Host> sgd_a(p.host.trained(), {});
  Sgd<Card> sgd_b(p.card.trained(), {});
  for (int step = 0; step < 10; ++step) {
    p.draw(static_cast<std::uint64_t>(step));
    sgd_a.step(p.cpu, p.g), sgd_b.step(p.cuda, p.d);
    a.update(p.cpu), b.update(p.cuda);
  }
  const auto before = p.card.all[3].values();
  const std::vector<float> weights(before.begin(), before.end());
  for (std::size_t k = 0; k + 1 < p.host.all.size(); ++k) CHECK(distance(a.averages()[k], b.averages()[k]) < 1e-6);
  a.swap(), b.swap();
  CHECK(p.weights_apart() < 1e-6);
  CHECK(distance(weights, p.card.all[3].values()) > 1e-4);
  a.swap(), b.swap();
  CHECK(distance(weights, p.card.all[3].values()) == 0);
  CHECK(b.bytes() >= a.bytes());
}

TEST_CASE("running statistics count less for every batch that follows") {
  Pair p;
  Sgd<Host> a(p.host.trained(), {});
  Sgd<Card> b(p.card.trained(), {});
  p.draw(9);
  a.follow(p.cpu, p.g), b.follow(p.cuda, p.d);
  for (std::size_t k = 0; k + 1 < p.host.all.size(); ++k)
    CHECK(distance(p.g.of(p.host.all[k]), p.d.download(p.card.all[k])) < 1e-7);
}
