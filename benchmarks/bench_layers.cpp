// Every convolution of the networks, each pass and accuracy, beside oneDNN where CMake found it: ./run bench ops.
// The programs of one row run in turn, A B C A B C, with multiply-adds in registers between them; figures are medians.
// usage: bench_layers [--all] [--filter TEXT] [--seconds S = 0.2 for each figure] [--threads N] [--json FILE] [--table FILE]
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <functional>
#include <thread>

#include <ctseg/core/tensor.hpp>
#include <ctseg/ops/cpu.hpp>

#include "ceilings.hpp"
#include "networks.hpp"
#include "report.hpp"
#ifdef CTSEG_BENCH_ONEDNN
#include "onednn.hpp"
#else
#include "layers.hpp"
#endif

using namespace ctseg;
using namespace ctseg::bench;

namespace {

constexpr Accuracy kAccuracies[] = {Accuracy::strict, Accuracy::standard, Accuracy::fast};

struct Options {
  bool all = false;
  std::string filter{}, json{}, table{};
  double seconds = 0.2;
  int threads = static_cast<int>(std::max(1u, std::thread::hardware_concurrency()));
};

/// The values of one layer, which all its programs share: images channels last, weights [tap][in][out].
struct OneLayer {
  std::vector<float> x, w, y;

  explicit OneLayer(const Layer& l) : x(numbers(l.x_elements())), w(numbers(l.w_elements())), y(numbers(l.y_elements())) {}
  std::vector<float>& result(Pass p) { return p == Pass::forward ? y : p == Pass::data ? x : w; }

 private:
  static std::vector<float> numbers(Index count) {
    std::vector<float> v(static_cast<std::size_t>(count));
    std::uint32_t state = 1;
    for (float& f : v) f = static_cast<float>((state = state * 1664525u + 1013904223u) >> 8) / 16777216.0f - 0.5f;
    return v;
  }
};

struct Figure {
  double ms, gflops, of_peak;
};
using Run = std::function<void()>;

double median(std::vector<double> v) {
  std::ranges::sort(v);
  return v[v.size() / 2];
}

/// Medians of the programs, run in turn until each has had its seconds, and at least three times. Times are the clock's;
/// the share of the peak compares processor time with that of multiply-adds measured next to it.
std::vector<Figure> measure(ThreadPool& pool, double flop, double seconds, const std::vector<Run>& programs) {
  struct Samples {
    std::vector<double> time, of_peak;
    int calls = 1;
    double spent = 0;
  };
  std::vector<Samples> all(programs.size());
  const auto once = [&](std::size_t k) {
    const double start = now();
    for (int i = 0; i < all[k].calls; ++i) programs[k]();
    return now() - start;
  };
  for (std::size_t k = 0; k < programs.size(); ++k)   // also warms up; a sample of several calls is no shorter than 4 ms
    all[k].calls = std::clamp(static_cast<int>(0.004 / std::max(1e-6, once(k))), 1, 1000);
  const auto done = [&](const Samples& s) { return s.time.size() >= 3 && s.spent >= seconds; };
  while (!std::ranges::all_of(all, done))
    for (std::size_t k = 0; k < programs.size(); ++k) {
      if (done(all[k])) continue;
      std::this_thread::sleep_for(std::chrono::milliseconds(3));   // OpenMP's threads wait busily for a while
      const double work = processor_time(), time = once(k), used = (processor_time() - work) / pool.threads();
      const double work_done = flop * all[k].calls * 1e-9;
      all[k].time.push_back(time / all[k].calls);
      all[k].of_peak.push_back(work_done / std::max(1e-9, used) / peak_gflops(pool, std::min(used, 0.05)));
      all[k].spent += time;
    }
  std::vector<Figure> figures;
  for (const Samples& s : all) figures.push_back({median(s.time) * 1e3, flop / median(s.time) * 1e-9, median(s.of_peak)});
  return figures;
}

/// The layer as an op of ctseg, with all that a plan would give it.
template <AnySpec S> class Ours {
 public:
  Ours(const Layer& layer, Pass pass, ThreadPool& pool, Accuracy accuracy, OneLayer& values)
      : op_(op_of<S>(layer)),
        pass_(pass),
        ctx_({.executor = &pool, .accuracy = accuracy}),
        mode_(pass == Pass::forward ? Mode::infer : Mode::train),
        x_(shape(layer.in, layer.size)),
        y_(shape(layer.out, layer.output_size())),
        values_(values) {
    weights_[0] = {values.w.data(), layer.w_elements(), nullptr};
    const std::array<ValueInfo<S::kDim>, 1> inputs{{{x_, Dtype::f32}}};
    info_ = op_.infer({inputs, weights_, mode_, ctx_.traits()});
    prepared_ = ctx_.allocate(info_.prepared);
    scratch_ = ctx_.allocate(std::max(info_.forward_scratch, info_.backward_scratch));
    if (info_.prepared > 0 && pass == Pass::forward) op_.prepare({ctx_, info_.choice, inputs, weights_, {prepared_.data()}});
  }
  int choice() const { return info_.choice; }
  void run() {
    const std::array<AnyView<S::kDim>, 1> x{view(values_.x, x_)};
    if (pass_ == Pass::forward) {
      op_.forward({ctx_, mode_, info_.choice, x, weights_, view(values_.y, y_), {}, {scratch_.data()}, {prepared_.data()}, {}});
      return;
    }
    std::array<AnyView<S::kDim>, 1> dx{view(values_.x, x_)};   // the result's place; of the weight gradient none
    std::array<std::span<float>, 2> dw{};
    if (pass_ == Pass::weights) dx[0].data = nullptr, dw[0] = values_.w;
    op_.backward(
        {ctx_, mode_, info_.choice, x, weights_, view(values_.y, y_), view(values_.y, y_), dx, dw, {}, {scratch_.data()}, {}});
  }

 private:
  static Shape<S::kDim> shape(Index channels, const std::array<Index, 3>& size) {
    Shape<S::kDim> s{.n = 1, .c = channels};
    std::copy(size.end() - S::kDim, size.end(), s.space.begin());
    return s;
  }
  static AnyView<S::kDim> view(std::vector<float>& v, const Shape<S::kDim>& s) {
    return View<float, S::kDim>{v.data(), s, s.c};
  }

  ConvOp<S> op_;
  Pass pass_;
  Context<Cpu> ctx_;
  Mode mode_;
  Shape<S::kDim> x_, y_;
  OneLayer& values_;
  std::array<Weights<S>, 2> weights_{};
  Inferred<S> info_;
  Memory<Cpu> prepared_, scratch_;
};

/// Largest difference of the results of two programs, in units of the largest value.
double apart(OneLayer& values, Pass pass, const Run& one, const Run& other) {
  std::vector<float>& result = values.result(pass);
  const auto run = [&](const Run& program) {
    std::ranges::fill(result, 0.0f);   // a weight gradient is added
    program();
    return result;
  };
  const std::vector<float> a = run(one), b = run(other);
  double most = 0, largest = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    const double d = std::abs(double{a[i]} - double{b[i]});
    most = std::isfinite(d) ? std::max(most, d) : 1e30;
    largest = std::max(largest, std::abs(double{b[i]}));
  }
  return most / largest;
}

class Bench {
 public:
  explicit Bench(const Options& o) : options_(o), pool_(o.threads) {
#ifdef CTSEG_BENCH_ONEDNN
    set_onednn_threads(o.threads);
#endif
  }

  template <AnySpec S> void measure_layer(const Layer& layer) {
    for (const Pass pass : kPasses)
      if (ctseg::text(layer.name(), ", ", bench::text(pass)).find(options_.filter) != std::string::npos)
        measure_pass<S>(layer, pass);
  }

  void start() {
    say("# Convolutions, layer by layer\n\n");
    const Context<Cpu> ctx({.threads = 1});
    say(print("%s, %s, %d threads, multiply-add peak %.0f GFLOP/s; %s; %s", processor().c_str(),
              ctseg::text(ctx.traits().isa).c_str(), options_.threads, peak_gflops(pool_, 0.3), compiler().c_str(),
              today().c_str()));
#ifdef CTSEG_BENCH_ONEDNN
    say("; oneDNN " + onednn_version() + ", its own layouts, reorders not counted.\n");
#else
    say(".\noneDNN was not found (libdnnl-dev in Debian): nothing stands beside ctseg here.\n");
#endif
    say("Medians, programs in turn. GFLOP are those of the direct convolution. % of peak: per second of processor time, beside "
        "multiply-adds\nmeasured in turn. ctseg's data gradient packs its weights each time, as in training.\n\n");
#ifdef CTSEG_BENCH_ONEDNN
    say("| layer | mode | ms | GFLOP/s | % of peak | oneDNN ms | % of peak | ratio | of CPU time | goal |\n"
        "|---|---|---|---|---|---|---|---|---|---|\n");
#else
    say("| layer | mode | ms | GFLOP/s | % of peak |\n|---|---|---|---|---|\n");
#endif
  }

  bool finish() const {
    if (!options_.json.empty()) write(options_.json, json(rows_));
    if (!options_.table.empty()) write(options_.table, table_);
    if (wrong_ > 0) std::fprintf(stderr, "%d results differ from oneDNN's by more than 1e-3\n", wrong_);
    return wrong_ == 0;
  }

 private:
  void say(const std::string& text) {
    table_ += text;
    std::fputs(text.c_str(), stdout);
    std::fflush(stdout);
  }

  template <AnySpec S> void measure_pass(const Layer& layer, Pass pass) {
    OneLayer values(layer);
    std::vector<std::unique_ptr<Ours<S>>> ours;   // one for every choice that an accuracy makes
    std::array<std::size_t, 3> program{};
    for (std::size_t a = 0; a < 3; ++a) {
      auto next = std::make_unique<Ours<S>>(layer, pass, pool_, kAccuracies[a], values);
      const auto same = std::ranges::find_if(ours, [&](const auto& o) { return o->choice() == next->choice(); });
      program[a] = static_cast<std::size_t>(same - ours.begin());
      if (same == ours.end()) ours.push_back(std::move(next));
    }
    std::vector<Run> runs;
    for (auto& o : ours) runs.push_back([&o] { o->run(); });
#ifdef CTSEG_BENCH_ONEDNN
    OneDnn peer(layer, pass, {values.x.data(), values.w.data(), values.y.data()});
    runs.push_back([&] { peer.run(); });
#endif
    const std::vector<Figure> figures = measure(pool_, layer.flop(), options_.seconds, runs);
    for (std::size_t k = 0; k < ours.size(); ++k) {
      std::string modes;   // that take this one
      double goal = 0;
      for (std::size_t a = 0; a < 3; ++a)
        if (program[a] == k) {
          modes += (modes.empty() ? "" : ", ") + ctseg::text(kAccuracies[a]);
          goal = std::max(goal, layer.goals[a][static_cast<std::size_t>(pass)]);
        }
      const Figure& f = figures[k];
      Row row{.work = ctseg::text(layer.name(), ", ", bench::text(pass)),
              .mode = ours.size() == 1 ? "all" : modes,
              .networks = layer.networks,
              .threads = options_.threads,
              .ms = f.ms,
              .gflops = f.gflops,
              .of_peak = f.of_peak};
#ifdef CTSEG_BENCH_ONEDNN
      row.peer = "oneDNN", row.peer_version = onednn_version(), row.peer_kernel = peer.implementation();
      row.peer_ms = figures.back().ms, row.peer_of_peak = figures.back().of_peak;
      row.goal = goal;
#endif
      say(row.markdown() + "\n");
      rows_.push_back(row);
    }
#ifdef CTSEG_BENCH_ONEDNN
    const Run fetched = [&] { peer.run(), peer.fetch(); };
    for (std::size_t k = 0; k < ours.size(); ++k)
      if (const double d = apart(values, pass, runs[k], fetched); !(d < 1e-3)) {
        std::fprintf(stderr, "%s, %s: %.1e from oneDNN's result\n", layer.name().c_str(), bench::text(pass), d);
        ++wrong_;
      }
#endif
  }

  Options options_;
  ThreadPool pool_;
  std::vector<Row> rows_;
  std::string table_;
  int wrong_ = 0;
};

Options parse(int argc, char** argv) {
  Options o;
  for (int i = 1; i < argc; ++i) {
    const std::string_view word = argv[i];
    const auto value = [&]() -> const char* {
      if (i + 1 == argc) std::fprintf(stderr, "%s needs a value\n", argv[i]), std::exit(2);
      return argv[++i];
    };
    if (word == "--all")
      o.all = true;
    else if (word == "--filter")
      o.filter = value();
    else if (word == "--seconds")
      o.seconds = std::atof(value());
    else if (word == "--threads")
      o.threads = std::clamp(std::atoi(value()), 1, 64);
    else if (word == "--json")
      o.json = value();
    else if (word == "--table")
      o.table = value();
    else
      std::fprintf(stderr, "no option %s; there are --all --filter --seconds --threads --json --table\n", argv[i]),
          std::exit(2);
  }
  return o;
}

}   // namespace

int main(int argc, char** argv) try {
  const Options options = parse(argc, argv);
  std::vector<Layer> layers = table_layers();
  if (options.all)
    for (const char* name : kNetworks)
      with_network(name, [&](const auto& net, const auto& shape) { add_layers(layers, name, recorded_layers(net, shape)); });
  Bench bench(options);
  bench.start();
  for (const Layer& layer : layers)
    layer.dim == 3 ? bench.measure_layer<Spec<float, 3, Cpu>>(layer) : bench.measure_layer<Spec<float, 2, Cpu>>(layer);
  return bench.finish() ? 0 : 1;
} catch (const std::exception& e) {
  std::fprintf(stderr, "%s\n", e.what());
  return 1;
}
