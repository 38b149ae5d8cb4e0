// Instance and batch normalisation, 2-D.
#include "norm_cases.hpp"

using namespace ctseg;
using namespace ctseg::test;

TEST_CASE("norm 2-D: derivatives, precisions, threads") {
  check_family<2>(MakeNorm{}, {.rounds = 80, .float_tolerance = 1e-5});
}
TEST_CASE("norm 2-D equals its formulas") {
  check_norm_reference<2>(Mode::train);
  check_norm_reference<2>(Mode::infer);
}
