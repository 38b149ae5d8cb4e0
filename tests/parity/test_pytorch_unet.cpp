// BasicUNet against PyTorch.
#include "parity/fixture.hpp"

#include <ctseg/models/basic_unet.hpp>

using namespace ctseg;
using namespace ctseg::test;

using D2 = Spec<double, 2, Cpu>;
using F3 = Spec<float, 3, Cpu>;

TEST_CASE("BasicUNet equals PyTorch's, 2-D in double") {
  check_fixture<D2>("basic_unet_2d", BasicUNet<D2>({.features = {4, 4, 4, 6, 8, 4}}), 1e-5);
}
TEST_CASE("BasicUNet equals PyTorch's, 3-D in float") {
  check_fixture<F3>("basic_unet_3d", BasicUNet<F3>({.features = {2, 2, 3, 4, 4, 2}}), 1e-4);
}
