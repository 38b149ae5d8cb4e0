// What the card does: its own copy, every op of the library beside it, and whole networks, forward and a step of training. One
// table for people and one JSON object a line for programs (--json). It compares nothing: gpu/torch_arms.py is the other side.
// Times are medians of samples of at least `seconds` / 20 each, measured around work that fills the queue, after a warm-up. An op's
// bytes are what it must move: what it reads and what it writes, once.
// usage: ctseg_bench_gpu [--part copy,ops,optim,nets] [--only TEXT] [--nets NAME,...] [--types f32,tf32,bf16] [--edge N] [--size N]
//                        [--batch N] [--seconds S] [--json FILE]      --tiny: shapes for a dry run on the emulated card
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <fstream>

#include <ctseg/cuda.hpp>
#include <ctseg/nn/run.hpp>
#include <ctseg/optim/adam.hpp>
#include <ctseg/optim/sgd.hpp>

#include "../../tests/ops/families.hpp"
#include "networks.hpp"

using namespace ctseg;
using namespace ctseg::test;
using ctseg::bench::listed;

namespace {

struct Options {
  std::string part = "copy,ops,optim,nets", only, nets = bench::kNetworks, types = "f32,tf32,bf16", json;
  Index edge = 128, size = 128, batch = 1;
  double seconds = 1;
  bool tiny = false;
};

double now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

struct Time {
  double median, low, high;   // seconds; the 10th and the 90th of a hundred
};
/// Of one call of f, which only queues work.
template <class F> Time time_of(Context<Cuda>& ctx, const Options& o, F f) {
  const double begin = now();
  int calls = 0;
  do {
    f();
    ctx.synchronize();
    ++calls;
  } while (!o.tiny && (calls < 3 || now() - begin < 0.3 * o.seconds));
  const double once = (now() - begin) / calls;
  const int together = std::max(1, static_cast<int>(o.seconds / 20 / once));
  std::vector<double> samples;
  const double start = now();
  while (samples.size() < (o.tiny ? 1 : 5) || (samples.size() < 20 && now() - start < o.seconds)) {
    const double t = now();
    for (int k = 0; k < together; ++k) f();
    ctx.synchronize();
    samples.push_back((now() - t) / together);
  }
  std::sort(samples.begin(), samples.end());
  const auto at = [&](double part) { return samples[static_cast<std::size_t>(part * static_cast<double>(samples.size() - 1))]; };
  return {at(0.5), at(0.1), at(0.9)};
}

class Report {
 public:
  explicit Report(const std::string& json) {
    if (!json.empty()) json_.open(json);
  }
  double copy = 0;   // bytes a second, of the card's own copy
  void facts(const cuda::DeviceFacts& f) {
    std::printf("%s, sm_%d, %d multiprocessors, %lld MiB%s\n", f.name.c_str(), f.capability, f.multiprocessors,
                static_cast<long long>(f.memory >> 20), cuda::emulated() ? " - EMULATED: times mean nothing" : "");
    json_ << "{\"card\": \"" << f.name << "\", \"emulated\": " << (cuda::emulated() ? "true" : "false") << "}\n";
  }
  void row(const std::string& kind, const std::string& name, const std::string& type, const Time& t, double bytes) {
    std::printf("%-8s %-26s %-5s %10.4f ms (%.4f - %.4f)", kind.c_str(), name.c_str(), type.c_str(), t.median * 1e3, t.low * 1e3,
                t.high * 1e3);
    if (bytes > 0) std::printf("  %8.1f GB/s", bytes / t.median * 1e-9);
    if (bytes > 0 && copy > 0) std::printf("  %3.0f %% of copy", 100 * bytes / t.median / copy);
    std::printf("\n");
    std::fflush(stdout);
    json_ << "{\"kind\": \"" << kind << "\", \"name\": \"" << name << "\", \"type\": \"" << type << "\", \"ms\": " << t.median * 1e3
          << ", \"p10\": " << t.low * 1e3 << ", \"p90\": " << t.high * 1e3 << ", \"gb_s\": " << bytes / t.median * 1e-9 << "}"
          << std::endl;
  }
  void failed(const std::string& kind, const std::string& name, const std::string& type, const char* why) {
    std::printf("%-8s %-26s %-5s NOT MEASURED: %s\n", kind.c_str(), name.c_str(), type.c_str(), why);
    std::fflush(stdout);
    ++failures;
  }
  int failures = 0;

 private:
  std::ofstream json_;
};

/// An op with packed values in the card's memory.
template <AnySpec S> class OpOnCard {
 public:
  OpOnCard(const OpCase<S>& c, Context<Cuda>& ctx) : case_(c), ctx_(ctx) {
    for (const WeightCase& w : c.weights) {
      auto& p = parameters_.emplace_back();
      if (w.size > 0) p = Parameter<S>({.shape = {w.size}, .fill = (w.low + w.high) / 2 + 0.1});
      weights_.push_back(p);
      dw_.push_back(ctx.allocate(w.size * Index{sizeof(float)}));
      spans_.emplace_back(reinterpret_cast<float*>(dw_.back().data()), static_cast<std::size_t>(w.size));
    }
    bring<S>(ctx, weights_);
    info = c.op->infer({c.inputs, weights_, c.mode, ctx.traits()});
    for (const auto& i : c.inputs) x_.push_back(value(i)), dx_.push_back(value(i));
    y_ = value({info.shape, info.dtype}), dy_ = value({info.shape, info.dtype});
    saved_ = ctx.allocate(info.saved), prepared_ = ctx.allocate(info.prepared);
    scratch_ = ctx.allocate(std::max(info.forward_scratch, info.backward_scratch));
    if (info.prepared > 0) c.op->prepare({ctx, info.choice, case_.inputs, weights_, {prepared_.data()}});
  }
  void forward() {
    case_.op->forward({ctx_, case_.mode, info.choice, x_, weights_, y_, {saved_.data()}, {scratch_.data()}, {prepared_.data()}, {}});
  }
  void backward() {
    std::vector<AnyView<S::kDim>> gradients = dx_;
    for (auto& g : gradients)
      if (g.dtype == Dtype::u8 || g.dtype == Dtype::u16) g.data = nullptr;
    case_.op->backward({ctx_, case_.mode, info.choice, x_, weights_, y_, dy_, gradients, spans_, {saved_.data()},
                        {scratch_.data()}, {}, false, {prepared_.data()}});
  }
  /// Forward reads x and writes y; backward reads dy, and x and y where it asks for them, and writes dx.
  double bytes(bool forward) const {
    double x = 0;
    for (const auto& i : case_.inputs) x += static_cast<double>(i.shape.elements() * size_of(i.dtype));
    const double y = static_cast<double>(info.shape.elements() * size_of(info.dtype));
    return forward ? x + y : y + x + (info.reads_inputs ? x : 0) + (info.reads_output ? y : 0);
  }
  Inferred<S> info;

 private:
  /// Numbers that are no special ones: labels 0 and 1, activations of a few hundred kinds.
  AnyView<S::kDim> value(const ValueInfo<S::kDim>& of) {
    const Index count = of.shape.elements();
    auto& memory = memory_.emplace_back(ctx_.allocate(count * size_of(of.dtype)));
    std::vector<std::byte> host(static_cast<std::size_t>(count * size_of(of.dtype)));
    for (Index i = 0; i < count; ++i) {
      const float v = static_cast<float>((i * 7919) % 509 - 254) / 128;
      if (of.dtype == Dtype::f32) std::memcpy(&host[static_cast<std::size_t>(i * 4)], &v, 4);
      const bf16 b(v);
      if (of.dtype == Dtype::bf16) std::memcpy(&host[static_cast<std::size_t>(i * 2)], &b, 2);
      if (of.dtype == Dtype::u8) host[static_cast<std::size_t>(i)] = std::byte{i * 7919 % 3 == 0};
    }
    if (count > 0) cuda::copy_to_device(ctx_.stream(), memory.data(), host.data(), std::ssize(host));
    return {memory.data(), of, of.shape.c};
  }
  OpCase<S> case_;
  Context<Cuda>& ctx_;
  std::deque<Parameter<S>> parameters_;
  std::vector<Weights<S>> weights_;
  std::vector<Memory<Cuda>> dw_, memory_;
  std::vector<std::span<float>> spans_;
  std::vector<AnyView<S::kDim>> x_, dx_;
  AnyView<S::kDim> y_, dy_;
  Memory<Cuda> saved_, scratch_, prepared_;
};

void measure_copy(const Options& o, Report& report) {
  Context<Cuda> ctx;
  const Index bytes = o.tiny ? Index{1} << 16 : Index{2} << 30;
  auto from = ctx.allocate(bytes), to = ctx.allocate(bytes);
  cuda::clear(ctx.stream(), from.data(), bytes);
  const Time t = time_of(ctx, o, [&] { cuda::copy_on_device(ctx.stream(), to.data(), from.data(), bytes); });
  report.copy = 2 * static_cast<double>(bytes) / t.median;
  report.row("copy", "device to device", "", t, 2 * static_cast<double>(bytes));
}

template <class T> void measure_ops(const Options& o, Report& report, bool tf32) {
  using S = Spec<T, 3, Cuda>;
  Context<Cuda> ctx({.cuda = {.tf32 = tf32}});
  const std::string type = tf32 ? "tf32" : text(dtype_of<T>());
  each_family([&](const char* name, auto make) {
    if (std::string(name).find(o.only) == std::string::npos) return;
    try {
      Draw draw({}, CaseSize::bench);
      OpCase<S> c = make(S{}, draw);
      for (auto& input : c.inputs)
        for (Index& e : input.shape.space) e = std::max<Index>(e * o.edge / 64, 1);
      OpOnCard<S> op(c, ctx);
      report.row("op", text(name, "/forward"), type, time_of(ctx, o, [&] { op.forward(); }), op.bytes(true));
      report.row("op", text(name, "/backward"), type, time_of(ctx, o, [&] { op.backward(); }), op.bytes(false));
    } catch (const Error& e) {
      report.failed("op", name, type, e.what());
    }
  });
}

/// A step of each optimizer over as many weights as an nnU-Net has: weights, moments and gradients read, the first two written.
void measure_optimizers(const Options& o, Report& report) {
  using S = Spec<float, 3, Cuda>;
  Context<Cuda> ctx;
  Parameter<S> weights({.shape = {o.tiny ? 5000 : 31'000'000}, .fill = 0.5});
  std::vector<Parameter<S>*> all{&weights};
  Gradients<S> gradients(all);
  gradients.zero();
  const double values = static_cast<double>(weights.size());
  AdamW<S> adam(all, {.learning_rate = 1e-4});
  report.row("optim", "adamw", "f32", time_of(ctx, o, [&] { adam.step(ctx, gradients); }), 28 * values);
  Sgd<S> sgd(all, {.learning_rate = 1e-4, .momentum = 0.99, .nesterov = true});
  report.row("optim", "sgd nesterov", "f32", time_of(ctx, o, [&] { sgd.step(ctx, gradients); }), 20 * values);
}

template <AnySpec S, class Net> void measure_network(const Options& o, Report& report, const std::string& name, Net net, bool tf32) {
  Context<Cuda> ctx({.seed = 1, .cuda = {.tf32 = tf32}});
  net.initialize(ctx);
  const std::string type = tf32 ? "tf32" : text(dtype_of<typename S::T>());
  const Shape<3> shape{o.batch, 1, {o.size, o.size, o.size}};
  Tensor<typename S::T, 3> image(shape);
  for (Index i = 0; i < shape.elements(); ++i) image.data()[i] = typename S::T(static_cast<float>((i * 7919) % 509 - 254) / 128);
  Tensor<std::uint8_t, 3> classes(shape);
  for (Index i = 0; i < shape.elements(); ++i) classes.data()[i] = i * 7919 % 3 == 0;
  // A run uses the memory of its inputs again: each call begins with a copy, from the card's memory, where a loader has put them.
  const auto staged = [&](const void* host, Index bytes) {
    Memory<Cuda> there = ctx.allocate(bytes);
    cuda::copy_to_device(ctx.stream(), there.data(), host, bytes);
    return there;
  };
  const Index image_bytes = shape.elements() * Index{sizeof(typename S::T)};
  const Memory<Cuda> image_there = staged(image.data(), image_bytes), classes_there = staged(classes.data(), shape.elements());
  const auto fill = [&](Run<S>& run, Var<S> x) {
    cuda::copy_on_device(ctx.stream(), run.input(x).data, image_there.data(), image_bytes);
  };
  {
    Tape<S> tape(Mode::infer, ctx.traits());
    const Var<S> x = tape.input(shape), y = net.forward(x);
    const Plan<S> plan(tape, {.outputs = {y}});
    Run<S> run(plan, ctx);
    const auto forward = [&] {
      fill(run, x);
      run.forward();
    };
    report.row("forward", name, type, time_of(ctx, o, forward), 0);
  }
  Tape<S> tape(Mode::train, ctx.traits());
  const Var<S> x = tape.input(shape), labels = tape.input(shape, Dtype::u8);
  const Var<S> loss = with_head(dice_ce(net.forward(x), labels));   // as fit
  const Plan<S> plan(tape, {.loss = loss});
  Run<S> run(plan, ctx);
  Gradients<S> gradients(net.parameters());
  AdamW<S> adam(net.parameters(), {.learning_rate = 1e-4});
  const Time t = time_of(ctx, o, [&] {
    fill(run, x);
    const auto to = run.template input_as<std::uint8_t>(labels);
    cuda::copy_on_device(ctx.stream(), to.data, classes_there.data(), shape.elements());
    gradients.zero();
    adam.ready(ctx, gradients, adam.next());
    run.step(gradients, [&] { adam.launch(ctx); }, {.depends = adam.depends()});
    adam.moved(ctx, gradients), adam.set_steps(adam.steps() + 1);
  });
  report.row("step", name, type, t, 0);
  const auto memory = cuda::memory_facts();
  std::printf("         %-26s %-5s %lld MiB of the card in use, loss %.4f\n", name.c_str(), type.c_str(),
              static_cast<long long>((memory.total - memory.free) >> 20), run.scalar(loss));
}

template <class T> void measure_networks(const Options& o, Report& report, bool tf32) {
  using S = Spec<T, 3, Cuda>;
  bench::for_networks<S>(o.nets, o.tiny ? 64 : 1, [&](const char* name, auto make) {
    try {
      measure_network<S>(o, report, name, make(), tf32);
    } catch (const Error& e) {
      report.failed("network", name, tf32 ? "tf32" : text(dtype_of<T>()), e.what());
    }
  });
}

Options parse(int argc, char** argv) {
  Options o;
  for (int i = 1; i < argc; ++i) {
    const std::string key = argv[i];
    if (key == "--tiny") {
      o.tiny = true, o.edge = 4, o.size = 32, o.seconds = 0;
      continue;
    }
    const char* value = i + 1 < argc ? argv[++i] : "";
    if (key == "--part") o.part = value;
    else if (key == "--only") o.only = value;
    else if (key == "--nets") o.nets = value;
    else if (key == "--types") o.types = value;
    else if (key == "--json") o.json = value;
    else if (key == "--edge") o.edge = std::atoll(value);
    else if (key == "--size") o.size = std::atoll(value);
    else if (key == "--batch") o.batch = std::atoll(value);
    else if (key == "--seconds") o.seconds = std::atof(value);
    else throw Error(Code::bad_argument, "ctseg_bench_gpu", "no such option: " + key);
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
  Report report(o.json);
  report.facts(cuda::device_facts(0));
  if (listed(o.part, "copy")) measure_copy(o, report);
  if (listed(o.part, "optim")) measure_optimizers(o, report);
  for (const char* type : {"f32", "tf32", "bf16"}) {
    if (!listed(o.types, type)) continue;
    const bool tf32 = std::strcmp(type, "tf32") == 0;
    if (listed(o.part, "ops") && !tf32) std::strcmp(type, "bf16") ? measure_ops<float>(o, report, false) : measure_ops<bf16>(o, report, false);
    if (listed(o.part, "nets")) std::strcmp(type, "bf16") ? measure_networks<float>(o, report, tf32) : measure_networks<bf16>(o, report, false);
  }
  if (report.failures > 0) std::printf("%d not measured\n", report.failures);
  return report.failures > 0 ? 1 : 0;
} catch (const std::exception& e) {
  std::fprintf(stderr, "ctseg_bench_gpu: %s\n", e.what());
  return 1;
}
