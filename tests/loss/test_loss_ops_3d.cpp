// The ops that losses are made of, 3-D.
#include "loss/loss_op_cases.hpp"
#include "support/op_checks.hpp"

using namespace ctseg;
using namespace ctseg::test;

TEST_CASE("top-k 3-D: derivatives, precisions, threads") { check_family<3>(MakeTopK{}, {.bf16_tolerance = 3e-2}); }
TEST_CASE("hausdorff 3-D: derivatives, precisions, threads") {
  check_family<3>(MakeDistanceLoss{false}, {.bf16_tolerance = 3e-2});
}
TEST_CASE("boundary 3-D: derivatives, precisions, threads") {
  check_family<3>(MakeDistanceLoss{true}, {.bf16_tolerance = 3e-2});
}
TEST_CASE("soft erosion 3-D: derivatives, precisions, threads") { check_family<3>(MakeMorphology{false}); }
TEST_CASE("soft dilation 3-D: derivatives, precisions, threads") { check_family<3>(MakeMorphology{true}); }
TEST_CASE("centerline dice 3-D: derivatives, precisions, threads") { check_family<3>(MakeCenterlineDice{}); }
TEST_CASE("weighted sum 3-D: derivatives, adjoint, precisions, threads") { check_family<3>(MakeWeightedSum{}); }
