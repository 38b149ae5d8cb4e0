// V-Nets against MONAI's stages and, the original, against its description.
#include "parity/network_parity.hpp"

#include <ctseg/models/vnet.hpp>

using namespace ctseg;
using namespace ctseg::test;

using F2 = Spec<float, 2, Cpu>;
using F3 = Spec<float, 3, Cpu>;

/// The fixtures were made without dropout.
static VNetOptions calm(VNetOptions o) {
  o.dropout_prob_down = o.dropout_prob_shallow = 0;
  o.dropout_prob_up = {0, 0};
  return o;
}

TEST_CASE("V-Net equals MONAI's, 3-D") { check_network<F3>("vnet_3d", VNet<F3>(calm({.width = 2}))); }
TEST_CASE("V-Net equals MONAI's, 2-D, PReLU per channel, bias") {
  check_network<F2>(
      "vnet_2d_prelu",
      VNet<F2>(calm({.in_channels = 2, .out_channels = 4, .activation = prelu_per_channel(), .bias = true, .width = 4})));
}
TEST_CASE("V-Net with the lite head") {
  check_network<F2>("vnet_2d_lite", VNet<F2>(calm({.activation = relu(), .lite_head = true, .width = 4})));
}
TEST_CASE("the original V-Net equals its description in PyTorch, 3-D") {
  check_network<F3>("vnet_original_3d", VNet<F3>(original_vnet({.width = 2})));
}
