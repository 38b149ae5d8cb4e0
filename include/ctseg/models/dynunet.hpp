// DynUNet, MONAI's rebuilding of nnU-Net's network, number for number as in MONAI.
//
//   x [in]
//    |
//   input_block    conv 3, norm, LeakyReLU, twice -- 32 ----- skip -----> cat -- conv ... twice -- 32 --- 1x1 --> logits
//    | stride 2, in the first conv                                         ^ up 2     with deep supervision, as many as asked:
//   downsamples.0  conv 3, norm, LeakyReLU, twice -- 64 ----- skip -> cat -- conv ... twice -- 64 ------- 1x1 --> nearest x 2
//    | stride 2                                                        ^ up 2
//   downsamples.1  ... 128, 256, 320                                   : ------------------------------- 1x1 --> nearest x 4
//    | stride 2                                                        | transposed conv, kernel = stride
//   bottleneck     conv 3, norm, LeakyReLU, twice -- 320 --------------+
//
//   res_block: a block of the encoder is LeakyReLU(norm(conv(LeakyReLU(norm(conv(x))))) + norm(1x1 conv(x))); the last part is
//   x itself where neither size nor channels change. Decoder blocks never are residual.
//
// Parameters: 31,189,410 (3-D, 1 -> 2 channels, features 32, 64, 128, 256, 320, 320).
//
// Traps, against PlainConvUNet
//   No biases        in convolutions; transposed ones follow trans_bias, off by default. Only the 1x1 heads have one.
//   Kernels          of a decoder stage are those of the encoder stage *below* it, where PlainConvUNet takes those of its own
//                    size. In anisotropic plans the weights of one do not fit into the other.
//   Padding          is (kernel - stride + 1) / 2, rounded down: other voxels than (kernel - 1) / 2 from stride 3 on.
//   Shortcut         a strided 1x1 convolution with norm; ResidualEncoderUNet pools.
//   Heads            behind the finest exist only if asked for. MONAI raises their logits to full size (nearest neighbour) and
//                    stacks all on a new axis 1, in training only. forward_deep gives that stack as a list.
//   Dropout          drops single values behind every convolution, also transposed ones, shortcuts and heads; norms follow.
//   Duplicates       a state_dict holds all a second time as skip_layers.downsample.*, skip_layers.next_layer.*,
//                    skip_layers.upsample.* and skip_layers...super_head.*. io::load_weights leaves them out.
//   PReLU            one slope serves both activations of a block there; such networks are refused here.
// The order of the concatenation is [up, skip], as in nnU-Net. Sizes must be divisible by the product of the strides.
#pragma once
#include "dynamic_unet.hpp"

namespace ctseg {

/// Defaults of MONAI; kernel_size and strides are required there, here they are those of nnU-Net: see UNetStages for what empty
/// lists mean. The last entry is the bottleneck's.
template <int Dim> struct DynUNetOptions {
  Index in_channels = 1, out_channels = 2;
  std::vector<Axes<Dim>> kernel_size{}, strides{};
  std::vector<Axes<Dim>> upsample_kernel_size{};   // empty: strides without the first; nothing else fits
  std::vector<Index> filters{};
  float dropout = 0;
  NormKind norm = NormKind::instance;
  bool affine = true;
  Activation activation = leaky_relu();
  bool deep_supervision = false;
  Index deep_supr_num = 1;   // heads behind the finest; counts with deep_supervision only
  bool res_block = false;
  bool trans_bias = false;
  bool fused = true;
};

/// nnU-Net's plain network as MONAI builds it, or with residual blocks on the way down; raw logits.
/// Shapes    x [N, in_channels, D, H, W] -> [N, out_channels, D, H, W], divided by the first stride if that is not 1.
/// Errors    bad_argument for lists that do not fit together, fewer than three stages, a number of heads that the network has
///           no levels for, or prelu; shape_mismatch for a size that the strides do not divide.
/// Source    Isensee et al., nnU-Net, Nature Methods 2021; layout, names and defaults of MONAI DynUNet.
template <AnySpec S> class DynUNet {
 public:
  using Spec = S;
  using Options = DynUNetOptions<S::kDim>;

  explicit DynUNet(const Options& o = {});
  void initialize(const Context<typename S::Device>& ctx) { initialize_he(*this, ctx.seed()); }

  /// Full-resolution logits.
  Var<S> forward(Var<S> x) const { return decoder_.logits(decode(x), 1)[0]; }
  /// These, then those of the other heads from fine to coarse, all raised to full size.
  std::vector<Var<S>> forward_deep(Var<S> x) const {
    auto all = decoder_.logits(decode(x), decoder_.heads.size());
    for (std::size_t i = 1; i < all.size(); ++i) all[i] = upsample(all[i], {.size = all[0].shape().space});
    return all;
  }
  /// What must divide the input's size.
  Axes<S::kDim> divisor() const { return stages_.total_stride(); }

  template <class Self, class F> static void each(Self& self, const std::string& prefix, F f) {
    const std::size_t last = self.stages_.features.size() - 1;
    for (std::size_t i = 0; i <= last; ++i) {
      const std::string name = i == 0      ? prefix + "input_block."
                               : i == last ? prefix + "bottleneck."
                                           : text(prefix, "downsamples.", i - 1, ".");
      if (self.residual_.empty())
        each_pair(self.plain_[i].blocks[0], self.plain_[i].blocks[1], name, f);
      else
        each_residual(self.residual_[i], name, f);
    }
    for (std::size_t i = 0; i < last; ++i) {
      const std::string name = text(prefix, "upsamples.", i, ".");
      Conv<S>::each(self.decoder_.up[i], name + "transp_conv.conv.", f);
      auto& blocks = self.decoder_.stages[i].blocks;
      each_pair(blocks[0], blocks[1], name + "conv_block.", f);
    }
    for (std::size_t i = 0; i < self.decoder_.heads.size(); ++i) {
      const std::string name = i == 0 ? "output_block." : text("deep_supervision_heads.", i - 1, ".");
      Conv<S>::each(self.decoder_.heads[i], prefix + name + "conv.conv.", f);
    }
  }
  std::vector<Parameter<S>*> parameters() { return parameters_of<S>(*this); }

 private:
  template <class B, class F> static void each_pair(B& first, B& second, const std::string& prefix, F f) {
    if constexpr (requires { f.block(first); }) {   // as Block::each does
      f.block(first), f.block(second);
    } else {
      Conv<S>::each(first.conv, prefix + "conv1.conv.", f);
      Conv<S>::each(second.conv, prefix + "conv2.conv.", f);
      Norm<S>::each_statistic(first.norm, prefix + "norm1.", f);
      Norm<S>::each_statistic(second.norm, prefix + "norm2.", f);
    }
  }
  template <class B, class F> static void each_residual(B& block, const std::string& prefix, F f) {
    each_pair(block.first, block.second, prefix, f);
    if (block.projection) Block<S>::each(*block.projection, BlockNames{prefix + "conv3.conv.", prefix + "norm3.", prefix}, f);
  }
  static ResidualBlock<S> make_residual(BlockOptions<S::kDim> style);
  void make_decoder(const Options& o, const BlockOptions<S::kDim>& style);

  /// Features of all decoder levels, finest first.
  std::vector<Var<S>> decode(Var<S> x) const {
    check_divisible(x.shape(), divisor().value, "dynunet");
    std::vector<Var<S>> skips;
    for (std::size_t i = 0; i < stages_.features.size(); ++i) {
      const auto scope = x.tape->scope(text("encoder.stages.", i));
      skips.push_back(x = residual_.empty() ? plain_[i](x) : residual_[i](x));
    }
    return decoder_(skips);
  }

  UNetStages<S::kDim> stages_;
  std::vector<ConvStage<S>> plain_;          // the encoder, of one kind
  std::vector<ResidualBlock<S>> residual_;   // or of the other
  UNetDecoder<S> decoder_;
};

template <AnySpec S> DynUNet<S>::DynUNet(const Options& o)
    : stages_(complete<S::kDim>({o.filters, o.kernel_size, o.strides}, "dynunet")) {
  const std::size_t count = stages_.features.size();
  if (count < 3) throw Error(Code::bad_argument, "dynunet", text(count, " stages; three are the least."));
  if (o.activation.kind == ActivationKind::prelu)
    throw Error(Code::bad_argument, "dynunet",
                "prelu, whose slope MONAI shares between the two activations of a block. Hint: leaky_relu().");
  const BlockOptions<S::kDim> style{.norm = without_groups(o.norm, "dynunet"),
                                    .affine = o.affine,
                                    .activation = o.activation,
                                    .dropout = o.dropout,
                                    .dropout_first = true,
                                    .fused = o.fused};
  for (std::size_t i = 0; i < count; ++i) {
    Axes<S::kDim> padding = 0;
    for (std::size_t d = 0; d < S::kDim; ++d) {
      const Index kernel = stages_.kernels[i].value[d], stride = stages_.strides[i].value[d];
      if (stride > kernel + 1 || (o.res_block && stride > 2))
        throw Error(Code::bad_argument, "dynunet",
                    text("stage ", i, " has kernel ", stages_.kernels[i], " and stride ", stages_.strides[i],
                         "; strides must be at most kernel + 1, and 2 with res_block."));
      padding.value[d] = (kernel - stride + 1) / 2;
    }
    const auto block = with_conv<S::kDim>(style, {.in_channels = i ? stages_.features[i - 1] : o.in_channels,
                                                  .out_channels = stages_.features[i],
                                                  .kernel = stages_.kernels[i],
                                                  .stride = stages_.strides[i],
                                                  .padding = padding,
                                                  .bias = false});
    if (o.res_block)
      residual_.push_back(make_residual(block));
    else
      plain_.emplace_back(block, 2);
  }
  make_decoder(o, style);
}

template <AnySpec S> ResidualBlock<S> DynUNet<S>::make_residual(BlockOptions<S::kDim> style) {
  const ConvOptions<S::kDim> conv = style.conv;
  const Block<S> first(style);
  style.conv = {.in_channels = conv.out_channels, .out_channels = conv.out_channels, .kernel = conv.kernel, .bias = false};
  ResidualBlock<S> made{first, Block<S>(style)};
  style.conv = {
      .in_channels = conv.in_channels, .out_channels = conv.out_channels, .kernel = 1, .stride = conv.stride, .bias = false};
  style.activation = {};
  if (conv.in_channels != conv.out_channels || conv.stride != Axes<S::kDim>(1)) made.projection.emplace(style);
  return made;
}

template <AnySpec S> void DynUNet<S>::make_decoder(const Options& o, const BlockOptions<S::kDim>& style) {
  const auto& [features, kernels, strides] = stages_;
  const std::vector<Axes<S::kDim>> up(strides.begin() + 1, strides.end());
  if (per_stage(o.upsample_kernel_size, up, "dynunet: upsample_kernel_size") != up)
    throw Error(Code::bad_argument, "dynunet",
                "upsample_kernel_size must be strides without the first entry. Hint: leave it empty.");
  decoder_.dropout = o.dropout;
  for (std::size_t level = features.size() - 1; level-- > 0;) {
    decoder_.up.push_back(Conv<S>({.in_channels = features[level + 1],
                                   .out_channels = features[level],
                                   .kernel = up[level],
                                   .stride = up[level],
                                   .padding = Axes<S::kDim>(0),
                                   .transposed = true,
                                   .bias = o.trans_bias}));
    const ConvOptions<S::kDim> conv{
        .in_channels = 2 * features[level], .out_channels = features[level], .kernel = kernels[level + 1], .bias = false};
    decoder_.stages.emplace_back(with_conv(style, conv), 2);
  }
  const Index deep = o.deep_supervision ? o.deep_supr_num : 0, levels = std::ssize(up);
  if (o.deep_supervision && (deep < 1 || deep >= levels))
    throw Error(Code::bad_argument, "dynunet",
                text("deep_supr_num = ", deep, "; must be at least 1 and below ", levels, ", the number of decoder levels."));
  for (std::size_t i = 0; i <= static_cast<std::size_t>(deep); ++i)
    decoder_.heads.push_back(Conv<S>({.in_channels = features[i], .out_channels = o.out_channels, .kernel = 1}));
}

}   // namespace ctseg
