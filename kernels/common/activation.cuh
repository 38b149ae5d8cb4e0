// Activations on the card: the functors of ops/activation.hpp in float, for the activation kernels and the fused norm. A kernel
// takes one as a template parameter, so that its loop has no branch on the kind.
#pragma once
#include "block.cuh"
#include "ctseg/ops/activation.hpp"

namespace ctseg::cuda {

// value(x, c) and derivative(x, c) of channel c, with x the input; at 0 the derivative is the one from below.

struct DeviceIdentity {
  CTSEG_DEVICE float value(float x, Index) const { return x; }
  CTSEG_DEVICE float derivative(float, Index) const { return 1; }
};
struct DeviceRelu {   // a NaN stays one
  CTSEG_DEVICE float value(float x, Index) const { return x < 0 ? 0.f : x; }
  CTSEG_DEVICE float derivative(float x, Index) const { return x > 0 ? 1.f : 0.f; }
};
struct DeviceLeakyRelu {
  float slope;
  CTSEG_DEVICE float value(float x, Index) const { return x > 0 ? x : slope * x; }
  CTSEG_DEVICE float derivative(float x, Index) const { return x > 0 ? 1.f : slope; }
};
struct DevicePRelu {   // one slope for all channels (step 0) or one each (step 1)
  const float* slope;
  Index step;
  CTSEG_DEVICE float value(float x, Index c) const { return x > 0 ? x : slope[c * step] * x; }
  CTSEG_DEVICE float derivative(float x, Index c) const { return x > 0 ? 1.f : slope[c * step]; }
};
/// Elu, sigmoid and gelu in one functor, which asks which at every value: beside an exponential that costs little, and every
/// kernel with an activation is compiled twice less.
struct DeviceCurve {
  ActivationKind kind;
  float alpha;   // of elu
  CTSEG_DEVICE static float sigmoid(float x) { return x >= 0 ? 1 / (1 + std::exp(-x)) : std::exp(x) / (1 + std::exp(x)); }
  CTSEG_DEVICE static float phi(float x) { return 0.5f * std::erfc(-x * 0.70710678118654752f); }
  CTSEG_DEVICE float value(float x, Index) const {
    if (kind == ActivationKind::elu) return x > 0 ? x : alpha * std::expm1(x);
    return kind == ActivationKind::sigmoid ? sigmoid(x) : x * phi(x);
  }
  CTSEG_DEVICE float derivative(float x, Index) const {
    if (kind == ActivationKind::elu) return x > 0 ? 1.f : alpha * std::exp(x);
    if (kind == ActivationKind::sigmoid) return sigmoid(x) * sigmoid(-x);
    return phi(x) + x * 0.39894228040143268f * std::exp(-0.5f * x * x);
  }
};

/// On the host: f(functor) for the activation named. `slopes`, in device memory, are prelu's: one (step 0), or one per channel
/// (step 1).
template <class F> void with_activation(ActivationKind kind, float parameter, const float* slopes, Index step, F f) {
  switch (kind) {
    case ActivationKind::identity:
      return f(DeviceIdentity{});
    case ActivationKind::relu:
      return f(DeviceRelu{});
    case ActivationKind::leaky_relu:
      return f(DeviceLeakyRelu{parameter});
    case ActivationKind::elu:
    case ActivationKind::sigmoid:
    case ActivationKind::gelu:
      return f(DeviceCurve{kind, parameter});
    case ActivationKind::prelu:
      return f(DevicePRelu{slopes, step});
  }
}

}   // namespace ctseg::cuda
