// What one step makes of one value: the formulas of the optimizers, apart from who holds the values. The CPU calls them in
// double; kernels/optim computes the same in float, arranged so that no digits are lost.
#pragma once
#include <cmath>
#include <type_traits>

namespace ctseg {

/// The numbers of one step of Adam or AdamW.
struct AdamRule {
  double learning_rate = 0, beta1 = 0, beta2 = 0, eps = 0;
  double weight_decay = 0;
  bool decoupled = false;                    // weights shrink before the update; else the decay is added to the gradient
  double correction1 = 1, correction2 = 1;   // 1 - beta^steps

  /// The new weight; moment(0) and moment(1) are the running means of the gradient and of its square.
  template <class Moment> double operator()(double w, double gradient, Moment moment) const {
    auto &first = moment(0), &second = moment(1);
    using Acc = std::remove_reference_t<decltype(first)>;
    const double shrink = decoupled ? 1 - learning_rate * weight_decay : 1, penalty = decoupled ? 0 : weight_decay;
    const double d = gradient + penalty * w;
    const double m = beta1 * double(first) + (1 - beta1) * d;
    const double v = beta2 * double(second) + (1 - beta2) * d * d;
    first = static_cast<Acc>(m), second = static_cast<Acc>(v);
    return w * shrink - learning_rate * (m / correction1 / (std::sqrt(v / correction2) + eps));
  }
};

/// The numbers of one step of gradient descent.
struct SgdRule {
  double learning_rate = 0, momentum = 0, weight_decay = 0;
  bool nesterov = false;

  /// The new weight; moment(0), where there is momentum, is the velocity.
  template <class Moment> double operator()(double w, double gradient, Moment moment) const {
    const double d = gradient + weight_decay * w;
    if (momentum == 0) return w - learning_rate * d;
    auto& velocity = moment(0);
    const double v = momentum * double(velocity) + d;
    velocity = static_cast<std::remove_reference_t<decltype(velocity)>>(v);
    return w - learning_rate * (nesterov ? d + momentum * v : v);
  }
};

}   // namespace ctseg
