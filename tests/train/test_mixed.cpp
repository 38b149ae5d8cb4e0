// 16-bit storage: weights, moments and sums stay float, bf16 follows float's loss, half trains with a scaler that resumes.
#include <doctest/doctest.h>

#include "io/temp_folder.hpp"
#include "small_training.hpp"

using namespace ctseg;
using F = Spec<float, 3, Cpu>;
using B = Spec<bf16, 3, Cpu>;
using H = Spec<half, 3, Cpu>;

// The loops of conv.hpp would give the same numbers, ten times as slowly.
static_assert(std::is_base_of_v<cpu::WidenedConvolution<bf16, 3>, Kernel<Convolution, B>>);
static_assert(std::is_base_of_v<cpu::WidenedConvolution<half, 3>, Kernel<Convolution, H>>);

namespace {

struct Trained {
  std::vector<double> losses;
  FitResult result;
};
template <AnySpec S> Trained train(Index steps) {
  SmallTraining<S> t;
  static_assert(std::is_same_v<typename S::Acc, float>);
  Listener seen;
  Trained out{{}, t.fit({.steps = steps, .clip_norm = 12, .observer = &seen})};
  for (const FitProgress& p : seen.steps) out.losses.push_back(p.last_loss);
  return out;
}

}   // namespace

TEST_CASE("bf16 and half follow the loss of float within 1e-2 for twenty steps, in half the arena") {
  const Trained exact = train<F>(20), brief = train<B>(20), small = train<H>(20);
  CHECK(exact.losses.back() < exact.losses.front() - 0.1);
  double most = 0;
  for (std::size_t k = 0; k < 20; ++k) {
    CHECK(std::abs(brief.losses[k] - exact.losses[k]) < 1e-2);
    CHECK(std::abs(small.losses[k] - exact.losses[k]) < 1e-2);
    most = std::max(most, std::abs(brief.losses[k] - exact.losses[k]));
  }
  CHECK(most > 0);
  MESSAGE("bf16 against float: ", most, "; arena ", brief.result.memory.arena, " and ", exact.result.memory.arena, " bytes");
  CHECK(brief.result.memory.arena < 0.75 * double(exact.result.memory.arena));
  CHECK(exact.result.loss_scale == 1);
  CHECK(brief.result.loss_scale == 1);
  CHECK(small.result.loss_scale == 65536);
  CHECK(small.result.skipped == 0);
}

TEST_CASE("a scale that is too large falls until the gradients fit, and these steps are none of the ten") {
  SmallTraining<H> t;
  Listener seen;
  const std::vector<float> before = t.weights();
  const FitOptions<H> o{.steps = 24, .batch = 1, .loss_scaler = LossScalerOptions{.initial = 0x1p36}, .observer = &seen};
  const FitResult r = t.fit(o);
  CHECK(r.skipped > 10);
  CHECK(r.steps == 24 - r.skipped);
  CHECK(r.steps > 0);
  CHECK(r.loss_scale == std::ldexp(1.0, 36 - int(r.skipped)));
  CHECK(t.log.find("the loss scale is now") != std::string::npos);
  CHECK((t.weights() != before));
  for (const float w : t.weights()) CHECK(is_finite(w));
}

TEST_CASE("scaled and divided again, float's gradients are what they were") {
  SmallTraining<F> plain, scaled;
  plain.fit({.steps = 3, .batch = 1, .accumulate = 2});
  const FitResult r = scaled.fit({.steps = 3, .batch = 1, .accumulate = 2, .loss_scaler = LossScalerOptions{.interval = 2}});
  CHECK(r.loss_scale == 131072);
  CHECK((plain.weights() == scaled.weights()));   // powers of two
}

TEST_CASE("a checkpoint keeps the scale") {
  const TempFolder folder;
  FitOptions<F> o{.steps = 5, .batch = 1, .loss_scaler = LossScalerOptions{.interval = 2}};
  SmallTraining<F> straight;
  const FitResult all = straight.fit(o);
  CHECK(all.loss_scale == 65536 * 4);
  o.checkpoints = {.folder = folder.path};
  for (const Index stop_at : {3, 9}) {
    std::stop_source stop;
    SmallTraining<F> t(stop.get_token());
    auto stopper = on_step([&](const FitProgress& p) {
      if (p.step == stop_at) stop.request_stop();
    });
    o.observer = &stopper;
    if (stop_at == 3) {
      CHECK_THROWS_AS(t.fit(o), Error);
    } else {
      CHECK(t.fit(o).loss_scale == all.loss_scale);
      CHECK((t.weights() == straight.weights()));
    }
  }
}
