// The residual U-Net, number for number as MONAI's `UNet`.
//
//   x -> down ------------ skip -------------> [skip, up] -> up -> logits    Every level begins with its stride: there is no
//         | stride 2                                ^                        full-size level, which makes it 40 times cheaper
//         v                                         |                        than the classic U-Net.
//        down ------ skip -----> [skip, up] -> up --+
//         | stride 2                  ^
//         v                           |
//        ...      bottom, stride 1 ---+
//
//   down, bottom   with residual units:  x -+-> conv N D A (stride) -> conv N D A ... -> (+) ->   nothing behind the sum
//                                           +-> conv (stride), no norm ------------------^        (kernel 1 where only
//                                                                                                 channels change)
//                  without:              x --> conv N D A (stride) ->
//   up             transposed conv (stride) N D A -> residual unit of one conv; at the top that unit is a conv alone, and
//                  without residual units so is the transposed conv
//
// Kerfoot et al., Left-Ventricle Quantification Using Residual U-Net, STACOM 2018; He et al., arXiv:1603.05027. Parameters,
// 3-D, one channel in, num_res_units = 2, batch norm, PReLU:
//   channels {32, 64, 128, 256, 512}, strides {2, 2, 2, 2}, one out    19,219,984    nodule_unet()
//   channels {16, 32, 64, 128, 256}, strides {2, 2, 2, 2}, one out      4,807,968    nodule_unet_small()
//   the same with two out                                               4,808,917    spleen_unet(): MONAI's spleen tutorial
#pragma once
#include "../nn/divisor.hpp"
#include "../nn/init.hpp"
#include "../nn/layers.hpp"

namespace ctseg {

/// MONAI's names and defaults, which leaves channels and strides to the caller.
template <int Dim> struct ResidualUNetOptions {
  Index in_channels = 1, out_channels = 2;
  std::vector<Index> channels = {16, 32, 64, 128, 256};   // the finest first, the bottom last
  std::vector<Axes<Dim>> strides = {2, 2, 2, 2};          // of every level but the bottom
  Axes<Dim> kernel_size = 3, up_kernel_size = 3;          // odd
  Index num_res_units = 0;                                // convolutions in a residual unit; 0: no residual units
  Activation activation = prelu();
  NormKind norm = NormKind::instance;
  std::optional<bool> affine{};   // by default as in PyTorch: not for instance norm
  Index groups = 1;               // of group norm
  float dropout = 0;
  bool bias = true;
  bool fused = true;
};

inline ResidualUNetOptions<3> nodule_unet() {
  return {.out_channels = 1, .channels = {32, 64, 128, 256, 512}, .num_res_units = 2, .norm = NormKind::batch};
}
inline ResidualUNetOptions<3> nodule_unet_small() { return {.out_channels = 1, .num_res_units = 2, .norm = NormKind::batch}; }
inline ResidualUNetOptions<3> spleen_unet() { return {.num_res_units = 2, .norm = NormKind::batch}; }

/// Strided residual units down, transposed convolutions up, concat [skip, up]; raw logits.
/// Shapes    x [N, in_channels, D, H, W] -> [N, out_channels, D, H, W]; sizes are multiples of divisor().
/// Errors    shape_mismatch for other sizes, with the divisor; bad_argument for fewer than two levels, strides that are not one
///           less than channels, or even kernels.
/// Source    MONAI UNet, layout, names and defaults; Kerfoot et al., STACOM 2018.
template <AnySpec S> class ResidualUNet {
 public:
  using Spec = S;
  using Options = ResidualUNetOptions<S::kDim>;

  explicit ResidualUNet(const Options& o = {});
  void initialize(const Context<typename S::Device>& ctx) { initialize_default(*this, ctx.seed()); }

  Var<S> forward(Var<S> x) const;
  /// What every axis must be a multiple of: the product of the strides.
  std::array<Index, S::kDim> divisor() const { return divisor_.value; }

  template <class Self, class F> static void each(Self& self, const std::string& prefix, F f) {
    std::vector<std::string> level = {prefix + "model."};   // each level lies inside the one above it
    for (auto& down : self.down_) {
      Unit::each(down, level.back() + "0.", f);
      level.push_back(level.back() + "1.submodule.");
    }
    Unit::each(*self.bottom_, level.back(), f);
    for (std::size_t i = self.up_.size(); i-- > 0;) {
      const bool refined = !self.refine_.empty();
      Block<S>::each(self.up_[i], level[i] + (refined ? "2.0." : "2."), f);
      if (refined) Unit::each(self.refine_[i], level[i] + "2.1.", f);
    }
  }
  std::vector<Parameter<S>*> parameters() { return parameters_of<S>(*this); }

 private:
  struct UnitOptions {
    Index in, out;
    Axes<S::kDim> stride = 1;
    Index convs = 1;
    bool residual = true;
    bool last_conv_only = false;
  };

  /// Blocks in a row, the first with the stride; a residual unit adds its input, brought to their shape.
  struct Unit {
    std::vector<Block<S>> blocks;
    std::optional<Conv<S>> shortcut;
    bool residual;

    Unit(const Options& o, const UnitOptions& u) : residual(u.residual) {
      for (Index k = 0; k < u.convs; ++k)
        blocks.emplace_back(block_options(o,
                                          {.in_channels = k ? u.out : u.in,
                                           .out_channels = u.out,
                                           .kernel = o.kernel_size,
                                           .stride = k ? Axes<S::kDim>(1) : u.stride,
                                           .bias = o.bias},
                                          u.last_conv_only && k + 1 == u.convs));
      const bool strided = u.stride != Axes<S::kDim>(1);
      if (residual && (strided || u.in != u.out))
        shortcut.emplace(ConvOptions<S::kDim>{.in_channels = u.in,
                                              .out_channels = u.out,
                                              .kernel = strided ? o.kernel_size : Axes<S::kDim>(1),
                                              .stride = u.stride,
                                              .bias = o.bias});
    }
    Var<S> operator()(Var<S> x) const {
      Var<S> y = x;
      for (const auto& block : blocks) y = block(y);
      return residual ? add(y, shortcut ? (*shortcut)(x) : x) : y;
    }
    template <class Self, class F> static void each(Self& self, const std::string& prefix, F f) {
      for (std::size_t k = 0; k < self.blocks.size(); ++k)
        Block<S>::each(self.blocks[k], self.residual ? text(prefix, "conv.unit", k, ".") : prefix, f);
      if (self.shortcut) Conv<S>::each(*self.shortcut, prefix + "residual.", f);
    }
  };

  static BlockOptions<S::kDim> block_options(const Options& o, const ConvOptions<S::kDim>& conv, bool conv_only) {
    if (conv_only) return {.conv = conv, .norm = NormKind::none, .activation = {}};
    return {.conv = conv,
            .norm = o.norm,
            .affine = o.affine.value_or(o.norm != NormKind::instance),
            .activation = o.activation,
            .dropout = o.dropout,
            .groups = o.groups,
            .fused = o.fused};
  }
  void check(const Options& o) const;

  std::vector<Unit> down_, refine_;   // by level; refine_ only with residual units
  std::vector<Block<S>> up_;
  std::optional<Unit> bottom_;
  Axes<S::kDim> divisor_ = 1;
};

template <AnySpec S> void ResidualUNet<S>::check(const Options& o) const {
  const auto fail = [](const std::string& message) { throw Error(Code::bad_argument, "residual_unet", message); };
  if (o.channels.size() < 2 || o.strides.size() + 1 != o.channels.size())
    fail(text(o.channels.size(), " channels and ", o.strides.size(),
              " strides; must be 2 channels or more and one stride less than channels."));
  for (const auto& kernel : {o.kernel_size, o.up_kernel_size})
    for (const Index k : kernel.value)
      if (k % 2 == 0) fail(text("kernel_size or up_kernel_size has an axis of ", k, "; must be odd to keep sizes."));
  if (o.num_res_units < 0) fail(text("num_res_units is ", o.num_res_units, "; must be 0 or more."));
}

template <AnySpec S> ResidualUNet<S>::ResidualUNet(const Options& o) {
  check(o);
  const bool residual = o.num_res_units > 0;
  const Index convs = std::max<Index>(o.num_res_units, 1);
  const auto& c = o.channels;
  const std::size_t levels = o.strides.size();
  for (std::size_t i = 0; i < levels; ++i) {
    const auto& stride = o.strides[i];
    const Index above = i ? c[i - 1] : o.out_channels;   // what the level hands up
    const bool top = i == 0, deepest = i + 1 == levels;
    down_.emplace_back(
        o,
        UnitOptions{.in = i ? c[i - 1] : o.in_channels, .out = c[i], .stride = stride, .convs = convs, .residual = residual});
    Axes<S::kDim> rest = stride;
    for (Index& r : rest.value) --r;
    up_.emplace_back(block_options(o,
                                   {.in_channels = c[i] + (deepest ? c[i + 1] : c[i]),
                                    .out_channels = above,
                                    .kernel = o.up_kernel_size,
                                    .stride = stride,
                                    .output_padding = rest,
                                    .transposed = true,
                                    .bias = o.bias},
                                   top && !residual));
    if (residual) refine_.emplace_back(o, UnitOptions{.in = above, .out = above, .last_conv_only = top});
    divisor_ = product(divisor_, stride);
  }
  bottom_.emplace(o, UnitOptions{.in = c[levels - 1], .out = c[levels], .convs = convs, .residual = residual});
}

template <AnySpec S> Var<S> ResidualUNet<S>::forward(Var<S> x) const {
  check_divisible(x.shape(), divisor_.value, "residual_unet");
  std::vector<Var<S>> skips;
  for (std::size_t i = 0; i < down_.size(); ++i) {
    const auto scope = x.tape->scope(text("down_", i));
    skips.push_back(x = down_[i](x));
  }
  {
    const auto scope = x.tape->scope("bottom");
    x = (*bottom_)(x);
  }
  for (std::size_t i = up_.size(); i-- > 0;) {
    const auto scope = x.tape->scope(text("up_", i));
    x = up_[i](concat(skips[i], x));
    if (!refine_.empty()) x = refine_[i](x);
  }
  return x;
}

}   // namespace ctseg
