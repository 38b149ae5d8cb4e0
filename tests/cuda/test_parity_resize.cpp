// On the card as on the CPU, 2-D and 3-D, float and bf16: upsampling, average pooling, pixel shuffle.
#include "cuda/device_run.hpp"
#include "ops/resize_cases.hpp"

using namespace ctseg;
using namespace ctseg::test;

TEST_CASE("card: upsample") { check_twins(MakeUpsample{}); }
TEST_CASE("card: average pool") { check_twins(MakeAveragePool{}); }
TEST_CASE("card: adaptive average pool") { check_twins(MakeAdaptivePool{}); }
TEST_CASE("card: pixel shuffle") { check_twins(MakePixelShuffle{}); }
