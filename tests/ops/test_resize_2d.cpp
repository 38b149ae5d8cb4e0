// Upsampling, average pooling and pixel shuffle, 2-D.
#include "resize_cases.hpp"

using namespace ctseg;
using namespace ctseg::test;

TEST_CASE("upsample 2-D: derivatives, adjoint, precisions, threads") { check_family<2>(MakeUpsample{}, {.rounds = 40}); }
TEST_CASE("average pool 2-D: derivatives, adjoint, precisions, threads") { check_family<2>(MakeAveragePool{}, {.rounds = 20}); }
TEST_CASE("adaptive average pool 2-D: derivatives, adjoint, precisions, threads") {
  check_family<2>(MakeAdaptivePool{}, {.rounds = 20});
}
TEST_CASE("pixel shuffle 2-D: derivatives, adjoint, precisions, threads") { check_family<2>(MakePixelShuffle{}); }
