// Instance and batch normalisation, 3-D.
#include "norm_checks.hpp"

using namespace ctseg;
using namespace ctseg::test;

TEST_CASE("norm 3-D: derivatives, precisions, threads") {
  for (NormKind kind : {NormKind::instance, NormKind::batch, NormKind::group})
    for (const bool residual : {false, true}) check_family<3>(MakeNorm{kind, residual}, {.float_tolerance = 1e-5});
}
TEST_CASE("norm 3-D equals its formulas") {
  check_norm_reference<3>(Mode::train);
  check_norm_reference<3>(Mode::infer);
}
