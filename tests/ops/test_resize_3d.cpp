// Upsampling, average pooling and pixel shuffle, 3-D.
#include "resize_cases.hpp"
#include "support/op_checks.hpp"

using namespace ctseg;
using namespace ctseg::test;

TEST_CASE("upsample 3-D: derivatives, adjoint, precisions, threads") { check_family<3>(MakeUpsample{}); }
TEST_CASE("average pool 3-D: derivatives, adjoint, precisions, threads") { check_family<3>(MakeAveragePool{}); }
TEST_CASE("adaptive average pool 3-D: derivatives, adjoint, precisions, threads") { check_family<3>(MakeAdaptivePool{}); }
TEST_CASE("pixel shuffle 3-D: derivatives, adjoint, precisions, threads") { check_family<3>(MakePixelShuffle{}); }
