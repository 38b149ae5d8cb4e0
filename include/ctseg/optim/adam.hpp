// Adam and AdamW.
#pragma once
#include "optimizer.hpp"

namespace ctseg {

struct AdamOptions {
  double learning_rate = 1e-3, beta1 = 0.9, beta2 = 0.999, eps = 1e-8;
  double weight_decay = 0;   // added to the gradient, as an L2 penalty
};
struct AdamWOptions {
  double learning_rate = 1e-3, beta1 = 0.9, beta2 = 0.999, eps = 1e-8;
  double weight_decay = 1e-2;   // decoupled: weights shrink by learning_rate * weight_decay before the update
};

/// The update that Adam and AdamW share: m and v are the running means of the gradient and of its square.
template <AnySpec S> class AdamBase : public Optimizer<S> {
 public:
  AdamRule next(double rate = 1) const {
    const double steps = static_cast<double>(this->steps() + 1);
    return {.learning_rate = this->learning_rate() * rate,
            .beta1 = o_.beta1,
            .beta2 = o_.beta2,
            .eps = o_.eps,
            .weight_decay = o_.weight_decay,
            .decoupled = decoupled_,
            .correction1 = 1 - std::pow(o_.beta1, steps),
            .correction2 = 1 - std::pow(o_.beta2, steps)};
  }
  void step(Context<typename S::Device>& ctx, Gradients<S>& gradients, double rate = 1) {
    this->update(ctx, gradients, next(rate));
  }

 protected:
  AdamBase(std::string_view name, const std::vector<Parameter<S>*>& parameters, const AdamWOptions& o, bool decoupled)
      : Optimizer<S>(name, parameters, o.learning_rate, 2), o_(o), decoupled_(decoupled) {
    this->check("learning_rate", o.learning_rate, 1e6), this->check("beta1", o.beta1, 1);
    this->check("beta2", o.beta2, 1), this->check("eps", o.eps, 1);
    this->check("weight_decay", o.weight_decay, 1e6);
  }
  ~AdamBase() = default;

 private:
  AdamWOptions o_;
  bool decoupled_;
};

/// Numerics  as torch.optim.Adam; arithmetic in double (on a card in float, 1e-6 from it), moments stored as Acc.
/// Errors    bad_argument for options that are not numbers of their range.
/// Source    Kingma and Ba, arXiv:1412.6980.
template <AnySpec S> class Adam : public AdamBase<S> {
 public:
  Adam(const std::vector<Parameter<S>*>& parameters, const AdamOptions& o)
      : AdamBase<S>("adam", parameters, {o.learning_rate, o.beta1, o.beta2, o.eps, o.weight_decay}, false) {}
};

/// Adam with decoupled weight decay.
/// Numerics  as torch.optim.AdamW; arithmetic in double (on a card in float, 1e-6 from it), moments stored as Acc.
/// Errors    bad_argument for options that are not numbers of their range.
/// Source    Loshchilov and Hutter, arXiv:1711.05101.
template <AnySpec S> class AdamW : public AdamBase<S> {
 public:
  AdamW(const std::vector<Parameter<S>*>& parameters, const AdamWOptions& o) : AdamBase<S>("adamw", parameters, o, true) {}
};

#ifdef CTSEG_PREBUILT   // linked to ctseg::prebuilt, which holds these
CTSEG_PREBUILT template class AdamW<Spec<float, 2, Cpu>>;
CTSEG_PREBUILT template class AdamW<Spec<float, 3, Cpu>>;
#endif

}   // namespace ctseg
