// Pooling, concatenation, slices, sum, product, padding, dropout and softmax, 2-D.
#include "moves_cases.hpp"
#include "support/op_checks.hpp"

using namespace ctseg;
using namespace ctseg::test;

TEST_CASE("max pool 2-D: derivatives, precisions, threads") { check_family<2>(MakePool{}); }
TEST_CASE("concat 2-D: derivatives, adjoint, precisions, threads") { check_family<2>(MakeConcat{}); }
TEST_CASE("add 2-D: derivatives, adjoint, precisions, threads") { check_family<2>(MakeAdd{}); }
TEST_CASE("multiply 2-D: derivatives, precisions, threads") { check_family<2>(MakeMultiply{}); }
TEST_CASE("slice 2-D: derivatives, adjoint, precisions, threads") { check_family<2>(MakeSlice{}); }
TEST_CASE("pad 2-D: derivatives, adjoint, precisions, threads") { check_family<2>(MakePad{}); }
TEST_CASE("dropout 2-D: derivatives, adjoint, precisions, threads") { check_family<2>(MakeDropout{}); }
TEST_CASE("softmax 2-D: derivatives, precisions, threads") { check_family<2>(MakeSoftmax{}); }
