// A 1 x 1 x 1 convolution is a matrix product: ours beside xt::linalg::dot (OpenBLAS), on one thread, in turn in one run.
// usage: bench_gemm_rival [rounds = 15]
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <vector>

#include <ctseg/ops/cpu/simd/conv.hpp>
#include <xtensor-blas/xlinalg.hpp>

extern "C" void openblas_set_num_threads(int threads);

using namespace ctseg;

namespace {

constexpr double kTolerance = 1e-5;   // of the largest product

template <class F> double seconds(F f) {
  const auto start = std::chrono::steady_clock::now();
  f();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}
double median(std::vector<double> v) {
  std::ranges::sort(v);
  return v[v.size() / 2];
}
xt::xarray<float> numbers(std::size_t rows, std::size_t columns) {
  xt::xarray<float> a = xt::zeros<float>({rows, columns});
  std::uint32_t state = 1;
  for (float& f : a) f = static_cast<float>((state = state * 1664525u + 1013904223u) >> 8) * 0x1p-24f - 0.5f;
  return a;
}

/// Prints both speeds; false if the results disagree.
bool compare(Index size, Index from, Index to, int rounds) {
  const Index voxels = size * size * size;
  const auto count = [](Index i) { return static_cast<std::size_t>(i); };
  const auto x = numbers(count(voxels), count(from)), w = numbers(count(from), count(to));
  xt::xarray<float> ours = numbers(count(voxels), count(to)), theirs = ours;

  ThreadPool one(1);
  ConvWindow window;
  window.input.fill(size), window.output.fill(size);
  window.kernel.fill(1), window.stride.fill(1), window.padding.fill(0);
  const simd::ConvPlan plan{.window = window, .side = Side::output, .images = 1, .from = from, .to = to, .isa = detect_isa()};
  std::vector<float> packed(count(simd::gather_packed_bytes(plan)) / sizeof(float) + 64);
  simd::gather_pack(one, plan, {.w = w.data(), .packed = packed.data()});

  std::vector<double> our_times, their_times;
  for (int k = 0; k <= rounds; ++k) {
    const double a = seconds([&] {
      simd::gather(one, plan, {.x = x.data(), .x_pitch = from, .packed = packed.data(), .y = ours.data(), .y_pitch = to});
    });
    const double b = seconds([&] { theirs = xt::linalg::dot(x, w); });
    if (k > 0) our_times.push_back(a), their_times.push_back(b);   // the first round warms up
  }
  float largest = 0, worst = 0;
  for (std::size_t i = 0; i < ours.size(); ++i) {
    largest = std::max(largest, std::abs(theirs.data()[i]));
    worst = std::max(worst, std::abs(ours.data()[i] - theirs.data()[i]));
  }
  const double gflop = 2e-9 * static_cast<double>(voxels * from * to);
  std::printf("%4d -> %-4d @%-3d  ctseg %7.2f GF/s   xt::linalg::dot %7.2f GF/s   ratio %5.2f   difference %.1e\n",
              static_cast<int>(from), static_cast<int>(to), static_cast<int>(size), gflop / median(our_times),
              gflop / median(their_times), median(their_times) / median(our_times), double{worst / largest});
  return worst <= kTolerance * double{largest};
}

}   // namespace

int main(int argc, char** argv) {
  const int rounds = argc > 1 ? std::max(1, std::atoi(argv[1])) : 15;
  openblas_set_num_threads(1);
  bool right = true;
  for (const auto& [size, from, to] :
       {std::array<Index, 3>{48, 32, 2}, {48, 32, 26}, {48, 32, 32}, {24, 128, 128}, {12, 256, 256}})
    right = compare(size, from, to, rounds) && right;
  if (!right) std::printf("FAILED: the results disagree\n");
  return right ? 0 : 1;
}
