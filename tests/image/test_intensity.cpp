// Windows and z-scores.
#include <doctest/doctest.h>
#include <ctseg/image/intensity.hpp>

using namespace ctseg;

namespace {

Volume<float> row(std::vector<float> values) {
  const Grid grid{{static_cast<Index>(values.size()), 1, 1}, Affine<Ras>(Eigen::Matrix4d::Identity())};
  return Volume<float>(grid, std::move(values));
}

TEST_CASE("a window maps low..high to 0..1, clips outside, and turns NaN into 0") {
  const float nan = std::numeric_limits<float>::quiet_NaN(), inf = std::numeric_limits<float>::infinity();
  CHECK(apply_window(row({-1000, -160, 40, 140, 240, 3000, nan, inf, -inf})).voxels() ==
        std::vector<float>{0, 0, 0.5f, 0.75f, 1, 1, 0, 1, 0});
  CHECK(apply_window(row({-1000, 400}), {-1000, 400}).voxels() == std::vector<float>{0, 1});
  CHECK_THROWS_AS(apply_window(row({1}), {5, 5}), Error);
  CHECK_THROWS_AS(apply_window(row({1}), {0, double(nan)}), Error);
}

TEST_CASE("a moved volume is changed in place") {
  Volume<float> v = row({1, 2, 3});
  const float* where = v.data();
  CHECK(apply_window(std::move(v)).data() == where);
}

TEST_CASE("z-score has mean 0 and population deviation 1") {
  const auto z = z_score(row({2, 4, 4, 4, 5, 5, 7, 9}));   // mean 5, deviation 2
  CHECK(z.voxels() == std::vector<float>{-1.5f, -0.5f, -0.5f, -0.5f, 0, 0, 1, 2});
  CHECK(z_score(row({3, 3, 3})).voxels() == std::vector<float>{0, 0, 0});
  const auto far = z_score(row({1e6f + 1, 1e6f + 2, 1e6f + 3}));   // no cancellation
  CHECK(far(0, 0, 2) == doctest::Approx(1.224744871));
}

TEST_CASE("z-score of some voxels leaves the others; NaN counts nowhere and stays") {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  CHECK(z_score(row({0, 2, 0, 4}), {Voxels::nonzero}).voxels() == std::vector<float>{0, -1, 0, 1});
  CHECK(z_score(row({0, 0}), {Voxels::nonzero}).voxels() == std::vector<float>{0, 0});
  Volume<std::uint8_t> mask(row({0, 0, 0, 0}).grid());
  mask.voxels() = {1, 0, 0, 2};
  CHECK(z_score(row({1, 9, 0, 5}), {Voxels::mask, &mask}).voxels() == std::vector<float>{-1, 9, 0, 1});
  const auto with_nan = z_score(row({1, nan, 3}));
  CHECK(with_nan(0, 0, 0) == -1);
  CHECK(std::isnan(with_nan(0, 0, 1)));
  CHECK_THROWS_AS(z_score(row({1, 2}), {Voxels::mask, &mask}), Error);
  CHECK_THROWS_AS(z_score(row({1, 2}), {Voxels::mask}), Error);
}

TEST_CASE("ranges: as given, the volume's own, the data set's") {
  const float nan = std::numeric_limits<float>::quiet_NaN(), inf = std::numeric_limits<float>::infinity();
  const auto r = scale_intensity_range(row({-160, 40, 440, nan}), {-160, 240, 1, 3});
  CHECK(r(0, 0, 0) == 1);
  CHECK(r(0, 0, 1) == 2);
  CHECK(r(0, 0, 2) == 4);
  CHECK(std::isnan(r(0, 0, 3)));
  CHECK(scale_intensity_range(row({-160, 440, inf}), {-160, 240, 1, 3, true}).voxels() == std::vector<float>{1, 3, 3});
  CHECK(scale_intensity_range(row({7}), {5, 5, 1, 3, true}).voxels() == std::vector<float>{3});
  const auto own = scale_intensity(row({2, nan, 6, 3}), {-1, 1});
  CHECK(own(0, 0, 0) == -1);
  CHECK(own(0, 0, 2) == 1);
  CHECK(own(0, 0, 3) == -0.5f);
  CHECK(scale_intensity(row({5, 5}), {2, 4}).voxels() == std::vector<float>{10, 10});
  CHECK(normalize_ct(row({-2000, 0, 2000}), {.mean = 50, .deviation = 25, .low = -100, .high = 150}).voxels() ==
        std::vector<float>{-6, -2, 4});
  CHECK(normalize_ct(row({3}), {.mean = 3, .deviation = 0}).voxels() == std::vector<float>{0});
  CHECK_THROWS_AS(normalize_ct(row({3}), {.low = 1, .high = 0}), Error);
  CHECK_THROWS_AS(normalize_ct(row({3}), {.deviation = -1}), Error);
}

TEST_CASE("the same bits for any number of threads") {
  Volume<float> v(Grid{{7, 5, 9}, Affine<Ras>(Eigen::Matrix4d::Identity())});
  for (std::size_t i = 0; i < v.voxels().size(); ++i) v.voxels()[i] = std::sin(static_cast<float>(i) * 1.7f);
  ThreadPool pool(3);
  CHECK(z_score(v, {}, &pool).voxels() == z_score(v).voxels());
  CHECK(apply_window(v, {-1, 1}, &pool).voxels() == apply_window(v, {-1, 1}).voxels());
}

}   // namespace
