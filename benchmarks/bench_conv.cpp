// Speed of the CPU float convolution engine beside the multiply-add peak of the same processor in the same run. "forward" is
// the direct engine, "standard" and "fast" are Winograd's tiles where that accuracy takes any ("w." those of
// the weight gradient); FLOP are always the direct ones.
// usage: bench_conv [seconds per figure = 0.4] [scalar, avx2, ... as in CTSEG_ISA] [only shapes whose name contains this]
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>

#include <ctseg/ops/cpu/simd/conv.hpp>

#include "ceilings.hpp"

using namespace ctseg;
using namespace ctseg::bench;
using namespace ctseg::simd;

namespace {

double g_seconds = 0.4;   // spent on each figure

/// Best and median time of the clock; and the median of speed / peak, both per second of processor time and measured in turn,
/// so that neither other programs nor a changing clock rate move it much.
struct Figure {
  double best, median, of_peak;
};
template <class F> Figure measure(Executor& pool, double flop, F f) {
  f();
  std::vector<double> times, ratios;
  for (double total = 0; total < g_seconds || times.size() < 5;) {
    const double start = now(), work = processor_time();
    f();
    const double used = std::max(1e-6, (processor_time() - work) / pool.threads());
    times.push_back(now() - start);
    ratios.push_back(flop / used * 1e-9 / peak_gflops(pool, used));
    total += times.back();
  }
  std::sort(times.begin(), times.end());
  std::sort(ratios.begin(), ratios.end());
  return {times.front(), times[times.size() / 2], ratios[ratios.size() / 2]};
}

struct Shape3 {
  const char* name;
  Index from, to, size, kernel, stride, padding;   // size: of the side that x lives on
  bool transposed;
};

struct Case {
  Shape3 shape;
  ConvPlan forward, data, weights;
  std::vector<float> x, y, w, dw, packed, packed_data, scratch;

  Case(const Shape3& s, Isa isa) : shape(s) {
    ConvWindow window;
    const Index other =
        s.transposed ? (s.size - 1) * s.stride - 2 * s.padding + s.kernel : (s.size + 2 * s.padding - s.kernel) / s.stride + 1;
    window.input.fill(s.transposed ? other : s.size);
    window.output.fill(s.transposed ? s.size : other);
    window.kernel.fill(s.kernel), window.stride.fill(s.stride), window.padding.fill(s.padding);
    const Side y_side = s.transposed ? Side::input : Side::output, x_side = s.transposed ? Side::output : Side::input;
    forward = {window, y_side, 1, s.from, s.to, isa};
    data = {window, x_side, 1, s.to, s.from, isa};
    weights = forward;
    x = numbers(s.size * s.size * s.size * s.from), y = numbers(other * other * other * s.to);
    w = numbers(window.taps() * s.from * s.to), dw = w;
    packed = numbers(gather_packed_bytes(forward) / 4), packed_data = numbers(gather_packed_bytes(data) / 4);
    scratch = numbers(weight_gradient_scratch_bytes(weights) / 4);
  }
  static std::vector<float> numbers(Index count) {
    std::vector<float> v(static_cast<std::size_t>(count));
    std::uint32_t state = 1;
    for (float& f : v) f = static_cast<float>((state = state * 1664525u + 1013904223u) >> 8) / 16777216.0f - 0.5f;
    return v;
  }
  /// Multiply-adds as usually counted (taps outside included), times two.
  double flop() const {
    const auto& grid = forward.window.output;
    return 2.0 * static_cast<double>(grid[0] * grid[1] * grid[2] * forward.window.taps() * shape.from * shape.to);
  }
  double bytes() const { return static_cast<double>(x.size() + y.size()) * 4; }

  Figure run_forward(Executor& e) {
    gather_pack(e, forward, {w.data(), false, packed.data()});
    const GatherBuffers b{x.data(), shape.from, packed.data(), nullptr, y.data(), shape.to};
    return measure(e, flop(), [&] { gather(e, forward, b); });
  }
  Figure run_data(Executor& e) {
    gather_pack(e, data, {w.data(), true, packed_data.data()});
    const GatherBuffers b{y.data(), shape.to, packed_data.data(), nullptr, x.data(), shape.from};
    return measure(e, flop(), [&] { gather(e, data, b); });
  }
  Figure run_winograd(Executor& e, const WinogradPlan& plan) {
    std::vector<float> u = numbers(winograd_packed_bytes(plan) / 4), room = numbers(winograd_scratch_bytes(plan) / 4);
    winograd_pack(e, plan, {w.data(), false, u.data()});
    const GatherBuffers b{x.data(), shape.from, u.data(), nullptr, y.data(), shape.to};
    return measure(e, flop(), [&] { winograd(e, plan, b, room.data()); });
  }
  Figure run_weights(Executor& e) {
    const GradientBuffers b{x.data(), shape.from, y.data(), shape.to, dw.data(), scratch.data()};
    return measure(e, flop(), [&] { weight_gradient(e, weights, b); });
  }
  Figure run_winograd_weights(Executor& e, const WinogradPlan& plan) {
    std::vector<float> room = numbers(winograd_weights_scratch_bytes(plan) / 4);
    const GradientBuffers b{x.data(), shape.from, y.data(), shape.to, dw.data(), room.data()};
    return measure(e, flop(), [&] { winograd_weights(e, plan, b); });
  }
};

void print(const Case& c, const char* what, const Figure& f) {
  std::printf("%-18s %-8s %8.2f ms (median %8.2f) %6.1f GF/s %5.1f %% of peak %5.1f GB/s\n", c.shape.name, what, f.best * 1e3,
              f.median * 1e3, c.flop() / f.best * 1e-9, 100 * f.of_peak, c.bytes() / f.best * 1e-9);
  std::fflush(stdout);
}

}   // namespace

int main(int argc, char** argv) {
  if (argc > 1) g_seconds = std::atof(argv[1]);
  Isa isa = detect_isa();
  for (const Isa i : kIsas)
    if (argc > 2 && text(i) == argv[2] && available(i)) isa = i;
  const char* only = argc > 3 ? argv[3] : "";
  const Shape3 shapes[] = {{"64->64 @48 k3", 64, 64, 48, 3, 1, 1, false},     {"32->32 @96 k3", 32, 32, 96, 3, 1, 1, false},
                           {"8->8 @64 k3", 8, 8, 64, 3, 1, 1, false},         {"16->16 @64 k3", 16, 16, 64, 3, 1, 1, false},
                           {"128->128 @24 k3", 128, 128, 24, 3, 1, 1, false}, {"256->256 @12 k3", 256, 256, 12, 3, 1, 1, false},
                           {"512->512 @6 k3", 512, 512, 6, 3, 1, 1, false},   {"1->32 @96 k3", 1, 32, 96, 3, 1, 1, false},
                           {"32->2 @96 k1", 32, 2, 96, 1, 1, 0, false},       {"32->26 @96 k1", 32, 26, 96, 1, 1, 0, false},
                           {"64->32 @24 k2s2 T", 64, 32, 24, 2, 2, 0, true},  {"32->64 @48 k3s2", 32, 64, 48, 3, 2, 1, false},
                           {"32->64 @48 k3", 32, 64, 48, 3, 1, 1, false},     {"64->128 @24 k3", 64, 128, 24, 3, 1, 1, false},
                           {"32->64 @48 k2s2", 32, 64, 48, 2, 2, 0, false},   {"64->64 @48 k1", 64, 64, 48, 1, 1, 0, false},
                           {"256->512 @12 k1", 256, 512, 12, 1, 1, 0, false}, {"1->16 @96 k5", 1, 16, 96, 5, 1, 2, false},
                           {"3->16 @96 k3", 3, 16, 96, 3, 1, 1, false},       {"4->4 @96 k3", 4, 4, 96, 3, 1, 1, false},
                           {"32->2 @64 k3", 32, 2, 64, 3, 1, 1, false},       {"16->16 @48 k7", 16, 16, 48, 7, 1, 3, false},
                           {"32->32 @48 k5", 32, 32, 48, 5, 1, 2, false},     {"64->64 @24 k5", 64, 64, 24, 5, 1, 2, false}};
  ThreadPool one(1), two(2);
  for (Executor* e : {static_cast<Executor*>(&one), static_cast<Executor*>(&two)}) {
    std::printf("# isa %s, %d threads, multiply-add peak %.1f GF/s\n", text(isa).c_str(), e->threads(), peak_gflops(*e, 0.2));
    for (const Shape3& s : shapes) {
      if (!std::strstr(s.name, only)) continue;
      Case c(s, isa);
      print(c, "forward", c.run_forward(*e));
      for (const Accuracy a : {Accuracy::standard, Accuracy::fast})
        if (const auto plan = choose_winograd(c.forward, a)) print(c, text(a).c_str(), c.run_winograd(*e, *plan));
      print(c, "data", c.run_data(*e));
      print(c, "weights", c.run_weights(*e));
      for (const Accuracy a : {Accuracy::standard, Accuracy::fast})
        if (const auto plan = choose_winograd_weights(c.weights, a))
          print(c, a == Accuracy::fast ? "w. fast" : "w. stand", c.run_winograd_weights(*e, *plan));
    }
  }
}
