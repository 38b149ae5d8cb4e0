// PlainConvUNet, the network of nnU-Net, number for number as in its library dynamic-network-architectures.
//
//   x [in]                                                                    deep supervision: every decoder level has a head
//    |
//   [conv 3, norm, LeakyReLU] x 2 --- 32 ------------ skip -------------> cat -- [conv ...] x 2 -- 32 -- 1x1 --> logits 0, full
//    | stride 2, in the first conv                                         ^ up 2
//   [conv 3, norm, LeakyReLU] x 2 --- 64 ------------ skip -------> cat -- [conv ...] x 2 -- 64 -------- 1x1 --> logits 1, 1/2
//    | stride 2                                                      ^ up 2
//   [conv 3, norm, LeakyReLU] x 2 -- 128 ------------ skip -> cat -- [conv ...] x 2 -- 128 ------------- 1x1 --> logits 2, 1/4
//    | stride 2                                                ^ up 2
//    :   256, 320: features double up to 320 (2-D: 512)        :
//    | stride 2                                                | transposed conv, kernel = stride
//   [conv 3, norm, LeakyReLU] x 2 -- 320, the bottleneck ------+
//
// Parameters: 31,195,594 with six stages in 3-D (1 -> 2 channels), 46,324,558 with eight in 2-D (512 features at most).
//
// Traps
//   [up, skip]       is the order of the concatenation; most U-Nets have [skip, up], and nothing but the masks would tell.
//   Anisotropy       plans give kernels and strides per stage and axis. One for 5 mm slices begins with kernels 1x3x3, and
//                    halves y and x alone at first. A decoder stage has the kernels of the encoder stage of its size, and the
//                    stride of the one below.
//   Sizes            each axis must be divisible by the product of its strides.
//   Dropout          drops whole channels between convolution and norm, not behind the norm.
//   LeakyReLU        has slope 0.01: plans say nothing but {"inplace": true}.
//   conv_bias        is true in plans though the class defaults to false; it is also that of the transposed convolutions. Heads
//                    always have a bias.
//   Duplicates       a state_dict holds every weight of a block twice and the encoder twice: ...convs.0.all_modules.0.weight is
//                    convs.0.conv.weight, all_modules.1 its norm (all_modules.2 with dropout between them), and
//                    decoder.encoder.* is encoder.*. Drop both kinds; each() has the names that remain.
//   Heads            exist at every level, also where training used the finest alone. That one is the last of seg_layers.
#pragma once
#include "dynamic_unet.hpp"

namespace ctseg {

/// The defaults are nnU-Net's for a large 3-D (or 2-D) volume with voxels of equal sides. Lists have an entry per stage, finest
/// first; one entry is for all stages. features_per_stage, kernel_sizes, strides: see UNetStages for what empty ones mean.
template <int Dim> struct PlainConvUNetOptions {
  Index in_channels = 1, out_channels = 2;   // nnU-Net: input_channels, num_classes
  std::vector<Index> features_per_stage{};
  std::vector<Axes<Dim>> kernel_sizes{}, strides{};
  std::vector<Index> n_conv_per_stage{};           // empty: 2
  std::vector<Index> n_conv_per_stage_decoder{};   // one entry less, coarsest first; empty: 2
  bool conv_bias = true;
  NormKind norm = NormKind::instance;
  bool affine = true;
  float eps = 1e-5f;
  Activation activation = leaky_relu();
  float dropout = 0;
  bool fused = true;
};

/// nnU-Net's plain network: blocks with strided convolutions down, transposed ones up, raw logits.
/// Shapes    x [N, in_channels, D, H, W] -> [N, out_channels, D, H, W], divided by the first stage's stride if that is not 1.
/// Errors    bad_argument for lists that do not fit together; shape_mismatch for a size that the strides do not divide.
/// Source    Isensee et al., nnU-Net, Nature Methods 2021, doi:10.1038/s41592-020-01008-z.
template <AnySpec S> class PlainConvUNet {
 public:
  using Spec = S;
  using Options = PlainConvUNetOptions<S::kDim>;

  explicit PlainConvUNet(const Options& o = {});
  void initialize(const Context<typename S::Device>& ctx) { initialize_he(*this, ctx.seed()); }

  /// Full-resolution logits.
  Var<S> forward(Var<S> x) const { return decoder_.logits(decode(x), 1)[0]; }
  /// Logits of every decoder level, finest first: what deep supervision trains.
  std::vector<Var<S>> forward_deep(Var<S> x) const { return decoder_.logits(decode(x), decoder_.heads.size()); }
  /// What must divide the input's size.
  Axes<S::kDim> divisor() const { return stages_.total_stride(); }

  template <class Self, class F> static void each(Self& self, const std::string& prefix, F f) {
    for (std::size_t i = 0; i < self.encoder_.size(); ++i)
      ConvStage<S>::each(self.encoder_[i], text(prefix, "encoder.stages.", i, ".0."), f);
    each_nnunet_decoder<S>(self.decoder_, prefix + "decoder.", f);
  }
  std::vector<Parameter<S>*> parameters() { return parameters_of<S>(*this); }

 private:
  /// Features of all decoder levels, finest first.
  std::vector<Var<S>> decode(Var<S> x) const {
    check_divisible(x.shape(), divisor().value, "plain_conv_unet");
    std::vector<Var<S>> skips;
    for (std::size_t i = 0; i < encoder_.size(); ++i) {
      const auto scope = x.tape->scope(text("encoder.stages.", i));
      skips.push_back(x = encoder_[i](x));
    }
    return decoder_(skips);
  }

  UNetStages<S::kDim> stages_;
  std::vector<ConvStage<S>> encoder_;
  UNetDecoder<S> decoder_;
};

template <AnySpec S> PlainConvUNet<S>::PlainConvUNet(const Options& o)
    : stages_(complete<S::kDim>({o.features_per_stage, o.kernel_sizes, o.strides}, "plain_conv_unet")) {
  const std::size_t count = stages_.features.size();
  const BlockOptions<S::kDim> style = nnunet_style<S::kDim>(o);
  const auto blocks = per_stage(o.n_conv_per_stage, std::vector<Index>(count, 2), "plain_conv_unet: n_conv_per_stage");
  for (std::size_t i = 0; i < count; ++i) {
    const ConvOptions<S::kDim> conv{.in_channels = i ? stages_.features[i - 1] : o.in_channels,
                                    .out_channels = stages_.features[i],
                                    .kernel = stages_.kernels[i],
                                    .stride = stages_.strides[i],
                                    .bias = o.conv_bias};
    encoder_.emplace_back(with_conv(style, conv), blocks[i]);
  }
  decoder_ = make_nnunet_decoder<S>({.encoder = stages_,
                                     .count = per_stage(o.n_conv_per_stage_decoder, std::vector<Index>(count - 1, 2),
                                                        "plain_conv_unet: n_conv_per_stage_decoder"),
                                     .style = style,
                                     .out_channels = o.out_channels});
}

}   // namespace ctseg
