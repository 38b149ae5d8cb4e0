// Optimizers, clipping, averages and schedules against optimizers.safetensors, which make_optimizer_fixtures.py wrote.
#include <doctest/doctest.h>

#include <ctseg/optim/adam.hpp>
#include <ctseg/optim/clip.hpp>
#include <ctseg/optim/schedule.hpp>
#include <ctseg/optim/sgd.hpp>
#include <ctseg/optim/weight_average.hpp>

#include "fixture_file.hpp"

using namespace ctseg;
using D = Spec<double, 3, Cpu>;

namespace {

struct Walk {
  test::Fixture fixture{"optimizers"};
  std::vector<double> start = fixture.values("start"), given = fixture.values("gradients");
  Index size = std::ssize(start), steps = std::ssize(given) / std::ssize(start);
  Parameter<D> p{{.shape = {size}}};
  Gradients<D> gradients{{&p}};
  Context<Cpu> ctx{{.threads = 1}};

  Walk() { std::copy(start.begin(), start.end(), p.edit().begin()); }
  void load(Index step) { std::copy_n(given.begin() + step * size, size, gradients.flat().begin()); }
  void check(const std::string& name, Index step, std::span<const double> values) {
    const auto expected = fixture.values(name);
    for (Index i = 0; i < size; ++i) {
      INFO(name << ", step " << step << ", value " << i);
      CHECK(values[static_cast<std::size_t>(i)] ==
            doctest::Approx(expected[static_cast<std::size_t>(step * size + i)]).epsilon(1e-13));
    }
  }
};

template <class Optimizer, class Options> void check(const std::string& name, const Options& options) {
  Walk w;
  Optimizer optimizer({&w.p}, options);
  for (Index step = 0; step < w.steps; ++step) {
    w.load(step);
    optimizer.step(w.ctx, w.gradients);
    w.check(name, step, w.p.values());
  }
}

}   // namespace

TEST_CASE("optimizers make PyTorch's steps") {
  check<Sgd<D>>("sgd", SgdOptions{.learning_rate = 0.1});
  check<Sgd<D>>("sgd_decay", SgdOptions{.learning_rate = 0.1, .weight_decay = 0.05});
  check<Sgd<D>>("sgd_momentum", SgdOptions{.learning_rate = 0.05, .momentum = 0.9, .weight_decay = 0.01});
  check<Sgd<D>>("sgd_nesterov", SgdOptions{.learning_rate = 0.01, .momentum = 0.99, .weight_decay = 3e-5, .nesterov = true});
  check<Adam<D>>("adam", AdamOptions{.learning_rate = 0.02});
  check<Adam<D>>("adam_decay",
                 AdamOptions{.learning_rate = 0.02, .beta1 = 0.8, .beta2 = 0.99, .eps = 1e-6, .weight_decay = 0.1});
  check<AdamW<D>>("adamw", AdamWOptions{.learning_rate = 0.02, .weight_decay = 0.1});
}

TEST_CASE("clipping is PyTorch's") {
  Walk w;
  Sgd<D> sgd({&w.p}, {.learning_rate = 0.1});
  for (Index step = 0; step < w.steps; ++step) {
    w.load(step);
    const double norm = clip_gradient_norm(w.ctx, w.gradients, 2);
    CHECK(norm == doctest::Approx(w.fixture.values("norms")[static_cast<std::size_t>(step)]).epsilon(1e-13));
    sgd.step(w.ctx, w.gradients);
    w.check("clipped", step, w.p.values());
  }
}

TEST_CASE("averages of weights are PyTorch's") {
  Walk w;
  Adam<D> adam({&w.p}, {.learning_rate = 0.02});
  WeightAverage<D> average({&w.p}, {.decay = 0.8});
  for (Index step = 0; step < w.steps; ++step) {
    w.load(step);
    adam.step(w.ctx, w.gradients);
    average.update(w.ctx);
    w.check("average", step, average.averages()[0]);
    average.swap();
    w.check("average", step, w.p.values());
    average.swap();
  }
  w.check("adam", w.steps - 1, w.p.values());
}

TEST_CASE("schedules are PyTorch's") {
  const test::Fixture fixture("optimizers");
  const auto check = [&](const char* name, const Schedule& schedule) {
    const auto expected = fixture.values(std::string("schedule_") + name);
    for (Index step = 0; step < std::ssize(expected); ++step) {
      INFO(name << ", step " << step);
      CHECK(schedule_factor(schedule, step, 20) == doctest::Approx(expected[static_cast<std::size_t>(step)]).epsilon(1e-12));
    }
  };
  check("step", {.kind = ScheduleKind::step, .every = 4, .factor = 0.3});
  check("exponential", {.kind = ScheduleKind::exponential, .factor = 0.9});
  check("cosine", {.kind = ScheduleKind::cosine, .last = 0.1});
  check("poly", {.kind = ScheduleKind::poly, .power = 0.9});
}
