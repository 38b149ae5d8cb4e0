// A real scan from file to mask: the whole path must be able to fit one volume. Plumbing, not a claim about quality.
#include <doctest/doctest.h>

#include <cstdlib>

#include <ctseg/image/preprocess.hpp>
#include <ctseg/infer/sliding_window.hpp>
#include <ctseg/io/nifti.hpp>
#include <ctseg/metrics/overlap.hpp>
#include <ctseg/models/basic_unet.hpp>
#include <ctseg/ops/cpu.hpp>
#include <ctseg/train/fit.hpp>

using namespace ctseg;
using S = Spec<float, 3, Cpu>;

namespace {

constexpr std::uint8_t kLiver = 5;
constexpr Index kPatch = 48;

/// Trains on one scan and segments it; the Dice on the scan's own grid.
double fit_one(const Volume<float>& ct, const Volume<std::uint8_t>& liver) {
  Context<Cpu> ctx{{.seed = 5}};
  const Volume<float> x = preprocess(ct, {.spacing_mm = {.x = 6, .y = 6, .z = 6}, .window_hu = {-160, 240}});
  const PatchSampler<S> patches({{"example_ct", x, resample_like(liver, x)}}, {.patch = kPatch, .positive = 2, .negative = 1});
  BasicUNet<S> net{{.features = {8, 16, 32, 32, 32, 8}}};
  net.initialize(ctx);
  AdamW<S> adam{net.parameters(), {.learning_rate = 5e-3}};
  fit(ctx, net, adam, patches, {.steps = 360, .batch = 1, .schedule = {.kind = ScheduleKind::cosine, .warm_up = 5}});
  Predictor<BasicUNet<S>> predict(ctx, net, {1, 1, {kPatch, kPatch, kPatch}});
  const auto logits = sliding_window<S>(ctx, predict, {x.data(), x.tensor_shape(), 1}, {.window = kPatch, .overlap = 0.5f});
  Volume<float> margin(x.grid());
  for (Index v = 0; v < x.grid().voxels(); ++v) margin.data()[v] = logits.data()[2 * v + 1] - logits.data()[2 * v];
  const Volume<float> fine = resample_like(margin, ct);
  Volume<std::uint8_t> mask(ct.grid());
  for (std::size_t v = 0; v < mask.voxels().size(); ++v) mask.voxels()[v] = fine.voxels()[v] > 0;
  return overlap(mask, liver).dice();
}

}   // namespace

TEST_CASE("real: a network fits the liver of one scan, and does not fit shuffled labels") {
  const char* folder = std::getenv("CTSEG_TEST_DATA");
  REQUIRE(folder);   // the main of the tests leaves "real: ..." cases out where it is not set
  const std::filesystem::path data = std::filesystem::path(folder) / "totalseg_ct";
  const auto ct = io::read_nifti<float>(data / "example_ct.nii.gz");
  auto labels = io::read_nifti<std::uint8_t>(data / "example_seg_fast_force_split.nii.gz");
  REQUIRE(same_grid(ct.grid(), labels.grid()));
  for (auto& v : labels.voxels()) v = v == kLiver;

  constexpr double kEnough = 0.95;
  const double dice = fit_one(ct, labels);
  MESSAGE("Dice of the fitted scan " << dice);
  CHECK(dice >= kEnough);

  RandomStream random({3});   // the same voxels at other places: nothing to learn
  for (std::size_t i = labels.voxels().size() - 1; i > 0; --i)
    std::swap(labels.voxels()[i], labels.voxels()[static_cast<std::size_t>(random.below(static_cast<Index>(i) + 1))]);
  CHECK(fit_one(ct, labels) < 0.5);
}

TEST_CASE("real: a mask lands on the scan's own grid, bit for bit") {
  const char* folder = std::getenv("CTSEG_TEST_DATA");
  REQUIRE(folder);   // the main of the tests leaves "real: ..." cases out where it is not set
  const auto ct = io::read_nifti<float>(std::filesystem::path(folder) / "totalseg_ct" / "example_ct.nii.gz");
  BasicUNet<S> net{{.features = {4, 4, 4, 4, 4, 4}}};
  Context<Cpu> ctx{{.seed = 5}};
  net.initialize(ctx);
  const auto x = preprocess(ct, {.spacing_mm = {.x = 8, .y = 8, .z = 8}});
  const auto mask = resample_like(sliding_window_labels(ctx, net, x, {.window = 32}), ct);
  const auto path = std::filesystem::temp_directory_path() / "ctseg_real_mask.nii.gz";
  io::write_nifti(path, mask);
  const auto back = io::read_nifti<std::uint8_t>(path);
  std::filesystem::remove(path);
  CHECK(back.shape() == ct.shape());
  CHECK(back.affine() == ct.affine());
  CHECK(back.grid().nifti == ct.grid().nifti);
  CHECK(back.voxels() == mask.voxels());
}
