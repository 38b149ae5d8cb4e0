// Convolution, norm and activation as one op, 2-D: what each op passes, and the bits of its three parts.
#include "block_checks.hpp"

using namespace ctseg;
using namespace ctseg::test;

TEST_CASE("block 2-D: derivatives, precisions, threads") {
  for (const bool residual : {false, true})
    check_family<2>(MakeBlock{residual}, {.float_tolerance = 2e-5, .bf16_tolerance = 1e-1});
}
TEST_CASE("block 2-D has the bits of its parts") {
  check_block_parts<Spec<double, 2, Cpu>>();
  check_block_parts<Spec<float, 2, Cpu>>();
}
