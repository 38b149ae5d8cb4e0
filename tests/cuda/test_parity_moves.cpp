// On the card as on the CPU, 2-D and 3-D, float and bf16: pooling, concatenation, slices, sums, products, padding, dropout, softmax.
#include "cuda/device_run.hpp"
#include "ops/moves_cases.hpp"

using namespace ctseg;
using namespace ctseg::test;

TEST_CASE("card: max pool") { check_twins(MakePool{}); }
TEST_CASE("card: concat") { check_twins(MakeConcat{}); }
TEST_CASE("card: add") { check_twins(MakeAdd{}); }
TEST_CASE("card: multiply") { check_twins(MakeMultiply{}); }
TEST_CASE("card: slice") { check_twins(MakeSlice{}); }
TEST_CASE("card: pad") { check_twins(MakePad{}); }
TEST_CASE("card: dropout") { check_twins(MakeDropout{}); }
TEST_CASE("card: softmax") { check_twins(MakeSoftmax{}); }
