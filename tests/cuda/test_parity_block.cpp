// On the card as on the CPU, 2-D and 3-D, float and bf16: blocks of convolution, norm and activation.
#include "cuda/device_run.hpp"
#include "ops/norm_cases.hpp"

using namespace ctseg;
using namespace ctseg::test;

TEST_CASE("card: conv norm act") { check_twins(MakeBlock{}); }
TEST_CASE("card: conv norm add act") { check_twins(MakeBlock{true}); }
