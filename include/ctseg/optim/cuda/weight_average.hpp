// The moving average of weights on the card: one launch behind the optimizer's.
#pragma once
#include <bit>

#include "../weight_average.hpp"
#include "pieces.hpp"

namespace ctseg {

/// Numerics  in float: an average moves by (1 - decay) (weight - average), within 1e-6 of the CPU's.
template <class T, int Dim> class WeightAverage<Spec<T, Dim, Cuda>> {
  using S = Spec<T, Dim, Cuda>;

 public:
  using Acc = float;

  /// Errors    bad_argument for a decay outside [0, 1).
  WeightAverage(const std::vector<Parameter<S>*>& parameters, const WeightAverageOptions& o = {}) : options_(checked(o)) {
    Index size = 0;
    for (const auto* p : parameters) {
      parameters_.push_back(p->share());
      places_.push_back(size);
      size = cuda::place_behind(size, p->size());
    }
    values_ = cuda::Mirror(size);
    for (std::size_t k = 0; k < places_.size(); ++k) {
      const auto w = parameters_[k].values();
      std::copy(w.begin(), w.end(), of(k).begin());
    }
  }

  /// `facts`, of gradients: where they are bad nothing happens.
  void update(Context<Cuda>& ctx, const cuda::GradientFacts* facts = nullptr) {
    ready(ctx, facts);
    launch(ctx);
    ++updates_;
  }
  /// The same in parts, for whoever records the launch; then set_updates().
  void ready(Context<Cuda>& ctx, const cuda::GradientFacts* facts) {
    ctx_ = &ctx;
    const double keep = updates_ == 0 ? 0 : options_.decay;
    averaging_ = {pieces_.of(ctx, parameters_), facts, values_.device(ctx), static_cast<float>(1 - keep)};
  }
  void launch(Context<Cuda>& ctx) { cuda::average(ctx.stream(), averaging_); }
  /// What the launch depends on beside the gradients.
  std::vector<std::uint64_t> depends() const {
    return {reinterpret_cast<std::uintptr_t>(averaging_.pieces.at), static_cast<std::uint64_t>(averaging_.pieces.count),
            reinterpret_cast<std::uintptr_t>(averaging_.averages), std::bit_cast<std::uint32_t>(averaging_.share)};
  }
  /// Exchanges the model's weights and the averages: before a validation, and again after it. On the card, once there was an
  /// update there.
  void swap() {
    if (!ctx_) {
      for (std::size_t k = 0; k < parameters_.size(); ++k) {
        const auto w = parameters_[k].edit();
        std::swap_ranges(w.begin(), w.end(), of(k).begin());
      }
      return;
    }
    cuda::exchange(ctx_->stream(), pieces_.of(*ctx_, parameters_), values_.device(*ctx_));
    pieces_.moved(*ctx_, parameters_);
  }

  const WeightAverageOptions& options() const { return options_; }
  Index bytes() const { return values_.size() * Index{sizeof(float)}; }
  Index updates() const { return updates_; }
  void set_updates(Index updates) { updates_ = updates; }
  std::vector<Parameter<S>>& parameters() { return parameters_; }
  /// On the host, to read or write until the next update.
  std::vector<std::span<float>> averages() {
    std::vector<std::span<float>> all;
    for (std::size_t k = 0; k < places_.size(); ++k) all.push_back(of(k));
    return all;
  }

 private:
  std::span<float> of(std::size_t k) {
    return values_.host().subspan(static_cast<std::size_t>(places_[k]), static_cast<std::size_t>(parameters_[k].size()));
  }

  WeightAverageOptions options_;
  std::vector<Parameter<S>> parameters_;   // shared with the model
  std::vector<Index> places_;
  cuda::Mirror values_;
  cuda::PieceTable<S> pieces_;
  cuda::Averaging averaging_;
  Context<Cuda>* ctx_ = nullptr;   // of the last update
  Index updates_ = 0;
};

}   // namespace ctseg
