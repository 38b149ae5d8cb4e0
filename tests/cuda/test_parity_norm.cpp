// On the card as on the CPU, 2-D and 3-D, float and bf16: activations and norms.
#include "cuda/device_run.hpp"
#include "ops/norm_cases.hpp"

using namespace ctseg;
using namespace ctseg::test;

TEST_CASE("card: relu") { check_twins(MakeActivation{ActivationKind::relu}); }
TEST_CASE("card: leaky relu") { check_twins(MakeActivation{ActivationKind::leaky_relu}); }
TEST_CASE("card: prelu") { check_twins(MakeActivation{ActivationKind::prelu}); }
TEST_CASE("card: prelu per channel") { check_twins(MakeActivation{ActivationKind::prelu, false}); }
TEST_CASE("card: elu") { check_twins(MakeActivation{ActivationKind::elu}); }
TEST_CASE("card: gelu") { check_twins(MakeActivation{ActivationKind::gelu}); }
TEST_CASE("card: sigmoid") { check_twins(MakeActivation{ActivationKind::sigmoid}); }
TEST_CASE("card: instance norm") { check_twins(MakeNorm{NormKind::instance}); }
TEST_CASE("card: batch norm") { check_twins(MakeNorm{NormKind::batch}); }
TEST_CASE("card: group norm") { check_twins(MakeNorm{NormKind::group}); }
TEST_CASE("card: instance norm add") { check_twins(MakeNorm{NormKind::instance, true}); }
