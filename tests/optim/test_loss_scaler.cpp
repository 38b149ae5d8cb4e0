// The loss scaler moves as torch.amp.GradScaler does (2.15, device "cpu"): scale and tracker after every step.
#include <doctest/doctest.h>

#include <ctseg/optim/loss_scaler.hpp>

using namespace ctseg;
using S = Spec<float, 3, Cpu>;

namespace {
struct After {
  int good;
  double scale;
  Index tracker;
};
void check_moves(const LossScalerOptions& options, const std::vector<After>& moves) {
  LossScaler scaler(options);
  for (const After& move : moves) {
    scaler.update(move.good);
    CHECK(scaler.scale() == move.scale);
    CHECK(scaler.good_steps() == move.tracker);
  }
}
}   // namespace

TEST_CASE("the scale moves as GradScaler's") {
  const LossScalerOptions plain;
  CHECK(plain.initial == 65536);
  CHECK(plain.growth == 2);
  CHECK(plain.backoff == 0.5);
  CHECK(plain.interval == 2000);
  check_moves({.interval = 3}, {{1, 65536, 1},
                                {1, 65536, 2},
                                {1, 131072, 0},
                                {0, 65536, 0},
                                {1, 65536, 1},
                                {0, 32768, 0},
                                {0, 16384, 0},
                                {1, 16384, 1},
                                {1, 16384, 2},
                                {1, 32768, 0},
                                {1, 32768, 1},
                                {1, 32768, 2},
                                {1, 65536, 0},
                                {0, 32768, 0},
                                {1, 32768, 1},
                                {1, 32768, 2},
                                {1, 65536, 0},
                                {1, 65536, 1}});
  check_moves(
      {.initial = 1000, .growth = 1.7, .backoff = 0.3, .interval = 2},
      {{0, 300, 0}, {1, 300, 1}, {1, 510, 0}, {0, 153, 0}, {1, 153, 1}, {1, 260.1000061035156, 0}, {1, 260.1000061035156, 1}});
  check_moves({.initial = 0x1p127, .interval = 1}, {{1, 0x1p127, 0}, {1, 0x1p127, 0}, {1, 0x1p127, 0}, {0, 0x1p126, 0}});
  LossScaler off({.enabled = false});
  off.update(false);
  CHECK(off.scale() == 1);
}

TEST_CASE("gradients are divided by the scale, running statistics are not") {
  Parameter<S> w({.shape = {3}}), running({.shape = {2}, .role = Role::averaged});
  Gradients<S> g({&w, &running});
  for (float& v : g.flat()) v = 131072;
  const LossScaler scaler;
  CHECK(scaler.unscale(g));
  for (const float v : g.of(w)) CHECK(v == 2);
  for (const float v : g.of(running)) CHECK(v == 131072);
  g.of(w)[1] = std::numeric_limits<float>::infinity();
  CHECK_FALSE(scaler.unscale(g));
}

TEST_CASE("a scale goes on where it was, and options that make no sense are refused") {
  LossScaler a({.interval = 2}), b({.interval = 2});
  a.update(false), a.update(true);
  b.restore(a.scale(), a.good_steps());
  a.update(true), b.update(true);
  CHECK(b.scale() == a.scale());
  CHECK(b.scale() == 65536);
  CHECK_THROWS_WITH_AS(LossScaler({.backoff = 1}), doctest::Contains("backoff = 1"), Error);
  CHECK_THROWS_WITH_AS(LossScaler({.initial = 0}), doctest::Contains("initial = 0"), Error);
  CHECK_THROWS_WITH_AS(LossScaler({.interval = 0}), doctest::Contains("interval = 0"), Error);
}
