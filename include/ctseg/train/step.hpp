// What differs between devices in a step of training: how a batch gets into the run, how a step ends, and how much memory there
// is. Here for the host; train/cuda/step.hpp has the card's.
#pragma once
#include <limits>

#include "../nn/run.hpp"
#include "../optim/clip.hpp"
#include "../optim/loss_scaler.hpp"
#include "../optim/weight_average.hpp"

namespace ctseg::detail {

/// Where the batches of a run go.
template <AnySpec S> struct BatchPlace {
  Out<S> images;
  View<std::uint8_t, S::kDim> labels;
};

/// Brings batches into a run; draw(number, place) fills a place on the host and returns the cases.
template <AnySpec S> class Feed {
 public:
  Feed(Context<typename S::Device>&, const BatchPlace<S>& run) : run_(run) {}

  template <class Draw> std::vector<std::size_t> load(Index number, Draw draw) { return draw(number, run_); }
  /// In time, while a device is at work with the one before.
  template <class Draw> void ahead(Index, Draw) {}
  /// The device has done all that it was told.
  void settled() {}
  /// Memory for batches of so many bytes that `workers` threads draw: theirs, Prefetch's, and the one in hand.
  static Index bytes(Index batch, int workers) { return workers > 0 ? (workers + 3) * batch : 0; }

 private:
  BatchPlace<S> run_;
};

struct StepOutcome {
  double loss = 0;
  double norm = std::numeric_limits<double>::quiet_NaN();   // where it was asked
  bool finite = true;                                       // else nothing was changed
};

/// Gradients and loss of a whole step, and what they move.
template <AnySpec S, class Optimizer> struct StepParts {
  Context<typename S::Device>& ctx;
  Gradients<S>& gradients;
  Optimizer& optimizer;
  WeightAverage<S>* average;
  const LossScaler& scaler;
  double clip_norm, rate;
};

/// Unscales, clips and steps, unless a number is not finite: begin() before the step, launch() behind its last backward, then
/// finish(meanwhile), where meanwhile() is for a host that would wait. launch() gives work to the device and does nothing else;
/// it depends on depends(). The host does all at the end.
template <AnySpec S, class Optimizer> class StepEnd {
 public:
  explicit StepEnd(const StepParts<S, Optimizer>& parts) : parts_(parts) {}
  void begin() {}
  void launch() {}
  std::vector<std::uint64_t> depends() const { return {}; }
  template <class F> StepOutcome finish(F) {
    const auto& e = parts_;
    StepOutcome outcome{.loss = e.gradients.loss()};
    const bool good = e.scaler.unscale(e.gradients);
    outcome.finite = is_finite(outcome.loss) && good;
    if (!outcome.finite) return outcome;
    if (e.clip_norm != 0) outcome.norm = clip_gradient_norm(e.ctx, e.gradients, e.clip_norm);
    e.optimizer.step(e.ctx, e.gradients, e.rate);
    if (e.average) e.average->update(e.ctx);
    return outcome;
  }

 private:
  StepParts<S, Optimizer> parts_;
};

/// Bytes that a training may take where nobody said; 0: any.
template <class Device> Index free_memory(Context<Device>&) { return 0; }
/// Whether so much can be had at once.
template <class Device> bool can_hold(Context<Device>&, Index) { return true; }

}   // namespace ctseg::detail
