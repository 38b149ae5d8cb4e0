// BasicUNet, number for number as in MONAI.
//
//   x -> conv_0 -------------------- skip ------------------> [skip, up] upcat_1 -> final_conv 1x1 -> logits
//          | pool 2                                                ^ deconv 2
//          v                                                       |
//        down_1 ------------ skip ----------> [skip, up] upcat_2 --+
//          | pool 2                               ^ deconv 2
//          v                                      |
//         ...   down_2, upcat_3; down_3, upcat_4; down_4 is the bottom
//
// Every level is two blocks of convolution 3, instance norm, LeakyReLU 0.1. A deconv halves its channels, but for the last one.
// Where pooling lost a voxel of an odd size, what comes up is padded by its last one, so any size will do.
// Falk et al., Nature Methods 2019. Parameters, 3-D, one channel in and two out:
//   features {32, 32, 64, 128, 256, 32}     5,749,410   the default
//   features {32, 64, 128, 256, 512, 32}   22,625,314   coronary_unet()
#pragma once
#include "../nn/init.hpp"
#include "../nn/layers.hpp"

namespace ctseg {

/// How a decoder level doubles its size: a transposed convolution; a 1x1 convolution that changes channels, then linear
/// interpolation with corners aligned; or a convolution to 2^Dim times the channels, shuffled, then smoothed by a mean of 2.
enum class Upsampling { deconv, nontrainable, pixelshuffle };

/// MONAI's names and defaults.
struct BasicUNetOptions {
  Index in_channels = 1, out_channels = 2;
  std::array<Index, 6> features = {32, 32, 64, 128, 256, 32};   // five encoder levels, then the last decoder level
  Activation activation = leaky_relu(0.1f);
  NormKind norm = NormKind::instance;
  bool affine = true;
  Index groups = 1;   // of group norm
  float dropout = 0;
  bool bias = true;
  Upsampling upsample = Upsampling::deconv;
  bool fused = true;
};

inline BasicUNetOptions coronary_unet() { return {.features = {32, 64, 128, 256, 512, 32}}; }

/// Two blocks per level, max pooling down, transposed convolution up, concat [skip, up]; raw logits.
/// Shapes    x [N, in_channels, D, H, W] -> [N, out_channels, D, H, W], any size of 16 or more per axis
///           (in training one axis of 32 or more): where pooling lost a voxel, the decoder replicates its last one.
/// Source    Falk et al., Nature Methods 2019; layout, names and defaults of MONAI BasicUNet.
template <AnySpec S> class BasicUNet {
 public:
  using Spec = S;

  explicit BasicUNet(const BasicUNetOptions& o = {});
  void initialize(const Context<typename S::Device>& ctx) { initialize_default(*this, ctx.seed()); }

  Var<S> forward(Var<S> x) const;

  template <class Self, class F> static void each(Self& self, const std::string& prefix, F f) {
    for (std::size_t i = 0; i < 5; ++i) TwoConv::each(self.encoder_[i], text(prefix, level_name(i), i ? ".convs." : "."), f);
    for (std::size_t i = 0; i < 4; ++i) {
      const std::string name = text(prefix, "upcat_", 4 - i);
      Up::each(self.up_[i], name + ".upsample.", f);
      TwoConv::each(self.decoder_[i], name + ".convs.", f);
    }
    Conv<S>::each(self.final_conv_, prefix + "final_conv.", f);
  }
  std::vector<Parameter<S>*> parameters() { return parameters_of<S>(*this); }

 private:
  struct TwoConv {
    Block<S> first, second;
    TwoConv(const BasicUNetOptions& o, Index in, Index out) : first(options(o, in, out)), second(options(o, out, out)) {}
    Var<S> operator()(Var<S> x) const { return second(first(x)); }
    template <class Self, class F> static void each(Self& self, const std::string& prefix, F f) {
      Block<S>::each(self.first, prefix + "conv_0.", f);
      Block<S>::each(self.second, prefix + "conv_1.", f);
    }
    static BlockOptions<S::kDim> options(const BasicUNetOptions& o, Index in, Index out) {
      return {.conv = {.in_channels = in, .out_channels = out, .bias = o.bias},
              .norm = o.norm,
              .affine = o.affine,
              .activation = o.activation,
              .dropout = o.dropout,
              .groups = o.groups,
              .fused = o.fused};
    }
  };

  struct Up {
    Upsampling kind;
    std::optional<Conv<S>> conv;   // none: nontrainable, and no channels to change

    Up(Upsampling k, Index in, Index out) : kind(k) {
      const Index parts = Index{1} << S::kDim;
      if (kind == Upsampling::deconv)
        conv.emplace(ConvOptions<S::kDim>{
            .in_channels = in, .out_channels = out, .kernel = 2, .stride = 2, .transposed = true});
      else if (kind == Upsampling::pixelshuffle)
        conv.emplace(ConvOptions<S::kDim>{.in_channels = in, .out_channels = out * parts});
      else if (in != out)
        conv.emplace(ConvOptions<S::kDim>{.in_channels = in, .out_channels = out, .kernel = 1});
    }
    Var<S> operator()(Var<S> x) const {
      if (conv) x = (*conv)(x);
      if (kind == Upsampling::nontrainable) return upsample(x, {.mode = UpsampleMode::linear, .align_corners = true});
      if (kind == Upsampling::deconv) return x;
      PadOp<S> zeros{.mode = PadMode::constant};
      zeros.low.fill(1);
      return average_pool(pad(pixel_shuffle(x, 2), zeros), {.kernel = 2, .stride = 1});
    }
    template <class Self, class F> static void each(Self& self, const std::string& prefix, F f) {
      const char* name = self.kind == Upsampling::deconv         ? "deconv."
                         : self.kind == Upsampling::nontrainable ? "preconv."
                                                                 : "pixelshuffle.conv_block.";
      if (self.conv) Conv<S>::each(*self.conv, prefix + name, f);
    }
  };

  static std::string level_name(std::size_t i) { return i ? text("down_", i) : "conv_0"; }

  /// Pads the raised value to the skip: at most one voxel, behind the last.
  static Var<S> match(Var<S> raised, Var<S> skip) {
    PadOp<S> pads;
    for (std::size_t d = 0; d < S::kDim; ++d) pads.high[d] = skip.shape().space[d] - raised.shape().space[d];
    return pads.high == std::array<Index, S::kDim>{} ? raised : replicate_pad(raised, pads);
  }

  std::vector<TwoConv> encoder_, decoder_;
  std::vector<Up> up_;
  Conv<S> final_conv_;
};

template <AnySpec S> BasicUNet<S>::BasicUNet(const BasicUNetOptions& o)
    : final_conv_({.in_channels = o.features[5], .out_channels = o.out_channels, .kernel = 1}) {
  const auto& f = o.features;
  for (std::size_t level = 0; level < 5; ++level) encoder_.emplace_back(o, level ? f[level - 1] : o.in_channels, f[level]);
  for (std::size_t level = 4; level > 0; --level) {
    const Index raised = level > 1 ? f[level] / 2 : f[level];
    up_.emplace_back(o.upsample, f[level], raised);
    decoder_.emplace_back(o, f[level - 1] + raised, level > 1 ? f[level - 1] : f[5]);
  }
}

template <AnySpec S> Var<S> BasicUNet<S>::forward(Var<S> x) const {
  std::array<Var<S>, 5> level;
  for (std::size_t i = 0; i < 5; ++i) {
    const auto scope = x.tape->scope(level_name(i));
    level[i] = x = encoder_[i](i ? max_pool(x) : x);
  }
  for (std::size_t i = 0; i < 4; ++i) {
    const auto scope = x.tape->scope(text("upcat_", 4 - i));
    x = decoder_[i](concat(level[3 - i], match(up_[i](x), level[3 - i])));
  }
  const auto scope = x.tape->scope("final_conv");
  return final_conv_(x);
}

#ifdef CTSEG_PREBUILT   // linked to ctseg::prebuilt, which holds these
CTSEG_PREBUILT template class BasicUNet<Spec<float, 2, Cpu>>;
CTSEG_PREBUILT template void initialize_default(BasicUNet<Spec<float, 2, Cpu>>&, std::uint64_t);
CTSEG_PREBUILT template std::vector<Parameter<Spec<float, 2, Cpu>>*> parameters_of<Spec<float, 2, Cpu>>(
    BasicUNet<Spec<float, 2, Cpu>>&);
CTSEG_PREBUILT template class BasicUNet<Spec<float, 3, Cpu>>;
CTSEG_PREBUILT template void initialize_default(BasicUNet<Spec<float, 3, Cpu>>&, std::uint64_t);
CTSEG_PREBUILT template std::vector<Parameter<Spec<float, 3, Cpu>>*> parameters_of<Spec<float, 3, Cpu>>(
    BasicUNet<Spec<float, 3, Cpu>>&);
#endif

}   // namespace ctseg
