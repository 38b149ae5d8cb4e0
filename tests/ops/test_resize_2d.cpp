// Upsampling, average pooling and pixel shuffle, 2-D.
#include "resize_cases.hpp"
#include "support/op_checks.hpp"

using namespace ctseg;
using namespace ctseg::test;

TEST_CASE("upsample 2-D: derivatives, adjoint, precisions, threads") { check_family<2>(MakeUpsample{}); }
TEST_CASE("average pool 2-D: derivatives, adjoint, precisions, threads") { check_family<2>(MakeAveragePool{}); }
TEST_CASE("adaptive average pool 2-D: derivatives, adjoint, precisions, threads") { check_family<2>(MakeAdaptivePool{}); }
TEST_CASE("pixel shuffle 2-D: derivatives, adjoint, precisions, threads") { check_family<2>(MakePixelShuffle{}); }
