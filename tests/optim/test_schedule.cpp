// Schedules by the numbers that users know, and what is refused.
#include <doctest/doctest.h>

#include <ctseg/optim/schedule.hpp>

using namespace ctseg;

TEST_CASE("schedules by known numbers") {
  const Schedule poly{.kind = ScheduleKind::poly};   // nnU-Net: 1e-2 and 1000 epochs
  CHECK(1e-2 * schedule_factor(poly, 1, 1000) == doctest::Approx(0.009991).epsilon(1e-5));
  CHECK(1e-2 * schedule_factor(poly, 500, 1000) == doctest::Approx(0.00535887).epsilon(1e-6));
  CHECK(1e-2 * schedule_factor(poly, 999, 1000) == doctest::Approx(1.995e-5).epsilon(1e-3));
  const Schedule cosine{.kind = ScheduleKind::cosine};
  CHECK(1e-4 * schedule_factor(cosine, 25, 100) == doctest::Approx(8.5355e-5).epsilon(1e-4));
  CHECK(1e-4 * schedule_factor(cosine, 75, 100) == doctest::Approx(1.4645e-5).epsilon(1e-4));
  CHECK(schedule_factor({}, 7, 10) == 1);
}

TEST_CASE("a warm-up rises to the full rate, and the schedule runs over the rest") {
  const Schedule s{.kind = ScheduleKind::cosine, .warm_up = 10};
  CHECK(schedule_factor(s, 0, 110) == doctest::Approx(0.1));
  CHECK(schedule_factor(s, 9, 110) == 1);
  CHECK(schedule_factor(s, 10, 110) == 1);
  CHECK(schedule_factor(s, 60, 110) == doctest::Approx(0.5));
  CHECK(schedule_factor(s, 109, 110) < 1e-3);
}

TEST_CASE("schedules that move once an epoch, and in two phases") {
  const Schedule poly{.kind = ScheduleKind::poly, .every = 250};
  CHECK(schedule_factor(poly, 249, 250'000) == 1);
  CHECK(schedule_factor(poly, 250, 250'000) == doctest::Approx(std::pow(1 - 1e-3, 0.9)).epsilon(1e-12));
  CHECK(schedule_factor(poly, 499, 250'000) == schedule_factor(poly, 250, 250'000));
  const Schedule two{.kind = ScheduleKind::two_phase, .factor = 0.1, .change = 30};
  CHECK(schedule_factor(two, 29, 100) == 1);
  CHECK(schedule_factor(two, 30, 100) == 0.1);
  const Schedule beyond{.kind = ScheduleKind::poly};
  CHECK(schedule_factor(beyond, 200, 100) == 0);   // a training prolonged beyond its schedule rests, it does not fail
}

TEST_CASE("by epoch, a schedule is what PyTorch's is when it is called once an epoch") {
  const auto by_epoch = [](Schedule s, Index epoch, Index step) {
    s.unit = ScheduleUnit::epoch;
    return schedule_factor(s, TrainingClock{.step = epoch * 250 + step, .steps = 250'000, .steps_per_epoch = 250});
  };
  const Schedule poly{.kind = ScheduleKind::poly};
  for (const Index step : {0, 249}) {
    CHECK(1e-2 * by_epoch(poly, 1, step) == doctest::Approx(0.009991).epsilon(1e-5));
    CHECK(1e-2 * by_epoch(poly, 500, step) == doctest::Approx(0.00535887).epsilon(1e-6));
    CHECK(1e-2 * by_epoch(poly, 999, step) == doctest::Approx(1.995e-5).epsilon(1e-3));
    CHECK(by_epoch({.warm_up = 4}, 1, step) == 0.5);
    CHECK(by_epoch({.kind = ScheduleKind::two_phase, .change = 30}, 29, step) == 1);
    CHECK(by_epoch({.kind = ScheduleKind::two_phase, .change = 30}, 30, step) == 0.1);
    CHECK(by_epoch({.kind = ScheduleKind::step, .every = 30}, 61, step) == doctest::Approx(0.01));
  }
  const Schedule cosine{.kind = ScheduleKind::cosine, .unit = ScheduleUnit::epoch};
  CHECK(1e-4 * schedule_factor(cosine, {.step = 25 * 7 + 3, .steps = 700, .steps_per_epoch = 7}) ==
        doctest::Approx(8.5355e-5).epsilon(1e-4));
  CHECK(schedule_factor({.warm_up = 4}, TrainingClock{.step = 1, .steps = 100, .steps_per_epoch = 10}) == 0.5);   // by step
}

TEST_CASE("schedules that make no sense are refused") {
  CHECK_THROWS_WITH_AS(check(Schedule{.every = 0}), doctest::Contains("every = 0"), Error);
  CHECK_THROWS_WITH_AS(check(Schedule{.warm_up = -1}), doctest::Contains("warm_up = -1"), Error);
  CHECK_THROWS_WITH_AS(check(Schedule{.factor = -0.5}), doctest::Contains("factor = -0.5"), Error);
}
