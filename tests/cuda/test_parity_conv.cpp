// On the card as on the CPU, 2-D and 3-D, float and bf16: convolutions. Weights reach the card rounded to its type.
#include "cuda/device_run.hpp"
#include "ops/conv_cases.hpp"

using namespace ctseg;
using namespace ctseg::test;

TEST_CASE("card: conv") { check_twins(MakeConv{}); }
TEST_CASE("card: conv transposed") { check_twins(MakeConvTransposed{}); }
