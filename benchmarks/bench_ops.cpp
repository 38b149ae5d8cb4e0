// Every op, forward and backward, on the cases that its tests declare (tests/ops/families.hpp), at the size networks have:
// 32 channels of 64 x 64 x 64 voxels. Beside GFLOP/s and GB/s stands the share of what the processor can do, measured next to
// each op: multiply-adds in registers, and copies of memory. Bytes are those an op must move: what it reads and what it writes.
// usage: bench_ops [--benchmark_filter=NAME/...] and the other options of Google Benchmark; CTSEG_THREADS=N, default: all
#include <benchmark/benchmark.h>

#include <cstdlib>
#include <memory>
#include <thread>

#include "../tests/ops/families.hpp"
#include "../tests/support/op_run.hpp"
#include "ceilings.hpp"

using namespace ctseg;
using namespace ctseg::bench;
using namespace ctseg::test;

namespace {

using S = Spec<float, 3, Cpu>;
enum class Pass { forward, backward };

int threads() {
  const char* wanted = std::getenv("CTSEG_THREADS");
  return wanted ? std::atoi(wanted) : static_cast<int>(std::max(1u, std::thread::hardware_concurrency()));
}

double bytes_of_all(const std::vector<ValueInfo<3>>& values) {
  double sum = 0;
  for (const auto& v : values) sum += static_cast<double>(v.shape.elements() * size_of(v.dtype));
  return sum;
}

/// Forward reads x and writes y; backward reads dy, and x and y where it asks for them, and writes dx.
double bytes_moved(const OpCase<S>& c, const Inferred<S>& info, Pass pass) {
  const double x = bytes_of_all(c.inputs), y = static_cast<double>(info.shape.elements() * size_of(info.dtype));
  if (pass == Pass::forward) return x + y;
  return y + x + (info.reads_inputs ? x : 0) + (info.reads_output ? y : 0);
}

template <class Make> void measure(benchmark::State& state, Make make, Pass pass) {
  Draw draw({}, CaseSize::bench);
  const OpCase<S> c = make(S{}, draw);
  Context<Cpu> ctx({.threads = threads()});
  OpRun<S> run(c, ctx, {.packed = true});
  run.forward(), run.backward();
  Executor& pool = ctx.executor();
  const double copy = copy_gbytes(pool, 0.1), peak = peak_gflops(pool, 0.1);
  double spent = 0;
  for (auto _ : state) {
    const double start = now();
    pass == Pass::forward ? run.compute() : run.differentiate();
    const double time = now() - start;
    state.SetIterationTime(time);
    spent += time;
  }
  const double each = spent / static_cast<double>(state.iterations());
  const double flop = c.flop * (pass == Pass::forward ? 1 : 2), moved = bytes_moved(c, run.info, pass);
  state.counters["GB/s"] = moved / each * 1e-9;
  state.counters["%copy"] = 100 * moved / each * 1e-9 / ((copy + copy_gbytes(pool, 0.1)) / 2);
  if (flop > 0) state.counters["GFLOP/s"] = flop / each * 1e-9;
  if (flop > 0) state.counters["%peak"] = 100 * flop / each * 1e-9 / ((peak + peak_gflops(pool, 0.1)) / 2);
  state.SetLabel(c.name);
}

}   // namespace

int main(int argc, char** argv) {
  each_family([](const char* name, auto make) {
    for (Pass pass : {Pass::forward, Pass::backward})
      benchmark::RegisterBenchmark((std::string(name) + (pass == Pass::forward ? "/forward" : "/backward")).c_str(),
                                   [make, pass](benchmark::State& state) { measure(state, make, pass); })
          ->UseManualTime()
          ->Unit(benchmark::kMillisecond);
  });
  benchmark::AddCustomContext("ctseg_isa", text(Context<Cpu>({.threads = 1}).traits().isa));
  benchmark::AddCustomContext("ctseg_threads", std::to_string(threads()));
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 1;
  benchmark::RunSpecifiedBenchmarks();
}
