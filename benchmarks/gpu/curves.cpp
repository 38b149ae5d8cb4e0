// Five networks in training on the card beside the same trainings on the CPU in float: the same weights, patches and steps, and
// losses that must stay together. What single ops' tolerances promise is found true here or not, over steps that build on each
// other. Exit status 1: a curve is too far off; 77: no card.
// usage: ctseg_gpu_curves [--nets NAME,...] [--types f32,bf16] [--steps 50] [--threads N] [--json FILE]
//        --tiny: small enough for the emulated card
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <thread>

#include <ctseg/cuda.hpp>
#include <ctseg/nn/run.hpp>
#include <ctseg/ops/cpu.hpp>
#include <ctseg/optim/adam.hpp>

#include "networks.hpp"

using namespace ctseg;
using ctseg::bench::listed;

namespace {

constexpr Index kPatches = 4;   // in turn
constexpr std::uint64_t kSeed = 7;

struct Options {
  std::string nets = bench::kNetworks, types = "f32,bf16", json;
  Index steps = 50, size = 48, divisor = 2;
  int threads = 0;
};
/// Of the curve, relative to the CPU's loss of the step.
double tolerance_of(const std::string& type) { return type == "f32" ? 1e-3 : 1e-2; }

/// Two blobs in noise, and where they are.
struct Batch {
  Tensor<float, 3> image;
  Tensor<std::uint8_t, 3> labels;
  Batch(const Shape<3>& shape, std::uint64_t seed) : image(shape), labels(shape) {
    RandomStream random({.seed = kSeed, .op = static_cast<std::uint32_t>(seed)});
    const auto [z, y, x] = shape.space;
    for (Index n = 0; n < shape.n; ++n) {
      double center[2][3], radius[2];
      for (int b = 0; b < 2; ++b) {
        for (std::size_t d = 0; d < 3; ++d) center[b][d] = random.uniform(0.2, 0.8) * static_cast<double>(shape.space[d]);
        radius[b] = random.uniform(0.1, 0.25) * static_cast<double>(x);
      }
      for (Index v = 0; v < shape.voxels(); ++v) {
        const double at[3] = {double(v / (y * x)), double(v / x % y), double(v % x)};
        bool inside = false;
        for (int b = 0; b < 2; ++b) {
          double square = 0;
          for (std::size_t d = 0; d < 3; ++d) square += (at[d] - center[b][d]) * (at[d] - center[b][d]);
          inside = inside || square < radius[b] * radius[b];
        }
        labels.data()[n * z * y * x + v] = inside;
        image.data()[n * z * y * x + v] = static_cast<float>(bf16(static_cast<float>(random.normal() + (inside ? 1.5 : 0))));
      }
    }
  }
};

template <AnySpec S, class Net> std::vector<double> losses_of(const Options& o, Net net, const std::vector<Batch>& batches) {
  Context<typename S::Device> ctx({.threads = o.threads, .seed = kSeed});
  net.initialize(ctx);
  const Shape<3> shape = batches[0].image.shape();
  Tape<S> tape(Mode::train, ctx.traits());
  const Var<S> x = tape.input(shape), labels = tape.input(shape, Dtype::u8), loss = dice_ce(net.forward(x), labels);
  const Plan<S> plan(tape, {.loss = loss});
  Run<S> run(plan, ctx);
  Gradients<S> gradients(net.parameters());
  AdamW<S> adam(net.parameters(), {.learning_rate = 3e-4});
  std::vector<double> losses;
  for (Index step = 0; step < o.steps; ++step) {
    const Batch& b = batches[static_cast<std::size_t>(step % kPatches)];
    Tensor<typename S::T, 3> image(shape);
    for (Index i = 0; i < shape.elements(); ++i) image.data()[i] = typename S::T(b.image.data()[i]);
    from_host<S>(ctx, View<const typename S::T, 3>(image), run.input(x));
    from_host<S>(ctx, View<const std::uint8_t, 3>(b.labels), run.template input_as<std::uint8_t>(labels));
    gradients.zero();
    run.forward();
    run.backward(gradients);
    losses.push_back(run.scalar(loss));
    adam.step(ctx, gradients);
  }
  return losses;
}

class Report {
 public:
  explicit Report(const std::string& json) {
    if (!json.empty()) json_.open(json);
  }
  int failures = 0;
  void curve(const std::string& name, const std::string& type, const std::vector<double>& losses,
             const std::vector<double>& cpu) {
    double worst = 0;
    std::size_t where = 0;
    for (std::size_t i = 0; i < cpu.size(); ++i) {
      const double off = std::abs(losses[i] - cpu[i]) / cpu[i];
      if (!(off <= worst)) worst = off, where = i;
    }
    const double most = tolerance_of(type);
    const bool good = worst <= most;
    failures += !good;
    std::printf("curve    %-16s %-5s %s: %.1e off at step %zu, at most %.0e; loss %.5f -> %.5f, the CPU's %.5f -> %.5f\n",
                name.c_str(), type.c_str(), good ? "ok" : "FAILED", worst, where, most, losses.front(), losses.back(),
                cpu.front(), cpu.back());
    line(name, type, losses);
  }
  void failed(const std::string& name, const std::string& type, const char* why) {
    ++failures;
    std::printf("curve    %-16s %-5s FAILED: %s\n", name.c_str(), type.c_str(), why);
    std::fflush(stdout);
  }
  void line(const std::string& name, const std::string& type, const std::vector<double>& losses) {
    std::fflush(stdout);
    json_ << "{\"kind\": \"curve\", \"name\": \"" << name << "\", \"type\": \"" << type << "\", \"losses\": [";
    for (std::size_t i = 0; i < losses.size(); ++i) json_ << (i ? ", " : "") << losses[i];
    json_ << "]}" << std::endl;
  }

 private:
  std::ofstream json_;
};

double now() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

template <class T> void on_card(const Options& o, const std::string& name, const std::vector<Batch>& batches,
                                const std::vector<double>& cpu, Report& report) {
  using S = Spec<T, 3, Cuda>;
  const std::string type(text(dtype_of<T>()));
  if (!listed(o.types, type)) return;
  bench::for_networks<S>(name, o.divisor, [&](const char*, auto make) {
    try {
      report.curve(name, type, losses_of<S>(o, make(), batches), cpu);
    } catch (const Error& e) {
      report.failed(name, type, e.what());
    }
  });
}

Options parse(int argc, char** argv) {
  Options o;
  o.threads = static_cast<int>(std::thread::hardware_concurrency());
  for (int i = 1; i < argc; ++i) {
    const std::string key = argv[i];
    if (key == "--tiny") {
      o.size = 32, o.divisor = 16;
      continue;
    }
    const char* value = i + 1 < argc ? argv[++i] : "";
    if (key == "--nets")
      o.nets = value;
    else if (key == "--types")
      o.types = value;
    else if (key == "--json")
      o.json = value;
    else if (key == "--steps")
      o.steps = std::atoll(value);
    else if (key == "--threads")
      o.threads = std::atoi(value);
    else
      throw Error(Code::bad_argument, "ctseg_gpu_curves", "no such option: " + key);
  }
  return o;
}

}   // namespace

int main(int argc, char** argv) try {
  const Options o = parse(argc, argv);
  if (cuda::device_count() == 0) {
    std::printf("SKIP: no CUDA device (%s)\n", cuda::why_no_device().c_str());
    return 77;
  }
  std::printf("%s; %lld steps of AdamW\n", cuda::device_facts(0).name.c_str(), static_cast<long long>(o.steps));
  Report report(o.json);
  using Host = Spec<float, 3, Cpu>;
  bench::for_networks<Host>(o.nets, o.divisor, [&](const char* name, auto make) {
    const Index size = std::strcmp(name, "plain_conv_unet") == 0 ? (o.size + 31) / 32 * 32 : o.size;   // five strides of 2
    std::vector<Batch> batches;
    for (Index k = 0; k < kPatches; ++k)
      batches.emplace_back(Shape<3>{2, 1, {size, size, size}}, static_cast<std::uint64_t>(k));
    const double begin = now();
    const std::vector<double> cpu = losses_of<Host>(o, make(), batches);
    report.line(name, "cpu", cpu);
    const double middle = now();
    on_card<float>(o, name, batches, cpu, report);
    on_card<bf16>(o, name, batches, cpu, report);
    std::printf("         %.1f s on the CPU, %.1f s on the card\n", middle - begin, now() - middle);
  });
  return report.failures > 0 ? 1 : 0;
} catch (const std::exception& e) {
  std::fprintf(stderr, "ctseg_gpu_curves: %s\n", e.what());
  return 1;
}
