// What kernels/optim does, as functions: one launch each over all values of a model.
#pragma once
#include "../../core/error.hpp"
#include "../../ops/cuda/runtime.hpp"
#include "../rules.hpp"

namespace ctseg::cuda {

/// A piece of one parameter, for one block. Only device memory.
struct Piece {
  static constexpr int kMost = 4096;   // values

  float* values = nullptr;
  float* gradient = nullptr;
  Index place = 0;             // of its first value in moments and averages; a multiple of 4
  std::int32_t count = 0;
  float average_rate = -1;     // of running statistics; below 0: trained
};
struct Pieces {
  const Piece* at = nullptr;   // in device memory
  Index count = 0;
};

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

/// One step of all pieces; moment m of a value lies at moments + m * stride + place. Arithmetic in float.
struct Step {
  Pieces pieces;
  const GradientFacts* facts = nullptr;
  float* moments = nullptr;
  Index stride = 0;
};
void descend(Stream, const Step&, const AdamRule&);
void descend(Stream, const Step&, const SgdRule&);
/// The gradients of running statistics *= 1 - rate
void follow(Stream, const Pieces&);

/// averages += share * (values - averages) for trained pieces; the others, and all where share = 1, are copied. Nothing happens
/// where the facts, if there are any, are binding and bad.
struct Averaging {
  Pieces pieces;
  const GradientFacts* facts = nullptr;
  float* averages = nullptr;
  float share = 1;
};
void average(Stream, const Averaging&);
/// Values and averages change places.
void exchange(Stream, const Pieces&, float* averages);

}   // namespace ctseg::cuda
