// What compile.sh looks into: every tile of the float convolution engine and Winograd's transforms, through their entries, and
// the passes over rows.
#include <ctseg/ops/cpu/simd/conv.hpp>
#include <ctseg/ops/cpu/simd/row_isa.hpp>

using namespace ctseg;
using namespace ctseg::simd;

void passes(Executor& executor, const ConvPlan& plan, const PackBuffers& w, const GatherBuffers& x, const GradientBuffers& dw);
void passes(Executor& executor, const ConvPlan& plan, const PackBuffers& w, const GatherBuffers& x, const GradientBuffers& dw) {
  gather_pack(executor, plan, w);
  gather(executor, plan, x);
  weight_gradient(executor, plan, dw);
}

void winograds(Executor& executor, const WinogradPlan& plan, const PackBuffers& w, const GatherBuffers& x, float* scratch);
void winograds(Executor& executor, const WinogradPlan& plan, const PackBuffers& w, const GatherBuffers& x, float* scratch) {
  winograd_pack(executor, plan, w);
  winograd(executor, plan, x, scratch);
}

const RowTable& rows(Isa isa);
const RowTable& rows(Isa isa) { return row_passes(isa); }
