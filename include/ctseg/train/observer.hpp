// What a training tells the program around it, and what it asks.
#pragma once
#include <cstdio>
#include <limits>
#include <string>
#include <vector>

#include "../core/error.hpp"
#include "../core/finite.hpp"

namespace ctseg {

struct FitProgress {
  Index step = 0, steps = 0;        // done, in all
  double loss = 0, last_loss = 0;   // running mean over the last steps; of this step
  double learning_rate = 0;
  double gradient_norm = std::numeric_limits<double>::quiet_NaN();   // before clipping; only where FitOptions::clip_norm asks
  double steps_per_second = 0, eta_seconds = 0;
  Index memory_bytes = 0;   // of the plan
};
/// "step 120/400  loss 0.412  rate 1.0e-03  3.10 steps/s  ETA 1:31  812 MB".
inline std::string text(const FitProgress& p) {
  char line[160];
  const auto eta = static_cast<long>(p.eta_seconds + 0.5);
  std::snprintf(line, sizeof line, "step %lld/%lld  loss %.4f  rate %.1e  %.2f steps/s  ETA %ld:%02ld  %.0f MB",
                static_cast<long long>(p.step), static_cast<long long>(p.steps), p.loss, p.learning_rate, p.steps_per_second,
                eta / 60, eta % 60, static_cast<double>(p.memory_bytes) / 1e6);
  return line;
}

/// A validation as it was judged.
struct FitScore {
  Index step = 0;
  double score = 0, smoothed = 0;   // higher is better
  bool best = false;
};

/// Override what you need. Every call comes from the thread that called fit, between two steps; the network may be looked at.
/// An exception from here ends the training, after it was saved.
class FitObserver {
 public:
  virtual ~FitObserver() = default;
  virtual void on_step(const FitProgress&) {}
  /// Loss or gradients were not finite: the step left no trace.
  virtual void on_skipped(Index /*step*/, const std::vector<std::string>& /*cases*/) {}
  /// Every FitOptions::validate_every steps and at the end; the network has its averaged weights, if there are any.
  virtual double validate(Index /*step*/) { return std::numeric_limits<double>::quiet_NaN(); }
  virtual void on_score(const FitScore&) {}
};

/// An observer of steps made from a callable: auto progress = on_step([](const FitProgress& p) { ... });
template <class F> class StepObserver final : public FitObserver {
 public:
  explicit StepObserver(F f) : f_(std::move(f)) {}
  void on_step(const FitProgress& p) override { f_(p); }

 private:
  F f_;
};
template <class F> StepObserver<F> on_step(F f) { return StepObserver<F>(std::move(f)); }

/// Tells several observers, in order; the first score that is a number counts.
class FitObservers final : public FitObserver {
 public:
  explicit FitObservers(std::vector<FitObserver*> all) : all_(std::move(all)) {}
  void on_step(const FitProgress& p) override {
    for (auto* o : all_) o->on_step(p);
  }
  void on_skipped(Index step, const std::vector<std::string>& cases) override {
    for (auto* o : all_) o->on_skipped(step, cases);
  }
  double validate(Index step) override {
    double score = std::numeric_limits<double>::quiet_NaN();
    for (auto* o : all_) {
      const double s = o->validate(step);
      if (is_nan(score)) score = s;
    }
    return score;
  }
  void on_score(const FitScore& s) override {
    for (auto* o : all_) o->on_score(s);
  }

 private:
  std::vector<FitObserver*> all_;
};

}   // namespace ctseg
