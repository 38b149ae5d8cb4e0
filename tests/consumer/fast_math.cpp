// What holds under -ffast-math too, which lets a compiler suppose that there are no NaNs: options that are none are refused,
// and a NaN in an image neither hides in a max-pool nor leaves an array.
#include <cstdio>

#include <ctseg/image/preprocess.hpp>
#include <ctseg/infer/sliding_window.hpp>
#include <ctseg/metrics/overlap.hpp>
#include <ctseg/models/basic_unet.hpp>
#include <ctseg/ops/cpu.hpp>

namespace cs = ctseg;
using S = cs::Spec<float, 2, cs::Cpu>;

int failures = 0;
void check(bool holds, const char* what) {
  if (!holds) std::printf("not so: %s\n", what), ++failures;
}
template <class F> bool refused(F f) {
  try {
    f();
    return false;
  } catch (const cs::Error& e) {
    return e.code() == cs::Code::bad_argument;
  }
}

int main(int, char** argv) try {
  const std::uint32_t bits = argv ? 0x7ff80000u : 0;   // the compiler does not know which
  const float nan = std::bit_cast<float>(bits);
  const double wide = std::bit_cast<double>(std::uint64_t{bits} << 32);
  cs::Context<cs::Cpu> ctx({.threads = 1, .seed = 1});

  cs::Tape<S> tape(cs::Mode::train, ctx);
  check(refused([&] { cs::dropout(tape.input({1, 1, {4, 4}}), nan); }), "dropout refuses p");
  Eigen::Matrix4d place = Eigen::Matrix4d::Identity();
  place(0, 0) = -2, place(0, 1) = 0.25, place(1, 3) = 30;
  const cs::Grid grid{.shape = {4, 4, 4}, .affine = cs::Affine<cs::Ras>(place)};
  cs::Volume<float> ct(grid, 5.f);
  check(refused([&] { cs::preprocess(ct, {.window_hu = {wide, 240}}); }), "a window refuses its low end");
  check(refused([&] { cs::preprocess(ct, {.window_hu = {-160, wide}}); }), "a window refuses its high end");
  check(refused([&] { cs::preprocess(ct, {.spacing_mm = {wide, 1, 1}}); }), "preprocess refuses a spacing");
  cs::Grid nowhere = grid;
  nowhere.affine.matrix(1, 1) = wide;
  check(refused([&] { cs::resample(ct, nowhere); }), "resample refuses an affine");
  check(!cs::same_grid(grid, nowhere), "a grid without a place is no grid's equal");
  const cs::Point<cs::Ras> there = grid.affine(1, 2, 3);
  const cs::Xyz<double> back = grid.affine.index_of(there);
  check(std::abs(back.x - 1) < 1e-9 && std::abs(back.y - 2) < 1e-9 && std::abs(back.z - 3) < 1e-9, "an affine has an inverse");
  const cs::Volume<std::uint8_t> mask(grid, std::uint8_t{1});
  check(refused([&] { cs::resample(mask, {{5, 4, 4}, grid.affine}, {.outside = wide}); }), "resample refuses an outside");
  const cs::BasicUNet<S> net({.out_channels = 2, .features = {2, 2, 2, 2, 2, 2}});
  check(refused([&] { cs::sliding_window_labels(ctx, net, ct, {.window = 16, .overlap = wide}); }),
        "windows refuse an overlap");

  ct.voxels()[7] = nan;
  check(cs::apply_window(ct, {0, 10}).voxels()[7] == 0.f, "a NaN voxel becomes 0");
  cs::best_threshold_dice(ct, mask);   // its bins are indices

  cs::Tensor<float, 2> image({1, 8, {4, 4}});
  for (cs::Index i = 0; i < image.shape().elements(); ++i) image.data()[i] = static_cast<float>(i % 13);
  for (cs::Index c = 0; c < 8; ++c) image(0, c, c / 4, c % 2) = nan;   // each place in a window of 2 x 2
  const auto pooled = cs::max_pool(tape.input(image.view())).value();
  for (cs::Index c = 0; c < 8; ++c) {
    check(cs::is_nan(pooled.row(0)[c]), "a NaN wins its window");
    check(cs::is_finite(pooled.row(3)[c]), "other windows have none");
  }
  std::printf("%d of the rules on NaN broken\n", failures);
  return failures == 0 ? 0 : 1;
} catch (const cs::Error& e) {
  std::printf("%s\n", e.what());
  return 1;
}
