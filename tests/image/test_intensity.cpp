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

}   // namespace
