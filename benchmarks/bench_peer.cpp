// One network of ctseg at the other end of a pipe, for peers/peers.py: it works when told to and answers with milliseconds, so
// that programs that are compared never work at once.
// usage: bench_peer NETWORK infer|train ACCURACY THREADS FOLDER    FOLDER has NETWORK.weights.safetensors, NETWORK.values.safetensors
//        ("x", "labels"); stdin: "go" -> "ms", of a training step "ms loss"; "write FILE" -> logits as N, C, voxels of float;
//        "facts" -> JSON: nominal GFLOP of a forward pass, multiply-add peak in GFLOP/s, isa, compiler; "memory" -> MB
#include <algorithm>
#include <cstdio>
#include <fstream>
#include <iostream>

#include <ctseg/core/tensor.hpp>
#include <ctseg/io/weights.hpp>
#include <ctseg/loss/loss.hpp>
#include <ctseg/nn/predictor.hpp>
#include <ctseg/ops/cpu.hpp>
#include <ctseg/optim/adam.hpp>

#include "ceilings.hpp"
#include "layers.hpp"
#include "networks.hpp"
#include "report.hpp"

using namespace ctseg;
using namespace ctseg::bench;

namespace {

struct Job {
  std::string network, work, folder;
  Accuracy accuracy = Accuracy::standard;
  int threads = 1;
};

/// From N, C, voxels, as files of other libraries have it, to rows of channels.
template <class T, int Dim> void read(const io::TensorFile& file, const std::string& name, View<T, Dim> to) {
  for (const auto& t : file.tensors) {
    if (t.name != name) continue;
    const Index voxels = to.shape.voxels(), channels = to.shape.c;
    if (t.bytes.size() != static_cast<std::size_t>(to.shape.elements()) * sizeof(T)) break;
    for (Index r = 0; r < to.rows(); ++r)
      for (Index c = 0; c < channels; ++c) {
        const Index at = (r / voxels * channels + c) * voxels + r % voxels;
        std::memcpy(to.row(r) + c, t.bytes.data() + static_cast<std::size_t>(at) * sizeof(T), sizeof(T));
      }
    return;
  }
  throw Error(Code::bad_input, "bench_peer", text("no tensor ", name, " of ", to.shape, "."));
}

template <int Dim> void write_logits(const std::string& path, View<const float, Dim> y) {
  std::vector<float> out;
  const Index voxels = y.shape.voxels();
  for (Index n = 0; n < y.shape.n; ++n)
    for (Index c = 0; c < y.shape.c; ++c)
      for (Index v = 0; v < voxels; ++v) out.push_back(y.row(n * voxels + v)[c]);
  std::ofstream(path, std::ios::binary)
      .write(reinterpret_cast<const char*>(out.data()), static_cast<std::streamsize>(out.size() * sizeof(float)));
}

/// Linux's figures, in MB: VmRSS is what is resident, VmHWM the peak of it since reset_peak.
void reset_peak() { std::ofstream("/proc/self/clear_refs") << "5"; }
double resident(const std::string& key) {
  std::ifstream file("/proc/self/status");
  for (std::string line; std::getline(file, line);)
    if (line.starts_with(key)) return std::atof(line.c_str() + key.size() + 1) * 1024 / 1e6;
  return 0;
}

/// Answers until stdin ends. step: does the work, returns the loss; result: the logits.
template <class Step, class Result> void serve(Executor& pool, double gflop, double idle, Step step, Result result) {
  reset_peak();
  std::cout << "ready" << std::endl;
  for (std::string word; std::cin >> word;) {
    if (word == "go") {
      const double start = now(), loss = step();
      std::cout << (now() - start) * 1e3 << " " << loss << std::endl;
    } else if (word == "write" && std::cin >> word) {
      write_logits(word, result());
      std::cout << "written" << std::endl;
    } else if (word == "facts") {
      std::cout << R"({"gflop": )" << gflop << R"(, "peak": )" << peak_gflops(pool, 0.3) << R"(, "isa": ")"
                << text(detect_isa()) << R"(", "compiler": ")" << compiler() << "\"}" << std::endl;
    } else if (word == "memory") {
      std::cout << resident("VmHWM") - idle << std::endl;
    }
  }
}

/// One patch of one channel, as large as "x" of the file.
template <int Dim> Shape<Dim> shape_of(const io::TensorFile& file) {
  for (const auto& t : file.tensors) {
    Shape<Dim> shape;
    if (t.name != "x" || t.shape.size() != Dim + 2) continue;
    std::copy(t.shape.begin() + 2, t.shape.end(), shape.space.begin());
    return shape;
  }
  throw Error(Code::bad_input, "bench_peer", text("no tensor x with ", Dim, " axes."));
}

template <class Net> double gflop_of(const Net& net, const Shape<Net::Spec::kDim>& shape) {
  double sum = 0;
  for (const Layer& l : recorded_layers(net, shape)) sum += l.flop() * 1e-9;
  return sum;
}

template <class Net> void infer(const Job& job, Net& net, double idle) {
  using S = typename Net::Spec;
  Context<Cpu> ctx({.threads = job.threads, .accuracy = job.accuracy});
  Tensor<float, S::kDim> x;
  {
    const io::TensorFile file = io::read_safetensors(job.folder + "/" + job.network + ".values.safetensors");
    x = Tensor<float, S::kDim>(shape_of<S::kDim>(file));
    read(file, "x", x.view());
  }
  Predictor<Net> predict(ctx, net, x.shape());
  In<S> y{};
  serve(
      ctx.executor(), gflop_of(net, x.shape()), idle, [&] { return y = predict(x.view()), 0.0; }, [&] { return y; });
}

template <class Net> void train(const Job& job, Net& net, double idle) {
  using S = typename Net::Spec;
  Context<Cpu> ctx({.threads = job.threads, .accuracy = job.accuracy});
  Tensor<float, S::kDim> patch;
  Tensor<std::uint8_t, S::kDim> truth;
  {
    const io::TensorFile file = io::read_safetensors(job.folder + "/" + job.network + ".values.safetensors");
    patch = Tensor<float, S::kDim>(shape_of<S::kDim>(file)), truth = Tensor<std::uint8_t, S::kDim>(patch.shape());
    read(file, "x", patch.view()), read(file, "labels", truth.view());
  }
  const Shape<S::kDim> shape = patch.shape();
  Tape<S> tape(Mode::train, ctx.traits());
  const auto x = tape.input(shape), labels = tape.input(shape, Dtype::u8), y = net.forward(x), loss = dice_ce(y, labels);
  const Plan<S> plan(tape, {.loss = loss});
  Run<S> run(plan, ctx);
  AdamW<S> adam(net.parameters(), {.learning_rate = 1e-4});
  Gradients<S> gradients(net.parameters());
  const auto step = [&] {
    std::copy_n(patch.view().data, shape.elements(), run.input(x).data);
    std::copy_n(truth.view().data, shape.elements(), run.template input_as<std::uint8_t>(labels).data);
    run.forward();
    const double value = run.scalar(loss);
    gradients.zero();
    run.backward(gradients);
    adam.step(ctx, gradients);
    return value;
  };
  serve(ctx.executor(), gflop_of(net, shape), idle, step, [&] { return In<S>{}; });
}

}   // namespace

int main(int argc, char** argv) try {
  const double idle = resident("VmRSS");
  if (argc != 6) return std::fprintf(stderr, "usage: bench_peer NETWORK infer|train ACCURACY THREADS FOLDER\n"), 2;
  Job job{.network = argv[1], .work = argv[2], .folder = argv[5], .threads = std::atoi(argv[4])};
  for (const Accuracy a : {Accuracy::strict, Accuracy::fast})
    if (text(a) == argv[3]) job.accuracy = a;
  const bool found = with_network(job.network, [&](auto net, const auto&) {
    io::load_weights(job.folder + "/" + job.network + ".weights.safetensors", net);
    job.work == "train" ? train(job, net, idle) : infer(job, net, idle);
  });
  if (!found) throw Error(Code::bad_argument, "bench_peer", text("no network ", job.network, "."));
} catch (const std::exception& e) {
  std::fprintf(stderr, "%s\n", e.what());
  return 1;
}
