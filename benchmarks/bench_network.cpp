// BasicUNet as a whole: one inference and one training step of a patch, per number of threads, with the memory the plan asks
// for. Usage: ctseg_bench_network [extent = 96] [repeats = 5] [accuracy = standard]
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>

#include <ctseg/loss/loss.hpp>
#include <ctseg/models/basic_unet.hpp>
#include <ctseg/nn/predictor.hpp>
#include <ctseg/ops/cpu.hpp>
#include <ctseg/optim/adam.hpp>

namespace cs = ctseg;
using S = cs::Spec<float, 3, cs::Cpu>;

namespace {

struct Times {
  double best, median;
};
template <class F> Times measure(int repeats, F f) {
  std::vector<double> seconds;
  for (int k = 0; k <= repeats; ++k) {   // the first one warms up
    const auto start = std::chrono::steady_clock::now();
    f();
    if (k > 0) seconds.push_back(std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
  }
  std::ranges::sort(seconds);
  return {seconds.front(), seconds[seconds.size() / 2]};
}

/// Multiply-adds of all convolutions of a tape, times two.
double flop(const cs::Tape<S>& tape) {
  double sum = 0;
  for (const auto& node : tape.nodes()) {
    if (node.inputs.empty() || node.weights.empty() || node.weights[0].size() < 32) continue;
    const auto &x = tape.nodes()[cs::at(node.inputs[0])].info.shape, &y = node.info.shape;
    const bool transposed = node.op->name() == "ConvTranspose";
    const double meets = static_cast<double>(transposed ? x.n * x.voxels() : y.n * y.voxels());
    sum += 2 * meets * static_cast<double>(node.weights[0].size());
  }
  return sum;
}

void print(const char* what, int threads, const Times& t, double gflop, cs::Index bytes) {
  std::printf("%-14s %7d %10.1f %10.1f %10.0f %10.0f\n", what, threads, t.best * 1e3, t.median * 1e3, gflop / t.best,
              static_cast<double>(bytes) / 1e6);
}

}   // namespace

int main(int argc, char** argv) {
  const cs::Index extent = argc > 1 ? std::atoi(argv[1]) : 96;
  const int repeats = argc > 2 ? std::atoi(argv[2]) : 5;
  cs::Accuracy accuracy = cs::Accuracy::standard;
  for (const cs::Accuracy a : {cs::Accuracy::strict, cs::Accuracy::fast})
    if (argc > 3 && cs::text(a) == argv[3]) accuracy = a;
  const cs::Shape<3> shape{1, 1, {extent, extent, extent}};
  std::printf("BasicUNet (32, 32, 64, 128, 256, 32), one patch of %lld^3, %s\n", static_cast<long long>(extent),
              cs::text(accuracy).c_str());
  std::printf("%-14s %7s %10s %10s %10s %10s\n", "", "threads", "best ms", "median ms", "GFLOP/s", "plan MB");
  for (const int threads : {1, 2}) {
    cs::Context<cs::Cpu> ctx{{.threads = threads, .seed = 1, .accuracy = accuracy}};
    cs::BasicUNet<S> net;
    net.initialize(ctx);
    cs::Tape<S> tape(cs::Mode::train, ctx.traits());
    const auto x = tape.input(shape), labels = tape.input(shape, cs::Dtype::u8), loss = cs::dice_ce(net.forward(x), labels);
    const double gflop = flop(tape) / 1e9;
    {
      cs::Predictor<cs::BasicUNet<S>> predict(ctx, net, shape);
      cs::RandomStream random({1});
      for (cs::Index r = 0; r < shape.voxels(); ++r) predict.input().row(r)[0] = static_cast<float>(random.uniform());
      print("inference", threads, measure(repeats, [&] { predict(); }), gflop, predict.memory().total());
    }
    const cs::Plan<S> plan(tape, {.loss = loss});
    cs::Run<S> run(plan, ctx);
    cs::AdamW<S> adam(net.parameters(), {});
    cs::Gradients<S> gradients(net.parameters());
    const auto step = [&] {
      for (cs::Index r = 0; r < shape.voxels(); ++r)
        run.input(x).row(r)[0] = 0.01f * static_cast<float>(r % 97), run.input_as<std::uint8_t>(labels).row(r)[0] = r % 97 > 60;
      run.forward();
      gradients.zero();
      run.backward(gradients);
      adam.step(ctx, gradients);
    };
    print("training step", threads, measure(std::max(1, repeats / 2), step), 3 * gflop, plan.memory().total());
  }
}
