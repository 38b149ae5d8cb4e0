// Clipping of gradients by their common length.
#pragma once
#include "../core/finite.hpp"
#include "../nn/parameter.hpp"

namespace ctseg {

/// The Euclidean length of all gradients of trained parameters, as if they were one vector; in blocks, merged in order: the same
/// bits for any number of threads.
template <AnySpec S> double gradient_norm(Context<Cpu>& ctx, const Gradients<S>& gradients) {
  constexpr Index kBlock = 16384;
  const auto g = gradients.trained();
  std::vector<double> sums(static_cast<std::size_t>((std::ssize(g) + kBlock - 1) / kBlock));
  parallel_for(ctx.executor(), std::ssize(sums), [&](Index block) {
    double sum = 0;
    for (Index i = block * kBlock; i < std::min(std::ssize(g), (block + 1) * kBlock); ++i)
      sum += static_cast<double>(g[static_cast<std::size_t>(i)]) * static_cast<double>(g[static_cast<std::size_t>(i)]);
    sums[static_cast<std::size_t>(block)] = sum;
  });
  double sum = 0;
  for (const double s : sums) sum += s;
  return std::sqrt(sum);
}

inline void check_longest(double most) {
  if (!is_finite(most) || most <= 0)
    throw Error(Code::bad_argument, "clip", text("a longest gradient of ", most, "; must be above 0. Hint: 12, as nnU-Net."));
}

/// Scales gradients longer than `most` down to that length; returns what the length was. Gradients that are not finite stay.
/// PyTorch   torch.nn.utils.clip_grad_norm_: the factor is most / (norm + 1e-6)
template <AnySpec S> double clip_gradient_norm(Context<Cpu>& ctx, Gradients<S>& gradients, double most) {
  check_longest(most);
  const double norm = gradient_norm(ctx, gradients), factor = most / (norm + 1e-6);
  if (is_finite(norm) && factor < 1)
    for (auto& g : gradients.trained()) g = static_cast<typename S::Acc>(static_cast<double>(g) * factor);
  return norm;
}

}   // namespace ctseg
