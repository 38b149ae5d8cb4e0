// Attention U-Net: a U-Net whose skip connections pass a gate.
//
//   size   channels                                    (of channels = 16, 32, 64, strides = 2, 2)
//   1      x -> head 16 --------------------------- gate --> [it, up 16] -> merge 16 -> 1^3 convolution -> logits
//                 |                                   ^          ^
//   1/2    encoder 32 ------ gate --> [it, up 32] -> merge 32 ---+
//                 |            ^          ^
//   1/4    encoder 64 --------------------+
//
//   head, encoder   twice 3^3 convolution, batch norm, dropout, ReLU; the encoder's first has the stride
//   up              3^3 transposed convolution of the stride, batch norm, ReLU
//   gate            up decides what of the skip gets through, voxel by voxel: nn/attention_gate.hpp, half the channels inside
//   merge           3^3 convolution, instance norm, dropout, PReLU
//
// Paper       Oktay et al., Attention U-Net, MIDL 2018, arXiv:1804.03999. The arithmetic is MONAI's, which differs from the
//             paper's: gates at full size and at every level, convolutions of stride 2 instead of pooling.
// Parameters  5,909,130 for channels = 16, 32, 64, 128, 256 and 2 classes.
// Traps       Two kinds of norm in one network: merge keeps MONAI's default of a convolution (instance norm without gamma and
//             beta, PReLU with one slope), all else is batch norm and ReLU. up has no dropout, even where the rest has.
//             Concatenation is [gated skip, up].
#pragma once
#include "../nn/attention_gate.hpp"
#include "../nn/divisor.hpp"
#include "../nn/init.hpp"

namespace ctseg {

template <int Dim> struct AttentionUnetOptions {
  Index in_channels = 1, out_channels = 2;
  std::vector<Index> channels = {16, 32, 64, 128, 256};   // top first
  std::vector<Axes<Dim>> strides = {2, 2, 2, 2};          // between one level and the next
  Axes<Dim> kernel_size = 3, up_kernel_size = 3;          // odd
  float dropout = 0;
  bool fused = true;
};

/// Attention U-Net; raw logits.
/// Shapes    x [N, in_channels, D, H, W] -> [N, out_channels, D, H, W]; D, H and W divisible by the product of the strides.
/// Errors    shape_mismatch for other sizes; bad_argument for fewer than two levels, other strides than levels - 1, or even
///           kernels.
/// Source    Oktay et al., arXiv:1804.03999; layout, names and defaults of MONAI AttentionUnet.
template <AnySpec S> class AttentionUnet {
 public:
  using Spec = S;

  explicit AttentionUnet(const AttentionUnetOptions<S::kDim>& o = {});
  void initialize(const Context<typename S::Device>& ctx) { initialize_default(*this, ctx.seed()); }

  Var<S> forward(Var<S> x) const;
  /// What the input's sizes must be multiples of.
  std::array<Index, S::kDim> divisor() const { return divisor_.value; }

  template <class Self, class F> static void each(Self& self, const std::string& prefix, F f) {
    TwoConv::each(self.head_, prefix + "model.0.", f);
    std::string name = prefix + "model.1.";   // MONAI nests one level in the other
    for (std::size_t i = 0; i < self.level_.size(); ++i) {
      auto& level = self.level_[i];
      AttentionGate<S>::each(level.gate, name + "attention.", f);
      Block<S>::each(level.up, name + "upconv.up.", f);
      Block<S>::each(level.merge, name + "merge.", f);
      const bool bottom = i + 1 == self.level_.size();
      TwoConv::each(level.encoder, name + (bottom ? "submodule." : "submodule.0."), f);
      name += "submodule.1.";
    }
    Conv<S>::each(self.reduce_, prefix + "model.2.conv.", f);
  }
  std::vector<Parameter<S>*> parameters() { return parameters_of<S>(*this); }

 private:
  using Options = AttentionUnetOptions<S::kDim>;

  struct TwoConv {
    Block<S> first, second;
    TwoConv(const Options& o, Index in, Index out, const Axes<S::kDim>& stride)
        : first(options(o, in, out, stride)), second(options(o, out, out, 1)) {}
    Var<S> operator()(Var<S> x) const { return second(first(x)); }
    template <class Self, class F> static void each(Self& self, const std::string& prefix, F f) {
      Block<S>::each(self.first, prefix + "conv.0.", f);
      Block<S>::each(self.second, prefix + "conv.1.", f);
    }
    static BlockOptions<S::kDim> options(const Options& o, Index in, Index out, const Axes<S::kDim>& stride) {
      return {.conv = {.in_channels = in, .out_channels = out, .kernel = o.kernel_size, .stride = stride},
              .norm = NormKind::batch,
              .activation = relu(),
              .dropout = o.dropout,
              .fused = o.fused};
    }
  };

  /// Everything between one level and the next.
  struct Level {
    AttentionGate<S> gate;
    Block<S> up, merge;
    TwoConv encoder;
  };
  static Level make_level(const Options& o, std::size_t i);
  static const Options& checked(const Options& o);

  TwoConv head_;
  std::vector<Level> level_;
  Conv<S> reduce_;
  Axes<S::kDim> divisor_ = 1;
};

template <AnySpec S> const AttentionUnetOptions<S::kDim>& AttentionUnet<S>::checked(const Options& o) {
  if (o.channels.size() < 2 || o.strides.size() + 1 != o.channels.size())
    throw Error(Code::bad_argument, "attention_unet",
                text(o.channels.size(), " channels and ", o.strides.size(),
                     " strides; must be two channels or more, and one stride less."));
  for (int d = 0; d < S::kDim; ++d)
    if (o.kernel_size[d] % 2 == 0 || o.up_kernel_size[d] % 2 == 0)
      throw Error(Code::bad_argument, "attention_unet",
                  text("kernel_size ", o.kernel_size, ", up_kernel_size ", o.up_kernel_size, "; must be odd."));
  return o;
}

template <AnySpec S> typename AttentionUnet<S>::Level AttentionUnet<S>::make_level(const Options& o, std::size_t i) {
  const Index here = o.channels[i], below = o.channels[i + 1];
  Axes<S::kDim> beyond = o.strides[i];
  for (Index& v : beyond.value) --v;
  return {.gate = AttentionGate<S>({.gate_channels = here, .skip_channels = here, .inner_channels = here / 2}),
          .up = Block<S>({.conv = {.in_channels = below,
                                   .out_channels = here,
                                   .kernel = o.up_kernel_size,
                                   .stride = o.strides[i],
                                   .output_padding = beyond,
                                   .transposed = true},
                          .norm = NormKind::batch,
                          .activation = relu(),
                          .fused = o.fused}),
          .merge = Block<S>({.conv = {.in_channels = 2 * here, .out_channels = here},
                             .affine = false,
                             .activation = prelu(),
                             .dropout = o.dropout,
                             .fused = o.fused}),
          .encoder = TwoConv(o, here, below, o.strides[i])};
}

template <AnySpec S> AttentionUnet<S>::AttentionUnet(const Options& o)
    : head_(checked(o), o.in_channels, o.channels.empty() ? 0 : o.channels[0], 1),   // checked(o) may come last
      reduce_({.in_channels = o.channels[0], .out_channels = o.out_channels, .kernel = 1}) {
  for (std::size_t i = 0; i + 1 < o.channels.size(); ++i) {
    level_.push_back(make_level(o, i));
    divisor_ = product(divisor_, o.strides[i]);
  }
}

template <AnySpec S> Var<S> AttentionUnet<S>::forward(Var<S> x) const {
  check_divisible(x.shape(), divisor_.value, "attention_unet");
  std::vector<Var<S>> skip;
  {
    const auto scope = x.tape->scope("head");
    x = head_(x);
  }
  for (std::size_t i = 0; i < level_.size(); ++i) {
    const auto scope = x.tape->scope(text("encoder_", i + 1));
    skip.push_back(x);
    x = level_[i].encoder(x);
  }
  for (std::size_t i = level_.size(); i-- > 0;) {
    const auto scope = x.tape->scope(text("decoder_", i));
    const Level& level = level_[i];
    x = level.up(x);
    x = level.merge(concat(level.gate(x, skip[i]), x));
  }
  const auto scope = x.tape->scope("reduce");
  return reduce_(x);
}

}   // namespace ctseg
