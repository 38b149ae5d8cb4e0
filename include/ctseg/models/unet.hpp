// The classic U-Net.
//
//   x -> conv conv ------------------- skip --------------> [skip, up] -> conv conv -> head 1x1 -> logits
//            | pool 2                                          ^ up-conv 2
//            v                                                 |
//          conv conv --------- skip ------> [skip, up] -> conv conv          one level per entry of `features`,
//            | pool 2                        ^ up-conv 2                     the last of them is the bottleneck
//            v                               |
//           ...        conv conv: bottleneck +
//
// conv is convolution 3 with padding 1, batch norm, ReLU. The up-conv (kernel and stride 2) makes as many channels as its skip
// has: half of its own where features double. Ronneberger et al., MICCAI 2015, arXiv:1505.04597 drew it in 2-D, without norm
// and without padding; Cicek et al., MICCAI 2016, arXiv:1606.06650 in 3-D. With padding, as nearly everybody builds it, input
// and output have one size. Parameters, for one channel in and one out:
//   3-D  {64, 128, 256, 512, 1024}   90,304,449     liver_unet()
//   3-D  {64, 128, 256, 512}         22,399,425     liver_unet_shallow()
//   3-D  {32, 64, 128, 256, 512}     22,581,217     liver_unet_half()
//   3-D  {64, 128, 256, 512, 512}    59,892,673
//   2-D  {64, 128, 256, 512, 1024}   31,042,369     31,036,481 with bias = false: the up-convs and the head keep theirs
//   2-D  {4, 8, 16, 32, 64, 128}        488,149     slice_unet()
#pragma once
#include "../nn/divisor.hpp"
#include "../nn/init.hpp"
#include "../nn/layers.hpp"

namespace ctseg {

struct UNetOptions {
  Index in_channels = 1, out_channels = 1;
  std::vector<Index> features = {64, 128, 256, 512, 1024};   // of every level, the finest first, the bottleneck last
  Activation activation = relu();
  NormKind norm = NormKind::batch;
  Index groups = 1;    // of group norm
  bool bias = true;    // of the convolutions in front of a norm; up-convs and head always have one
  float dropout = 0;   // behind every norm
  bool fused = true;
};

/// Four poolings to 1024 channels: the usual liver network.
inline UNetOptions liver_unet() { return {}; }
/// Three poolings to 512 channels: a quarter of the parameters, nearly the cost.
inline UNetOptions liver_unet_shallow() { return {.features = {64, 128, 256, 512}}; }
/// Half of the channels everywhere: a quarter of the parameters and of the cost.
inline UNetOptions liver_unet_half() { return {.features = {32, 64, 128, 256, 512}}; }
/// For slices, 2-D: five poolings from four channels.
inline UNetOptions slice_unet() { return {.features = {4, 8, 16, 32, 64, 128}}; }

/// Two blocks per level, max pooling down, transposed convolution up, concat [skip, up]; raw logits.
/// Shapes    x [N, in_channels, D, H, W] -> [N, out_channels, D, H, W]; sizes are multiples of divisor().
/// Errors    shape_mismatch for other sizes, with the divisor; bad_argument for fewer than two levels.
/// Source    Ronneberger et al., arXiv:1505.04597; Cicek et al., arXiv:1606.06650.
template <AnySpec S> class UNet {
 public:
  using Spec = S;

  explicit UNet(const UNetOptions& o = {});
  void initialize(const Context<typename S::Device>& ctx) { initialize_default(*this, ctx.seed()); }

  Var<S> forward(Var<S> x) const;
  /// What every axis must be a multiple of: 2 per pooling.
  std::array<Index, S::kDim> divisor() const {
    std::array<Index, S::kDim> all;
    all.fill(Index{1} << up_.size());
    return all;
  }

  template <class Self, class F> static void each(Self& self, const std::string& prefix, F f) {
    for (std::size_t i = 0; i < self.encoder_.size(); ++i) TwoConv::each(self.encoder_[i], text(prefix, "encoder_", i, "."), f);
    for (std::size_t i = self.up_.size(); i-- > 0;) {
      Conv<S>::each(self.up_[i], text(prefix, "up_", i, "."), f);
      TwoConv::each(self.decoder_[i], text(prefix, "decoder_", i, "."), f);
    }
    Conv<S>::each(self.head_, prefix + "head.", f);
  }
  std::vector<Parameter<S>*> parameters() { return parameters_of<S>(*this); }

 private:
  struct TwoConv {
    Block<S> first, second;
    TwoConv(const UNetOptions& o, Index in, Index out) : first(options(o, in, out)), second(options(o, out, out)) {}
    Var<S> operator()(Var<S> x) const { return second(first(x)); }
    template <class Self, class F> static void each(Self& self, const std::string& prefix, F f) {
      for (const int k : {0, 1}) {
        const std::string own = text(prefix, "conv_", k, ".");
        Block<S>::each(k ? self.second : self.first, BlockNames{own + "conv.", own + "norm.", own + "activation."}, f);
      }
    }
    static BlockOptions<S::kDim> options(const UNetOptions& o, Index in, Index out) {
      return {.conv = {.in_channels = in, .out_channels = out, .bias = o.bias},
              .norm = o.norm,
              .activation = o.activation,
              .dropout = o.dropout,
              .groups = o.groups,
              .fused = o.fused};
    }
  };

  std::vector<TwoConv> encoder_, decoder_;   // by level; the bottleneck is the last encoder
  std::vector<Conv<S>> up_;                  // to this level
  Conv<S> head_;
};

template <AnySpec S> UNet<S>::UNet(const UNetOptions& o)
    : head_({.in_channels = o.features.empty() ? 1 : o.features[0], .out_channels = o.out_channels, .kernel = 1}) {
  const auto& f = o.features;
  if (f.size() < 2 || f.size() > 16)
    throw Error(Code::bad_argument, "unet", text("features has ", f.size(), " levels; must be 2 to 16."));
  for (std::size_t level = 0; level < f.size(); ++level)
    encoder_.emplace_back(o, level ? f[level - 1] : o.in_channels, f[level]);
  for (std::size_t level = 0; level + 1 < f.size(); ++level) {
    up_.push_back(
        Conv<S>({.in_channels = f[level + 1], .out_channels = f[level], .kernel = 2, .stride = 2, .transposed = true}));
    decoder_.emplace_back(o, 2 * f[level], f[level]);
  }
}

template <AnySpec S> Var<S> UNet<S>::forward(Var<S> x) const {
  check_divisible(x.shape(), divisor(), "unet");
  std::vector<Var<S>> skips;
  for (std::size_t i = 0; i < encoder_.size(); ++i) {
    const auto scope = x.tape->scope(text("encoder_", i));
    x = encoder_[i](i ? max_pool(x) : x);
    skips.push_back(x);
  }
  for (std::size_t i = decoder_.size(); i-- > 0;) {
    const auto scope = x.tape->scope(text("decoder_", i));
    x = decoder_[i](concat(skips[i], up_[i](x)));
  }
  const auto scope = x.tape->scope("head");
  return head_(x);
}

}   // namespace ctseg
