// Convolution, norm and activation as one op, 3-D: what each op passes, and what its three parts make.
#include "block_checks.hpp"

using namespace ctseg;
using namespace ctseg::test;

TEST_CASE("block 3-D: derivatives, precisions, threads") {
  for (const bool residual : {false, true})
    check_family<3>(MakeBlock{residual}, {.float_tolerance = 2e-5, .bf16_tolerance = 1e-1});
}
TEST_CASE("block 3-D is its parts: in double to the bit") {
  check_block_parts<Spec<double, 3, Cpu>>(0);
  check_block_parts<Spec<float, 3, Cpu>>(1e-6);
}
