// Distance transforms against a search through all pairs of voxels.
#include <cmath>

#include <ctseg/image/distance.hpp>

#include "image/mask_cases.hpp"

using namespace ctseg;
using namespace ctseg::test;

namespace {

using Mask = Volume<std::uint8_t>;
constexpr double kInfinity = std::numeric_limits<double>::infinity();

/// Squared distance to the nearest voxel that is foreground (or is not), and which one that is.
std::pair<double, Index> nearest_plain(const Mask& mask, Xyz<Index> from, bool wanted, bool per_slice = false) {
  const Xyz<double> s = mask.spacing_mm();
  std::pair<double, Index> best{kInfinity, edt::kNowhere};
  each_voxel(mask.shape(), [&](Xyz<Index> to) {
    if ((mask(to.z, to.y, to.x) != 0) != wanted || (per_slice && to.z != from.z)) return;
    const double x = s.x * double(to.x - from.x), y = s.y * double(to.y - from.y), z = s.z * double(to.z - from.z);
    const double squared = x * x + y * y + z * z;
    if (squared < best.first) best = {squared, place(mask.shape(), to)};
  });
  return best;
}

TEST_CASE("distances of both kinds and the signed one equal a search through all voxels") {
  for (const Mask& mask : mask_cases()) {
    INFO(describe(mask));
    for (const bool per_slice : {false, true}) {
      const DistanceOptions options{.per_slice = per_slice};
      const auto in = distance_to_background(mask, options), out = distance_to_foreground(mask, options),
                 both = signed_distance(mask, options);
      int wrong = 0;
      each_voxel(mask.shape(), [&](Xyz<Index> at) {
        const bool inside = mask(at.z, at.y, at.x) != 0;
        const auto i = static_cast<std::size_t>(place(mask.shape(), at));
        // spacings of 3/4 mm: every sum is exact, so the last bit must be right
        const auto exact = static_cast<float>(std::sqrt(nearest_plain(mask, at, !inside, per_slice).first));
        wrong += in.voxels()[i] != (inside ? exact : 0.f);
        wrong += out.voxels()[i] != (inside ? 0.f : exact);
        wrong += both.voxels()[i] != (inside ? -exact : exact);
      });
      CHECK(wrong == 0);
    }
  }
}

TEST_CASE("distances in odd spacings are right to a ten-millionth") {
  for (const double background : {0.02, 0.4}) {
    const Mask mask = random_mask(mask_grid({21, 14, 9}, {0.683, 0.7171, 3.2107}), background, 5);
    const auto found = distance_to_background(mask);
    double worst = 0;
    each_voxel(mask.shape(), [&](Xyz<Index> at) {
      if (mask(at.z, at.y, at.x) == 0) return;
      const double exact = std::sqrt(nearest_plain(mask, at, false).first);
      worst = std::max(worst, std::abs(double{found(at.z, at.y, at.x)} / exact - 1));
    });
    CHECK(worst < 1.2e-7);
  }
}

TEST_CASE("the nearest voxel is the first of those at the distance") {
  for (const Mask& mask : mask_cases()) {
    INFO(describe(mask));
    const auto back = nearest_background(mask), fore = nearest_foreground(mask);
    int wrong = 0;
    each_voxel(mask.shape(), [&](Xyz<Index> at) {
      const auto i = static_cast<std::size_t>(place(mask.shape(), at));
      wrong += Index{back.voxels()[i]} != nearest_plain(mask, at, false).second;
      wrong += Index{fore.voxels()[i]} != nearest_plain(mask, at, true).second;
    });
    CHECK(wrong == 0);
  }
}

TEST_CASE("a line longer than a tile, and slopes that hide many parabolas") {
  Mask mask(mask_grid({3, 200, 67}), 1);
  for (Index z = 0; z < 67; ++z) mask(z, (z * z) % 200, z % 3) = 0;
  const auto found = distance_to_background(mask);
  int wrong = 0;
  each_voxel(mask.shape(), [&](Xyz<Index> at) {
    if (at.y % 7 == 0) wrong += found(at.z, at.y, at.x) != static_cast<float>(std::sqrt(nearest_plain(mask, at, false).first));
  });
  CHECK(wrong == 0);
}

TEST_CASE("one label of many, other voxel types, raw voxels") {
  const Volume<std::uint8_t> labels = random_mask(mask_grid({9, 8, 7}), 0.3, 3, 4);
  Mask third(labels.grid());
  Volume<float> floats(labels.grid());
  Volume<std::int16_t> negative(labels.grid());
  for (std::size_t i = 0; i < third.voxels().size(); ++i) {
    third.voxels()[i] = labels.voxels()[i] == 3;
    floats.voxels()[i] = labels.voxels()[i] == 3 ? 0.25f : 0.f;
    negative.voxels()[i] = labels.voxels()[i] == 3 ? std::int16_t{-3} : std::int16_t{3};
  }
  const auto expected = distance_to_background(third);
  CHECK(distance_to_background(labels, {.label = 3}).voxels() == expected.voxels());
  CHECK(distance_to_background(floats).voxels() == expected.voxels());
  CHECK(distance_to_background(negative, {.label = -3}).voxels() == expected.voxels());
  CHECK(distance_to_background(third.data(), third.shape()) == expected.voxels());
  const auto stretched = distance_to_background(third.data(), third.shape(), {.spacing_mm = Xyz<double>{2, 2, 2}});
  for (std::size_t i = 0; i < stretched.size(); ++i) CHECK(stretched[i] == 2 * expected.voxels()[i]);
}

TEST_CASE("distances have the same bits for any number of threads") {
  const Mask mask = random_mask(mask_grid({37, 41, 19}, {0.7, 0.9, 2.1}), 0.03, 8);
  const auto alone = signed_distance(mask);
  const auto nearest = nearest_background(mask);
  for (const int threads : {1, 2, 4}) {
    ThreadPool pool(threads);
    CHECK(signed_distance(mask, {.executor = &pool}).voxels() == alone.voxels());
    CHECK(nearest_background(mask, {.executor = &pool}).voxels() == nearest.voxels());
  }
}

TEST_CASE("memory of many pages is as zero as any") {
  ThreadPool pool(2);
  for (const Index count : {Index{1}, Index{8} << 20, (Index{17} << 20) + 4097}) {
    const auto zeros = mask::zeros<std::uint32_t>(count, &pool);
    CHECK(std::ssize(zeros) == count);
    CHECK(std::count(zeros.begin(), zeros.end(), 0u) == count);
  }
}

TEST_CASE("what distances refuse, and how") {
  const Mask mask(mask_grid({2, 2, 2}), 1);
  check_says([&] { distance_to_background(mask, {.label = 300}); }, {"distance: label = 300", "1 bytes"});
  check_says([&] { distance_to_background(mask, {.label = -1}); }, {"label = -1"});
  check_says([&] { signed_distance(mask, {.spacing_mm = Xyz<double>{1, 0, 1}}); }, {"1 x 0 x 1", "0.000001"});
  check_says([&] { signed_distance(mask, {.spacing_mm = Xyz<double>{1, std::nan(""), 1}}); }, {"spacing_mm"});
  check_says([&] { distance_to_background(mask.data(), Xyz<Index>{2, 0, 2}); }, {"extent of 0"});
  Eigen::Matrix4d sheared = Eigen::Matrix4d::Identity();
  sheared(1, 2) = 0.2;
  const Mask tilted(Grid{{2, 2, 2}, Affine<Ras>(sheared)}, 1);
  check_says([&] { distance_to_background(tilted); }, {"78.6901 degrees", "Hint: resample"});
  CHECK(distance_to_background(tilted, {.spacing_mm = Xyz<double>{1, 1, 1}})(0, 0, 0) ==
        std::numeric_limits<float>::infinity());
  sheared(1, 2) = 0.005;   // noise of a header
  CHECK_NOTHROW(distance_to_background(Mask(Grid{{2, 2, 2}, Affine<Ras>(sheared)}, 1)));
}

}   // namespace
