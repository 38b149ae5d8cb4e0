// Layers: the parameters of an op together with its options. A layer is called on a value, and lists its parameters by name.
#pragma once
#include "../core/finite.hpp"
#include "functional.hpp"

namespace ctseg {

/// padding: by default what keeps the size of odd kernels at any dilation, 0 for even ones. groups = in_channels: depthwise.
template <int Dim> struct ConvOptions {
  Index in_channels = 1, out_channels = 1;
  Axes<Dim> kernel = 3, stride = 1, dilation = 1;
  std::optional<Axes<Dim>> padding{};
  PadMode padding_mode = PadMode::constant;   // zeros; replicate and reflect pad a copy of the input first
  Axes<Dim> output_padding = 0;               // transposed only
  bool transposed = false, bias = true;
  Index groups = 1;   // of channels: group g of the output sees group g of the input alone
};

/// Convolution or transposed convolution; see ConvOp for formula and shapes.
/// Weights   weight, bias: in files PyTorch's names, shapes and order.
/// Errors    bad_argument for options that no input could satisfy.
/// PyTorch   nn.Conv3d, nn.ConvTranspose3d with the same names; kernel is kernel_size, and the default padding there is 0.
template <AnySpec S> class Conv {
 public:
  explicit Conv(const ConvOptions<S::kDim>& o);
  Var<S> operator()(Var<S> x) const { return x.tape->append(op_, {padded(x)}, {weight, bias}); }
  /// The input as op() wants it: with the margin that a padding_mode asks for.
  Var<S> padded(Var<S> x) const { return pads_first() ? pad(x, pads_) : x; }
  bool pads_first() const { return pads_.mode != PadMode::constant; }
  const ConvOp<S>& op() const { return op_; }

  template <class Self, class F> static void each(Self& self, const std::string& prefix, F f) {
    f(prefix + "weight", self.weight);
    if (self.bias.present()) f(prefix + "bias", self.bias);
  }
  Parameter<S> weight, bias;

 private:
  static ConvOp<S> make_op(const ConvOptions<S::kDim>& o) {
    Axes<S::kDim> padding = 0;
    for (std::size_t d = 0; d < S::kDim; ++d)
      if (o.kernel.value[d] % 2 != 0) padding.value[d] = o.kernel.value[d] / 2 * o.dilation.value[d];
    const ConvOp<S> op{.in_channels = o.in_channels,
                       .out_channels = o.out_channels,
                       .kernel = o.kernel,
                       .stride = o.stride,
                       .padding = o.padding.value_or(padding),
                       .output_padding = o.output_padding,
                       .dilation = o.dilation,
                       .groups = o.groups,
                       .transposed = o.transposed};
    op.check_options();   // here already, not only when the layer is called
    return op;
  }
  ConvOp<S> op_;
  PadOp<S> pads_{.mode = PadMode::constant};
};

/// PyTorch's defaults, but for affine, which nn.InstanceNorm3d has off.
struct NormOptions {
  Index channels = 1;
  NormKind kind = NormKind::instance;
  bool affine = true;
  float eps = 1e-5f;
  float momentum = 0.1f;   // of batch norm's running statistics
  Activation activation{};
  Index groups = 1;   // of group norm; they divide the channels
};

/// For networks that have no option for the groups of group norm.
inline NormKind without_groups(NormKind kind, std::string_view where) {
  if (kind == NormKind::group)
    throw Error(Code::bad_argument, where,
                "norm is group, but there is no option for its groups. Hint: instance, batch or none.");
  return kind;
}

/// Instance, group or batch norm, with an optional activation behind it; see NormOp.
/// PyTorch   nn.InstanceNorm3d(channels, affine=True): there the default is affine=False; nn.GroupNorm, nn.BatchNorm3d.
template <AnySpec S> class Norm {
 public:
  /// Errors    bad_argument if the groups of group norm do not divide the channels.
  explicit Norm(const NormOptions& o);
  Var<S> operator()(Var<S> x) const { return x.tape->append(op_, std::span<const Var<S>>(&x, 1), weights()); }
  /// act(norm(x) + residual).
  Var<S> operator()(Var<S> x, Var<S> residual) const {
    const std::array<Var<S>, 2> both = {x, residual};
    return x.tape->append(op_, std::span<const Var<S>>(both), weights());
  }
  const NormOp<S>& op() const { return op_; }
  std::vector<Weights<S>> weights() const {   // as NormOp wants them
    std::vector<Weights<S>> all;
    for (const auto* p : {&gamma, &beta, &running_mean, &running_variance, &slope})
      if (p->present()) all.push_back(*p);
    return all;
  }

  template <class Self, class F> static void each(Self& self, const std::string& prefix, F f) {
    each_statistic(self, prefix, f);
    if (self.slope.present()) f(prefix + "slope", self.slope);
  }
  /// Without the slopes of prelu, which other libraries keep in a layer of their own.
  template <class Self, class F> static void each_statistic(Self& self, const std::string& prefix, F f) {
    const auto add = [&](const char* name, auto& p) {
      if (p.present()) f(prefix + name, p);
    };
    add("weight", self.gamma);
    add("bias", self.beta);
    add("running_mean", self.running_mean);
    add("running_var", self.running_variance);
  }
  Parameter<S> gamma, beta, running_mean, running_variance, slope;

 private:
  NormOp<S> op_;
};

/// An activation with its learned slopes, if it has any: prelu is a layer, all others could as well be called as functions.
template <AnySpec S> class ActivationLayer {
 public:
  explicit ActivationLayer(const Activation& a, Index channels = 1) : activation_(a) {
    if (a.kind == ActivationKind::prelu) slope = Parameter<S>({.shape = {a.per_channel ? channels : 1}, .fill = 0.25});
  }
  Var<S> operator()(Var<S> x) const { return slope.present() ? prelu(x, slope) : activate(x, activation_); }
  template <class Self, class F> static void each(Self& self, const std::string& prefix, F f) {
    if (self.slope.present()) f(prefix + "weight", self.slope);
  }
  Parameter<S> slope;

 private:
  Activation activation_;
};

/// What the parts of a block are called in files. The defaults are MONAI's.
struct BlockNames {
  std::string conv = "conv.", norm = "adn.N.", activation = "adn.A.";
};

/// The defaults are nnU-Net's: instance norm with gamma and beta, LeakyReLU of slope 0.01.
template <int Dim> struct BlockOptions {
  ConvOptions<Dim> conv{};
  NormKind norm = NormKind::instance;
  bool affine = true;
  float eps = 1e-5f;
  Activation activation = leaky_relu();
  float dropout = 0;
  bool dropout_first = false, dropout_channels = false;   // nnU-Net drops whole channels, in front of the norm
  Index groups = 1;                                       // of group norm
  bool fused = true;                                      // false: separate ops, for lessons and for checking the fused one
};

/// Convolution, norm, dropout, activation: MONAI's order "NDA". Where nothing is dropped it is one op, see ConvNormActOp.
/// NormKind::none leaves the norm out (in inference it is one op still). Called with a second value it adds it before the activation, as residual networks do:
/// one op, too.
/// PyTorch   monai.networks.blocks.Convolution(3, in, out, adn_ordering="NDA", norm=("instance", {"affine": True}), ...)
template <AnySpec S> class Block {
 public:
  explicit Block(const BlockOptions<S::kDim>& o)
      : conv(o.conv),
        norm({.channels = o.conv.out_channels,
              .kind = o.norm,
              .affine = o.affine,
              .eps = o.eps,
              .activation = o.activation,
              .groups = o.groups}),
        dropout_(o.dropout),
        dropout_first_(o.dropout_first),
        dropout_channels_(o.dropout_channels),
        fused_(o.fused) {
    DropoutOp<S>{o.dropout}.check_options();   // here already: NaN or less than 0 would drop nothing, in silence
  }

  Var<S> operator()(Var<S> x) const { return is_one_op(x) ? one_op({x}) : act(raw(x)); }
  /// act(norm(conv(x)) + residual).
  Var<S> operator()(Var<S> x, Var<S> residual) const {
    return is_one_op(x, true) ? one_op({x, residual}) : act(add(raw(x), residual));
  }

  template <class Self, class F> static void each(Self& self, const std::string& prefix, F f) {
    const BlockNames monai;
    each(self, BlockNames{prefix + monai.conv, prefix + monai.norm, prefix + monai.activation}, f);
  }
  /// With names of one's own; prefixes are part of them. A visitor that has block() gets the block whole (fold.hpp).
  template <class Self, class F> static void each(Self& self, const BlockNames& names, F f) {
    if constexpr (requires { f.block(self); }) {
      f.block(self);
    } else {
      Conv<S>::each(self.conv, names.conv, f);
      Norm<S>::each_statistic(self.norm, names.norm, f);
      if (self.norm.slope.present()) f(names.activation + "weight", self.norm.slope);
    }
  }
  Conv<S> conv;
  Norm<S> norm;

 private:
  /// Without a norm only inference gains by it: in training the activation needs what it saw.
  bool is_one_op(const Var<S>& x, bool adds = false) const {
    const NormOp<S>& n = norm.op();
    if (!fused_ || drops(x)) return false;
    if (n.kind != NormKind::none) return true;
    return x.tape->mode() == Mode::infer && (adds || n.activation.kind != ActivationKind::identity);
  }
  bool drops(const Var<S>& x) const { return dropout_ > 0 && x.tape->mode() == Mode::train; }
  Var<S> one_op(std::vector<Var<S>> inputs) const {
    std::vector<Weights<S>> weights = {conv.weight, conv.bias};
    const auto all = norm.weights();
    weights.insert(weights.end(), all.begin(), all.end());
    inputs[0] = conv.padded(inputs[0]);
    return inputs[0].tape->append(ConvNormActOp<S>{conv.op(), norm.op()}, inputs, std::move(weights));
  }
  /// Op by op, up to the activation.
  Var<S> raw(Var<S> x) const {
    x = conv(x);
    if (dropout_first_) x = drop(x);
    if (norm.op().kind != NormKind::none) {
      NormOp<S> plain = norm.op();
      plain.activation = {};
      const auto all = norm.weights();
      x = x.tape->append(plain, std::span<const Var<S>>(&x, 1), {all.begin(), all.end() - (norm.slope.present() ? 1 : 0)});
    }
    return dropout_first_ ? x : drop(x);
  }
  Var<S> drop(Var<S> x) const { return drops(x) ? x.tape->append(DropoutOp<S>{dropout_, dropout_channels_}, {x}) : x; }
  Var<S> act(Var<S> x) const {
    if (norm.slope.present()) return prelu(x, norm.slope);
    return norm.op().activation.kind == ActivationKind::identity ? x : activate(x, norm.op().activation);
  }

  float dropout_;
  bool dropout_first_, dropout_channels_, fused_;
};

template <AnySpec S> Conv<S>::Conv(const ConvOptions<S::kDim>& o) : op_(make_op(o)) {
  if (o.padding_mode != PadMode::constant) {
    if (o.transposed)
      throw Error(Code::bad_argument, "conv_transpose", "padding_mode is not constant; only zeros can be padded here.");
    if (op_.padding != Axes<S::kDim>(0)) pads_ = {.low = op_.padding.value, .high = op_.padding.value, .mode = o.padding_mode};
    op_.padding = 0;
  }
  std::vector<Index> shape = {o.out_channels, o.in_channels};
  if (o.transposed) std::swap(shape[0], shape[1]);
  shape[1] /= o.groups;
  shape.insert(shape.end(), o.kernel.value.begin(), o.kernel.value.end());
  weight = Parameter<S>(
      {.shape = shape, .layout = o.transposed ? WeightLayout::conv_transposed : WeightLayout::conv, .groups = o.groups});
  if (o.bias) bias = Parameter<S>({.shape = {o.out_channels}});
}

template <AnySpec S> Norm<S>::Norm(const NormOptions& o)
    : op_{.kind = o.kind,
          .affine = o.affine && o.kind != NormKind::none,
          .eps = o.eps,
          .activation = o.activation,
          .groups = o.groups} {
  if (o.kind == NormKind::group && (o.groups < 1 || o.channels % o.groups != 0))
    throw Error(Code::bad_argument, "norm",
                text(o.groups, " groups do not divide ", o.channels, " channels. Hint: set NormOptions::groups to a divisor."));
  if (!is_finite(o.eps) || o.eps < 0 || !is_finite(o.momentum) || o.momentum < 0 || o.momentum > 1)
    throw Error(Code::bad_argument, "norm",
                text("eps ", double{o.eps}, ", momentum ", double{o.momentum}, "; must be 0 or more, and 0 to 1."));
  const auto vector = [&](double fill, Role role) {
    return Parameter<S>({.shape = {o.channels}, .fill = fill, .role = role, .average_rate = double{o.momentum}});
  };
  if (op_.affine) gamma = vector(1, Role::trained), beta = vector(0, Role::trained);
  if (o.kind == NormKind::batch) running_mean = vector(0, Role::averaged), running_variance = vector(1, Role::averaged);
  if (o.activation.kind == ActivationKind::prelu)
    slope = Parameter<S>({.shape = {o.activation.per_channel ? o.channels : 1}, .fill = 0.25});
}

#ifdef CTSEG_PREBUILT   // linked to ctseg::prebuilt, which holds these
CTSEG_PREBUILT template class Conv<Spec<float, 2, Cpu>>;
CTSEG_PREBUILT template class Norm<Spec<float, 2, Cpu>>;
CTSEG_PREBUILT template class Block<Spec<float, 2, Cpu>>;
CTSEG_PREBUILT template class Conv<Spec<float, 3, Cpu>>;
CTSEG_PREBUILT template class Norm<Spec<float, 3, Cpu>>;
CTSEG_PREBUILT template class Block<Spec<float, 3, Cpu>>;
#endif

}   // namespace ctseg
