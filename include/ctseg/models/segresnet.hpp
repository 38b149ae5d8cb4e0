// SegResNet: a residual encoder that does the work, and a decoder as slim as can be.
//
//   size                                             (channels of init_filters = 8)
//   1      x -> 3^3 conv 8, dropout, 1 block -------------------------------------- + -> 1 block -> head -> logits
//                     |                                                             ^
//   1/2    3^3 conv 16 of stride 2, 2 blocks ------------------ + -> 1 block -> up 8
//                     |                                         ^
//   1/4    3^3 conv 32 of stride 2, 2 blocks -- + -> 1 block -> up 16
//                     |                         ^
//   1/8    3^3 conv 64 of stride 2, 4 blocks -> up 32
//
//   block   x + convolution(activation(norm(convolution(activation(norm(x)))))), all 3^3: norm and activation come first
//   up      1^3 convolution to half the channels, then twice the size by trilinear interpolation
//   head    norm, activation, 1^3 convolution
//
// Paper       Myronenko: 3D MRI brain tumor segmentation using autoencoder regularization, BrainLes 2018, arXiv:1810.11654.
//             Without the autoencoder's branch, which trains along and is not needed afterwards (in MONAI: SegResNetVAE).
// Parameters  1,176,186 for 1 -> 2 channels; 4,702,227 for init_filters = 16, 4 -> 3 (BraTS); 18,799,401 for init_filters = 32,
//             1 -> 105 (MONAI's wholeBody_ct_segmentation).
// Traps       Skips are added, not concatenated. Interpolation is with align_corners = false, UNets' is with true.
//             Dropout stands at one place, behind the first convolution, and drops channels.
//             Convolutions have no bias, but for the last one. groups must divide init_filters.
#pragma once
#include "../nn/divisor.hpp"
#include "../nn/init.hpp"
#include "../nn/layers.hpp"

namespace ctseg {

/// nontrainable: linear interpolation; deconv: 2^3 transposed convolution of stride 2; pixelshuffle: 3^3 convolution to eight
/// times the channels, which become voxels, then means of 2^3.
enum class SegResNetUpsample { nontrainable, deconv, pixelshuffle };

struct SegResNetOptions {
  Index in_channels = 1, out_channels = 2;
  Index init_filters = 8;
  std::vector<Index> blocks_down = {1, 2, 2, 4}, blocks_up = {1, 1, 1};   // one less on the way up
  NormKind norm = NormKind::group;
  Index groups = 8;     // of group norm
  bool affine = true;   // MONAI's ("instance", {}) has none
  Activation activation = relu();
  float dropout_prob = 0;
  SegResNetUpsample upsample_mode = SegResNetUpsample::nontrainable;
  bool use_conv_final = true;   // false: init_filters channels come out, for a head of one's own
};

/// SegResNet; raw logits.
/// Shapes    x [N, in_channels, D, H, W] -> [N, out_channels, D, H, W]; D, H and W divisible by 2 for each level but the first:
///           8 with four levels.
/// Errors    shape_mismatch for other sizes; bad_argument for block counts that do not match, or an activation with slopes.
/// Source    Myronenko, arXiv:1810.11654; layout, names and defaults of MONAI SegResNet.
template <AnySpec S> class SegResNet {
 public:
  using Spec = S;

  explicit SegResNet(const SegResNetOptions& o = {});
  void initialize(const Context<typename S::Device>& ctx) { initialize_default(*this, ctx.seed()); }

  Var<S> forward(Var<S> x) const;
  /// What the input's sizes must be multiples of.
  std::array<Index, S::kDim> divisor() const { return Axes<S::kDim>(Index{1} << (down_.size() - 1)).value; }

  template <class Self, class F> static void each(Self& self, const std::string& prefix, F f) {
    Conv<S>::each(self.init_, prefix + "convInit.conv.", f);
    for (std::size_t i = 0; i < self.down_.size(); ++i) {
      const std::string name = text(prefix, "down_layers.", i, ".");
      if (i > 0) Conv<S>::each(self.halve_[i - 1], name + "0.conv.", f);
      for (std::size_t k = 0; k < self.down_[i].size(); ++k) ResBlock::each(self.down_[i][k], text(name, k + 1, "."), f);
    }
    for (std::size_t i = 0; i < self.up_.size(); ++i)
      for (std::size_t k = 0; k < self.up_[i].size(); ++k)
        ResBlock::each(self.up_[i][k], text(prefix, "up_layers.", i, ".", k, "."), f);
    for (std::size_t i = 0; i < self.up_.size(); ++i) {
      const std::string name = text(prefix, "up_samples.", i, ".");
      Conv<S>::each(self.narrow_[i], name + "0.conv.", f);
      if (self.enlarge_.empty()) continue;
      const bool shuffle = self.options_.upsample_mode == SegResNetUpsample::pixelshuffle;
      Conv<S>::each(self.enlarge_[i], name + (shuffle ? "1.pixelshuffle.conv_block." : "1.deconv."), f);
    }
    Norm<S>::each(self.final_norm_, prefix + "conv_final.0.", f);
    Conv<S>::each(self.final_, prefix + "conv_final.2.conv.", f);
  }
  std::vector<Parameter<S>*> parameters() { return parameters_of<S>(*this); }

 private:
  struct ResBlock {
    Norm<S> norm1, norm2;
    Conv<S> conv1, conv2;
    ResBlock(const SegResNetOptions& o, Index channels)
        : norm1(norm(o, channels)),
          norm2(norm(o, channels)),
          conv1(conv(channels, channels)),
          conv2(conv(channels, channels)) {}
    Var<S> operator()(Var<S> x) const { return add(conv2(norm2(conv1(norm1(x)))), x); }
    template <class Self, class F> static void each(Self& self, const std::string& prefix, F f) {
      Norm<S>::each(self.norm1, prefix + "norm1.", f);
      Norm<S>::each(self.norm2, prefix + "norm2.", f);
      Conv<S>::each(self.conv1, prefix + "conv1.conv.", f);
      Conv<S>::each(self.conv2, prefix + "conv2.conv.", f);
    }
  };

  static NormOptions norm(const SegResNetOptions& o, Index channels) {
    return {.channels = channels,
            .kind = o.norm,
            .affine = o.affine,
            .activation = o.activation,
            .groups = o.norm == NormKind::group ? o.groups : 1};
  }
  static ConvOptions<S::kDim> conv(Index in, Index out, Index kernel = 3, Index stride = 1) {
    return {.in_channels = in, .out_channels = out, .kernel = kernel, .stride = stride, .bias = false};
  }
  static const SegResNetOptions& checked(const SegResNetOptions& o);
  Var<S> raised(std::size_t i, Var<S> x) const;

  SegResNetOptions options_;
  Conv<S> init_;
  std::vector<Conv<S>> halve_, narrow_, enlarge_;
  std::vector<std::vector<ResBlock>> down_, up_;
  Norm<S> final_norm_;
  Conv<S> final_;
};

template <AnySpec S> const SegResNetOptions& SegResNet<S>::checked(const SegResNetOptions& o) {
  if (o.blocks_down.size() < 2 || o.blocks_down.size() > 16 || o.blocks_up.size() + 1 != o.blocks_down.size())
    throw Error(Code::bad_argument, "segresnet",
                text(o.blocks_down.size(), " numbers in blocks_down and ", o.blocks_up.size(),
                     " in blocks_up; must be 2 to 16, and one less."));
  for (const auto* blocks : {&o.blocks_down, &o.blocks_up})
    for (const Index count : *blocks)
      if (count < 0) throw Error(Code::bad_argument, "segresnet", text("a level of ", count, " blocks; must be 0 or more."));
  DropoutOp<S>{o.dropout_prob}.check_options();
  if (o.activation.kind == ActivationKind::prelu)
    throw Error(
        Code::bad_argument, "segresnet",
        "prelu would share one slope among all norms of a block, as in MONAI; that is not offered. Hint: leaky_relu().");
  return o;
}

template <AnySpec S> SegResNet<S>::SegResNet(const SegResNetOptions& o)
    : options_(checked(o)),
      init_(conv(o.in_channels, o.init_filters)),
      final_norm_(norm(o, o.init_filters)),
      final_({.in_channels = o.init_filters, .out_channels = o.out_channels, .kernel = 1}) {
  const std::size_t levels = o.blocks_down.size();
  const auto blocks = [&](Index count, Index channels) {
    std::vector<ResBlock> all;
    for (Index k = 0; k < count; ++k) all.emplace_back(o, channels);
    return all;
  };
  for (std::size_t i = 0; i < levels; ++i) {
    const Index channels = o.init_filters << i;
    if (i > 0) halve_.emplace_back(conv(channels / 2, channels, 3, 2));
    down_.push_back(blocks(o.blocks_down[i], channels));
  }
  for (std::size_t i = 0; i + 1 < levels; ++i) {
    const Index channels = o.init_filters << (levels - 2 - i);
    narrow_.emplace_back(conv(2 * channels, channels, 1));
    if (o.upsample_mode == SegResNetUpsample::deconv)
      enlarge_.push_back(
          Conv<S>({.in_channels = channels, .out_channels = channels, .kernel = 2, .stride = 2, .transposed = true}));
    if (o.upsample_mode == SegResNetUpsample::pixelshuffle)
      enlarge_.push_back(Conv<S>({.in_channels = channels, .out_channels = channels << S::kDim}));
    up_.push_back(blocks(o.blocks_up[i], channels));
  }
}

/// Half the channels, twice the size.
template <AnySpec S> Var<S> SegResNet<S>::raised(std::size_t i, Var<S> x) const {
  x = narrow_[i](x);
  if (options_.upsample_mode == SegResNetUpsample::nontrainable) return upsample(x, {.mode = UpsampleMode::linear});
  x = enlarge_[i](x);
  if (options_.upsample_mode == SegResNetUpsample::deconv) return x;
  PadOp<S> front{.mode = PadMode::constant};   // a mean of 2^3 around each voxel, against the chequered pattern of shuffling
  front.low.fill(1);
  return average_pool(pad(pixel_shuffle(x, 2), front), {.kernel = 2, .stride = 1});
}

template <AnySpec S> Var<S> SegResNet<S>::forward(Var<S> x) const {
  check_divisible(x.shape(), divisor(), "segresnet");
  std::vector<Var<S>> skip;
  for (std::size_t i = 0; i < down_.size(); ++i) {
    const auto scope = x.tape->scope(text("down_", i));
    x = i ? halve_[i - 1](x) : init_(x);
    if (i == 0 && options_.dropout_prob > 0) x = channel_dropout(x, options_.dropout_prob);
    for (const ResBlock& block : down_[i]) x = block(x);
    skip.push_back(x);
  }
  for (std::size_t i = 0; i < up_.size(); ++i) {
    const auto scope = x.tape->scope(text("up_", i));
    x = add(raised(i, x), skip[up_.size() - 1 - i]);
    for (const ResBlock& block : up_[i]) x = block(x);
  }
  if (!options_.use_conv_final) return x;
  const auto scope = x.tape->scope("final");
  return final_(final_norm_(x));
}

}   // namespace ctseg
