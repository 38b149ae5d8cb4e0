// Activations: each is a functor of value and derivative, and one table turns a name into the functor. Layers, the fused norm
// and the gradient check all go through the table, so a new activation is a functor, an enumerator and a line in the table.
#pragma once
#include <cmath>
#include <iterator>

#include "op.hpp"

namespace ctseg {

enum class ActivationKind { identity, relu, leaky_relu, elu, sigmoid, gelu, prelu };
/// In the order of the enumerators.
inline constexpr std::string_view kActivationNames[] = {"identity", "relu", "leaky_relu", "elu", "sigmoid", "gelu", "prelu"};
inline constexpr ActivationKind kActivationKinds[] = {
    ActivationKind::identity, ActivationKind::relu, ActivationKind::leaky_relu, ActivationKind::elu,
    ActivationKind::sigmoid,  ActivationKind::gelu, ActivationKind::prelu};
static_assert(std::size(kActivationNames) == std::size(kActivationKinds));

constexpr std::string_view name_of(ActivationKind kind) { return kActivationNames[static_cast<std::size_t>(kind)]; }
inline std::string text(ActivationKind kind) { return std::string(name_of(kind)); }

/// leaky_relu: slope for x <= 0; elu: alpha. relu, sigmoid, gelu and identity have no parameter; prelu learns its slope, or one
/// per channel.
struct Activation {
  ActivationKind kind = ActivationKind::identity;
  float parameter = 0;
  bool per_channel = false;
};
constexpr Activation relu() { return {ActivationKind::relu, 0}; }
constexpr Activation leaky_relu(float slope = 0.01f) { return {ActivationKind::leaky_relu, slope}; }
constexpr Activation elu(float alpha = 1) { return {ActivationKind::elu, alpha}; }
constexpr Activation sigmoid() { return {ActivationKind::sigmoid, 0}; }
constexpr Activation gelu() { return {ActivationKind::gelu, 0}; }
constexpr Activation prelu() { return {ActivationKind::prelu, 0}; }
constexpr Activation prelu_per_channel() { return {ActivationKind::prelu, 0, true}; }

// value(x, c) and derivative(x, c) of channel c, with x the input: the input is what every backward pass has at hand.

template <class Acc> struct Identity {
  Acc value(Acc x, Index) const { return x; }
  Acc derivative(Acc, Index) const { return Acc(1); }
};
template <class Acc> struct Relu {   // a NaN stays one
  Acc value(Acc x, Index) const { return x < 0 ? Acc(0) : x; }
  Acc derivative(Acc x, Index) const { return x > 0 ? Acc(1) : Acc(0); }
};
template <class Acc> struct LeakyRelu {
  Acc slope;
  Acc value(Acc x, Index) const { return x > 0 ? x : slope * x; }
  Acc derivative(Acc x, Index) const { return x > 0 ? Acc(1) : slope; }
};
template <class Acc> struct Elu {
  Acc alpha;
  Acc value(Acc x, Index) const { return x > 0 ? x : alpha * std::expm1(x); }
  Acc derivative(Acc x, Index) const { return x > 0 ? Acc(1) : alpha * std::exp(x); }
};
template <class Acc> struct Sigmoid {
  Acc value(Acc x, Index) const { return x >= 0 ? 1 / (1 + std::exp(-x)) : std::exp(x) / (1 + std::exp(x)); }
  Acc derivative(Acc x, Index c) const { return value(x, c) * value(-x, c); }
};
/// x Phi(x) with the distribution function Phi itself, not its approximation by tanh: PyTorch's default.
/// Source    Hendrycks and Gimpel, arXiv:1606.08415.
template <class Acc> struct Gelu {
  static Acc phi(Acc x) { return Acc(0.5) * std::erfc(-x * Acc(0.70710678118654752)); }   // erfc keeps the digits of the tail
  Acc value(Acc x, Index) const { return x * phi(x); }
  Acc derivative(Acc x, Index) const { return phi(x) + x * Acc(0.39894228040143268) * std::exp(Acc(-0.5) * x * x); }
};
/// Elu, sigmoid and gelu in one functor that asks which at every value: beside an exponential that costs up to 5 %, and every
/// loop over an activation is compiled twice less.
template <class Acc> struct Curved {
  ActivationKind kind;
  Acc parameter;
  Acc value(Acc x, Index c) const {
    if (kind == ActivationKind::elu) return Elu<Acc>{parameter}.value(x, c);
    return kind == ActivationKind::sigmoid ? Sigmoid<Acc>{}.value(x, c) : Gelu<Acc>{}.value(x, c);
  }
  Acc derivative(Acc x, Index c) const {
    if (kind == ActivationKind::elu) return Elu<Acc>{parameter}.derivative(x, c);
    return kind == ActivationKind::sigmoid ? Sigmoid<Acc>{}.derivative(x, c) : Gelu<Acc>{}.derivative(x, c);
  }
};
template <class Acc> struct PRelu {   // one slope for all channels (step 0) or one each (step 1)
  const Acc* slope;
  Index step;
  Acc value(Acc x, Index c) const { return x > 0 ? x : slope[c * step] * x; }
  Acc derivative(Acc x, Index c) const { return x > 0 ? Acc(1) : slope[c * step]; }
};

/// f(functor) for the activation named; `slopes` are prelu's.
template <AnySpec S, class F> void with_activation(const Activation& a, const Weights<S>& slopes, F f) {
  using Acc = typename S::Acc;
  switch (a.kind) {
    case ActivationKind::identity:
      return f(Identity<Acc>{});
    case ActivationKind::relu:
      return f(Relu<Acc>{});
    case ActivationKind::leaky_relu:
      return f(LeakyRelu<Acc>{Acc(a.parameter)});
    case ActivationKind::elu:
    case ActivationKind::sigmoid:
    case ActivationKind::gelu:
      return f(Curved<Acc>{a.kind, Acc(a.parameter)});
    case ActivationKind::prelu:
      return f(PRelu<Acc>{slopes.data(), slopes.size() > 1 ? 1 : 0});
  }
}

/// Errors    shape_mismatch unless there is one slope, or one per channel.
template <AnySpec S> void check_slopes(const Activation& a, AllWeights<S> slopes, Index channels) {
  if (a.kind != ActivationKind::prelu) return;
  const Index count = slopes.empty() ? 0 : slopes[0].size();
  if (count != 1 && count != channels)
    throw Error(Code::shape_mismatch, "prelu",
                text(count, " slopes for ", channels, " channels; must be 1 or ", channels, "."));
}

struct Pointwise;   // Kernel<Pointwise, S>: forward(ctx, activation, x, slopes, y), backward(..., dslopes, scratch)

/// y = f(x), element by element.
/// Kinds     max(x, 0) for relu; x where x > 0, else slope x (leaky_relu, prelu: of channel c) or alpha (exp(x) - 1) (elu);
///           1 / (1 + exp(-x)) for sigmoid; x Phi(x) for gelu.
/// Shapes    x [N, C, D, H, W] -> y the same.
/// Weights   prelu: slope [1] or [C].
/// Numerics  in Acc, rounded once. At 0 the derivative is the one from below (relu: 0), as in PyTorch.
/// Gradient  dx assigned; dslope added: block sums in Acc, blocks in double. Reads x again.
/// Cost      one pass: reads x, writes y (inference: in place); backward reads x and dy (prelu: twice), writes dx. Keeps x.
/// Errors    shape_mismatch unless prelu has one slope, or one per channel.
/// PyTorch   F.relu(x), F.leaky_relu(x, 0.01), F.elu(x, 1.0), torch.sigmoid(x), F.gelu(x), F.prelu(x, slope)
/// Source    He et al., PReLU, arXiv:1502.01852; Clevert et al., ELU, arXiv:1511.07289; Hendrycks and Gimpel, GELU,
///           arXiv:1606.08415.
template <AnySpec S> struct ActivationOp {
  Activation activation;

  std::string_view name() const { return name_of(activation.kind); }
  Inferred<S> infer(const Facts<S>& f) const {
    check_slopes<S>(activation, f.w, f.x().c);
    return {.shape = f.x(),
            .backward_scratch = Kernel<Pointwise, S>::scratch(activation, f.x()),
            .reads_inputs = true,
            .sharing = Sharing::in_place,
            .again = Again::from_inputs};
  }
  void forward(const Forward<S>& f) const { Kernel<Pointwise, S>::forward(f.ctx, activation, f.x(), slopes(f.w), f.y()); }
  void backward(const Backward<S>& b) const {
    Kernel<Pointwise, S>::backward(b, activation, slopes(b.w), b.dw.empty() ? std::span<typename S::Acc>{} : b.dw[0]);
  }

 private:
  static Weights<S> slopes(AllWeights<S> w) { return w.empty() ? Weights<S>{} : w[0]; }
};

}   // namespace ctseg
