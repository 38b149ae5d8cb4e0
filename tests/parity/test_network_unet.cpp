// U-Nets against MONAI.
#include "parity/network_parity.hpp"

#include <ctseg/models/basic_unet.hpp>

using namespace ctseg;
using namespace ctseg::test;

using F3 = Spec<float, 3, Cpu>;

TEST_CASE("BasicUNet equals MONAI's, 3-D") {
  check_network<F3>("basic_unet_3d", BasicUNet<F3>({.features = {2, 2, 3, 4, 6, 2}}));
}
