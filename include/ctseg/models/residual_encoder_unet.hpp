// ResidualEncoderUNet, nnU-Net's larger network ("ResEnc"), number for number as in dynamic-network-architectures.
//
//   x [in]                                                    one block of ResNet-D, stride s:
//    |
//   stem: conv 3, norm, LeakyReLU -- 32                         x ------------------------------+
//    |                                                          |                               |
//   residual block x 1 --- 32 ----- skip ----> cat -- ...      conv 3 stride s, norm, LeakyReLU   mean over s^3 voxels (s > 1)
//    |                                          ^ up 2          |                               |
//   residual block x 3 --- 64 ----- skip -> cat : conv x 1     conv 3, norm                     1x1 conv, norm
//    |                                       ^ up 2             |                               |  (if channels change)
//   residual block x 4 -- 128 ------ ...     :                  + <-----------------------------+
//    |                                                          |
//   residual block x 6 -- 256, 320, 320, the bottleneck        LeakyReLU
//
// The decoder is PlainConvUNet's with one conv per stage: [up, skip], a head for every level, logits finest first.
//
// Parameters: 102,349,770 with six stages in 3-D (1 -> 2 channels, blocks 1, 3, 4, 6, 6, 6).
//
// Traps
//   Shortcut         shrinks by average pooling, then maps channels by a 1x1 convolution of stride 1; the blocks of DynUNet and
//                    of ResNet itself have a strided 1x1 convolution instead. It never has a bias, whatever conv_bias says.
//                    Where only the size changes it is the pool alone (320 -> 320), where nothing changes it is x.
//   skip.0, skip.1   the 1x1 convolution is skip.1 behind a pool and skip.0 without.
//   Dropout          follows the first convolution of a block only, and the stem's and the decoder's.
//   First weights    the last norm of every block starts with gamma = beta = 0: at first each block is its shortcut.
//   Duplicates       of a state_dict as in plain_conv_unet.hpp: all_modules.* and decoder.encoder.*.
//   Not here         BottleneckD blocks, stochastic depth, squeeze and excitation: nnU-Net's planners use none of them.
// The other traps of plain_conv_unet.hpp hold as well: sizes, anisotropic kernels, LeakyReLU's slope, conv_bias.
#pragma once
#include "dynamic_unet.hpp"

namespace ctseg {

/// The defaults are those of nnU-Net's ResEnc plans. Lists as in PlainConvUNetOptions.
template <int Dim> struct ResidualEncoderUNetOptions {
  Index in_channels = 1, out_channels = 2;   // nnU-Net: input_channels, num_classes
  std::vector<Index> features_per_stage{};
  std::vector<Axes<Dim>> kernel_sizes{}, strides{};
  std::vector<Index> n_blocks_per_stage{};         // empty: 1, 3, 4, 6, 6 ...
  std::vector<Index> n_conv_per_stage_decoder{};   // one entry less, coarsest first; empty: 1
  Index stem_channels = 0;                         // 0: the first stage's features
  bool conv_bias = true;
  NormKind norm = NormKind::instance;
  bool affine = true;
  float eps = 1e-5f;
  Activation activation = leaky_relu();
  float dropout = 0;
  bool fused = true;
};

/// nnU-Net's network with residual blocks on the way down; raw logits.
/// Shapes    x [N, in_channels, D, H, W] -> [N, out_channels, D, H, W], divided by the first stage's stride if that is not 1.
/// Errors    bad_argument for lists that do not fit together; shape_mismatch for a size that the strides do not divide.
/// Source    Isensee et al., nnU-Net Revisited, MICCAI 2024, arXiv:2404.09556; blocks: He et al., arXiv:1812.01187 (ResNet-D).
template <AnySpec S> class ResidualEncoderUNet {
 public:
  using Spec = S;
  using Options = ResidualEncoderUNetOptions<S::kDim>;

  explicit ResidualEncoderUNet(const Options& o = {});
  void initialize(const Context<typename S::Device>& ctx);

  /// Full-resolution logits.
  Var<S> forward(Var<S> x) const { return decoder_.logits(decode(x), 1)[0]; }
  /// Logits of every decoder level, finest first: what deep supervision trains.
  std::vector<Var<S>> forward_deep(Var<S> x) const { return decoder_.logits(decode(x), decoder_.heads.size()); }
  /// What must divide the input's size.
  Axes<S::kDim> divisor() const { return stages_.total_stride(); }

  template <class Self, class F> static void each(Self& self, const std::string& prefix, F f) {
    ConvStage<S>::each(self.stem_, prefix + "encoder.stem.", f);
    for (std::size_t i = 0; i < self.encoder_.size(); ++i)
      for (std::size_t k = 0; k < self.encoder_[i].size(); ++k)
        each_residual(self.encoder_[i][k], text(prefix, "encoder.stages.", i, ".blocks.", k, "."), f);
    each_nnunet_decoder<S>(self.decoder_, prefix + "decoder.", f);
  }
  std::vector<Parameter<S>*> parameters() { return parameters_of<S>(*this); }

 private:
  template <class B, class F> static void each_residual(B& block, const std::string& prefix, F f) {
    ConvStage<S>::each_block(block.first, prefix + "conv1.", f);
    Block<S>::each(block.second, BlockNames{prefix + "conv2.conv.", prefix + "conv2.norm.", prefix + "nonlin2."}, f);
    if (!block.projection) return;
    const bool pooled = block.pool != Axes<S::kDim>(1);
    ConvStage<S>::each_block(*block.projection, prefix + (pooled ? "skip.1." : "skip.0."), f);
  }
  static ResidualBlock<S> make_block(BlockOptions<S::kDim> style, const ConvOptions<S::kDim>& conv);

  /// Features of all decoder levels, finest first.
  std::vector<Var<S>> decode(Var<S> x) const {
    check_divisible(x.shape(), divisor().value, "residual_encoder_unet");
    {
      const auto scope = x.tape->scope("encoder.stem");
      x = stem_(x);
    }
    std::vector<Var<S>> skips;
    for (std::size_t i = 0; i < encoder_.size(); ++i) {
      const auto scope = x.tape->scope(text("encoder.stages.", i));
      for (const ResidualBlock<S>& block : encoder_[i]) x = block(x);
      skips.push_back(x);
    }
    return decoder_(skips);
  }

  UNetStages<S::kDim> stages_;
  ConvStage<S> stem_;
  std::vector<std::vector<ResidualBlock<S>>> encoder_;
  UNetDecoder<S> decoder_;
};

template <AnySpec S> ResidualEncoderUNet<S>::ResidualEncoderUNet(const Options& o)
    : stages_(complete<S::kDim>({o.features_per_stage, o.kernel_sizes, o.strides}, "residual_encoder_unet")),
      stem_(
          with_conv<S::kDim>(nnunet_style<S::kDim>(o), {.in_channels = o.in_channels,
                                                        .out_channels = o.stem_channels ? o.stem_channels : stages_.features[0],
                                                        .kernel = stages_.kernels[0],
                                                        .bias = o.conv_bias}),
          1),
      encoder_(stages_.features.size()) {
  const std::size_t count = stages_.features.size();
  const BlockOptions<S::kDim> style = nnunet_style<S::kDim>(o);
  std::vector<Index> standard = {1, 3, 4};
  standard.resize(count, 6);
  const auto blocks = per_stage(o.n_blocks_per_stage, standard, "residual_encoder_unet: n_blocks_per_stage");
  Index in = stem_.blocks[0].conv.op().out_channels;
  for (std::size_t i = 0; i < count; ++i) {
    if (blocks[i] < 1)
      throw Error(Code::bad_argument, "residual_encoder_unet",
                  text("n_blocks_per_stage: ", blocks[i], " blocks in stage ", i, "; one is the least."));
    for (Index k = 0; k < blocks[i]; ++k) {
      encoder_[i].push_back(make_block(style, {.in_channels = in,
                                               .out_channels = stages_.features[i],
                                               .kernel = stages_.kernels[i],
                                               .stride = k == 0 ? stages_.strides[i] : Axes<S::kDim>(1),
                                               .bias = o.conv_bias}));
      in = stages_.features[i];
    }
  }
  decoder_ = make_nnunet_decoder<S>({.encoder = stages_,
                                     .count = per_stage(o.n_conv_per_stage_decoder, std::vector<Index>(count - 1, 1),
                                                        "residual_encoder_unet: n_conv_per_stage_decoder"),
                                     .style = style,
                                     .out_channels = o.out_channels});
}

template <AnySpec S>
ResidualBlock<S> ResidualEncoderUNet<S>::make_block(BlockOptions<S::kDim> style, const ConvOptions<S::kDim>& conv) {
  const ConvOptions<S::kDim> second{
      .in_channels = conv.out_channels, .out_channels = conv.out_channels, .kernel = conv.kernel, .bias = conv.bias};
  const Block<S> first(with_conv(style, conv));
  style.dropout = 0;
  ResidualBlock<S> made{first, Block<S>(with_conv(style, second)), conv.stride};
  style.activation = {};
  if (conv.in_channels != conv.out_channels)
    made.projection.emplace(with_conv<S::kDim>(
        style, {.in_channels = conv.in_channels, .out_channels = conv.out_channels, .kernel = 1, .bias = false}));
  return made;
}

template <AnySpec S> void ResidualEncoderUNet<S>::initialize(const Context<typename S::Device>& ctx) {
  initialize_he(*this, ctx.seed());
  for (auto& stage : encoder_)
    for (ResidualBlock<S>& block : stage)
      for (Parameter<S>* last : {&block.second.norm.gamma, &block.second.norm.beta})
        for (auto& v : last->edit()) v = 0;
}

}   // namespace ctseg
