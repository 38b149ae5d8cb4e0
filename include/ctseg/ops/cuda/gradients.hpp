// What kernels/optim finds out about gradients in device memory, and does to all of them.
#pragma once
#include "runtime.hpp"

namespace ctseg::cuda {

/// What is known of the gradients of one step, beside them in device memory: nothing here has to come to the host before the
/// weights move. All zero: nothing was asked.
struct GradientFacts {
  double loss = 0;             // add_loss
  double norm = 0;             // of the trained gradients, unscaled and not clipped
  float factor = 0;            // unscales and clips; counts where `binding`
  std::int32_t bad = 0;        // 1: one of the gradients, or the loss, is not finite
  std::int32_t binding = 0;    // 1: the optimizer multiplies by `factor`, and does nothing where `bad`
  std::uint32_t arrived = 0;   // blocks of the launch under way
};

/// Gradients in device memory: trained ones, then running statistics. Parts and padding are multiples of 4 values.
struct FlatGradients {
  float* values = nullptr;
  Index trained = 0, size = 0;
  GradientFacts* facts = nullptr;
  double* partials = nullptr;   // of judge: judge_partials(size)
};
struct Judgement {
  double inverse_scale = 1;   // what the loss scale made larger
  double longest = 0;         // norm; 0: any
  bool binding = false;
};
Index judge_partials(Index size);

/// Norm and finiteness into the facts. In a fixed order: partial sums by place, in double, then the last block adds these up.
void judge(Stream, const FlatGradients&, const Judgement&);
/// facts->loss += share * *loss
void add_loss(Stream, const float* loss, double share, GradientFacts*);
/// values *= factor; values /= divisor
void multiply(Stream, float* values, Index count, float factor);
void divide(Stream, float* values, Index count, float divisor);

}   // namespace ctseg::cuda
