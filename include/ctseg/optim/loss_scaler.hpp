// Dynamic loss scaling: gradients of half storage would sink below its smallest numbers; a scaled loss keeps them above.
#pragma once
#include "../core/finite.hpp"
#include "../nn/parameter.hpp"

namespace ctseg {

struct LossScalerOptions {
  double initial = 65536;
  double growth = 2, backoff = 0.5;   // the scale after `interval` good steps in a row, and after a step that was skipped
  Index interval = 2000;
  bool enabled = true;   // false: the scale is 1 for ever
};

/// backward(gradients, scale()); if (unscale(gradients)) optimizer.step(ctx, gradients), in any case update(that).
/// Numerics  the scale is a float, and does not grow beyond the largest one.
/// Errors    bad_argument for options out of range.
/// PyTorch   torch.amp.GradScaler: the same scale after every step.
/// Source    Micikevicius et al., Mixed Precision Training, arXiv:1710.03740.
class LossScaler {
 public:
  explicit LossScaler(const LossScalerOptions& o = {}) : o_(o), scale_(o.enabled ? static_cast<float>(o.initial) : 1.f) {
    if (!is_finite(o.initial + o.growth + o.backoff) || !is_finite(scale_) || o.initial <= 0 || o.growth <= 1 ||
        o.backoff <= 0 || o.backoff >= 1 || o.interval < 1)
      throw Error(Code::bad_argument, "loss_scaler",
                  text("initial = ", o.initial, ", growth = ", o.growth, ", backoff = ", o.backoff, ", interval = ", o.interval,
                       "; must be above 0, above 1, between 0 and 1, and 1 or more."));
  }

  double scale() const { return static_cast<double>(scale_); }
  bool enabled() const { return o_.enabled; }
  const LossScalerOptions& options() const { return o_; }

  /// Divides the gradients of trained parameters by the scale (running statistics are not scaled); false if one of all is not
  /// finite: then the step must not be made.
  template <AnySpec S> bool unscale(Gradients<S>& gradients) const {
    return gradients.scale(o_.enabled ? static_cast<typename S::Acc>(1 / scale()) : typename S::Acc(1));
  }
  /// After every step, made or skipped.
  void update(bool finite) {
    if (!o_.enabled) return;
    if (!finite) {
      scale_ = static_cast<float>(scale() * o_.backoff);
      good_steps_ = 0;
    } else if (++good_steps_ == o_.interval) {
      if (const auto larger = static_cast<float>(scale() * o_.growth); is_finite(larger)) scale_ = larger;
      good_steps_ = 0;
    }
  }

  /// What a checkpoint keeps: the scale, and the good steps since it changed.
  Index good_steps() const { return good_steps_; }
  void restore(double scale, Index good_steps) {
    if (!o_.enabled) return;
    scale_ = static_cast<float>(scale), good_steps_ = good_steps;
  }

 private:
  LossScalerOptions o_;
  float scale_;
  Index good_steps_ = 0;
};

}   // namespace ctseg
