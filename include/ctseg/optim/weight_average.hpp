// Exponential moving average of the weights: a calmer network for validation and use.
#pragma once
#include "../core/finite.hpp"
#include "../nn/parameter.hpp"

namespace ctseg {

struct WeightAverageOptions {
  double decay = 0.999;
};

/// Errors    bad_argument for a decay outside [0, 1).
inline const WeightAverageOptions& checked(const WeightAverageOptions& o) {
  if (!is_finite(o.decay) || o.decay < 0 || o.decay >= 1)
    throw Error(Code::bad_argument, "weight_average", text("decay = ", o.decay, "; must be 0 or more and below 1."));
  return o;
}

/// average = decay * average + (1 - decay) * weights after every step; the first step copies. Running statistics are copied.
/// PyTorch   torch.optim.swa_utils.AveragedModel(net, multi_avg_fn=get_ema_multi_avg_fn(decay), use_buffers=False)
/// Source    Polyak and Juditsky, 1992.
template <AnySpec S> class WeightAverage {
 public:
  using Acc = typename S::Acc;

  /// Errors    bad_argument for a decay outside [0, 1).
  WeightAverage(const std::vector<Parameter<S>*>& parameters, const WeightAverageOptions& o = {}) : options_(checked(o)) {
    for (const auto* p : parameters) {
      parameters_.push_back(p->share());
      averages_.emplace_back(p->values().begin(), p->values().end());
    }
  }

  void update(Context<Cpu>& ctx) {
    const double keep = updates_++ == 0 ? 0 : options_.decay;
    for (std::size_t k = 0; k < parameters_.size(); ++k) {
      const auto w = parameters_[k].values();
      auto& average = averages_[k];
      const double share = parameters_[k].role() == Role::trained ? keep : 0;
      parallel_blocks(ctx.executor(), std::ssize(w), 16384, [&](Index begin, Index end) {
        for (auto i = static_cast<std::size_t>(begin); i < static_cast<std::size_t>(end); ++i)
          average[i] = static_cast<Acc>(share * static_cast<double>(average[i]) + (1 - share) * static_cast<double>(w[i]));
      });
    }
  }

  /// Exchanges the model's weights and the averages: before a validation, and again after it.
  void swap() {
    for (std::size_t k = 0; k < parameters_.size(); ++k) {
      const auto w = parameters_[k].edit();
      std::swap_ranges(w.begin(), w.end(), averages_[k].begin());
    }
  }

  const WeightAverageOptions& options() const { return options_; }
  /// Memory beside the model's own.
  Index bytes() const {
    Index values = 0;
    for (const auto& a : averages_) values += std::ssize(a);
    return values * Index{sizeof(Acc)};
  }
  /// What a checkpoint keeps.
  Index updates() const { return updates_; }
  void set_updates(Index updates) { updates_ = updates; }
  std::vector<Parameter<S>>& parameters() { return parameters_; }
  std::vector<std::vector<Acc>>& averages() { return averages_; }

 private:
  WeightAverageOptions options_;
  std::vector<Parameter<S>> parameters_;   // shared with the model
  std::vector<std::vector<Acc>> averages_;
  Index updates_ = 0;
};

}   // namespace ctseg
