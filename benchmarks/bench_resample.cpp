// Resampling of a CT-sized volume, 0.7 x 0.7 x 1 mm to 1.5 mm and back, beside SciPy on the same voxels (peers/resample.py).
// usage: bench_resample [threads = 2] [repeats = 5] [folder to exchange .raw files with peers/resample.py]
// Wall and processor time are medians. With a folder, the input is left there for SciPy, which leaves its results; a second run
// of this program then says how far the two are apart.
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>

#include <ctseg/core/random.hpp>
#include <ctseg/image/preprocess.hpp>

#include "ceilings.hpp"

using namespace ctseg;

namespace {

int g_repeats = 5;
std::filesystem::path g_folder;

Grid ct_grid() { return {{512, 512, 300}, Affine<Ras>(Eigen::Matrix4d(Eigen::Vector4d(0.7, 0.7, 1, 1).asDiagonal()))}; }

/// Soft shapes with noise on them, in Hounsfield units.
Volume<std::int16_t> scan(Executor& pool) {
  Volume<std::int16_t> ct(ct_grid());
  parallel_for(pool, 300, [&](Index z) {
    RandomStream random({.seed = static_cast<std::uint64_t>(z)});
    for (Index y = 0; y < 512; ++y)
      for (Index x = 0; x < 512; ++x)
        ct(z, y, x) = static_cast<std::int16_t>(600 * std::sin(double(x) / 31) * std::sin(double(y) / 23 + double(z) / 41) +
                                                random.uniform(-60, 60));
  });
  return ct;
}

std::vector<char> read(const std::string& name) {
  std::ifstream in(g_folder / name, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

/// Times f, prints one line and how far its result is from SciPy's, if that is there.
template <class T, class F> Volume<T> measure(const std::string& name, F&& f) {
  std::vector<double> wall, work;
  std::optional<Volume<T>> result;
  for (int i = 0; i < g_repeats; ++i) {
    result.reset();
    const double start = bench::now(), used = bench::processor_time();
    result.emplace(f());
    wall.push_back(bench::now() - start), work.push_back(bench::processor_time() - used);
  }
  std::sort(wall.begin(), wall.end()), std::sort(work.begin(), work.end());
  std::printf("%-22s %8.3f s wall %8.3f s processor", name.c_str(), wall[wall.size() / 2], work[work.size() / 2]);
  if (!g_folder.empty()) {
    const std::vector<char> bytes = read("scipy_" + name + ".raw");
    if (bytes.size() == result->voxels().size() * sizeof(T)) {
      const T* other = reinterpret_cast<const T*>(bytes.data());
      double worst = 0;
      for (const T v : result->voxels()) worst = std::max(worst, std::abs(double(v) - double(*other++)));
      std::printf("   SciPy's differs by at most %.3g", worst);
    }
  }
  std::printf("\n");
  std::fflush(stdout);
  return std::move(*result);
}

}   // namespace

int main(int argc, char** argv) {
  ThreadPool pool(argc > 1 ? std::atoi(argv[1]) : 2);
  if (argc > 2) g_repeats = std::atoi(argv[2]);
  if (argc > 3) g_folder = argv[3];
  const Volume<std::int16_t> ct = scan(pool);
  const Volume<float> image(ct.grid(), std::vector<float>(ct.voxels().begin(), ct.voxels().end()));
  if (!g_folder.empty()) {
    std::ofstream(g_folder / "ct.raw", std::ios::binary)
        .write(reinterpret_cast<const char*>(ct.data()), static_cast<std::streamsize>(ct.voxels().size() * 2));
  }
  const Grid coarse = grid_with_spacing(ct.grid(), {1.5, 1.5, 1.5}),
             same_field = grid_with_spacing(ct.grid(), {1.5, 1.5, 1.5}, SizeRule::nnunet);
  std::printf("%s voxels to %s and back, %d threads, medians of %d\n", text(ct.shape()).c_str(), text(coarse.shape).c_str(),
              pool.threads(), g_repeats);
  const auto options = [&](Interpolation i) { return ResampleOptions{.interpolation = i, .executor = &pool}; };
  const auto small = measure<float>("float_linear", [&] { return resample(image, coarse, options(Interpolation::linear)); });
  measure<float>("float_linear_back", [&] { return resample(small, image.grid(), options(Interpolation::linear)); });
  const auto short_small =
      measure<std::int16_t>("int16_linear", [&] { return resample(ct, coarse, options(Interpolation::linear)); });
  measure<std::int16_t>("int16_linear_back", [&] { return resample(short_small, ct.grid(), options(Interpolation::linear)); });
  measure<std::int16_t>("int16_nearest", [&] { return resample(ct, coarse, options(Interpolation::nearest)); });
  const auto cubic = measure<float>("float_cubic", [&] { return resample(image, same_field, options(Interpolation::cubic)); });
  measure<float>("float_cubic_back", [&] { return resample(cubic, image.grid(), options(Interpolation::cubic)); });
  Volume<std::uint8_t> mask(small.grid());
  for (std::size_t i = 0; i < mask.voxels().size(); ++i)
    mask.voxels()[i] = static_cast<std::uint8_t>((small.voxels()[i] > 0) + (small.voxels()[i] > 300));
  measure<std::uint8_t>("mask_nearest_back", [&] { return resample(mask, ct.grid(), options(Interpolation::nearest)); });
  measure<std::uint8_t>("mask_vote_back", [&] { return resample(mask, ct.grid(), options(Interpolation::label_vote)); });
  const Grid swapped = reorient(Volume<std::uint8_t>(coarse), "PIR").grid();
  measure<float>("float_linear_swapped", [&] { return resample(image, swapped, options(Interpolation::linear)); });
}
