// What the networks of nnU-Net and MONAI's DynUNet share: lists with an entry per stage, stages of blocks, residual blocks, and
// the decoder with its heads. The networks themselves: plain_conv_unet.hpp, residual_encoder_unet.hpp, dynunet.hpp.
#pragma once
#include "../nn/divisor.hpp"
#include "../nn/init.hpp"
#include "../nn/layers.hpp"

namespace ctseg {

/// One entry per stage, finest first. As an option of a network: a list of one is for all stages, an empty one means
/// features 32, 64, 128 ... (3-D: at most 320, 2-D: 512), kernels 3, strides 1, 2, 2 ...
template <int Dim> struct UNetStages {
  std::vector<Index> features{};
  std::vector<Axes<Dim>> kernels{}, strides{};

  Axes<Dim> total_stride() const {
    Axes<Dim> total = 1;
    for (const auto& s : strides) total = product(total, s);
    return total;
  }
};

/// `given` with an entry for each stage; where it is empty, `standard` is.
template <class T>
std::vector<T> per_stage(const std::vector<T>& given, const std::vector<T>& standard, std::string_view what) {
  if (given.empty()) return standard;
  if (given.size() == 1) return std::vector<T>(standard.size(), given[0]);
  if (given.size() != standard.size())
    throw Error(Code::bad_argument, what,
                text(given.size(), " entries, expected ", standard.size(), ". Hint: give one for all, or one each."));
  return given;
}

/// The same with all lists complete. The longest one says how many stages there are; without any, 6 in 3-D and 8 in 2-D.
/// Errors    bad_argument for lists of different lengths, fewer than two stages, even kernels, strides below 1.
template <int Dim> UNetStages<Dim> complete(const UNetStages<Dim>& given, std::string_view where) {
  const std::size_t longest = std::max({given.features.size(), given.kernels.size(), given.strides.size()});
  const std::size_t stages = longest == 0 ? (Dim == 3 ? 6 : 8) : longest;
  if (stages < 2)
    throw Error(Code::bad_argument, where, text(stages, " stages; two are the least. Hint: list the features of every stage."));
  std::vector<Index> features(stages, 32);
  for (std::size_t i = 1; i < stages; ++i) features[i] = std::min<Index>(2 * features[i - 1], Dim == 3 ? 320 : 512);
  std::vector<Axes<Dim>> strides(stages, 2);
  strides[0] = 1;
  const UNetStages<Dim> all{.features = per_stage(given.features, features, text(where, ": features")),
                            .kernels = per_stage(given.kernels, std::vector<Axes<Dim>>(stages, 3), text(where, ": kernels")),
                            .strides = per_stage(given.strides, strides, text(where, ": strides"))};
  for (std::size_t i = 0; i < stages; ++i)
    for (std::size_t d = 0; d < Dim; ++d)
      if (all.kernels[i].value[d] % 2 != 1 || all.strides[i].value[d] < 1)
        throw Error(Code::bad_argument, where,
                    text("stage ", i, " has kernel ", all.kernels[i], " and stride ", all.strides[i],
                         "; kernels must be odd, strides 1 or more."));
  return all;
}

/// The blocks that options of nnU-Net's networks ask for; nothing of the convolution but its bias.
template <int Dim, class Options> BlockOptions<Dim> nnunet_style(const Options& o) {
  return {.conv = {.bias = o.conv_bias},
          .norm = without_groups(o.norm, "nnunet"),
          .affine = o.affine,
          .eps = o.eps,
          .activation = o.activation,
          .dropout = o.dropout,
          .dropout_first = true,
          .dropout_channels = true,
          .fused = o.fused};
}
/// `style` with a convolution of its own.
template <int Dim> BlockOptions<Dim> with_conv(BlockOptions<Dim> style, const ConvOptions<Dim>& conv) {
  style.conv = conv;
  return style;
}

/// Blocks in a row, of which the first has the stride.
template <AnySpec S> class ConvStage {
 public:
  /// `style` says what the blocks are, up to channels; its convolution is the first one's.
  ConvStage(const BlockOptions<S::kDim>& style, Index count) {
    if (count < 1) throw Error(Code::bad_argument, "stage", text(count, " blocks; one is the least."));
    ConvOptions<S::kDim> next = style.conv;
    next.in_channels = next.out_channels;
    next.stride = 1;
    next.padding.reset();
    blocks.emplace_back(style);
    for (Index i = 1; i < count; ++i) blocks.emplace_back(with_conv(style, next));
  }
  Var<S> operator()(Var<S> x) const {
    for (const Block<S>& block : blocks) x = block(x);
    return x;
  }
  /// With nnU-Net's names.
  template <class Self, class F> static void each(Self& self, const std::string& prefix, F f) {
    for (std::size_t i = 0; i < self.blocks.size(); ++i) each_block(self.blocks[i], text(prefix, "convs.", i, "."), f);
  }
  template <class B, class F> static void each_block(B& block, const std::string& prefix, F f) {
    Block<S>::each(block, BlockNames{prefix + "conv.", prefix + "norm.", prefix + "nonlin."}, f);
  }
  std::vector<Block<S>> blocks;
};

/// act(norm(conv(first(x))) + shortcut(x)); the shortcut is x where neither size nor channels change.
template <AnySpec S> struct ResidualBlock {
  Block<S> first, second;
  Axes<S::kDim> pool = 1;                    // of the shortcut: means over windows of that size
  std::optional<Block<S>> projection = {};   // of the shortcut, behind the pool

  Var<S> operator()(Var<S> x) const {
    Var<S> shortcut = pool == Axes<S::kDim>(1) ? x : average_pool(x, {pool, pool});
    if (projection) shortcut = (*projection)(shortcut);
    return second(first(x), shortcut);
  }
};

/// From the bottom up: transposed convolution with kernel = stride, concat [raised, skip], a stage of blocks. Heads, 1x1
/// convolutions, turn levels into logits. `up` and `stages` go from coarse to fine, `heads` from fine to coarse.
template <AnySpec S> struct UNetDecoder {
  std::vector<Conv<S>> up{};
  std::vector<ConvStage<S>> stages{};
  std::vector<Conv<S>> heads{};
  float dropout = 0;   // behind each transposed convolution and head, as DynUNet has it

  /// Features of all levels, finest first, from those of the encoder, finest first.
  std::vector<Var<S>> operator()(const std::vector<Var<S>>& skips) const {
    std::vector<Var<S>> levels(stages.size());
    Var<S> x = skips.back();
    for (std::size_t i = 0; i < stages.size(); ++i) {
      const auto scope = x.tape->scope(text("decoder.stages.", i));
      const std::size_t level = stages.size() - 1 - i;
      levels[level] = x = stages[i](concat(drop(up[i](x)), skips[level]));
    }
    return levels;
  }
  /// The first `count` of them as logits.
  std::vector<Var<S>> logits(const std::vector<Var<S>>& levels, std::size_t count) const {
    const auto scope = levels[0].tape->scope("decoder.heads");
    std::vector<Var<S>> all;
    for (std::size_t i = 0; i < count; ++i) all.push_back(drop(heads[i](levels[i])));
    return all;
  }

 private:
  Var<S> drop(Var<S> x) const { return dropout > 0 ? ctseg::dropout(x, dropout) : x; }
};

/// nnU-Net's decoder: `count[i]` blocks in stage i, kernels as in the encoder's stage of that size, a head for every level.
template <AnySpec S> struct NnUNetDecoderOptions {
  UNetStages<S::kDim> encoder{};
  std::vector<Index> count{};
  BlockOptions<S::kDim> style{};
  Index out_channels = 2;
};
template <AnySpec S> UNetDecoder<S> make_nnunet_decoder(const NnUNetDecoderOptions<S>& o) {
  UNetDecoder<S> made;
  const auto& e = o.encoder;
  for (std::size_t level = e.features.size() - 1; level-- > 0;) {
    const Index wide = e.features[level + 1], width = e.features[level];
    const auto& stride = e.strides[level + 1];
    made.up.push_back(Conv<S>({.in_channels = wide,
                               .out_channels = width,
                               .kernel = stride,
                               .stride = stride,
                               .padding = Axes<S::kDim>(0),
                               .transposed = true,
                               .bias = o.style.conv.bias}));
    const ConvOptions<S::kDim> conv{
        .in_channels = 2 * width, .out_channels = width, .kernel = e.kernels[level], .bias = o.style.conv.bias};
    made.stages.emplace_back(with_conv(o.style, conv), o.count[made.stages.size()]);
  }
  for (std::size_t level = 0; level + 1 < e.features.size(); ++level)
    made.heads.push_back(Conv<S>({.in_channels = e.features[level], .out_channels = o.out_channels, .kernel = 1}));
  return made;
}
/// With nnU-Net's names and order.
template <AnySpec S, class Self, class F> void each_nnunet_decoder(Self& decoder, const std::string& prefix, F f) {
  for (std::size_t i = 0; i < decoder.stages.size(); ++i)
    ConvStage<S>::each(decoder.stages[i], text(prefix, "stages.", i, "."), f);
  for (std::size_t i = 0; i < decoder.up.size(); ++i) Conv<S>::each(decoder.up[i], text(prefix, "transpconvs.", i, "."), f);
  for (std::size_t i = 0; i < decoder.heads.size(); ++i)
    Conv<S>::each(decoder.heads[decoder.heads.size() - 1 - i], text(prefix, "seg_layers.", i, "."), f);
}

}   // namespace ctseg
