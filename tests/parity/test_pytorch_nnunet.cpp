// nnU-Net's networks against dynamic-network-architectures, DynUNet against MONAI: what make_nnunet_fixtures.py recorded.
#include "parity/network_parity.hpp"

#include <ctseg/models/dynunet.hpp>
#include <ctseg/models/plain_conv_unet.hpp>
#include <ctseg/models/residual_encoder_unet.hpp>

using namespace ctseg;
using namespace ctseg::test;

using F2 = Spec<float, 2, Cpu>;
using F3 = Spec<float, 3, Cpu>;

TEST_CASE("PlainConvUNet equals nnU-Net's: 3-D, anisotropic, deep supervision") {
  check_network<F3>("plain_conv_unet_3d", PlainConvUNet<F3>({.features_per_stage = {3, 5, 6},
                                                             .kernel_sizes = {{1, 3, 3}, 3, 3},
                                                             .strides = {1, {1, 2, 2}, 2},
                                                             .n_conv_per_stage = {1, 2, 2},
                                                             .n_conv_per_stage_decoder = {2, 1}}));
}
TEST_CASE("PlainConvUNet equals nnU-Net's: 2-D, batch norm, no biases") {
  check_network<F2>("plain_conv_unet_2d", PlainConvUNet<F2>({.in_channels = 2,
                                                             .out_channels = 3,
                                                             .features_per_stage = {4, 6, 8, 8},
                                                             .conv_bias = false,
                                                             .norm = NormKind::batch}));
}
TEST_CASE("ResidualEncoderUNet equals nnU-Net's: 3-D, anisotropic, deep supervision") {
  check_network<F3>("residual_encoder_unet_3d", ResidualEncoderUNet<F3>({.features_per_stage = {3, 5, 5},
                                                                         .kernel_sizes = {{1, 3, 3}, 3, 3},
                                                                         .strides = {1, {1, 2, 2}, 2},
                                                                         .n_blocks_per_stage = {1, 2, 2}}));
}
TEST_CASE("ResidualEncoderUNet equals nnU-Net's: 2-D, a stem of its own width, no biases") {
  check_network<F2>("residual_encoder_unet_2d", ResidualEncoderUNet<F2>({.out_channels = 3,
                                                                         .features_per_stage = {4, 6, 6, 8},
                                                                         .n_blocks_per_stage = {1, 2, 1, 2},
                                                                         .n_conv_per_stage_decoder = {1, 2, 1},
                                                                         .stem_channels = 5,
                                                                         .conv_bias = false}));
}
TEST_CASE("DynUNet equals MONAI's: 3-D, anisotropic, deep supervision") {
  check_network<F3>("dynunet_3d", DynUNet<F3>({.kernel_size = {{1, 3, 3}, 3, 3, {3, 3, 1}},
                                               .strides = {1, {1, 2, 2}, 2, {1, 2, 1}},
                                               .upsample_kernel_size = {{1, 2, 2}, 2, {1, 2, 1}},
                                               .filters = {3, 4, 6, 7},
                                               .deep_supervision = true,
                                               .deep_supr_num = 2}));
}
TEST_CASE("DynUNet equals MONAI's: 3-D, residual blocks, biases in transposed convolutions") {
  check_network<F3>("dynunet_residual_3d", DynUNet<F3>({.in_channels = 2,
                                                        .out_channels = 3,
                                                        .kernel_size = {{1, 3, 3}, 3, 3, {3, 3, 1}},
                                                        .strides = {1, {1, 2, 2}, 2, {1, 2, 1}},
                                                        .filters = {3, 4, 4, 4},
                                                        .res_block = true,
                                                        .trans_bias = true}));
}
TEST_CASE("DynUNet equals MONAI's: 2-D, stride 3, batch norm, deep supervision") {
  check_network<F2>(
      "dynunet_2d",
      DynUNet<F2>(
          {.out_channels = 3, .strides = {1, 3, 2}, .filters = {4, 6, 8}, .norm = NormKind::batch, .deep_supervision = true}));
}
