// What compile.sh and neon.sh look into: every tile of the float convolution engine, through its three entries.
#include <ctseg/ops/cpu/simd/conv.hpp>

using namespace ctseg;
using namespace ctseg::simd;

void passes(Executor& executor, const ConvPlan& plan, const PackBuffers& w, const GatherBuffers& x, const GradientBuffers& dw);
void passes(Executor& executor, const ConvPlan& plan, const PackBuffers& w, const GatherBuffers& x, const GradientBuffers& dw) {
  gather_pack(executor, plan, w);
  gather(executor, plan, x);
  weight_gradient(executor, plan, dw);
}
