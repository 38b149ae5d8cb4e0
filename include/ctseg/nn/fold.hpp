// Batch norm outside of training is a scale and a shift per channel, which the convolution in front of it can do as well.
#pragma once
#include "layers.hpp"

namespace ctseg {

/// Finds every Block of a model: `each` of a model hands it over instead of its parameters.
template <class F> struct BlockVisitor {
  F f;
  template <AnySpec S> void operator()(const std::string&, Parameter<S>&) const {}
  template <AnySpec S> void block(Block<S>& b) const { f(b); }
};

/// Scales the convolution's output channels by gamma / sigma and moves its bias; afterwards the block has no norm. False where
/// its norm is not batch norm.
template <AnySpec S> bool fold_batch_norm_of(Block<S>& block) {
  using Acc = typename S::Acc;
  const NormOp<S> op = block.norm.op();
  if (op.kind != NormKind::batch) return false;
  const auto &mean = block.norm.running_mean.values(), &variance = block.norm.running_variance.values();
  const auto &gamma = block.norm.gamma.values(), &beta = block.norm.beta.values();
  const std::size_t channels = mean.size();
  const bool had_bias = block.conv.bias.present();
  if (!had_bias) block.conv.bias = Parameter<S>({.shape = {static_cast<Index>(channels)}});
  for (auto* p : {&block.conv.weight, &block.conv.bias}) *p = Parameter<S>(*p);   // its own: another block may share them
  const auto bias = block.conv.bias.edit();
  std::vector<double> scale(channels);
  for (std::size_t c = 0; c < channels; ++c) {
    scale[c] = (op.affine ? double{gamma[c]} : 1.0) / std::sqrt(double{variance[c]} + double{op.eps});
    const double shift = op.affine ? double{beta[c]} : 0.0;
    bias[c] = static_cast<Acc>((double{bias[c]} - double{mean[c]}) * scale[c] + shift);
  }
  const auto weight = block.conv.weight.edit();   // in memory the output channel of a group runs fastest
  const std::size_t groups = static_cast<std::size_t>(block.conv.weight.groups()), width = channels / groups;
  const std::size_t group = weight.size() / groups;
  for (std::size_t i = 0; i < weight.size(); ++i)
    weight[i] = static_cast<Acc>(double{weight[i]} * scale[i / group * width + i % width]);

  Parameter<S> slope = std::move(block.norm.slope);
  block.norm = Norm<S>({.channels = static_cast<Index>(channels), .kind = NormKind::none, .activation = op.activation});
  block.norm.slope = std::move(slope);
  return true;
}

/// Folds the batch norm of every Block into its convolution and returns how many there were. The model is one for inference
/// then: parameters and names are those of plain convolutions with a bias, and training it trains them, without a norm.
/// Copy the model first to keep the other. Blocks that share weights get their own. Tapes, plans and optimizers of before hold
/// the old weights: make them again.
/// Numerics  in double, rounded once; outputs differ by rounding (1e-6 of the largest).
/// PyTorch   torch.nn.utils.fuse_conv_bn_eval(conv, norm), for every pair
template <class Model> Index fold_batch_norm(Model& model) {
  Index folded = 0;
  const auto count = [&folded](auto& block) { folded += fold_batch_norm_of(block) ? 1 : 0; };
  visit(model, BlockVisitor<decltype(count)>{count});
  return folded;
}

}   // namespace ctseg
