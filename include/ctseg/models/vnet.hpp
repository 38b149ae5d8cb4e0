// V-Net: residual stages of 5^3 convolutions, convolutions of stride 2 instead of pooling.
//
//   size    channels
//   1       x -> in_tr        16 ------------------------------------------------- skip --> up_tr32    32 -> out_tr -> logits
//                  |                                                                           ^
//   1/2     down_tr32         32 ----------------------------------- skip --> up_tr64    64 ---+
//                  |                                                              ^
//   1/4     down_tr64         64 -------------------- skip --> up_tr128  128 -----+
//                  |                                               ^
//   1/8     down_tr128       128 ----- skip --> up_tr256  256 -----+
//                  |                                ^
//   1/16    down_tr256       256 -------------------+
//
//   unit    5^3 convolution, norm, activation
//   in_tr   activation(norm(5^3 convolution of x) + x repeated until it has 16 channels)
//   down    2^3 convolution of stride 2, norm, activation = s;  dropout;  1, 2, 3, 2 units;  + s;  activation
//   up      dropout;  2^3 transposed convolution of stride 2, norm, activation;  [it, dropout(skip)] = s;  2, 2, 1, 1 units;
//           + s;  activation
//   out_tr  unit to the classes, then a 1^3 convolution among them
//
// Paper       Milletari, Navab, Ahmadi: V-Net, 3DV 2016, arXiv:1606.04797.
// Parameters  45,597,898 for 2 classes, 45,694,642 for 26 (with prelu 45,698,284); the original 61,982,682.
// Traps       "V-Net" is more than one network. What people train is MONAI's: batch norm, ELU, an activation both before and
//             after each sum, dropout. The paper's (original_vnet below) has no norm, PReLU with a slope per channel, one more
//             unit at the bottom and on the way up, and no activation between the last convolution of a stage and its sum.
//             Concatenation is [up, skip]; U-Nets have [skip, up].
//             MONAI drops the two shallow skips at 0.5, whatever dropout_prob_up says: dropout_prob_shallow is that 0.5.
//             MONAI ignores its dropout_dim; in 2-D its Dropout3d takes images for channels and drops whole images of a batch.
//             Here dropout drops channels, in 2-D as in 3-D.
//             With 26 classes the 5^3 convolution of out_tr, at full size, is 28 % of all work: lite_head goes without it.
#pragma once
#include <bit>
#include <optional>

#include "../nn/divisor.hpp"
#include "../nn/init.hpp"
#include "../nn/layers.hpp"

namespace ctseg {

/// The defaults are MONAI's, but for out_channels, which is 1 there.
struct VNetOptions {
  Index in_channels = 1, out_channels = 2;   // in_channels: 1, 2, 4, 8 or 16 (width)
  Activation activation = elu();             // MONAI's "prelu" is prelu_per_channel()
  NormKind norm = NormKind::batch;
  float dropout_prob_down = 0.5f;                        // in front of the units of the two deepest down stages
  std::array<float, 2> dropout_prob_up = {0.5f, 0.5f};   // of the two deepest up stages: their input, their skip
  float dropout_prob_shallow = 0.5f;                     // of the other two skips
  bool bias = false;                                     // of convolutions in front of a norm, but for those of the up stages
  bool lite_head = false;                                // out_tr is the 1^3 convolution alone, from 32 channels
  std::array<Index, 4> units_down = {1, 2, 3, 2}, units_up = {2, 2, 1, 1};
  bool activation_before_sum = true;
  Index width = 16;   // channels of in_tr; MONAI has no other
  bool fused = true;
};

/// The network of the paper and of its authors' Caffe model: channels, classes and head of `o` are kept.
inline VNetOptions original_vnet(VNetOptions o = {}) {
  o.activation = prelu_per_channel();
  o.norm = NormKind::none;
  o.dropout_prob_down = o.dropout_prob_shallow = 0;
  o.dropout_prob_up = {0, 0};
  o.bias = true;
  o.units_down = {1, 2, 3, 3};
  o.units_up = {3, 2, 1, 1};
  o.activation_before_sum = false;
  return o;
}

/// V-Net; raw logits.
/// Shapes    x [N, in_channels, D, H, W] -> [N, out_channels, D, H, W]; D, H and W divisible by 16.
/// Errors    shape_mismatch for other sizes; bad_argument for in_channels that cannot be doubled to `width`.
/// Source    Milletari et al., arXiv:1606.04797; layout, names and defaults of MONAI VNet.
template <AnySpec S> class VNet {
 public:
  using Spec = S;

  explicit VNet(const VNetOptions& o = {});
  void initialize(const Context<typename S::Device>& ctx) { initialize_default(*this, ctx.seed()); }

  Var<S> forward(Var<S> x) const;
  /// What the input's sizes must be multiples of.
  std::array<Index, S::kDim> divisor() const { return Axes<S::kDim>(16).value; }

  template <class Self, class F> static void each(Self& self, const std::string& prefix, F f) {
    each_unit(self.in_, prefix + "in_tr.", "act_function.", f);
    for (std::size_t i = 0; i < 4; ++i) Stage::each(self.down_[i], text(prefix, down_name(i), "."), "down_conv.", f);
    for (std::size_t i = 0; i < 4; ++i) Stage::each(self.up_[i], text(prefix, up_name(i), "."), "up_conv.", f);
    if (self.out_unit_) each_unit(*self.out_unit_, prefix + "out_tr.", "act_function1.", f);
    Conv<S>::each(self.out_, prefix + "out_tr.conv2.", f);
  }
  std::vector<Parameter<S>*> parameters() { return parameters_of<S>(*this); }

 private:
  /// One stage, down or up: `change` halves or doubles the size, units work at the new one.
  struct Stage {
    Block<S> change;
    ActivationLayer<S> last;
    std::vector<Block<S>> units;
    float dropout_input = 0, dropout_skip = 0;   // an up stage's

    /// Units on x, and what they add to.
    Var<S> operator()(Var<S> x, Var<S> shortcut, bool activation_before_sum) const {
      for (std::size_t i = 0; i + 1 < units.size(); ++i) x = units[i](x);
      return activation_before_sum ? last(add(units.back()(x), shortcut)) : units.back()(x, shortcut);
    }
    template <class Self, class F> static void each(Self& self, const std::string& prefix, const char* change, F f) {
      Block<S>::each(self.change, BlockNames{prefix + change, prefix + "bn1.", prefix + "act_function1."}, f);
      ActivationLayer<S>::each(self.last, prefix + "act_function2.", f);
      for (std::size_t i = 0; i < self.units.size(); ++i)
        each_unit(self.units[i], text(prefix, "ops.", i, "."), "act_function.", f);
    }
  };

  /// MONAI lists an activation in front of its convolution.
  template <class Self, class F> static void each_unit(Self& unit, const std::string& prefix, const char* activation, F f) {
    if constexpr (requires { f.block(unit); }) {   // as Block::each does
      f.block(unit);
    } else {
      if (unit.norm.slope.present()) f(text(prefix, activation, "weight"), unit.norm.slope);
      Conv<S>::each(unit.conv, prefix + "conv_block.conv.", f);
      Norm<S>::each_statistic(unit.norm, prefix + "conv_block.adn.N.", f);
    }
  }
  /// MONAI's names stay what they are at other widths.
  static std::string down_name(std::size_t i) { return text("down_tr", 32 << i); }
  static std::string up_name(std::size_t i) { return text("up_tr", 256 >> i); }

  static Block<S> block(const VNetOptions& o, const ConvOptions<S::kDim>& conv) {
    return Block<S>({.conv = conv, .norm = o.norm, .activation = o.activation, .fused = o.fused});
  }
  static Stage stage(const VNetOptions& o, const ConvOptions<S::kDim>& change, Index channels, Index units);

  /// Channels a, b, ... as a, b, ..., a, b, ... until there are `width`.
  Var<S> repeated(Var<S> x) const {
    while (x.shape().c < options_.width) x = concat(x, x);
    return x;
  }
  static Var<S> drop(Var<S> x, float p) { return p == 0 ? x : channel_dropout(x, p); }

  VNetOptions options_;
  Block<S> in_;
  std::vector<Stage> down_, up_;
  std::optional<Block<S>> out_unit_;
  Conv<S> out_;
};

template <AnySpec S>
typename VNet<S>::Stage VNet<S>::stage(const VNetOptions& o, const ConvOptions<S::kDim>& change, Index channels, Index units) {
  if (units < 1) throw Error(Code::bad_argument, "vnet", text("a stage of ", units, " units; must be 1 or more."));
  // After a batch norm a bias is without effect. Without a norm the up stages need one.
  const bool bias = o.norm == NormKind::none || (!change.transposed && o.bias);
  Stage s{.change = block(o, change), .last = ActivationLayer<S>(Activation{}), .units = {}};
  if (o.activation_before_sum) s.last = ActivationLayer<S>(o.activation, channels);
  for (Index i = 0; i < units; ++i)
    s.units.push_back(block(o, {.in_channels = channels, .out_channels = channels, .kernel = 5, .bias = bias}));
  return s;
}

template <AnySpec S> VNet<S>::VNet(const VNetOptions& o)
    : options_(o),
      in_(block(o, {.in_channels = o.in_channels, .out_channels = o.width, .kernel = 5, .bias = o.bias})),
      out_({.in_channels = o.lite_head ? 2 * o.width : o.out_channels, .out_channels = o.out_channels, .kernel = 1}) {
  if (o.width % o.in_channels != 0 || !std::has_single_bit(static_cast<std::uint64_t>(o.width / o.in_channels)))
    throw Error(Code::bad_argument, "vnet",
                text("in_channels = ", o.in_channels, "; the input is doubled until it has width = ", o.width,
                     " channels, so they must be ", o.width, ", half of that, a quarter ..."));
  for (const float p : {o.dropout_prob_down, o.dropout_prob_up[0], o.dropout_prob_up[1], o.dropout_prob_shallow})
    DropoutOp<S>{p}.check_options();
  for (std::size_t i = 0; i < 4; ++i) {
    const Index from = o.width << i;
    down_.push_back(stage(o, {.in_channels = from, .out_channels = 2 * from, .kernel = 2, .stride = 2, .bias = o.bias},
                          2 * from, o.units_down[i]));
  }
  for (std::size_t i = 0; i < 4; ++i) {
    const Index to = 2 * o.width << (3 - i), from = i == 0 ? to : 2 * to;
    up_.push_back(stage(o, {.in_channels = from, .out_channels = to / 2, .kernel = 2, .stride = 2, .transposed = true}, to,
                        o.units_up[i]));
    up_[i].dropout_input = i < 2 ? o.dropout_prob_up[0] : 0;
    up_[i].dropout_skip = i < 2 ? o.dropout_prob_up[1] : o.dropout_prob_shallow;
  }
  if (!o.lite_head)
    out_unit_ = block(o, {.in_channels = 2 * o.width, .out_channels = o.out_channels, .kernel = 5, .bias = o.bias});
}

template <AnySpec S> Var<S> VNet<S>::forward(Var<S> x) const {
  check_divisible(x.shape(), divisor(), "vnet");
  std::array<Var<S>, 5> level;
  {
    const auto scope = x.tape->scope("in_tr");
    level[0] = in_(x, repeated(x));
  }
  for (std::size_t i = 0; i < 4; ++i) {
    const auto scope = x.tape->scope(down_name(i));
    const Var<S> halved = down_[i].change(level[i]);
    level[i + 1] = down_[i](i < 2 ? halved : drop(halved, options_.dropout_prob_down), halved, options_.activation_before_sum);
  }
  x = level[4];
  for (std::size_t i = 0; i < 4; ++i) {
    const auto scope = x.tape->scope(up_name(i));
    const Stage& up = up_[i];
    const Var<S> doubled = up.change(drop(x, up.dropout_input));
    const Var<S> both = concat(doubled, drop(level[3 - i], up.dropout_skip));
    x = up(both, both, options_.activation_before_sum);
  }
  const auto scope = x.tape->scope("out_tr");
  return out_(out_unit_ ? (*out_unit_)(x) : x);
}

}   // namespace ctseg
