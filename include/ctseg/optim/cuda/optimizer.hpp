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
    gradients.use(ctx);
    const cuda::Pieces pieces = pieces_.to_write(ctx, parameters, &gradients);
    cuda::descend(ctx.stream(), {pieces, gradients.facts(), moments_.device(ctx), stride_}, rule);
  }
  void follow(Context<Cuda>& ctx, std::vector<Parameter<S>>& parameters, Gradients<S>& gradients) {
    if (gradients.statistics().empty()) return;
    gradients.use(ctx);
    cuda::follow(ctx.stream(), pieces_.to_write(ctx, parameters, &gradients));
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
