// Every network of models/, small, for check_weights.py and check_onnx_export.py.
#pragma once
#include <ctseg/models/attention_unet.hpp>
#include <ctseg/models/basic_unet.hpp>
#include <ctseg/models/dynunet.hpp>
#include <ctseg/models/plain_conv_unet.hpp>
#include <ctseg/models/residual_encoder_unet.hpp>
#include <ctseg/models/residual_unet.hpp>
#include <ctseg/models/segresnet.hpp>
#include <ctseg/models/unet.hpp>
#include <ctseg/models/vnet.hpp>

namespace ctseg::test {

/// Calls f(name, network) for each; BasicUNet takes any size of 16 or more, the others multiples of 16. networks() of
/// check_weights.py builds the same.
template <AnySpec S, class F> void for_networks(F f) {
  Axes<S::kDim> flat = 3, step = 2;   // as in plans for thick slices
  flat.value[0] = step.value[0] = 1;
  f("basic_unet", BasicUNet<S>({.features = {4, 4, 6, 8, 8, 4}, .norm = NormKind::batch}));
  f("basic_unet_shuffle",
    BasicUNet<S>({.features = {4, 4, 6, 8, 8, 4}, .activation = prelu(), .upsample = Upsampling::pixelshuffle}));
  f("basic_unet_linear", BasicUNet<S>({.features = {4, 4, 6, 8, 8, 4}, .upsample = Upsampling::nontrainable}));
  f("residual_unet", ResidualUNet<S>({.channels = {4, 6, 8}, .strides = {2, 2}, .num_res_units = 2, .affine = true}));
  f("unet", UNet<S>({.features = {4, 6, 8}}));
  f("vnet", VNet<S>({.activation = prelu_per_channel(), .width = 2}));
  if constexpr (S::kDim == 3) f("original_vnet", VNet<S>(original_vnet({.width = 2})));
  f("attention_unet", AttentionUnet<S>({.channels = {4, 6, 8}, .strides = {2, 2}}));
  f("segresnet", SegResNet<S>({.groups = 4}));
  f("segresnet_deconv", SegResNet<S>({.init_filters = 4, .norm = NormKind::batch, .upsample_mode = SegResNetUpsample::deconv}));
  f("dynunet", DynUNet<S>({.kernel_size = {flat, 3, 3, 3},
                           .strides = {1, step, 2, 2},
                           .filters = {4, 6, 8, 8},
                           .deep_supervision = true,
                           .deep_supr_num = 2}));
  f("dynunet_residual", DynUNet<S>({.filters = {4, 6, 8}, .norm = NormKind::batch, .res_block = true, .trans_bias = true}));
  f("plain_conv_unet",
    PlainConvUNet<S>({.features_per_stage = {4, 6, 8}, .kernel_sizes = {flat, 3, 3}, .strides = {1, step, 2}}));
  f("residual_encoder_unet", ResidualEncoderUNet<S>({.features_per_stage = {4, 6, 8},
                                                     .kernel_sizes = {flat, 3, 3},
                                                     .strides = {1, step, 2},
                                                     .n_blocks_per_stage = {1, 2, 2}}));
}

}   // namespace ctseg::test
