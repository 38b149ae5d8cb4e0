// Attention U-Nets against MONAI.
#include "parity/network_parity.hpp"

#include <ctseg/models/attention_unet.hpp>

using namespace ctseg;
using namespace ctseg::test;

using F2 = Spec<float, 2, Cpu>;
using F3 = Spec<float, 3, Cpu>;

TEST_CASE("AttentionUnet equals MONAI's, 3-D, strides per axis") {
  check_network<F3>("attention_unet_3d", AttentionUnet<F3>({.channels = {4, 6, 8, 10}, .strides = {2, {1, 2, 2}, 2}}));
}
TEST_CASE("AttentionUnet equals MONAI's, 2-D, other kernels") {
  check_network<F2>("attention_unet_2d", AttentionUnet<F2>({.in_channels = 2,
                                                            .out_channels = 3,
                                                            .channels = {4, 8, 6},
                                                            .strides = {2, 3},
                                                            .kernel_size = {3, 5},
                                                            .up_kernel_size = 5}));
}
