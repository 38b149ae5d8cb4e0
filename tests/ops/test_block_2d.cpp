// Convolution, norm and activation as one op, 2-D: what each op passes, and what its three parts make.
#include "block_checks.hpp"

using namespace ctseg;
using namespace ctseg::test;

TEST_CASE("block 2-D: derivatives, precisions, threads") {
  for (const bool residual : {false, true})
    check_family<2>(MakeBlock{residual}, {.float_tolerance = 2e-5, .bf16_tolerance = 1e-1});
}
TEST_CASE("block 2-D is its parts: in double to the bit") {
  check_block_parts<Spec<double, 2, Cpu>>(0);
  check_block_parts<Spec<float, 2, Cpu>>(1e-6);
}
