// Convolution and transposed convolution, 3-D.
#include "conv_checks.hpp"

using namespace ctseg;
using namespace ctseg::test;

TEST_CASE("conv 3-D: derivatives, adjoint, precisions, threads") { check_family<3>(MakeConv{}); }
TEST_CASE("conv transposed 3-D: derivatives, adjoint, precisions, threads") { check_family<3>(MakeConvTransposed{}); }
TEST_CASE("conv 3-D equals plain loops") { check_conv_reference<MakeConv, 3>(); }
TEST_CASE("conv transposed 3-D equals plain loops") { check_conv_reference<MakeConvTransposed, 3>(); }
