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
/// Numerics  as torch.optim.SGD; arithmetic in double (on a card in float, 1e-6 from it), the velocity stored as Acc.
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

  SgdRule next(double rate = 1) const {
    return {.learning_rate = this->learning_rate() * rate,
            .momentum = o_.momentum,
            .weight_decay = o_.weight_decay,
            .nesterov = o_.nesterov};
  }
  void step(Context<typename S::Device>& ctx, Gradients<S>& gradients, double rate = 1) {
    this->update(ctx, gradients, next(rate));
  }

 private:
  SgdOptions o_;
};

}   // namespace ctseg
