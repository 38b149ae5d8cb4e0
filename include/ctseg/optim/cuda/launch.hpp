// What kernels/optim does, as functions: one launch each over all values of a model.
#pragma once
#include <array>

#include "../../ops/cuda/gradients.hpp"
#include "../rules.hpp"

namespace ctseg::cuda {

/// A piece of one parameter, for one block. Only device memory.
struct Piece {
  static constexpr int kMost = 4096;   // values

  float* values = nullptr;
  float* gradient = nullptr;
  Index place = 0;   // of its first value in moments and averages; a multiple of 4
  Index count = 0;
  float average_rate = -1;   // of running statistics; below 0: trained
};
struct Pieces {
  const Piece* at = nullptr;   // in device memory
  Index count = 0;
};

/// An optimizer's rule as its kernel takes it. The numbers lie in device memory: a recorded launch reads those of today.
struct DeviceRule {
  enum Kind { adam, sgd, plain_sgd } kind = adam;
  std::array<float, 8> numbers{};
};
DeviceRule device_rule(const AdamRule&);
DeviceRule device_rule(const SgdRule&);

/// One step of all pieces; moment m of a value lies at moments + m * stride + place. Arithmetic in float.
struct Step {
  Pieces pieces;
  const GradientFacts* facts = nullptr;
  float* moments = nullptr;
  Index stride = 0;
  DeviceRule::Kind rule = DeviceRule::adam;
  const float* numbers = nullptr;   // of the rule
};
void descend(Stream, const Step&);
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
