// Epochs and what is told about them, the plan before the first step, patience, class weights, numbers of samples.
#include <doctest/doctest.h>

#include <ctseg/train/log.hpp>
#include <ctseg/train/validate.hpp>

#include "io/temp_folder.hpp"
#include "small_training.hpp"

using namespace ctseg;
using S = Spec<float, 3, Cpu>;

TEST_CASE("epochs have the sampler's cases, or as many steps as one says") {
  SmallTraining<S> t;
  Listener seen;
  const FitResult r = t.fit({.batch = 2, .epochs = 3, .observer = &seen});   // three cases: two batches
  CHECK(r.steps == 6);
  CHECK(r.steps_per_epoch == 2);
  REQUIRE(seen.epochs.size() == 3);
  for (std::size_t e = 0; e < 3; ++e) {
    CHECK(seen.epochs[e].epoch == Index(e) + 1);
    CHECK(seen.epochs[e].epochs == 3);
    CHECK(seen.epochs[e].step == 2 * Index(e) + 2);
    CHECK(seen.epochs[e].loss ==
          doctest::Approx((seen.steps[2 * e].last_loss + seen.steps[2 * e + 1].last_loss) / 2).epsilon(1e-12));
  }
  CHECK(text(FitEpoch{.epoch = 3, .epochs = 80, .step = 750, .loss = 0.412, .learning_rate = 9.7e-3, .seconds = 81.24}) ==
        "epoch 3/80 (step 750)  loss 0.4120  rate 9.7e-03  81.2 s");
  SmallTraining<S> u;
  int epochs = 0;
  auto count = on_epoch([&](const FitEpoch&) { ++epochs; });
  CHECK(u.fit({.batch = 1, .epochs = 1, .steps_per_epoch = 4, .observer = &count}).steps == 4);
  CHECK(epochs == 1);
  CHECK_THROWS_WITH_AS(u.fit({.epochs = -1}), doctest::Contains("epochs = -1"), Error);
}

TEST_CASE("an epoch that was interrupted is told as the straight one") {
  const TempFolder folder;
  FitOptions<S> o{.steps = 8, .batch = 1, .steps_per_epoch = 4};
  Listener straight, parts;
  SmallTraining<S> a, c;
  o.observer = &straight;
  a.fit(o);
  o.observer = &parts, o.checkpoints = {.folder = folder.path};
  std::stop_source stop;
  SmallTraining<S> b(stop.get_token());
  auto stopper = on_step([&](const FitProgress& p) {
    if (p.step == 6) stop.request_stop();
  });
  FitObservers both({&parts, &stopper});
  o.observer = &both;
  CHECK_THROWS_AS(b.fit(o), Error);
  o.observer = &parts;
  c.fit(o);
  REQUIRE(parts.epochs.size() == 2);
  CHECK(parts.epochs[1].loss == straight.epochs[1].loss);
  CHECK((c.weights() == a.weights()));
}

TEST_CASE("a schedule by epoch stays within one, and is nnU-Net's") {
  SmallTraining<S> t;
  Listener seen;
  t.fit({.batch = 1,
         .epochs = 4,
         .steps_per_epoch = 2,
         .schedule = {.kind = ScheduleKind::poly, .unit = ScheduleUnit::epoch},
         .observer = &seen});
  for (std::size_t k = 0; k < 8; ++k)
    CHECK(seen.steps[k].learning_rate == doctest::Approx(5e-3 * std::pow(1 - double(k / 2) / 4, 0.9)).epsilon(1e-12));
}

TEST_CASE("class weights reach the loss of a training") {
  const auto first_loss = [](std::vector<double> weights) {
    SmallTraining<S> t;
    return t.fit({.steps = 1, .batch = 1, .loss = dice_ce({.class_weights = std::move(weights)})}).loss;
  };
  SmallTraining<S> t;
  Tape<S> tape(Mode::train, t.ctx);
  Tensor<float, 3> image(t.sampler.shape(1));
  Tensor<std::uint8_t, 3> label(t.sampler.shape(1));
  t.sampler.fill({5, 0, 0}, 0, image, label);
  const auto logits = t.net.forward(tape.input(std::as_const(image).view()));
  const double by_hand = dice_ce({.class_weights = {1, 5}})(logits, tape.input(std::as_const(label).view())).scalar();
  CHECK(first_loss({1, 5}) == doctest::Approx(by_hand).epsilon(1e-5));
  CHECK(std::abs(first_loss({1, 5}) - first_loss({})) > 1e-3);
}

TEST_CASE("min_delta is of the patience alone: the best is the best") {
  const TempFolder folder;
  SmallTraining<S> t;
  Listener judge;
  judge.scores = {0.5, 0.55, 0.58, 0.59, 1};
  const FitResult r = t.fit({.steps = 9,
                             .batch = 1,
                             .validate_every = 1,
                             .early_stop = {.patience = 3, .min_delta = 0.1},
                             .checkpoints = {.folder = folder.path},
                             .observer = &judge});
  CHECK(r.stopped_early);
  CHECK(r.last_step == 4);
  CHECK(r.best_step == 4);
  CHECK(r.best_score == 0.59);
  Listener rising;   // each 0.06 better: against the last that counted, every other one is enough
  rising.scores = {0.5, 0.56, 0.62, 0.68, 0.74, 0.8};
  SmallTraining<S> u;
  CHECK_FALSE(
      u.fit({.steps = 6, .batch = 1, .validate_every = 1, .early_stop = {.patience = 2, .min_delta = 0.1}, .observer = &rising})
          .stopped_early);
}

TEST_CASE("the plan is told before the first step, with all of the memory") {
  SmallTraining<S> t;
  Listener seen;
  seen.memory = 5'000'000, seen.scores = {0, 0};
  const FitResult r = t.fit({.steps = 2,
                             .batch = 2,
                             .steps_per_epoch = 1,
                             .average = &t.average,
                             .workers = 1,
                             .validate_every = 1,
                             .observer = &seen});
  REQUIRE(seen.plans.size() == 1);
  const FitPlan& p = seen.plans[0];
  const FitMemory& m = p.memory;
  CHECK(m.total() == r.memory.total());
  CHECK(m.average == Index(t.weights().size() * sizeof(float)));
  CHECK(m.validation == 5'000'000);
  CHECK(m.ahead == 4 * 2 * 16 * 16 * 16 * (4 + 1));
  CHECK(m.total() == m.arena + m.prepared + m.parameters + m.gradients + m.optimizer + m.average + m.ahead + m.validation);
  CHECK(text(p).find("steps 1 to 2 (2 epochs of 1), 2 patches of 16x16x16 a step; needs ") == 0);
  CHECK(text(p).find("validation 5 MB") != std::string::npos);
  const std::vector<Case> cases{noise_case(1)};
  SmallTraining<S> u;
  DiceValidation<UNet<S>> dice(u.ctx, u.net, cases, {.window = 16});
  CHECK(dice.validation_bytes() > 18 * 18 * 18 * 13);
  const FitResult free = u.fit({.steps = 1, .batch = 2, .validate_every = 1, .observer = &dice});
  const FitResult tight =
      u.fit({.steps = 1, .batch = 2, .max_memory = free.memory.total() - 1, .validate_every = 1, .observer = &dice});
  CHECK(tight.batch == 1);   // without the validation it would have fitted
  CHECK(free.memory.total() - free.memory.validation <= free.memory.total() - 1);
}

namespace {

/// Remembers how far it was asked.
struct Counted {
  const PatchSampler<S>& inner;
  std::atomic<Index>& last;
  Shape<3> shape(Index batch) const { return inner.shape(batch); }
  const std::vector<Case>& cases() const { return inner.cases(); }
  std::uint8_t largest_label() const { return inner.largest_label(); }
  std::vector<std::size_t> fill(const RandomKey& key, Index first, Out<S> images, View<std::uint8_t, 3> labels) const {
    for (Index seen = last; seen < first + images.shape.n && !last.compare_exchange_weak(seen, first + images.shape.n);) {}
    return inner.fill(key, first, images, labels);
  }
};

}   // namespace

TEST_CASE("no sample is drawn that no step will see") {
  for (const int workers : {0, 3}) {
    SmallTraining<S> t;
    std::atomic<Index> last = 0;
    const Counted sampler{t.sampler, last};
    fit(t.ctx, t.net, t.adam, sampler, {.steps = 3, .batch = 1, .accumulate = 2, .workers = workers});
    CHECK(last == 6);
  }
}

TEST_CASE("the score of a text log goes on where a training does") {
  const TempFolder folder;
  const FitOptions<S> common{
      .steps = 4, .batch = 1, .validate_every = 2, .checkpoints = {.folder = folder.path / "run", .every = 2}};
  const auto part = [&](bool stopped) {
    std::stop_source stop;
    SmallTraining<S> t(stop.get_token());
    TextLog log(folder / "log.csv", TextLogFormat::csv);
    Listener judge;
    judge.scores = stopped ? std::vector<double>{0.625} : std::vector<double>{0.75};
    auto stopper = on_step([&](const FitProgress& p) {
      if (stopped && p.step == 3) stop.request_stop();
    });
    FitObservers all({&judge, &log, &stopper});
    FitOptions<S> o = common;
    o.observer = &all;
    if (stopped)
      CHECK_THROWS_AS(t.fit(o), Error);
    else
      t.fit(o);
  };
  part(true), part(false);
  const std::string log = slurp(folder / "log.csv");
  CHECK(std::count(log.begin(), log.end(), '\n') == 5);
  for (const char* line : {"\n3,", "\n4,"}) {
    const auto at = log.find(line);
    REQUIRE(at != std::string::npos);
    CHECK(log.substr(at + 1, log.find('\n', at + 1) - at - 1).ends_with(",0.625"));
  }
}
