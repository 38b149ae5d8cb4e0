// Segmenting a whole volume window by window: how much memory and time the streaming takes, with a stand-in network that costs
// almost nothing (one 1 x 1 x 1 convolution) and with BasicUNet, with and without a limit of memory, beside everything in
// memory at once. Every row is a process of its own, so that its peak is its own; labels of rows of one case must be equal.
// Usage: ctseg_bench_streaming [--size X[xYxZ]] [--classes N] [--network stand_in|basic_unet] [--width N] [--max-memory MB]
//        [--overlap F] [--threads N] [--slabs] [--whole]. Without --size: a small table. JSON, one row a line.
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <ctseg/infer/sliding_window.hpp>
#include <ctseg/models/basic_unet.hpp>
#include <ctseg/ops/cpu.hpp>

namespace cs = ctseg;
using cs::Index;
using S = cs::Spec<float, 3, cs::Cpu>;

namespace {

struct Case {
  std::array<Index, 3> size{192, 192, 192};   // x, y, z
  Index classes = 26, max_memory_mb = 0, width = 32;
  bool basic_unet = false, slabs = false, whole = false;
  double overlap = 0.5;
  int threads = 2;
};
struct Measured {
  cs::StreamReport report{};
  double peak_mb = 0, seconds = 0;
  std::uint64_t labels = 0;   // a hash of them
};

/// A scan as scanners leave it, int16: balls of tissue in air, and noise.
std::vector<std::int16_t> scan(const std::array<Index, 3>& size) {
  std::vector<std::int16_t> hu(static_cast<std::size_t>(size[0] * size[1] * size[2]));
  std::size_t i = 0;
  for (Index z = 0; z < size[2]; ++z)
    for (Index y = 0; y < size[1]; ++y)
      for (Index x = 0; x < size[0]; ++x, ++i) {
        const Index dx = x % 120 - 60, dy = y % 120 - 60, dz = z % 120 - 60;
        const auto noise = static_cast<int>((i * 0x9E3779B97F4A7C15u) >> 58);
        hu[i] = static_cast<std::int16_t>((dx * dx + dy * dy + dz * dz < 2500 ? 40 + x % 100 : -1000) + noise);
      }
  return hu;
}
float window(std::int16_t hu) { return static_cast<float>(hu + 1000) * 0.0008f; }

/// Logit c of a voxel is a line in its value: no network could cost less and still make every class somewhere.
struct StandIn {
  cs::Context<cs::Cpu>* ctx;
  cs::Tensor<float, 3> logits;
  std::vector<float> slope{}, bias{};

  StandIn(cs::Context<cs::Cpu>& c, const cs::Shape<3>& window, Index classes) : ctx(&c), logits(window.with_channels(classes)) {
    for (Index k = 0; k < classes; ++k) {
      const float at = static_cast<float>(k) / static_cast<float>(classes);
      slope.push_back(2 * at), bias.push_back(-at * at);
    }
  }
  cs::In<S> operator()(cs::In<S> x) {
    const auto classes = static_cast<Index>(slope.size());
    cs::parallel_blocks(ctx->executor(), x.rows(), 4096, [&](Index from, Index to) {
      for (Index r = from; r < to; ++r)
        for (Index k = 0; k < classes; ++k)
          logits.view().row(r)[k] = slope[static_cast<std::size_t>(k)] * x.row(r)[0] + bias[static_cast<std::size_t>(k)];
    });
    return logits.view();
  }
};

double peak_mb() {
  rusage use{};
  getrusage(RUSAGE_SELF, &use);
  return static_cast<double>(use.ru_maxrss) * 1024 / 1e6;
}

template <class Predict> Measured segment(cs::Context<cs::Cpu>& ctx, const Case& c, Predict& predict, Index network_bytes) {
  const auto hu = scan(c.size);
  const cs::Shape<3> shape{1, 1, {c.size[2], c.size[1], c.size[0]}};
  std::vector<std::uint8_t> labels(hu.size());
  const auto source = cs::array_source<S>(hu.data(), shape, window);
  cs::StreamOptions<3> o{.windows = {.overlap = c.overlap}, .max_memory = c.max_memory_mb * 1000000};
  o.in_use = network_bytes + static_cast<Index>(peak_mb() * 1e6);   // the scan and the program are in it
  Measured m;
  const auto start = std::chrono::steady_clock::now();
  if (c.whole) {
    cs::Tensor<float, 3> image(shape);
    std::transform(hu.begin(), hu.end(), image.data(), window);
    cs::argmax(cs::sliding_window<S>(ctx, predict, image.view(), o.windows), labels.data());
  } else if (c.slabs) {
    m.report = cs::stream_windows<S>(ctx, predict, source, o, [&](const cs::LogitSlab& s) {
      cs::argmax({s.values, s.slices * s.rows * s.columns, s.channels}, labels.data() + s.first * s.rows * s.columns);
    });
  } else {
    m.report = cs::stream_windows<S>(ctx, predict, source, o, cs::LabelSink{&ctx, labels.data(), c.size[1], c.size[0]});
  }
  m.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  m.peak_mb = peak_mb();
  for (const std::uint8_t l : labels) m.labels = (m.labels ^ l) * 0x100000001B3u;
  return m;
}
Measured measure(const Case& c) {
  cs::Context<cs::Cpu> ctx{{.threads = c.threads, .seed = 1}};
  const cs::Shape<3> window{1, 1, {96, 96, 96}};
  if (!c.basic_unet) {
    StandIn net(ctx, window, c.classes);
    return segment(ctx, c, net, 0);   // its logits are in the peak already
  }
  const Index w = c.width;
  cs::BasicUNet<S> net{{.out_channels = c.classes, .features = {w, w, 2 * w, 4 * w, 8 * w, w}}};
  net.initialize(ctx);
  cs::Predictor predict(ctx, net, window);
  return segment(ctx, c, predict, predict.memory().arena + predict.memory().prepared);
}

/// Measures in a child, whose peak begins small.
Measured in_child(const Case& c) {
  int ends[2];
  Measured m;
  if (pipe(ends) != 0) return m;
  const pid_t child = fork();
  if (child == 0) {
    try {
      m = measure(c);
      if (write(ends[1], &m, sizeof m) != ssize_t(sizeof m)) _exit(1);
    } catch (const cs::Error& e) {
      std::fprintf(stderr, "%s\n", e.what());
      _exit(1);
    }
    _exit(0);
  }
  close(ends[1]);
  if (read(ends[0], &m, sizeof m) != ssize_t(sizeof m)) m.seconds = -1;
  close(ends[0]);
  waitpid(child, nullptr, 0);
  return m;
}

/// One line of JSON; false if the labels are not those of the rows before.
bool print(const Case& c, const Measured& m, std::uint64_t labels) {
  const cs::StreamPlan& p = m.report.plan;
  std::printf(
      R"({"shape": [%lld, %lld, %lld], "classes": %lld, "network": "%s", "how": "%s", "max_memory_mb": %lld, )"
      R"("peak_memory_mb": %.0f, "seconds": %.1f, "network_seconds": %.1f, "spill_seconds": %.1f, "sink_seconds": %.1f, )"
      R"("planned_mb": %.0f, "spill_file_mb": %.0f, "spilled_mb": %.0f, "threads": %d, "labels": "%016llx", "equal": %s})"
      "\n",
      static_cast<long long>(c.size[0]), static_cast<long long>(c.size[1]), static_cast<long long>(c.size[2]),
      static_cast<long long>(c.classes), c.basic_unet ? "basic_unet" : "stand_in",
      c.whole   ? "whole"
      : c.slabs ? "slabs"
                : "blocks",
      static_cast<long long>(c.max_memory_mb), m.peak_mb, m.seconds, m.report.network_seconds, m.report.spill_seconds,
      m.report.sink_seconds, double(p.total_bytes()) / 1e6, double(p.spill_bytes) / 1e6, double(p.spilled_bytes) / 1e6,
      c.threads, static_cast<unsigned long long>(m.labels), m.labels == labels ? "true" : "false");
  std::fflush(stdout);
  return m.labels == labels && m.seconds >= 0;
}

int small_table() {
  bool good = true;
  for (Case c : {Case{.classes = 26}, Case{.size = {128, 128, 128}, .classes = 5, .width = 8, .basic_unet = true}}) {
    c.whole = true;
    const Measured whole = in_child(c);
    good = print(c, whole, whole.labels) && good;
    c.whole = false;
    const Measured blocks = in_child(c);
    good = print(c, blocks, whole.labels) && good;
    c.slabs = true;
    good = print(c, in_child(c), whole.labels) && good;
    c.max_memory_mb =
        static_cast<Index>(double(blocks.report.plan.total_bytes() - blocks.report.plan.resident_bytes / 2) / 1e6);
    c.slabs = false;
    good = print(c, in_child(c), whole.labels) && good;
  }
  return good ? 0 : 1;
}

}   // namespace

int main(int argc, char** argv) {
  Case c;
  bool one = false;
  for (int i = 1; i < argc; ++i) {
    const std::string name = argv[i];
    const auto value = [&] { return i + 1 < argc ? argv[++i] : "0"; };
    if (name == "--size") {
      long long x = 0, y = 0, z = 0;
      const int given = std::sscanf(value(), "%lldx%lldx%lld", &x, &y, &z);
      c.size = {x, given > 2 ? y : x, given > 2 ? z : x}, one = true;
    } else if (name == "--classes") {
      c.classes = std::atoll(value());
    } else if (name == "--network") {
      c.basic_unet = std::strcmp(value(), "basic_unet") == 0;
    } else if (name == "--width") {
      c.width = std::atoll(value());
    } else if (name == "--max-memory") {
      c.max_memory_mb = std::atoll(value());
    } else if (name == "--overlap") {
      c.overlap = std::atof(value());
    } else if (name == "--threads") {
      c.threads = std::atoi(value());
    } else if (name == "--slabs") {
      c.slabs = true;
    } else if (name == "--whole") {
      c.whole = true;
    } else {
      std::fprintf(stderr, "no such option: %s\n", name.c_str());
      return 2;
    }
  }
  if (!one) return small_table();
  const Measured m = in_child(c);
  return print(c, m, m.labels) ? 0 : 1;
}
