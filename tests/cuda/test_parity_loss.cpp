// On the card as on the CPU, 2-D and 3-D, float and bf16: losses.
#include "cuda/device_run.hpp"
#include "ops/loss_cases.hpp"

using namespace ctseg;
using namespace ctseg::test;

TEST_CASE("card: dice ce") { check_twins(MakeDiceCe{}); }
TEST_CASE("card: segmentation loss") { check_twins(MakeSegmentationLoss{}); }
