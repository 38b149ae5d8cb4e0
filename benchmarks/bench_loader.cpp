// Do loader threads keep a network fed? Samples of the lung nodule recipe, drawn ahead as fit does it, while the caller waits a
// step's time for each batch (as for a card), and what a sample costs on one thread, transform by transform.
// Usage: ctseg_bench_loader [workers = 4] [step in ms = 10] [steps = 200]
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <memory>
#include <thread>

#include <ctseg/core/tensor.hpp>
#include <ctseg/data/augment/recipes.hpp>
#include <ctseg/data/patch_sampler.hpp>
#include <ctseg/data/phantom.hpp>
#include <ctseg/data/prefetch.hpp>

#include "report.hpp"

using namespace ctseg;
using S = Spec<float, 3, Cpu>;
using Clock = std::chrono::steady_clock;

namespace {

double now() { return std::chrono::duration<double>(Clock::now().time_since_epoch()).count(); }
double cpu_seconds(clockid_t clock) {
  timespec t{};
  clock_gettime(clock, &t);
  return static_cast<double>(t.tv_sec) + 1e-9 * static_cast<double>(t.tv_nsec);
}

/// A scan of 128 x 288 x 288 at 1 mm with labels, in [0, 1].
Case make_case() {
  const Grid grid{{.x = 288, .y = 288, .z = 128}, Affine<Ras>(Eigen::Matrix4d::Identity())};
  Case c{"phantom", Volume<float>(grid), Volume<std::uint8_t>(grid)};
  RandomStream random({11});
  for (Index z = 0; z < grid.shape.z; ++z)
    for (Index y = 0; y < grid.shape.y; ++y)
      for (Index x = 0; x < grid.shape.x; ++x) {
        const double a = static_cast<double>(z), b = static_cast<double>(y), d = static_cast<double>(x);
        const double v = 0.5 + 0.2 * std::sin(a / 9) * std::cos(b / 11) + 0.2 * std::sin(d / 7);
        c.image(z, y, x) = static_cast<float>(v);
        c.label(z, y, x) = v > 0.85;
      }
  return c;
}

struct Batch {
  Tensor<float, 3> images;
  Tensor<std::uint8_t, 3> labels;
};
std::unique_ptr<Batch> draw(const PatchSampler<S>& sampler, Index number, Index size) {
  auto b = std::make_unique<Batch>(Batch{Tensor<float, 3>(sampler.shape(size)), Tensor<std::uint8_t, 3>(sampler.shape(size))});
  sampler.fill({42, 0, 0}, number * size, b->images.view(), b->labels.view());
  return b;
}

/// Mean CPU ms of a sample on one thread.
double cost(const std::vector<Case>& cases, const Extent& patch, const Recipe& recipe, Index samples = 40) {
  const PatchSampler<S> sampler(cases, {.patch = patch, .augment = recipe});
  draw(sampler, 0, 1);
  const double start = cpu_seconds(CLOCK_THREAD_CPUTIME_ID);
  for (Index n = 0; n < samples; ++n) draw(sampler, n, 1);
  return (cpu_seconds(CLOCK_THREAD_CPUTIME_ID) - start) * 1e3 / static_cast<double>(samples);
}

void costs(const std::vector<Case>& cases, const Extent& patch) {
  const Recipe all = lung_nodule_recipe();
  const double cut = cost(cases, patch, {});
  std::printf("  %-20s %8.2f ms of CPU a sample\n", "cut alone", cut);
  for (const Transform& t : all.transforms) {
    Transform always = t;
    const char* name = "";
    double probability = 0;
    std::visit(
        [&](auto& o) {
          if constexpr (requires { o.probability; }) {
            probability = std::exchange(o.probability, 1);
          }
        },
        always);
    constexpr const char* kNames[] = {
        "RandRotate90",       "RandFlip", "MirrorTransform",  "RandRotate", "RandAffine", "", "", "", "RandScaleIntensity",
        "RandShiftIntensity", "",         "RandGaussianNoise"};
    name = kNames[t.index()];
    const double one = cost(cases, patch, {{always}}, 12) - cut;
    std::printf("  %-20s %8.2f ms when it fires, probability %.1f\n", name, one, probability);
  }
}

/// One thread waits `step` for each batch, workers draw ahead.
void feed(const std::vector<Case>& cases, const Extent& patch, Index batch, int workers, double step_ms, Index steps) {
  const PatchSampler<S> sampler(cases, {.patch = patch, .augment = lung_nodule_recipe()});
  Prefetch<std::unique_ptr<Batch>> ahead([&](Index n) { return draw(sampler, n, batch); }, {.workers = workers});
  for (int i = 0; i < workers + 2; ++i) ahead.next();   // the first ones are not ready
  const double start = now(), cpu_start = cpu_seconds(CLOCK_PROCESS_CPUTIME_ID);
  double waited = 0;
  Index late = 0;
  for (Index n = 0; n < steps; ++n) {
    const double before = now();
    ahead.next();
    const double wait = now() - before;
    waited += wait, late += wait > 1e-3;
    std::this_thread::sleep_for(std::chrono::duration<double, std::milli>(step_ms));
  }
  const double wall = now() - start, cpu = cpu_seconds(CLOCK_PROCESS_CPUTIME_ID) - cpu_start, n = static_cast<double>(steps);
  std::printf(
      "  batch %lld: %.1f ms a step, %.1f of them waiting for samples (%lld of %lld steps); %.0f samples/s, %.2f ms of CPU a "
      "sample\n",
      static_cast<long long>(batch), wall / n * 1e3, waited / n * 1e3, static_cast<long long>(late),
      static_cast<long long>(steps), n * static_cast<double>(batch) / wall, cpu / n / static_cast<double>(batch) * 1e3);
  std::fflush(stdout);
}

}   // namespace

int main(int argc, char** argv) {
  const int workers = argc > 1 ? std::atoi(argv[1]) : 4;
  const double step_ms = argc > 2 ? std::atof(argv[2]) : 10;
  const Index steps = argc > 3 ? std::atol(argv[3]) : 200;
  const std::vector<Case> cases{make_case()};
  std::printf("%s, %u processors; %d workers, steps of %.0f ms\n", bench::processor().c_str(),
              std::thread::hardware_concurrency(), workers, step_ms);
  for (const Extent& patch : {Extent{96, 96, 96}, Extent{64, 256, 256}}) {
    std::printf("%s\n", text("patch ", patch[0], " x ", patch[1], " x ", patch[2]).c_str());
    costs(cases, patch);
    std::printf("  %-20s %8.2f ms of CPU a sample\n", "the whole recipe", cost(cases, patch, lung_nodule_recipe(), 100));
    for (const Index batch : {1, 2}) feed(cases, patch, batch, workers, step_ms, steps);
  }
}
