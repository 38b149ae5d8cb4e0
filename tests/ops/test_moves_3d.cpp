// Pooling, concatenation, slices, sum, product, padding, dropout and softmax, 3-D.
#include "moves_cases.hpp"

using namespace ctseg;
using namespace ctseg::test;

TEST_CASE("max pool 3-D: derivatives, precisions, threads") { check_family<3>(MakePool{}, {.rounds = 30}); }
TEST_CASE("concat 3-D: derivatives, adjoint, precisions, threads") { check_family<3>(MakeConcat{}); }
TEST_CASE("add 3-D: derivatives, adjoint, precisions, threads") { check_family<3>(MakeAdd{}); }
TEST_CASE("multiply 3-D: derivatives, precisions, threads") { check_family<3>(MakeMultiply{}, {.rounds = 16}); }
TEST_CASE("slice 3-D: derivatives, adjoint, precisions, threads") { check_family<3>(MakeSlice{}); }
TEST_CASE("pad 3-D: derivatives, adjoint, precisions, threads") { check_family<3>(MakePad{}, {.rounds = 40}); }
TEST_CASE("dropout 3-D: derivatives, adjoint, precisions, threads") { check_family<3>(MakeDropout{}, {.rounds = 24}); }
TEST_CASE("softmax 3-D: derivatives, precisions, threads") { check_family<3>(MakeSoftmax{}, {.rounds = 16}); }
