// Random networks in bf16, 3-D: activations of two bytes beside losses of four.
#include "graph_checks.hpp"

TEST_CASE("60 random networks in bf16: a plan has the bits of the eager tape") {
  for (std::uint64_t seed = 1000; seed < 1060; ++seed)
    ctseg::test::GraphCheck<ctseg::Spec<ctseg::bf16, 3, ctseg::Cpu>>(seed).all();
}
