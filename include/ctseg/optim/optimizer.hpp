// What all optimizers share: the parameters they move, their moments, the number of steps, and how a checkpoint gets at them.
#pragma once
#include <string_view>

#include "../core/finite.hpp"
#include "../nn/parameter.hpp"
#include "rules.hpp"

namespace ctseg {

/// The moments of all parameters, and how a device moves values: `update` makes one step with a rule of rules.hpp. Here on the
/// CPU; optim/cuda/optimizer.hpp has the card's.
template <AnySpec S> class Descent {
 public:
  using Acc = typename S::Acc;

  /// count: numbers kept beside each trained value.
  Descent(const std::vector<Parameter<S>*>& parameters, std::size_t count) : moments_(count) {
    for (const auto* p : parameters) {
      const auto size = static_cast<std::size_t>(p->role() == Role::trained ? p->size() : 0);
      for (auto& m : moments_) m.emplace_back(size);
    }
  }

  std::size_t count() const { return moments_.size(); }
  /// To read or write; empty for parameters that are not trained.
  std::span<Acc> moment(std::size_t m, std::size_t parameter) { return moments_[m][parameter]; }

  /// Every value of every trained parameter. Running averages move by their own rate instead, frozen parameters not at all.
  template <class Rule>
  void update(Context<Cpu>& ctx, std::vector<Parameter<S>>& parameters, Gradients<S>& gradients, const Rule& rule) {
    for (std::size_t k = 0; k < parameters.size(); ++k) {
      Parameter<S>& p = parameters[k];
      const auto g = gradients.of(p);
      if (g.empty()) continue;
      const auto w = p.edit();
      if (p.role() == Role::averaged) {
        for (std::size_t i = 0; i < g.size(); ++i) w[i] -= static_cast<Acc>(p.average_rate()) * g[i];
        continue;
      }
      parallel_blocks(ctx.executor(), std::ssize(g), 16384, [&](Index begin, Index end) {
        for (auto i = static_cast<std::size_t>(begin); i < static_cast<std::size_t>(end); ++i)
          w[i] = static_cast<Acc>(rule(static_cast<double>(w[i]), static_cast<double>(g[i]),
                                       [&](std::size_t m) -> Acc& { return moments_[m][k][i]; }));
      });
    }
  }
  /// The gradients of running statistics, where another batch is about to add to them.
  void follow(Context<Cpu>&, std::vector<Parameter<S>>& parameters, Gradients<S>& gradients) {
    for (const auto& p : parameters)
      if (p.role() == Role::averaged)
        for (Acc& g : gradients.of(p)) g *= static_cast<Acc>(1 - p.average_rate());
  }

 private:
  std::vector<std::vector<std::vector<Acc>>> moments_;   // [moment][parameter][value]
};

/// Holds the parameters' memory: the model may move, and may end before the optimizer. Each optimizer derives from it and has
/// next(rate): the rule of the step that follows, at `rate` times the learning rate; and step(ctx, gradients, rate): that step,
/// from the gradients of the same parameters.
template <AnySpec S> class Optimizer {
 public:
  using Spec = S;
  using Acc = typename S::Acc;

  Optimizer(const Optimizer&) = delete;
  Optimizer(Optimizer&&) = default;

  std::vector<Parameter<S>*> parameters() {
    std::vector<Parameter<S>*> all;
    for (auto& p : parameters_) all.push_back(&p);
    return all;
  }
  /// Running statistics move once for every batch of a step, as they do in PyTorch: before each batch but the first, so that
  /// what came earlier counts less.
  void follow(Context<typename S::Device>& ctx, Gradients<S>& gradients) { descent_.follow(ctx, parameters_, gradients); }
  /// step() in parts, on a device that records work: the host's before the launch, the launch, the host's behind it.
  template <class Rule> void ready(Context<typename S::Device>& ctx, Gradients<S>& gradients, const Rule& rule) {
    descent_.ready(ctx, parameters_, gradients, rule);
  }
  void launch(Context<typename S::Device>& ctx) { descent_.launch(ctx); }
  std::vector<std::uint64_t> depends() const { return descent_.depends(); }
  void moved(Context<typename S::Device>& ctx, Gradients<S>& gradients) { descent_.moved(ctx, parameters_, gradients); }
  std::string_view name() const { return name_; }
  double learning_rate() const { return learning_rate_; }
  void set_learning_rate(double rate) { learning_rate_ = rate; }
  Index steps() const { return steps_; }
  /// Its options by name, as they are now: what must be the same where a training goes on.
  std::vector<std::pair<std::string_view, double>> settings() const {
    auto all = settings_;
    all.emplace_back("learning_rate", learning_rate_);
    return all;
  }

  /// What a checkpoint keeps: the number of steps, and the moments, f(which moment, which parameter, values). Parameters that
  /// are not trained have none.
  void set_steps(Index steps) { steps_ = steps; }
  Index moments() const { return static_cast<Index>(descent_.count()); }
  template <class F> void each_moment(F f) {
    for (std::size_t m = 0; m < descent_.count(); ++m)
      for (std::size_t k = 0; k < parameters_.size(); ++k)
        if (const std::span<Acc> values = descent_.moment(m, k); !values.empty()) f(m, k, values);
  }

 protected:
  /// moments: numbers kept beside each trained value; name: a literal.
  Optimizer(std::string_view name, const std::vector<Parameter<S>*>& parameters, double learning_rate, std::size_t moments)
      : name_(name), learning_rate_(learning_rate), descent_(parameters, moments) {
    for (const auto* p : parameters) parameters_.push_back(p->share());
  }
  ~Optimizer() = default;

  /// For literals as names.
  void check(std::string_view name, double value, double below) {
    if (!is_finite(value) || value < 0 || value >= below)
      throw Error(Code::bad_argument, name_, text(name, " = ", value, "; must be 0 or more and below ", below, "."));
    if (name != "learning_rate") settings_.emplace_back(name, value);
  }

  template <class Rule> void update(Context<typename S::Device>& ctx, Gradients<S>& gradients, const Rule& rule) {
    ++steps_;
    descent_.update(ctx, parameters_, gradients, rule);
  }

 private:
  std::string_view name_;
  std::vector<Parameter<S>> parameters_;   // shared with the model
  double learning_rate_;
  Descent<S> descent_;
  std::vector<std::pair<std::string_view, double>> settings_;
  Index steps_ = 0;
};

}   // namespace ctseg
