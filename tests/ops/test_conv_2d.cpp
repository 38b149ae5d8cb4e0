// Convolution and transposed convolution, 2-D.
#include "conv_checks.hpp"

using namespace ctseg;
using namespace ctseg::test;

TEST_CASE("conv 2-D: derivatives, adjoint, precisions, threads") { check_family<2>(MakeConv{}); }
TEST_CASE("conv transposed 2-D: derivatives, adjoint, precisions, threads") { check_family<2>(MakeConvTransposed{}); }
TEST_CASE("conv 2-D equals plain loops") { check_conv_reference<MakeConv, 2>(); }
TEST_CASE("conv transposed 2-D equals plain loops") { check_conv_reference<MakeConvTransposed, 2>(); }
