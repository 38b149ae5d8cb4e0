// Networks as JSON: {"network": "BasicUNet", "dim": 3, "in_channels": 1, ...}, every option under its own name.
#pragma once
#include "json.hpp"
#include "network.hpp"

namespace ctseg {

inline std::span<const json::Name<NormKind>> names_of(NormKind) {
  static constexpr json::Name<NormKind> kNames[] = {
      {"instance", NormKind::instance}, {"batch", NormKind::batch}, {"group", NormKind::group}, {"none", NormKind::none}};
  return kNames;
}
inline std::span<const json::Name<Upsampling>> names_of(Upsampling) {
  static constexpr json::Name<Upsampling> kNames[] = {
      {"deconv", Upsampling::deconv}, {"nontrainable", Upsampling::nontrainable}, {"pixelshuffle", Upsampling::pixelshuffle}};
  return kNames;
}
inline std::span<const json::Name<SegResNetUpsample>> names_of(SegResNetUpsample) {
  static constexpr json::Name<SegResNetUpsample> kNames[] = {{"nontrainable", SegResNetUpsample::nontrainable},
                                                             {"deconv", SegResNetUpsample::deconv},
                                                             {"pixelshuffle", SegResNetUpsample::pixelshuffle}};
  return kNames;
}
inline std::span<const json::Name<ActivationKind>> names_of(ActivationKind) {
  static constexpr json::Name<ActivationKind> kNames[] = {
      {"identity", ActivationKind::identity}, {"relu", ActivationKind::relu},       {"leaky_relu", ActivationKind::leaky_relu},
      {"elu", ActivationKind::elu},           {"sigmoid", ActivationKind::sigmoid}, {"gelu", ActivationKind::gelu},
      {"prelu", ActivationKind::prelu}};
  return kNames;
}

namespace json {

inline constexpr Range kChannels{1, 65536}, kExtent{1, 64}, kCount{1, 64}, kShare{0, 1};

template <class O, class F> void channels(O& o, F& f) {
  f("in_channels", o.in_channels, kChannels);
  f("out_channels", o.out_channels, kChannels);
}

}   // namespace json

/// Where only the kind is given, the slope of leaky_relu is 0.01 and elu's alpha 1, as PyTorch's.
template <class F> void fields(Activation& a, F& f) {
  f.required("kind", a.kind);
  if constexpr (std::is_same_v<F, json::Reader>)
    a = a.kind == ActivationKind::leaky_relu ? leaky_relu() : a.kind == ActivationKind::elu ? elu() : Activation{a.kind, 0};
  f("parameter", a.parameter, json::Range{-1e3, 1e3});
  f("per_channel", a.per_channel);
}
template <class F> void fields(BasicUNetOptions& o, F& f) {
  json::channels(o, f);
  f("features", o.features, json::kChannels);
  f("activation", o.activation);
  f("norm", o.norm);
  f("affine", o.affine);
  f("groups", o.groups, json::kChannels);
  f("dropout", o.dropout, json::kShare);
  f("bias", o.bias);
  f("upsample", o.upsample);
  f("fused", o.fused);
}
template <class F> void fields(UNetOptions& o, F& f) {
  json::channels(o, f);
  f("features", o.features, json::kChannels);
  f("activation", o.activation);
  f("norm", o.norm);
  f("groups", o.groups, json::kChannels);
  f("bias", o.bias);
  f("dropout", o.dropout, json::kShare);
  f("fused", o.fused);
}
template <int Dim, class F> void fields(ResidualUNetOptions<Dim>& o, F& f) {
  json::channels(o, f);
  f("channels", o.channels, json::kChannels);
  f("strides", o.strides, json::kExtent);
  f("kernel_size", o.kernel_size, json::kExtent);
  f("up_kernel_size", o.up_kernel_size, json::kExtent);
  f("num_res_units", o.num_res_units, json::Range{0, 64});
  f("activation", o.activation);
  f("norm", o.norm);
  f("affine", o.affine);
  f("groups", o.groups, json::kChannels);
  f("dropout", o.dropout, json::kShare);
  f("bias", o.bias);
  f("fused", o.fused);
}
template <int Dim, class F> void fields(DynUNetOptions<Dim>& o, F& f) {
  json::channels(o, f);
  f("kernel_size", o.kernel_size, json::kExtent);
  f("strides", o.strides, json::kExtent);
  f("upsample_kernel_size", o.upsample_kernel_size, json::kExtent);
  f("filters", o.filters, json::kChannels);
  f("dropout", o.dropout, json::kShare);
  f("norm", o.norm);
  f("affine", o.affine);
  f("activation", o.activation);
  f("deep_supervision", o.deep_supervision);
  f("deep_supr_num", o.deep_supr_num, json::kCount);
  f("res_block", o.res_block);
  f("trans_bias", o.trans_bias);
  f("fused", o.fused);
}

namespace json {

/// What nnU-Net's two networks share behind their lists.
template <class O, class F> void nnunet_style(O& o, F& f) {
  f("conv_bias", o.conv_bias);
  f("norm", o.norm);
  f("affine", o.affine);
  f("eps", o.eps, Range{0, 1});
  f("activation", o.activation);
  f("dropout", o.dropout, kShare);
  f("fused", o.fused);
}

}   // namespace json

template <int Dim, class F> void fields(PlainConvUNetOptions<Dim>& o, F& f) {
  json::channels(o, f);
  f("features_per_stage", o.features_per_stage, json::kChannels);
  f("kernel_sizes", o.kernel_sizes, json::kExtent);
  f("strides", o.strides, json::kExtent);
  f("n_conv_per_stage", o.n_conv_per_stage, json::kCount);
  f("n_conv_per_stage_decoder", o.n_conv_per_stage_decoder, json::kCount);
  json::nnunet_style(o, f);
}
template <int Dim, class F> void fields(ResidualEncoderUNetOptions<Dim>& o, F& f) {
  json::channels(o, f);
  f("features_per_stage", o.features_per_stage, json::kChannels);
  f("kernel_sizes", o.kernel_sizes, json::kExtent);
  f("strides", o.strides, json::kExtent);
  f("n_blocks_per_stage", o.n_blocks_per_stage, json::kCount);
  f("n_conv_per_stage_decoder", o.n_conv_per_stage_decoder, json::kCount);
  f("stem_channels", o.stem_channels, json::Range{0, 65536});
  json::nnunet_style(o, f);
}
template <class F> void fields(SegResNetOptions& o, F& f) {
  json::channels(o, f);
  f("init_filters", o.init_filters, json::kChannels);
  f("blocks_down", o.blocks_down, json::kCount);
  f("blocks_up", o.blocks_up, json::kCount);
  f("norm", o.norm);
  f("groups", o.groups, json::kChannels);
  f("affine", o.affine);
  f("activation", o.activation);
  f("dropout_prob", o.dropout_prob, json::kShare);
  f("upsample_mode", o.upsample_mode);
  f("use_conv_final", o.use_conv_final);
}
template <class F> void fields(VNetOptions& o, F& f) {
  json::channels(o, f);
  f("activation", o.activation);
  f("norm", o.norm);
  f("dropout_prob_down", o.dropout_prob_down, json::kShare);
  f("dropout_prob_up", o.dropout_prob_up, json::kShare);
  f("dropout_prob_shallow", o.dropout_prob_shallow, json::kShare);
  f("bias", o.bias);
  f("lite_head", o.lite_head);
  f("units_down", o.units_down, json::kCount);
  f("units_up", o.units_up, json::kCount);
  f("activation_before_sum", o.activation_before_sum);
  f("width", o.width, json::kChannels);
  f("fused", o.fused);
}
template <int Dim, class F> void fields(AttentionUnetOptions<Dim>& o, F& f) {
  json::channels(o, f);
  f("channels", o.channels, json::kChannels);
  f("strides", o.strides, json::kExtent);
  f("kernel_size", o.kernel_size, json::kExtent);
  f("up_kernel_size", o.up_kernel_size, json::kExtent);
  f("dropout", o.dropout, json::kShare);
  f("fused", o.fused);
}

namespace json {

/// The member of the variant whose network has this name, read from the rest of the object.
template <int Dim, std::size_t I = 0> NetworkOptions<Dim> network_named(const std::string& name, Reader& members) {
  using All = NetworkOptions<Dim>;
  if constexpr (I < std::variant_size_v<All>) {
    using Options = std::variant_alternative_t<I, All>;
    if (name != NetworkOf<Options>::kName) return network_named<Dim, I + 1>(name, members);
    Options o{};
    fields(o, members);
    members.finish();
    return o;
  } else {
    std::string known;
    [&]<std::size_t... K>(std::index_sequence<K...>) {
      ((known += text(K ? ", " : "one of ", NetworkOf<std::variant_alternative_t<K, All>>::kName)), ...);
    }
    (std::make_index_sequence<std::variant_size_v<All>>());
    (members.place() / "network").fail(Json(name), known + ". Hint: MONAI's UNet is ResidualUNet here");
  }
}

}   // namespace json

/// Options that are not named have the defaults of their struct.
/// Errors    bad_input with place, value and what is allowed: an unknown network or key, a wrong type, a number out of range.
template <class = void> NetworkConfig network_from_json(const Json& j, const json::Place& at = {"network", ""}) {
  json::Reader members(j, at);
  std::string name;
  Index dim = 3;
  members.required("network", name);
  members("dim", dim, {2, 3});
  if (dim == 2) return json::network_named<2>(name, members);
  return json::network_named<3>(name, members);
}
/// All options, those with default values too.
template <class = void> Json to_json(const NetworkConfig& config) {
  Json out = {{"network", name_of(config)}, {"dim", dim_of(config)}};
  visit_options(config, [&](const auto& o) { out.update(json::write(o)); });
  return out;
}

}   // namespace ctseg
