// ctseg bench streaming: what it costs to segment a whole volume window by window, in memory and time. The volume is made up;
// the network is a stand-in that costs almost nothing (one 1 x 1 x 1 convolution), or BasicUNet. The peak is this process's, so
// that one call measures one thing; equal `labels_hash` of two calls means equal labels.
#include <ctseg/infer/sliding_window.hpp>
#include <ctseg/models/basic_unet.hpp>
#include <ctseg/ops/cpu.hpp>
#include <ctseg/report/run.hpp>

#include "commands.hpp"

namespace cli {

namespace {

using S = cs::Spec<float, 3, cs::Cpu>;
constexpr Index kWindow = 96;

struct Measured {
  cs::StreamReport report{};
  double seconds = 0, peak_memory_mb = 0;
  std::uint64_t hash = 14695981039346656037u;   // of the labels, FNV-1a
};

/// A scan as scanners leave it, int16: balls of tissue in air, and noise.
std::vector<std::int16_t> made_up_scan(const std::vector<Index>& shape) {
  std::vector<std::int16_t> hu(static_cast<std::size_t>(shape[0] * shape[1] * shape[2]));
  std::size_t i = 0;
  for (Index z = 0; z < shape[2]; ++z)
    for (Index y = 0; y < shape[1]; ++y)
      for (Index x = 0; x < shape[0]; ++x, ++i) {
        const Index dx = x % 120 - 60, dy = y % 120 - 60, dz = z % 120 - 60;
        const auto noise = static_cast<int>((i * 0x9E3779B97F4A7C15u) >> 58);
        hu[i] = static_cast<std::int16_t>((dx * dx + dy * dy + dz * dz < 2500 ? 40 + x % 100 : -1000) + noise);
      }
  return hu;
}
float value_of(std::int16_t hu) { return static_cast<float>(hu + 1000) * 0.0008f; }

/// Logit c of a voxel is a line in its value: no network could cost less and still make every class somewhere.
class StandIn {
 public:
  StandIn(cs::Context<cs::Cpu>& ctx, const cs::Shape<3>& window, Index classes)
      : ctx_(ctx), logits_(window.with_channels(classes)) {
    for (Index k = 0; k < classes; ++k) {
      const float at = static_cast<float>(k) / static_cast<float>(classes);
      slope_.push_back(2 * at), offset_.push_back(-at * at);
    }
  }
  cs::In<S> operator()(cs::In<S> x) {
    const std::size_t classes = slope_.size();
    cs::parallel_blocks(ctx_.executor(), x.rows(), 4096, [&](Index from, Index to) {
      for (Index r = from; r < to; ++r)
        for (std::size_t k = 0; k < classes; ++k) logits_.view().row(r)[k] = slope_[k] * x.row(r)[0] + offset_[k];
    });
    return logits_.view();
  }

 private:
  cs::Context<cs::Cpu>& ctx_;
  cs::Tensor<float, 3> logits_;
  std::vector<float> slope_{}, offset_{};
};

/// Any network, so that the streaming is compiled once.
struct Network {
  void* self;
  cs::In<S> (*call)(void*, cs::In<S>);

  template <class Net> static Network of(Net& net) {
    return {&net, [](void* self, cs::In<S> x) { return (*static_cast<Net*>(self))(x); }};
  }
  cs::In<S> operator()(cs::In<S> x) const { return call(self, x); }
};

/// network_bytes: what `predict` holds that no page has been touched of yet.
Measured stream(cs::Context<cs::Cpu>& ctx, const BenchArguments& a, Network predict, Index network_bytes) {
  const std::vector<std::int16_t> hu = made_up_scan(a.shape);
  const cs::Shape<3> shape{1, 1, {a.shape[2], a.shape[1], a.shape[0]}};
  std::vector<std::uint8_t> labels(hu.size());
  const auto source = cs::array_source<S>(hu.data(), shape, value_of);
  cs::StreamOptions<3> options{.windows = {.overlap = 0.5}, .max_memory = bytes_of("--max-memory", a.max_memory)};
  options.in_use = network_bytes + static_cast<Index>(cs::peak_memory_mb() * 1e6);   // the scan and the program are in it
  Measured m;
  const auto start = std::chrono::steady_clock::now();
  if (a.how == "whole") {
    cs::Tensor<float, 3> image(shape);
    std::transform(hu.begin(), hu.end(), image.data(), value_of);
    cs::argmax(cs::sliding_window<S>(ctx, predict, image.view(), options.windows), labels.data());
  } else if (a.how == "slabs") {
    m.report = cs::stream_windows<S>(ctx, predict, source, options, [&](const cs::LogitSlab& s) {
      cs::argmax({s.values, s.slices * s.rows * s.columns, s.channels}, labels.data() + s.first * s.rows * s.columns);
    });
  } else {
    m.report = cs::stream_windows<S>(ctx, predict, source, options, cs::LabelSink{&ctx, labels.data(), a.shape[1], a.shape[0]});
  }
  m.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  m.peak_memory_mb = cs::peak_memory_mb();
  for (const std::uint8_t label : labels) m.hash = (m.hash ^ label) * 0x100000001B3u;
  return m;
}

Measured measure(cs::Context<cs::Cpu>& ctx, const BenchArguments& a) {
  const cs::Shape<3> window{1, 1, {kWindow, kWindow, kWindow}};
  if (a.network == "stand-in") {
    StandIn net(ctx, window, a.classes);
    return stream(ctx, a, Network::of(net), 0);   // its logits are in the peak already
  }
  cs::BasicUNet<S> net{{.out_channels = a.classes}};
  net.initialize(ctx);
  cs::Predictor predict(ctx, net, window);
  return stream(ctx, a, Network::of(predict), predict.memory().arena + predict.memory().prepared);
}

std::string json_of(const BenchArguments& a, const Measured& m, int threads) {
  char hash[17];
  std::snprintf(hash, sizeof hash, "%016llx", static_cast<unsigned long long>(m.hash));
  const auto mb = [](Index bytes) { return static_cast<double>(bytes) / 1e6; };
  const cs::StreamPlan& plan = m.report.plan;
  cs::report::JsonWriter json;
  json.open('{');
  json.list("shape", {static_cast<double>(a.shape[0]), static_cast<double>(a.shape[1]), static_cast<double>(a.shape[2])});
  json.field("classes", a.classes), json.field("peak_memory_mb", m.peak_memory_mb), json.field("seconds", m.seconds);
  json.field("network", a.network), json.field("how", a.how);
  json.field("max_memory_mb", mb(bytes_of("--max-memory", a.max_memory)));   // 0: no limit
  json.field("planned_mb", mb(plan.total_bytes())), json.field("windows", plan.windows);
  json.field("spill_file_mb", mb(plan.spill_bytes)), json.field("spilled_mb", mb(plan.spilled_bytes));
  json.field("network_seconds", m.report.network_seconds), json.field("spill_seconds", m.report.spill_seconds);
  json.field("threads", threads), json.field("labels_hash", static_cast<const char*>(hash));
  json.close('}');
  return json.take();
}

}   // namespace

void bench(const BenchArguments& a, Console& console) {
  cs::Context<cs::Cpu> ctx{{.threads = console.common().threads, .seed = 1, .cancel = console.cancel(), .log = console.log()}};
  const Measured m = measure(ctx, a);
  if (console.common().json) return console.result(json_of(a, m, ctx.executor().threads()));
  char line[200];
  std::snprintf(line, sizeof line, "%lld x %lld x %lld, %lld classes, %s, %s: %.0f MB at most, %.1f s\n",
                static_cast<long long>(a.shape[0]), static_cast<long long>(a.shape[1]), static_cast<long long>(a.shape[2]),
                static_cast<long long>(a.classes), a.network.c_str(), a.how.c_str(), m.peak_memory_mb, m.seconds);
  console.result(line);
}

}   // namespace cli
