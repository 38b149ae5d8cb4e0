// Augmentation of one 128^3 patch (image and label) on one thread: each transform alone with probability 1, and whole recipes.
// Prints a line for each: name, median CPU and wall milliseconds, mean CPU milliseconds. benchmarks/peers/augment.py runs it
// beside MONAI and batchgeneratorsv2 on the same image.
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <ctime>

#include <ctseg/data/augment/recipes.hpp>

using namespace ctseg;

namespace {

constexpr Index kPatch = 128, kSource = 205;   // nnU-Net cuts 205 voxels for a patch of 128 that may turn

double cpu_seconds() { return static_cast<double>(std::clock()) / CLOCKS_PER_SEC; }
double median(std::vector<double> v) {
  std::nth_element(v.begin(), v.begin() + std::ssize(v) / 2, v.end());
  return v[v.size() / 2];
}

/// The image and labels that the script makes by the same formula.
Patch make_source() {
  Patch p{.size = {kSource, kSource, kSource}};
  for (Index z = 0; z < kSource; ++z)
    for (Index y = 0; y < kSource; ++y)
      for (Index x = 0; x < kSource; ++x) {
        const double a = static_cast<double>(z), b = static_cast<double>(y), c = static_cast<double>(x);
        const double v = std::sin(a / 9) * std::cos(b / 11) + std::sin(c / 7);
        p.image.push_back(static_cast<float>(v));
        p.label.push_back(v > 1 ? 2 : v > 0.5 ? 1 : 0);
      }
  return p;
}

struct Bench {
  const Patch& source;
  Index runs;

  void operator()(const char* name, const Recipe& recipe, bool from_volume = false) const {
    PatchSource view = source_of(source);
    view.corner = {38, 38, 38};
    Patch pristine{.size = {kPatch, kPatch, kPatch}};
    cut(pristine, view);
    Patch patch = pristine;
    std::vector<double> cpu, wall;
    double sum = 0;
    for (Index run = -1; run < runs; ++run) {
      patch.image = pristine.image;
      patch.label = pristine.label;
      const auto start = std::chrono::steady_clock::now();
      const double cpu_start = cpu_seconds();
      const Augmentation drawn = draw(recipe, {42, static_cast<std::uint64_t>(run + 1), 0}, {patch.size});
      if (from_volume)
        cut_and_apply(drawn, view, patch);
      else
        apply(drawn, patch);
      if (run < 0) continue;   // the first allocates
      cpu.push_back((cpu_seconds() - cpu_start) * 1e3);
      wall.push_back(std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count() * 1e3);
      sum += cpu.back();
    }
    std::printf("%-36s %9.3f %9.3f %9.3f\n", name, median(cpu), median(wall), sum / static_cast<double>(runs));
    std::fflush(stdout);
  }
};

}   // namespace

int main() {
  const char* wanted = std::getenv("CTSEG_BENCH_RUNS");
  const Patch source = make_source();
  const Bench bench{source, wanted ? std::max(std::atol(wanted), 1L) : 15}, many{source, bench.runs * 8};
  const PerAxis turns = all_axes(symmetric(30)), tenth = all_axes(symmetric(0.1));
  std::printf("%-36s %9s %9s %9s   ms, one thread, 128^3\n", "transform", "cpu", "wall", "mean cpu");
  bench("RandRotate90", {{RandRotate90{.probability = 1}}});
  bench("RandFlip", {{RandFlip{.probability = 1, .axes = {.x = true}}}});
  bench("RandRotate", {{RandRotate{.probability = 1, .degrees = turns}}});
  bench("RandZoom", {{RandZoom{.probability = 1}}});
  bench("RandAffine", {{RandAffine{.probability = 1, .degrees = turns, .scale = tenth}}});
  bench("Rand3DElastic", {{Rand3DElastic{.probability = 1}}});
  bench("RandGaussianNoise", {{RandGaussianNoise{.probability = 1}}});
  bench("RandGaussianSmooth", {{RandGaussianSmooth{.probability = 1}}});
  bench("RandScaleIntensity", {{RandScaleIntensity{.probability = 1}}});
  bench("RandShiftIntensity", {{RandShiftIntensity{.probability = 1}}});
  bench("RandAdjustContrast", {{RandAdjustContrast{.probability = 1}}});
  many("recipe lung nodules", lung_nodule_recipe());
  many("recipe coronaries", coronary_recipe());
  bench("SpatialTransform", {{SpatialTransform{.rotation_probability = 1, .scaling_probability = 1}}}, true);
  bench("GaussianNoiseTransform", {{RandGaussianNoise{.probability = 1}}});
  bench("GaussianBlurTransform", {{GaussianBlurTransform{.probability = 1, .channel_probability = 1}}});
  bench("MultiplicativeBrightnessTransform", {{MultiplicativeBrightnessTransform{.probability = 1}}});
  bench("ContrastTransform", {{ContrastTransform{.probability = 1}}});
  bench("SimulateLowResolutionTransform", {{SimulateLowResolutionTransform{.probability = 1, .channel_probability = 1}}});
  bench("GammaTransform", {{GammaTransform{.probability = 1}}});
  bench("MirrorTransform", {{MirrorTransform{.probability = 1}}});
  many("recipe nnU-Net", nnunet_recipe({kPatch, kPatch, kPatch}), true);
}
