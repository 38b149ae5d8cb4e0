// Pooling, concatenation, slices, sum, product, padding, dropout and softmax, 3-D.
#include "moves_cases.hpp"
#include "support/op_checks.hpp"

using namespace ctseg;
using namespace ctseg::test;

TEST_CASE("max pool 3-D: derivatives, precisions, threads") { check_family<3>(MakePool{}); }
TEST_CASE("concat 3-D: derivatives, adjoint, precisions, threads") { check_family<3>(MakeConcat{}); }
TEST_CASE("add 3-D: derivatives, adjoint, precisions, threads") { check_family<3>(MakeAdd{}); }
TEST_CASE("multiply 3-D: derivatives, precisions, threads") { check_family<3>(MakeMultiply{}); }
TEST_CASE("slice 3-D: derivatives, adjoint, precisions, threads") { check_family<3>(MakeSlice{}); }
TEST_CASE("pad 3-D: derivatives, adjoint, precisions, threads") { check_family<3>(MakePad{}); }
TEST_CASE("dropout 3-D: derivatives, adjoint, precisions, threads") { check_family<3>(MakeDropout{}); }
TEST_CASE("softmax 3-D: derivatives, precisions, threads") { check_family<3>(MakeSoftmax{}); }
