// The ops that losses are made of, 2-D.
#include "loss/loss_op_cases.hpp"
#include "support/op_checks.hpp"

using namespace ctseg;
using namespace ctseg::test;

TEST_CASE("top-k 2-D: derivatives, precisions, threads") { check_family<2>(MakeTopK{}, {.bf16_tolerance = 3e-2}); }
TEST_CASE("hausdorff 2-D: derivatives, precisions, threads") {
  check_family<2>(MakeDistanceLoss{false}, {.bf16_tolerance = 3e-2});
}
TEST_CASE("boundary 2-D: derivatives, precisions, threads") {
  check_family<2>(MakeDistanceLoss{true}, {.bf16_tolerance = 3e-2});
}
TEST_CASE("soft erosion 2-D: derivatives, precisions, threads") { check_family<2>(MakeMorphology{false}); }
TEST_CASE("soft dilation 2-D: derivatives, precisions, threads") { check_family<2>(MakeMorphology{true}); }
TEST_CASE("centerline dice 2-D: derivatives, precisions, threads") { check_family<2>(MakeCenterlineDice{}); }
TEST_CASE("weighted sum 2-D: derivatives, adjoint, precisions, threads") { check_family<2>(MakeWeightedSum{}); }
