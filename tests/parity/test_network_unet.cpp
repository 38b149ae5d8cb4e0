// U-Nets against MONAI; the classic one against its paper, in PyTorch.
#include "parity/network_parity.hpp"

#include <ctseg/models/basic_unet.hpp>
#include <ctseg/models/residual_unet.hpp>
#include <ctseg/models/unet.hpp>

using namespace ctseg;
using namespace ctseg::test;

using D2 = Spec<double, 2, Cpu>;
using F2 = Spec<float, 2, Cpu>;
using F3 = Spec<float, 3, Cpu>;

TEST_CASE("BasicUNet equals MONAI's") {
  check_network<F3>("basic_unet_3d", BasicUNet<F3>({.features = {2, 2, 3, 4, 6, 2}}));
  check_network<D2>("basic_unet_2d", BasicUNet<D2>({.features = {4, 4, 4, 6, 8, 4}}),   // the file and the slope are floats
                    {.values = 1e-6, .gradients = 1e-6, .curve = 1e-6});
  check_network<F3>(
      "basic_unet_nontrainable",
      BasicUNet<F3>(
          {.in_channels = 2, .features = {3, 2, 4, 4, 6, 2}, .activation = prelu(), .upsample = Upsampling::nontrainable}));
  check_network<F3>(
      "basic_unet_pixelshuffle",
      BasicUNet<F3>({.features = {2, 2, 3, 4, 4, 2}, .activation = prelu(), .upsample = Upsampling::pixelshuffle}));
  check_network<F2>("basic_unet_2d_pixelshuffle", BasicUNet<F2>({.in_channels = 2,
                                                                 .out_channels = 3,
                                                                 .features = {3, 2, 4, 4, 6, 2},
                                                                 .norm = NormKind::batch,
                                                                 .upsample = Upsampling::pixelshuffle}));
  check_network<F2>(
      "basic_unet_2d_group",
      BasicUNet<F2>(
          {.features = {4, 4, 6, 6, 8, 4}, .activation = elu(), .norm = NormKind::group, .groups = 2, .bias = false}));
}

TEST_CASE("the classic U-Net equals PyTorch's") {
  check_network<F3>("classic_unet_3d", UNet<F3>({.out_channels = 2, .features = {3, 4, 6, 8}}));
  check_network<F2>("classic_unet_2d", UNet<F2>({.out_channels = 3, .features = {4, 6, 8, 8}, .bias = false}));
}

TEST_CASE("the residual U-Net equals MONAI's UNet") {
  check_network<F3>(
      "residual_unet_batch",
      ResidualUNet<F3>({.channels = {3, 4, 6, 8}, .strides = {2, 2, 2}, .num_res_units = 2, .norm = NormKind::batch}));
  check_network<F3>("residual_unet_instance", ResidualUNet<F3>({.in_channels = 2,
                                                                .out_channels = 3,
                                                                .channels = {4, 4, 6},
                                                                .strides = {1, 2},
                                                                .num_res_units = 3,
                                                                .activation = leaky_relu(0.2f),
                                                                .bias = false}));
  check_network<F3>("residual_unet_none", ResidualUNet<F3>({.channels = {3, 4, 6},
                                                            .strides = {Axes<3>{1, 2, 2}, Axes<3>{2, 2, 3}},
                                                            .kernel_size = {1, 3, 5},
                                                            .up_kernel_size = {3, 1, 5}}));
  check_network<F2>("residual_unet_2d", ResidualUNet<F2>({.out_channels = 4,
                                                          .channels = {4, 6, 8},
                                                          .strides = {2, 2},
                                                          .num_res_units = 1,
                                                          .activation = relu(),
                                                          .affine = true}));
}
