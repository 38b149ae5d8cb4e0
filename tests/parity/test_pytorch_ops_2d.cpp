// Every op against PyTorch in 2-D.
#include "parity/op_parity.hpp"

using namespace ctseg;
using namespace ctseg::test;

TEST_CASE("ops equal PyTorch's, 2-D in double") { check_ops<Spec<double, 2, Cpu>>(1e-11); }
TEST_CASE("ops equal PyTorch's, 2-D in float") { check_ops<Spec<float, 2, Cpu>>(1e-5); }
TEST_CASE("every op has a fixture, and every fixture an op, 2-D") { check_op_list<Spec<double, 2, Cpu>>(); }
