// Random networks in float, 2-D.
#include "graph_checks.hpp"

TEST_CASE("300 random networks in float: a plan has the bits of the eager tape") {
  for (std::uint64_t seed = 0; seed < 300; ++seed) ctseg::test::GraphCheck<ctseg::Spec<float, 2, ctseg::Cpu>>(seed).all();
}
