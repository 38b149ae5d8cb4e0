// How the learning rate moves: a factor by step, so that a training that goes on needs no state of it.
#pragma once
#include <cmath>

#include "../core/error.hpp"
#include "../core/finite.hpp"

namespace ctseg {

enum class ScheduleKind { constant, step, exponential, cosine, poly, two_phase };
enum class ScheduleUnit { step, epoch };

/// With t = the share of the training that is over (after the warm-up) and n = the moves made so far:
/// constant 1; step and exponential factor^n; cosine last + (1 - last) (1 + cos(pi t)) / 2; poly (1 - t)^power; two_phase 1,
/// then factor from step `change` on.
/// PyTorch   StepLR, ExponentialLR, CosineAnnealingLR, PolynomialLR, LinearLR in front. Recipes of nnU-Net and MONAI call them
///           once an epoch: unit = ScheduleUnit::epoch, and warm_up, every and change are epochs.
struct Schedule {
  ScheduleKind kind = ScheduleKind::constant;
  ScheduleUnit unit = ScheduleUnit::step;   // epoch: the factor stays what it is within an epoch
  Index warm_up = 0;                        // first units, in which the factor rises in a straight line: (step + 1) / warm_up
  Index every = 1;                          // units from one move to the next
  double factor = 0.1;                      // step, exponential: of one move; two_phase: of the second phase
  Index change = 0;                         // two_phase: where the second phase begins
  double power = 0.9;                       // poly
  double last = 0;                          // cosine: the factor at the end
};

/// Errors    bad_argument for a schedule that makes no sense.
inline void check(const Schedule& s) {
  if (s.warm_up < 0 || s.every < 1 || s.change < 0)
    throw Error(Code::bad_argument, "schedule",
                text("warm_up = ", s.warm_up, ", every = ", s.every, ", change = ", s.change,
                     "; warm_up and change must be 0 or more, every 1 or more."));
  if (!is_finite(s.factor + s.power + s.last) || s.factor < 0 || s.power < 0 || s.last < 0)
    throw Error(Code::bad_argument, "schedule",
                text("factor = ", s.factor, ", power = ", s.power, ", last = ", s.last, "; must be numbers of 0 or more."));
}

/// The factor of step number `step` of `steps`.
inline double schedule_factor(const Schedule& s, Index step, Index steps) {
  if (step < s.warm_up) return static_cast<double>(step + 1) / static_cast<double>(s.warm_up);
  const Index moves = (step - s.warm_up) / s.every;
  const double t =
      std::min(1.0, static_cast<double>(moves * s.every) / static_cast<double>(std::max<Index>(steps - s.warm_up, 1)));
  switch (s.kind) {
    case ScheduleKind::step:
    case ScheduleKind::exponential:
      return std::pow(s.factor, static_cast<double>(moves));
    case ScheduleKind::cosine:
      return s.last + (1 - s.last) * 0.5 * (1 + std::cos(3.14159265358979323846 * t));
    case ScheduleKind::poly:
      return std::pow(1 - t, s.power);
    case ScheduleKind::two_phase:
      return step < s.change ? 1 : s.factor;
    case ScheduleKind::constant:
      break;
  }
  return 1;
}

/// Where a training is. An epoch has steps_per_epoch steps; the last one may have fewer.
struct TrainingClock {
  Index step = 0, steps = 1, steps_per_epoch = 1;
};
/// The factor of that step, by the schedule's unit.
inline double schedule_factor(const Schedule& s, const TrainingClock& c) {
  if (s.unit == ScheduleUnit::step) return schedule_factor(s, c.step, c.steps);
  return schedule_factor(s, c.step / c.steps_per_epoch, (c.steps + c.steps_per_epoch - 1) / c.steps_per_epoch);
}

}   // namespace ctseg
