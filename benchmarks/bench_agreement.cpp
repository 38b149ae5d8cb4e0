// Do the masks of a trained network depend on how convolutions round? Trains a BasicUNet on vertebrae for a few minutes, then
// segments two real scans, one of them never seen, in double and in float with each accuracy, and counts the voxels whose class
// differs from double's. Usage: ctseg_bench_agreement DATA FOLDER [steps = 300]
// DATA has verse/ and totalseg_ct/ (see tests: CTSEG_TEST_DATA). FOLDER receives weights.safetensors, which a second call takes
// instead of training, and .npy files, from which peers/agreement.py does the same in PyTorch.
#include <chrono>
#include <cstdio>
#include <cstdlib>

#include <ctseg/image/preprocess.hpp>
#include <ctseg/io/nifti.hpp>
#include <ctseg/io/npy.hpp>
#include <ctseg/io/weights.hpp>
#include <ctseg/metrics/overlap.hpp>
#include <ctseg/models/basic_unet.hpp>
#include <ctseg/nn/predictor.hpp>
#include <ctseg/ops/cpu.hpp>
#include <ctseg/train/fit.hpp>

namespace cs = ctseg;
using Path = std::filesystem::path;
using Mask = cs::Volume<std::uint8_t>;

namespace {

double now() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

/// A scan at 1.5 mm, its bones between 0 and 1, and the vertebrae: labels low .. high of the file.
cs::Case read_case(const Path& ct, const Path& labels, int low, int high) {
  const auto scan = cs::io::read_nifti<float>(ct);
  auto mask = cs::io::read_nifti<std::uint8_t>(labels);
  for (auto& v : mask.voxels()) v = v >= low && v <= high;
  auto x = cs::preprocess(scan, {.spacing_mm = {.x = 1.5, .y = 1.5, .z = 1.5}, .window_hu = {-200, 800}});
  auto y = cs::resample_like(mask, x);
  return {ct.stem().stem().string(), std::move(x), std::move(y)};
}

/// A number of steps, not of minutes: the same weights every time on one instruction set.
void train(std::vector<cs::Case> cases, const Path& weights, cs::Index steps) {
  using S = cs::Spec<float, 3, cs::Cpu>;
  cs::Context<cs::Cpu> ctx{{.threads = 2, .seed = 7}};
  cs::BasicUNet<S> net;
  net.initialize(ctx);
  cs::AdamW<S> adam(net.parameters(), {.learning_rate = 2e-3});
  const cs::PatchSampler<S> patches(std::move(cases), {.patch = 48, .positive = 2, .negative = 1});
  const auto result = cs::fit(ctx, net, adam, patches,
                              {.steps = steps, .batch = 1, .schedule = {.kind = cs::ScheduleKind::cosine, .warm_up = 10}});
  std::printf("trained %lld steps of 48^3 in %.0f s, last loss %.3f\n", static_cast<long long>(steps), result.seconds,
              result.loss);
  std::fflush(stdout);
  cs::io::save_weights(weights, net);
}

/// Logit of vertebra minus that of background, for every voxel.
template <class T> std::vector<T> margins(const Path& weights, const cs::Volume<float>& ct, cs::Accuracy accuracy) {
  using S = cs::Spec<T, 3, cs::Cpu>;
  cs::Context<cs::Cpu> ctx{{.threads = 2, .accuracy = accuracy}};
  cs::BasicUNet<S> net;
  cs::io::load_weights(weights, net);
  cs::Predictor<cs::BasicUNet<S>> predict(ctx, net, ct.tensor_shape());
  const auto x = predict.input();
  for (cs::Index v = 0; v < x.rows(); ++v) x.row(v)[0] = static_cast<T>(ct.data()[v]);
  const auto y = predict();
  std::vector<T> margin;
  for (cs::Index v = 0; v < y.rows(); ++v) margin.push_back(y.row(v)[1] - y.row(v)[0]);
  return margin;
}

template <class T> Mask mask_of(const cs::Grid& grid, const std::vector<T>& margin) {
  Mask mask(grid);
  for (std::size_t v = 0; v < margin.size(); ++v) mask.voxels()[v] = margin[v] > 0;   // the first class of equals
  return mask;
}

void compare(const cs::Case& c, const Path& weights, const Path& folder, const char* role) {
  const cs::Grid& grid = c.image.grid();
  double start = now();
  const std::vector<double> exact = margins<double>(weights, c.image, cs::Accuracy::strict);
  const Mask want = mask_of(grid, exact);
  double largest = 0;
  for (const double m : exact) largest = std::max(largest, std::abs(m));
  std::printf("%s (%s): %lld voxels, vertebrae in %lld of them, largest margin %.1f\n", c.name.c_str(), role,
              static_cast<long long>(grid.voxels()), static_cast<long long>(cs::overlap(want, want).tp), largest);
  std::printf("  %-9s %7.1f s, Dice with the labels %.4f\n", "double", now() - start, cs::overlap(want, c.label).dice());
  cs::io::write_npy_volume(folder / (c.name + "_image.npy"), c.image);
  cs::Volume<double> all(grid);
  std::copy(exact.begin(), exact.end(), all.data());
  cs::io::write_npy_volume(folder / (c.name + "_margin.npy"), all);
  for (const cs::Accuracy accuracy : {cs::Accuracy::strict, cs::Accuracy::standard, cs::Accuracy::fast}) {
    start = now();
    const std::vector<float> margin = margins<float>(weights, c.image, accuracy);
    const double seconds = now() - start;
    const Mask mask = mask_of(grid, margin);
    double most = 0;
    cs::Index differ = 0;
    for (std::size_t v = 0; v < margin.size(); ++v) {
      most = std::max(most, std::abs(static_cast<double>(margin[v]) - exact[v]));
      differ += mask.voxels()[v] != want.voxels()[v];
    }
    std::printf(
        "  %-9s %7.1f s, Dice with the labels %.4f, with double %.7f; %lld differ: %.5f %% agree; margins %.1e\n",
        cs::text(accuracy).c_str(), seconds, cs::overlap(mask, c.label).dice(), cs::overlap(mask, want).dice(),
        static_cast<long long>(differ), 100 - 100.0 * static_cast<double>(differ) / static_cast<double>(grid.voxels()),
        most / largest);
  }
  std::fflush(stdout);
}

}   // namespace

int main(int argc, char** argv) try {
  if (argc < 3) {
    std::puts("usage: ctseg_bench_agreement DATA FOLDER [steps = 300]");
    return 2;
  }
  const Path data = argv[1], folder = argv[2], weights = folder / "weights.safetensors";
  std::filesystem::create_directories(folder);
  const cs::Case seen =
      read_case(data / "verse/sub-verse005_ct.nii.gz", data / "verse/sub-verse005_seg-vert_msk.nii.gz", 1, 25);
  const cs::Case unseen =
      read_case(data / "verse/sub-verse007_ct.nii.gz", data / "verse/sub-verse007_seg-vert_msk.nii.gz", 1, 25);
  if (!std::filesystem::exists(weights))
    train({seen,
           read_case(data / "totalseg_ct/example_ct.nii.gz", data / "totalseg_ct/example_seg_fast_force_split.nii.gz", 27, 50)},
          weights, argc > 3 ? std::atoi(argv[3]) : 300);
  compare(seen, weights, folder, "of the training set");
  compare(unseen, weights, folder, "never seen");
} catch (const cs::Error& e) {
  std::fprintf(stderr, "%s\n", e.what());
  return 1;
}
