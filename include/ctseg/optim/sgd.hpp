// Stochastic gradient descent with momentum.
#pragma once
#include "optimizer.hpp"

namespace ctseg {

struct SgdOptions {
  double learning_rate = 1e-2, momentum = 0;
  double weight_decay = 0;   // added to the gradient, as an L2 penalty
  bool nesterov = false;
};

/// v = momentum * v + d, with d the gradient and its penalty; w moves against v, or against d + momentum * v (Nesterov).
/// nnU-Net's: learning_rate 1e-2, momentum 0.99, nesterov, weight_decay 3e-5.
/// Numerics  as torch.optim.SGD; arithmetic in double, the velocity stored as Acc.
/// Errors    bad_argument for options that are not numbers of their range, or for Nesterov without momentum.
/// Source    Sutskever et al., ICML 2013, in PyTorch's form: the learning rate is not part of v.
template <AnySpec S> class Sgd : public Optimizer<S> {
 public:
  Sgd(const std::vector<Parameter<S>*>& parameters, const SgdOptions& o)
      : Optimizer<S>("sgd", parameters, o.learning_rate, o.momentum > 0 ? 1 : 0), o_(o) {
    this->check("learning_rate", o.learning_rate, 1e6), this->check("momentum", o.momentum, 1);
    this->check("weight_decay", o.weight_decay, 1e6), this->check("nesterov", o.nesterov ? 1 : 0, 2);
    if (o.nesterov && o.momentum == 0)
      throw Error(Code::bad_argument, "sgd", "nesterov needs momentum above 0. Hint: 0.9, or 0.99 as nnU-Net.");
  }

  void step(Context<Cpu>& ctx, Gradients<S>& gradients, double rate = 1) {
    const double learning_rate = this->learning_rate() * rate;
    this->update(ctx, gradients, [&](double w, double gradient, std::size_t k, std::size_t i) {
      const double d = gradient + o_.weight_decay * w;
      if (o_.momentum == 0) return w - learning_rate * d;
      auto& velocity = this->moment(0, k, i);
      const double v = o_.momentum * double(velocity) + d;
      velocity = static_cast<typename S::Acc>(v);
      return w - learning_rate * (o_.nesterov ? d + o_.momentum * v : v);
    });
  }

 private:
  SgdOptions o_;
};

}   // namespace ctseg
