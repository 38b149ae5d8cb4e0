// Every op with half as storage: the values and gradients of double, to the digits that half has.
#include "families.hpp"
#include "support/op_checks.hpp"

using namespace ctseg;
using namespace ctseg::test;

TEST_CASE("every op in half precision") {
  Context<Cpu> ctx({.threads = 1});
  each_family([&](const char* name, auto make) {
    CAPTURE(name);
    for (std::uint64_t round = 0; round < 8; ++round) {
      Draw a({.seed = round, .op = 6}), b = a;
      const auto in_half = make(Spec<half, 3, Cpu>{}, a);
      check_precision(in_half, make(Spec<double, 3, Cpu>{}, b), ctx, 1e-2);
    }
  });
}
