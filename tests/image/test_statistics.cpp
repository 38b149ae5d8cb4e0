// Percentiles and fingerprints.
#include <doctest/doctest.h>
#include <ctseg/image/statistics.hpp>

using namespace ctseg;

namespace {

Volume<float> row(std::vector<float> values) {
  const Grid grid{{std::ssize(values), 1, 1}, Affine<Ras>(Eigen::Matrix4d::Identity())};
  return Volume<float>(grid, std::move(values));
}

TEST_CASE("percentiles lie linearly between the sorted values, in the order they were asked for") {
  const double q[] = {50, 0, 100, 25, 90, 25};
  const std::vector<double> p = percentiles({4, 1, 3, 2}, q);
  CHECK(p[4] == doctest::Approx(3.7));
  CHECK(p == std::vector<double>{2.5, 1, 4, 1.75, p[4], 1.75});
  const double one[] = {33};
  CHECK(percentiles(std::vector<float>{7}, one)[0] == 7);
  CHECK(percentiles({1, std::numeric_limits<float>::infinity()}, std::array{0.0})[0] == 1);
  CHECK_THROWS_AS(percentiles(std::vector<float>{}, one), Error);
  CHECK_THROWS_AS(percentiles({1, std::numeric_limits<float>::quiet_NaN()}, one), Error);
  CHECK_THROWS_AS(percentiles(std::vector<float>{1}, std::array{100.5}), Error);
  const double bad[] = {50, std::numeric_limits<double>::quiet_NaN(), 20};   // looked at before they are sorted
  CHECK_THROWS_WITH_AS(percentiles(std::vector<float>(9, std::numeric_limits<float>::quiet_NaN()), bad),
                       doctest::Contains("q ="), Error);
  CHECK_THROWS_AS(percentiles(std::vector<float>{1}, std::array{std::numeric_limits<double>::quiet_NaN()}), Error);
}

TEST_CASE("a fingerprint counts the foreground of all cases, spread evenly where there is too much") {
  IntensityFingerprint f(4);
  const float nan = std::numeric_limits<float>::quiet_NaN();
  Volume<std::uint8_t> labels(row({0, 0, 0, 0}).grid());
  labels.voxels() = {1, 0, 2, 1};
  f.add(row({10, 99, 20, nan}), labels);
  CHECK(f.values() == std::vector<float>{10, 20});
  std::vector<float> many(100);
  for (std::size_t i = 0; i < many.size(); ++i) many[i] = static_cast<float>(i);
  f.add(row(many), Volume<std::uint8_t>(row(many).grid(), 1));
  CHECK(f.values() == std::vector<float>{10, 20, 24, 49, 74, 99});
  const IntensityStatistics s = intensity_statistics({2, 4, 4, 4, 5, 5, 7, 9});
  CHECK(s.mean == 5);
  CHECK(s.deviation == 2);
  CHECK(s.median == 4.5);
  CHECK(s.min == 2);
  CHECK(s.max == 9);
  CHECK(s.percentile_00_5 == doctest::Approx(2.07));
  CHECK(s.percentile_99_5 == doctest::Approx(8.93));
  CHECK(ct_normalization(s).low == s.percentile_00_5);
  CHECK_THROWS_AS(f.add(row({1}), labels), Error);
  CHECK_THROWS_AS(IntensityFingerprint().statistics(), Error);
}

}   // namespace
