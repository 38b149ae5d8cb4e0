// Optimizers on the card: one launch moves all values, and moments stay there until somebody asks for them.
#pragma once
#include "../clip.hpp"
#include "../optimizer.hpp"
#include "pieces.hpp"

namespace ctseg {

/// Numerics  arithmetic in float, within 1e-6 of the CPU's; the same bits each run.
template <class T, int Dim> class Descent<Spec<T, Dim, Cuda>> {
  using S = Spec<T, Dim, Cuda>;

 public:
  using Acc = float;

  Descent(const std::vector<Parameter<S>*>& parameters, std::size_t count) : count_(count) {
    for (const auto* p : parameters) {
      places_.push_back({stride_, p->role() == Role::trained ? p->size() : 0});
      stride_ = cuda::place_behind(stride_, p->size());
    }
    moments_ = cuda::Mirror(stride_ * static_cast<Index>(count_));
  }

  std::size_t count() const { return count_; }
  /// On the host, to read or write until the next update.
  std::span<float> moment(std::size_t m, std::size_t parameter) {
    const auto [first, size] = places_[parameter];
    if (size == 0) return {};
    return moments_.host().subspan(static_cast<std::size_t>(static_cast<Index>(m) * stride_ + first),
                                   static_cast<std::size_t>(size));
  }

  /// Gradients that were judged to be bad leave everything as it is.
  template <class Rule>
  void update(Context<Cuda>& ctx, std::vector<Parameter<S>>& parameters, Gradients<S>& gradients, const Rule& rule) {
    ready(ctx, parameters, gradients, rule);
    launch(ctx);
    moved(ctx, parameters, gradients);
  }
  /// The same in parts, for whoever records the launch: the host's work before it, and behind it.
  template <class Rule>
  void ready(Context<Cuda>& ctx, std::vector<Parameter<S>>& parameters, Gradients<S>& gradients, const Rule& rule) {
    gradients.use(ctx);
    const cuda::DeviceRule numbers = cuda::device_rule(rule);
    constexpr Index kBytes = sizeof numbers.numbers;
    if (numbers_.bytes() == 0) numbers_ = ctx.allocate(kBytes);
    if (!ctx.recording()) cuda::copy_to_device(ctx.stream(), numbers_.data(), numbers.numbers.data(), kBytes);
    step_ = {.pieces = pieces_.of(ctx, parameters, &gradients),
             .facts = gradients.facts(),
             .moments = moments_.device(ctx),
             .stride = stride_,
             .rule = numbers.kind,
             .numbers = reinterpret_cast<const float*>(numbers_.data())};
  }
  void launch(Context<Cuda>& ctx) { cuda::descend(ctx.stream(), step_); }
  void moved(Context<Cuda>& ctx, std::vector<Parameter<S>>& parameters, Gradients<S>& gradients) {
    pieces_.moved(ctx, parameters, &gradients);
  }
  /// What the launch depends on beside the gradients.
  std::vector<std::uint64_t> depends() const {
    return {reinterpret_cast<std::uintptr_t>(step_.pieces.at), static_cast<std::uint64_t>(step_.pieces.count),
            reinterpret_cast<std::uintptr_t>(step_.moments), static_cast<std::uint64_t>(step_.rule)};
  }
  void follow(Context<Cuda>& ctx, std::vector<Parameter<S>>& parameters, Gradients<S>& gradients) {
    if (gradients.statistics().empty()) return;
    gradients.use(ctx);
    cuda::follow(ctx.stream(), pieces_.of(ctx, parameters, &gradients));
  }

 private:
  struct Place {
    Index first, size;
  };
  std::size_t count_;
  Index stride_ = 0;   // values of one moment
  std::vector<Place> places_;
  cuda::Mirror moments_;
  cuda::PieceTable<S> pieces_;
  Memory<Cuda> numbers_;   // of the rule
  cuda::Step step_;
};

/// As on the CPU; both wait for the card, so fit judges gradients without them.
template <class T, int Dim> double gradient_norm(Context<Cuda>& ctx, Gradients<Spec<T, Dim, Cuda>>& gradients) {
  gradients.judge(ctx, {});
  return gradients.outcome().norm;
}
template <class T, int Dim>
double clip_gradient_norm(Context<Cuda>& ctx, Gradients<Spec<T, Dim, Cuda>>& gradients, double most) {
  check_longest(most);
  const double norm = gradient_norm(ctx, gradients), factor = most / (norm + 1e-6);
  if (is_finite(norm) && factor < 1) gradients.multiply(static_cast<float>(factor));
  return norm;
}

}   // namespace ctseg
