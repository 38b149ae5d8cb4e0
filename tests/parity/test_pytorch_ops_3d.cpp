// Every op against PyTorch in 3-D.
#include "parity/op_parity.hpp"

using namespace ctseg;
using namespace ctseg::test;

TEST_CASE("ops equal PyTorch's, 3-D in double") { check_ops<Spec<double, 3, Cpu>>(1e-11); }
TEST_CASE("ops equal PyTorch's, 3-D in float") { check_ops<Spec<float, 3, Cpu>>(1e-5); }
TEST_CASE("every op has a fixture, and every fixture an op, 3-D") { check_op_list<Spec<double, 3, Cpu>>(); }
