// One network of ctseg at the other end of a pipe, for peers/peers.py: it works when told to and answers with milliseconds, so
// that programs that are compared never work at once.
// usage: bench_peer NETWORK infer|train|fit ACCURACY THREADS FOLDER    train: a loop of one's own; fit: steps of ctseg::fit
//        FOLDER has NETWORK.weights.safetensors, NETWORK.values.safetensors ("x", "labels"); stdin: "go" -> "ms", of a training
//        step "ms loss"; "write FILE" -> logits as N, C, voxels of float; "facts" -> JSON: nominal GFLOP of a forward pass,
//        multiply-add peak in GFLOP/s, isa, compiler; "memory" -> MB
#include <algorithm>
#include <cstdio>
#include <fstream>
#include <iostream>
#include <semaphore>
#include <thread>

#include <ctseg/core/tensor.hpp>
#include <ctseg/io/npy.hpp>
#include <ctseg/io/weights.hpp>
#include <ctseg/loss/loss.hpp>
#include <ctseg/nn/predictor.hpp>
#include <ctseg/ops/cpu.hpp>
#include <ctseg/optim/adam.hpp>
#include <ctseg/train/fit.hpp>

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
  serve(ctx.executor(), gflop_of(net, x.shape()), idle, [&] { return y = predict(x.view()), 0.0; }, [&] { return y; });
}

template <int Dim> struct Sample {
  Tensor<float, Dim> patch;
  Tensor<std::uint8_t, Dim> truth;
};
template <int Dim> Sample<Dim> read_sample(const Job& job) {
  const io::TensorFile file = io::read_safetensors(job.folder + "/" + job.network + ".values.safetensors");
  Sample<Dim> s{Tensor<float, Dim>(shape_of<Dim>(file)), Tensor<std::uint8_t, Dim>(shape_of<Dim>(file))};
  read(file, "x", s.patch.view()), read(file, "labels", s.truth.view());
  return s;
}

template <class Net> void train(const Job& job, Net& net, double idle) {
  using S = typename Net::Spec;
  Context<Cpu> ctx({.threads = job.threads, .accuracy = job.accuracy});
  const auto [patch, truth] = read_sample<S::kDim>(job);
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

/// fit on a thread of its own, a step whenever it is told to.
template <class Net> class FitByTurns {
 public:
  using S = typename Net::Spec;

  FitByTurns(Context<Cpu>& ctx, Net& net, const PatchSampler<S>& patches)
      : thread_([this, &ctx, &net, &patches] {
          try {
            AdamW<S> adam(net.parameters(), {.learning_rate = 1e-4});
            auto turn = on_step([this](const FitProgress& p) {
              loss_ = p.last_loss;
              done_.release();
              go_.acquire();
              if (over_) throw Error(Code::cancelled, "bench_peer", "enough steps.");
            });
            go_.acquire();
            if (!over_) fit(ctx, net, adam, patches, {.steps = Index{1} << 40, .batch = 1, .observer = &turn});
          } catch (...) {
            error_ = std::current_exception();
            done_.release();
          }
        }) {}
  FitByTurns(const FitByTurns&) = delete;
  ~FitByTurns() {
    over_ = true;
    go_.release();
    thread_.join();
  }
  double step() {
    go_.release();
    done_.acquire();
    if (error_) std::rethrow_exception(error_);
    return loss_;
  }

 private:
  std::binary_semaphore go_{0}, done_{0};
  bool over_ = false;
  double loss_ = 0;
  std::exception_ptr error_;
  std::thread thread_;
};

/// As a user trains: cases in memory, a sampler, fit. The one case is as large as the patch, so every step sees the same.
template <class Net> void train_by_fit(const Job& job, Net& net, double idle) {
  using S = typename Net::Spec;
  Context<Cpu> ctx({.threads = job.threads, .accuracy = job.accuracy});
  auto [patch, truth] = read_sample<S::kDim>(job);
  const auto size = patch.shape().space;
  const Grid grid{{size[S::kDim - 1], size[S::kDim - 2], S::kDim == 3 ? size[0] : 1}, io::affine_of_spacing({1, 1, 1})};
  std::vector<Case> cases;
  cases.push_back({job.network, Volume<float>(grid), Volume<std::uint8_t>(grid)});
  std::copy_n(patch.data(), grid.voxels(), cases[0].image.data());
  std::copy_n(truth.data(), grid.voxels(), cases[0].label.data());
  patch = {}, truth = {};
  const PatchSampler<S> patches(std::move(cases), {.patch = size});
  FitByTurns<Net> turns(ctx, net, patches);
  serve(ctx.executor(), gflop_of(net, patches.shape(1)), idle, [&] { return turns.step(); }, [&] { return In<S>{}; });
}

}   // namespace

int main(int argc, char** argv) try {
  const double idle = resident("VmRSS");
  if (argc != 6) return std::fprintf(stderr, "usage: bench_peer NETWORK infer|train|fit ACCURACY THREADS FOLDER\n"), 2;
  Job job{.network = argv[1], .work = argv[2], .folder = argv[5], .threads = std::atoi(argv[4])};
  for (const Accuracy a : {Accuracy::strict, Accuracy::fast})
    if (text(a) == argv[3]) job.accuracy = a;
  const bool found = with_network(job.network, [&](auto net, const auto&) {
    io::load_weights(job.folder + "/" + job.network + ".weights.safetensors", net);
    job.work == "train" ? train(job, net, idle) : job.work == "fit" ? train_by_fit(job, net, idle) : infer(job, net, idle);
  });
  if (!found) throw Error(Code::bad_argument, "bench_peer", text("no network ", job.network, "."));
} catch (const std::exception& e) {
  std::fprintf(stderr, "%s\n", e.what());
  return 1;
}
