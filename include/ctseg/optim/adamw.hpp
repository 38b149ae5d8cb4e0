// AdamW.
#pragma once
#include "../core/finite.hpp"
#include "../nn/parameter.hpp"

namespace ctseg {

struct AdamWOptions {
  double learning_rate = 1e-3, beta1 = 0.9, beta2 = 0.999, eps = 1e-8;
  double weight_decay = 1e-2;
};

/// Adam with decoupled weight decay. Running averages move by their own rate instead.
/// Numerics  as torch.optim.AdamW; arithmetic in double, moments stored as Acc.
/// Source    Loshchilov and Hutter, arXiv:1711.05101.
template <AnySpec S> class AdamW {
 public:
  using Spec = S;
  using Acc = typename S::Acc;

  /// Holds the parameters' memory: the model may move, and may end before the optimizer.
  /// Errors    bad_argument for options that are not numbers of their range.
  AdamW(const std::vector<Parameter<S>*>& parameters, const AdamWOptions& o);

  AdamW(const AdamW&) = delete;
  AdamW(AdamW&&) = default;

  /// One update from the gradients of the same parameters, at `rate` times the learning rate. Does not touch the gradients.
  void step(Context<Cpu>& ctx, Gradients<S>& gradients, double rate = 1);

  std::vector<Parameter<S>*> parameters() {
    std::vector<Parameter<S>*> all;
    for (auto& p : parameters_) all.push_back(&p);
    return all;
  }
  double learning_rate() const { return options_.learning_rate; }
  void set_learning_rate(double rate) { options_.learning_rate = rate; }
  Index steps() const { return steps_; }

 private:
  std::vector<Parameter<S>> parameters_;   // shared with the model
  AdamWOptions options_;
  std::vector<std::vector<Acc>> first_, second_;
  Index steps_ = 0;
};

template <AnySpec S> AdamW<S>::AdamW(const std::vector<Parameter<S>*>& parameters, const AdamWOptions& o) : options_(o) {
  const auto check = [](const char* name, double value, double below) {
    if (!is_finite(value) || value < 0 || value >= below)
      throw Error(Code::bad_argument, "adamw", text(name, " = ", value, "; must be 0 or more and below ", below, "."));
  };
  check("learning_rate", o.learning_rate, 1e6), check("beta1", o.beta1, 1), check("beta2", o.beta2, 1);
  check("eps", o.eps, 1), check("weight_decay", o.weight_decay, 1e6);
  for (const auto* p : parameters) {
    const auto size = static_cast<std::size_t>(p->role() == Role::trained ? p->size() : 0);
    parameters_.push_back(p->share());
    first_.emplace_back(size);
    second_.emplace_back(size);
  }
}

template <AnySpec S> void AdamW<S>::step(Context<Cpu>& ctx, Gradients<S>& gradients, double rate) {
  const double learning_rate = options_.learning_rate * rate;
  ++steps_;
  const double correction1 = 1 - std::pow(options_.beta1, double(steps_)),
               correction2 = 1 - std::pow(options_.beta2, double(steps_));
  for (std::size_t k = 0; k < parameters_.size(); ++k) {
    Parameter<S>& p = parameters_[k];
    const auto g = gradients.of(p);
    if (g.empty()) continue;
    const auto w = p.edit();
    if (p.role() == Role::averaged) {
      for (std::size_t i = 0; i < g.size(); ++i) w[i] -= static_cast<Acc>(p.average_rate()) * g[i];
      continue;
    }
    parallel_blocks(ctx.executor(), std::ssize(g), 16384, [&](Index begin, Index end) {
      for (auto i = static_cast<std::size_t>(begin); i < static_cast<std::size_t>(end); ++i) {
        const double d = static_cast<double>(g[i]);
        const double m = options_.beta1 * double(first_[k][i]) + (1 - options_.beta1) * d;
        const double v = options_.beta2 * double(second_[k][i]) + (1 - options_.beta2) * d * d;
        first_[k][i] = static_cast<Acc>(m);
        second_[k][i] = static_cast<Acc>(v);
        const double update = m / correction1 / (std::sqrt(v / correction2) + options_.eps);
        const double decayed = double(w[i]) * (1 - learning_rate * options_.weight_decay);
        w[i] = static_cast<Acc>(decayed - learning_rate * update);
      }
    });
  }
}

#ifdef CTSEG_PREBUILT   // linked to ctseg::prebuilt, which holds these
CTSEG_PREBUILT template class AdamW<Spec<float, 2, Cpu>>;
CTSEG_PREBUILT template class AdamW<Spec<float, 3, Cpu>>;
#endif

}   // namespace ctseg
