// What a plan says it needs is what the system sees.
#include <fstream>

#include "support/plan_checks.hpp"

#include <ctseg/models/basic_unet.hpp>

using namespace ctseg;
using namespace ctseg::test;

namespace {
/// Bytes of this process in memory; 0 where the system does not say.
double resident() {
  std::ifstream status("/proc/self/statm");
  double total = 0, pages = 0;
  return status >> total >> pages ? pages * 4096 : 0;
}
}   // namespace

TEST_CASE("the memory estimate of inference is what the process grows by") {
  using S = Spec<float, 3, Cpu>;
  const Shape<3> shape{.n = 1, .c = 1, .space = {64, 64, 64}};
  const double before = resident();
  Context<Cpu> ctx({.threads = 1});
  BasicUNet<S> net;
  net.initialize(ctx);
  Tape<S> list(Mode::infer, ctx.traits());
  const auto x = list.input(shape), y = net.forward(x);
  const Plan<S> plan(list, {.outputs = {y}});
  Run<S> run(plan, ctx);
  std::fill_n(run.input(x).data, shape.elements(), 0.5f);
  run.forward();
  const double grown = resident() - before, estimate = static_cast<double>(plan.memory().total());
  INFO("grown by " << grown * 1e-6 << " MB, estimated " << estimate * 1e-6 << " MB");
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)   // which count otherwise
  if (before > 0) {
    CHECK(grown < 1.15 * estimate);
    CHECK(grown > 0.7 * estimate);   // scratch of tasks that no thread takes stays untouched, the heap may have had room
  }
#endif
}
