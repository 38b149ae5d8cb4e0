// What a training tells the program around it, and what it asks.
#pragma once
#include <algorithm>
#include <charconv>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "../core/error.hpp"
#include "../core/finite.hpp"

namespace ctseg {

/// What a training needs, in bytes, known before its first step.
struct FitMemory {
  Index arena = 0, prepared = 0, parameters = 0, gradients = 0, optimizer = 0;
  Index average = 0;      // of the weights, if there is one
  Index ahead = 0;        // batches that workers draw ahead
  Index validation = 0;   // what the observer's validation adds for a while
  Index total() const { return arena + prepared + parameters + gradients + optimizer + average + ahead + validation; }
};

/// What is about to happen.
struct FitPlan {
  Index first_step = 0, steps = 0, steps_per_epoch = 0;
  Index batch = 0, accumulate = 0;   // as trained: max_memory may have changed them
  Index recomputed = 0;              // stages that run again in backward
  std::string patch{};               // "96x96x96"
  FitMemory memory{};
  double last_score = std::numeric_limits<double>::quiet_NaN();   // of a training that goes on
};

struct FitProgress {
  Index step = 0, steps = 0;        // done, in all
  double loss = 0, last_loss = 0;   // running mean over the last steps; of this step
  double learning_rate = 0;
  double gradient_norm = std::numeric_limits<double>::quiet_NaN();   // before clipping; only where FitOptions::clip_norm asks
  double steps_per_second = 0, eta_seconds = 0;
  Index memory_bytes = 0;   // of the plan
};
/// All steps of one epoch.
struct FitEpoch {
  Index epoch = 0, epochs = 0, step = 0;   // epochs and steps done
  double loss = 0;                         // mean over its steps, those that were skipped left out
  Index skipped = 0;
  double learning_rate = 0;   // of its last step
  double seconds = 0;         // of its steps in this call
};

namespace detail {

/// Like printf's %.3f (fixed), %.3e (scientific), %.3g (general), with a point whatever the program's locale says.
inline std::string digits(double value, std::chars_format format, int precision) {
  char line[400];
  const auto end = std::to_chars(line, line + sizeof line, value, format, precision).ptr;
  return {line, end};
}
inline std::string megabytes(Index bytes) {
  return digits(static_cast<double>(bytes) / 1e6, std::chars_format::fixed, 0) + " MB";
}

}   // namespace detail

/// "step 120/400  loss 0.412  rate 1.0e-03  3.10 steps/s  ETA 1:31  812 MB".
inline std::string text(const FitProgress& p) {
  const auto fixed = [](double v, int precision) { return detail::digits(v, std::chars_format::fixed, precision); };
  const auto eta = static_cast<Index>(p.eta_seconds + 0.5);
  return text("step ", p.step, "/", p.steps, "  loss ", fixed(p.loss, 4), "  rate ",
              detail::digits(p.learning_rate, std::chars_format::scientific, 1), "  ", fixed(p.steps_per_second, 2),
              " steps/s  ETA ", eta / 60, eta % 60 < 10 ? ":0" : ":", eta % 60, "  ", detail::megabytes(p.memory_bytes));
}

/// "epoch 3/80 (step 750)  loss 0.412  rate 9.7e-03  81.2 s".
inline std::string text(const FitEpoch& e) {
  return text("epoch ", e.epoch, "/", e.epochs, " (step ", e.step, ")  loss ",
              detail::digits(e.loss, std::chars_format::fixed, 4), "  rate ",
              detail::digits(e.learning_rate, std::chars_format::scientific, 1), "  ",
              detail::digits(e.seconds, std::chars_format::fixed, 1), " s");
}

/// "steps 1 to 20000 (80 epochs of 250), 2 patches of 96x96x96 a step; needs 3120 MB: activations 2400, ...".
inline std::string text(const FitPlan& p) {
  const auto& m = p.memory;
  std::string line = text("steps ", p.first_step + 1, " to ", p.steps, " (",
                          (p.steps + p.steps_per_epoch - 1) / p.steps_per_epoch, " epochs of ", p.steps_per_epoch, "), ");
  if (p.accumulate > 1) line += text(p.accumulate, " x ");
  line += text(p.batch, " patches of ", p.patch, " a step");
  if (p.recomputed > 0) line += text(", ", p.recomputed, " stages recomputed");
  line += text("; needs ", detail::megabytes(m.total()), ": activations ", detail::megabytes(m.arena));
  const std::pair<const char*, Index> rest[] = {{"prepared weights", m.prepared},  {"parameters", m.parameters},
                                                {"gradients", m.gradients},        {"optimizer", m.optimizer},
                                                {"average of weights", m.average}, {"batches drawn ahead", m.ahead},
                                                {"validation", m.validation}};
  for (const auto& [name, bytes] : rest)
    if (bytes > 0) line += text(", ", name, " ", detail::megabytes(bytes));
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
  /// Before the first step, and before what an interrupted training makes up for.
  virtual void on_plan(const FitPlan&) {}
  virtual void on_step(const FitProgress&) {}
  /// After the last step of every epoch, before its validation.
  virtual void on_epoch(const FitEpoch&) {}
  /// Loss or gradients were not finite: the step left no trace.
  virtual void on_skipped(Index /*step*/, const std::vector<std::string>& /*cases*/) {}
  /// Every FitOptions::validate_every steps and at the end; the network has its averaged weights, if there are any.
  virtual double validate(Index /*step*/) { return std::numeric_limits<double>::quiet_NaN(); }
  virtual void on_score(const FitScore&) {}
  /// Bytes that validate needs for a while, beside what is there: counted in FitMemory.
  virtual Index validation_bytes() const { return 0; }
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

/// The same of epochs: auto progress = on_epoch([](const FitEpoch& e) { ... });
template <class F> class EpochObserver final : public FitObserver {
 public:
  explicit EpochObserver(F f) : f_(std::move(f)) {}
  void on_epoch(const FitEpoch& e) override { f_(e); }

 private:
  F f_;
};
template <class F> EpochObserver<F> on_epoch(F f) { return EpochObserver<F>(std::move(f)); }

/// Tells several observers, in order; the first score that is a number counts.
class FitObservers final : public FitObserver {
 public:
  explicit FitObservers(std::vector<FitObserver*> all) : all_(std::move(all)) {}
  void on_plan(const FitPlan& p) override {
    for (auto* o : all_) o->on_plan(p);
  }
  void on_step(const FitProgress& p) override {
    for (auto* o : all_) o->on_step(p);
  }
  void on_epoch(const FitEpoch& e) override {
    for (auto* o : all_) o->on_epoch(e);
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
  Index validation_bytes() const override {   // one after the other
    Index most = 0;
    for (const auto* o : all_) most = std::max(most, o->validation_bytes());
    return most;
  }

 private:
  std::vector<FitObserver*> all_;
};

}   // namespace ctseg
