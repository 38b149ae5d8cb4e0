// SegResNets against MONAI, with each way of upsampling and each norm.
#include "parity/network_parity.hpp"

#include <ctseg/models/segresnet.hpp>

using namespace ctseg;
using namespace ctseg::test;

using F2 = Spec<float, 2, Cpu>;
using F3 = Spec<float, 3, Cpu>;

TEST_CASE("SegResNet equals MONAI's, 3-D") { check_network<F3>("segresnet_3d", SegResNet<F3>()); }
TEST_CASE("SegResNet equals MONAI's, 2-D, transposed convolutions, instance norm") {
  check_network<F2>("segresnet_2d_deconv", SegResNet<F2>({.in_channels = 2,
                                                          .out_channels = 3,
                                                          .init_filters = 4,
                                                          .blocks_down = {1, 2, 1},
                                                          .blocks_up = {2, 1},
                                                          .norm = NormKind::instance,
                                                          .activation = leaky_relu(),
                                                          .upsample_mode = SegResNetUpsample::deconv}));
}
TEST_CASE("SegResNet equals MONAI's, 2-D, pixel shuffling, batch norm") {
  check_network<F2>("segresnet_2d_shuffle", SegResNet<F2>({.init_filters = 4,
                                                           .blocks_down = {1, 1},
                                                           .blocks_up = {1},
                                                           .norm = NormKind::batch,
                                                           .upsample_mode = SegResNetUpsample::pixelshuffle}));
}
