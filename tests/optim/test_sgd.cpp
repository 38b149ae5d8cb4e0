// SGD, clipping and averages beyond what PyTorch's fixtures show: threads, roles, bad options.
#include <doctest/doctest.h>

#include <ctseg/optim/adam.hpp>
#include <ctseg/optim/clip.hpp>
#include <ctseg/optim/sgd.hpp>
#include <ctseg/optim/weight_average.hpp>

using namespace ctseg;
using D = Spec<double, 3, Cpu>;
using F = Spec<float, 3, Cpu>;

TEST_CASE("sgd, clipping and averages give the same bits for any number of threads") {
  const auto train = [](int threads) {
    Parameter<F> p({.shape = {100003}});
    RandomStream random({.seed = 1});
    for (float& v : p.edit()) v = static_cast<float>(random.normal());
    Sgd<F> sgd({&p}, {.momentum = 0.9, .nesterov = true});
    WeightAverage<F> average({&p});
    Gradients<F> g({&p});
    Context<Cpu> ctx({.threads = threads});
    for (int step = 0; step < 3; ++step) {
      for (float& v : g.flat()) v = static_cast<float>(random.normal());
      clip_gradient_norm(ctx, g, 1);
      sgd.step(ctx, g);
      average.update(ctx);
    }
    std::vector<float> all(p.values().begin(), p.values().end());
    all.insert(all.end(), average.averages()[0].begin(), average.averages()[0].end());
    return all;
  };
  const auto one = train(1);
  CHECK((train(2) == one));
  CHECK((train(4) == one));
}

TEST_CASE("running statistics are no gradients to clip, and averages copy them") {
  Parameter<D> running({.shape = {1}, .fill = 4, .role = Role::averaged}), w({.shape = {2}, .fill = 1});
  Gradients<D> g({&running, &w});
  g.of(running)[0] = 100, g.of(w)[0] = 3, g.of(w)[1] = 4;
  Context<Cpu> ctx({.threads = 1});
  CHECK(gradient_norm(ctx, g) == doctest::Approx(5));
  CHECK(clip_gradient_norm(ctx, g, 1) == doctest::Approx(5));
  CHECK(g.of(running)[0] == 100);
  CHECK(g.of(w)[1] == doctest::Approx(0.8).epsilon(1e-6));
  CHECK(gradient_norm(ctx, g) <= 1);
  CHECK(clip_gradient_norm(ctx, g, 2) == doctest::Approx(1).epsilon(1e-6));   // short ones stay
  CHECK(g.of(w)[0] == doctest::Approx(0.6).epsilon(1e-6));
  WeightAverage<D> average({&running, &w}, {.decay = 0.5});
  average.update(ctx);
  running.edit()[0] = 8, w.edit()[0] = 2;
  average.update(ctx);
  CHECK(average.averages()[0][0] == 8);
  CHECK(average.averages()[1][0] == 1.5);
}

TEST_CASE("gradients that are not finite stay as they are") {
  Parameter<D> w({.shape = {2}});
  Gradients<D> g({&w});
  g.flat()[0] = NAN, g.flat()[1] = 50;
  Context<Cpu> ctx({.threads = 1});
  CHECK(!is_finite(clip_gradient_norm(ctx, g, 1)));
  CHECK(g.flat()[1] == 50);
}

TEST_CASE("what optimizers refuse") {
  Parameter<D> p({.shape = {1}});
  Gradients<D> g({&p});
  Context<Cpu> ctx({.threads = 1});
  CHECK_THROWS_WITH_AS(Sgd<D>({&p}, {.learning_rate = -1}), doctest::Contains("learning_rate = -1"), Error);
  CHECK_THROWS_WITH_AS(Sgd<D>({&p}, {.momentum = 1}), doctest::Contains("momentum = 1"), Error);
  CHECK_THROWS_WITH_AS(Sgd<D>({&p}, {.nesterov = true}), doctest::Contains("nesterov needs momentum"), Error);
  CHECK_THROWS_WITH_AS(Adam<D>({&p}, {.beta2 = 1}), doctest::Contains("beta2 = 1"), Error);
  CHECK_THROWS_WITH_AS(WeightAverage<D>({&p}, {.decay = 1}), doctest::Contains("decay = 1"), Error);
  CHECK_THROWS_WITH_AS(clip_gradient_norm(ctx, g, 0), doctest::Contains("must be above 0"), Error);
}
