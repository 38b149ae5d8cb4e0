// Crops and pads: what lies in them, where they are, and what the rules of MONAI and nnU-Net make of a volume.
#include <Eigen/Geometry>

#include <doctest/doctest.h>
#include <ctseg/image/crop.hpp>

using namespace ctseg;

namespace {

Grid grid(Xyz<Index> shape) {
  Eigen::Matrix4d m = Eigen::Matrix4d::Identity();
  m.block<3, 3>(0, 0) = Eigen::AngleAxisd(0.4, Eigen::Vector3d(1, 2, 3).normalized()).toRotationMatrix() *
                        Eigen::Vector3d(0.8, -1.1, 2.5).asDiagonal();
  m.block<3, 1>(0, 3) << 7, -8, 9;
  return {shape, Affine<Ras>(m), NiftiPlacement{.qform_code = 1}};
}
Volume<float> numbered(Xyz<Index> shape) {
  Volume<float> v(grid(shape));
  for (std::size_t i = 0; i < v.voxels().size(); ++i) v.voxels()[i] = static_cast<float>(i + 1);
  return v;
}

TEST_CASE("a crop holds its box, pads beyond the volume, and every voxel stays where it is in the patient") {
  const auto v = numbered({5, 4, 3});
  for (const Box& box :
       {Box{{1, 1, 0}, {4, 3, 2}}, Box{{-2, 1, -1}, {7, 9, 3}}, Box{{3, -3, 1}, {4, 0, 2}}, Box{{9, 9, 9}, {11, 10, 10}}})
    for (const std::optional<double> outside : {std::optional<double>(-7), std::optional<double>()}) {
      const auto c = crop(v, box, outside);
      CHECK(c.shape() == box.shape());
      int wrong = 0;
      for (Index z = 0; z < c.shape().z; ++z)
        for (Index y = 0; y < c.shape().y; ++y)
          for (Index x = 0; x < c.shape().x; ++x) {
            const Xyz<double> at = v.affine().index_of(c.affine()(double(x), double(y), double(z)));
            const Index i = std::lround(at.x), j = std::lround(at.y), k = std::lround(at.z);
            wrong += !(i == x + box.begin.x && j == y + box.begin.y && k == z + box.begin.z);
            const bool inside = i >= 0 && i < 5 && j >= 0 && j < 4 && k >= 0 && k < 3;
            const float expected = inside || !outside
                                       ? v(std::clamp<Index>(k, 0, 2), std::clamp<Index>(j, 0, 3), std::clamp<Index>(i, 0, 4))
                                       : -7.f;
            wrong += c(z, y, x) != expected;
          }
      CHECK(wrong == 0);
      CHECK(!c.grid().nifti.has_value());   // the file's placement is not its own any more
    }
  CHECK(crop(v, whole(v.shape())).grid().nifti->qform_code == 1);
  CHECK_THROWS_AS(crop(v, {{1, 1, 1}, {1, 2, 2}}), Error);
}

TEST_CASE("spatial_pad splits what is missing, the odd voxel after") {
  const auto v = numbered({5, 4, 3});
  CHECK(padded_box(v.shape(), {.shape = {8, 2, 4}}) == Box{{-1, 0, 0}, {7, 4, 4}});
  CHECK(padded_box(v.shape(), {.shape = {8, 2, 4}, .at_end = true}) == Box{{0, 0, 0}, {8, 4, 4}});
  CHECK(padded_box(v.shape(), {.divisible_by = 8}) == Box{{-1, -2, -2}, {7, 6, 6}});
  CHECK(padded_box({16, 8, 24}, {.divisible_by = 8}) == whole({16, 8, 24}));
  const auto p = spatial_pad(v, {.shape = {7, 4, 3}, .outside = -1024});
  CHECK(p(0, 0, 0) == -1024);
  CHECK(p(0, 0, 1) == 1);
  CHECK(spatial_pad(v, {.shape = {7, 4, 3}, .outside = std::nullopt})(2, 3, 6) == 60);
  CHECK_THROWS_AS(spatial_pad(v, {.divisible_by = 0}), Error);
  CHECK_THROWS_AS(spatial_pad(v, {.shape = {-1, 1, 1}}), Error);
}

TEST_CASE("crop_foreground: box, margins that pad or end, multiples; NaN is no foreground") {
  Volume<float> v(grid({10, 10, 10}), -1000.f);
  v(3, 4, 5) = 50;
  v(5, 4, 7) = 20;
  v(9, 9, 9) = std::numeric_limits<float>::quiet_NaN();
  CHECK(foreground_box(v) == Box{{5, 4, 3}, {8, 5, 6}});
  CHECK(foreground_box(v, {.threshold = 20}) == Box{{5, 4, 3}, {6, 5, 4}});
  CHECK(foreground_box(v, {.margin = {1, 5, 4}}) == Box{{4, -1, -1}, {9, 10, 10}});
  CHECK(foreground_box(v, {.margin = {1, 5, 4}, .allow_smaller = true}) == Box{{4, 0, 0}, {9, 10, 10}});
  CHECK(foreground_box(v, {.divisible_by = 4}) ==
        Box{{5, 3, 3}, {9, 7, 7}});   // floor((4 - 3) / 2) = 0, floor((4 - 1) / 2) = 1
  CHECK(crop_foreground(v, {.margin = {0, 5, 0}, .outside = 3})(0, 0, 0) == 3);
  CHECK_THROWS_AS(foreground_box(v, {.threshold = 50}), Error);
  CHECK_THROWS_AS(foreground_box(v, {.divisible_by = 0}), Error);
}

TEST_CASE("boxes, pads and values that cannot be are refused with their limits, before anything overflows") {
  const auto v = numbered({5, 4, 3});
  const Volume<std::uint8_t> mask(grid({5, 4, 3}));
  const Box wide{{-1, 0, 0}, {5, 4, 3}};
  for (const double outside : {-1.0, 256.0, 0.5, 1e300, std::numeric_limits<double>::quiet_NaN()})
    CHECK_THROWS_WITH_AS(crop(mask, wide, outside), doctest::Contains("0 to 255"), Error);
  CHECK_THROWS_AS(crop(v, wide, 1e39), Error);
  CHECK(std::isnan(crop(v, wide, std::numeric_limits<double>::quiet_NaN())(0, 0, 0)));
  CHECK(int{crop(mask, wide, 255)(0, 0, 0)} == 255);
  constexpr Index kHuge = std::numeric_limits<Index>::max();
  CHECK_THROWS_WITH_AS(crop(v, {{-kHuge, 0, 0}, {kHuge, 4, 3}}), doctest::Contains("a box from"), Error);
  CHECK_THROWS_AS(crop(v, {{3, 0, 0}, {3, 4, 3}}), Error);
  CHECK_THROWS_WITH_AS(spatial_pad(v, {.divisible_by = kHuge}), doctest::Contains("divisible_by = 9223372036854775807"), Error);
  CHECK_THROWS_WITH_AS(spatial_pad(v, {.shape = {1, kHuge, 1}}), doctest::Contains("1 to 1073741824"), Error);
  CHECK_THROWS_AS(spatial_pad(v, {.divisible_by = Index{1} << 30}), Error);   // too many voxels
  CHECK_THROWS_WITH_AS(foreground_box(v, {.margin = {0, -1, 0}}), doctest::Contains("margin = 0 x -1 x 0 voxels"), Error);
  CHECK_THROWS_WITH_AS(foreground_box(v, {.margin = {0, 0, kHuge}}), doctest::Contains("margin"), Error);
  CHECK_THROWS_WITH_AS(foreground_box(v, {.divisible_by = kHuge}), doctest::Contains("crop_foreground: divisible_by"), Error);
}

TEST_CASE("the nonzero mask fills what faces enclose, and nothing that has a way out") {
  Volume<float> v(grid({9, 9, 9}));
  const auto cube = [&](Index low, Index high, float value) {
    for (Index z = low; z < high; ++z)
      for (Index y = low; y < high; ++y)
        for (Index x = low; x < high; ++x) v(z, y, x) = value;
  };
  cube(1, 8, -5);
  cube(3, 6, 0);   // a hole of 27
  CHECK(std::ranges::count(nonzero_mask(v).voxels(), 1) == 343);
  v(2, 2, 2) = 0, v(1, 1, 1) = 0;   // open over corners only: still enclosed, (1, 1, 1) is not
  CHECK(std::ranges::count(nonzero_mask(v).voxels(), 1) == 342);
  v(1, 4, 4) = 0, v(2, 4, 4) = 0;   // a channel
  CHECK(std::ranges::count(nonzero_mask(v).voxels(), 1) == 342 - 27 - 2);
  CHECK(std::ranges::count(nonzero_mask(Volume<float>(grid({3, 1, 1}), 1.f)).voxels(), 1) == 3);
}

}   // namespace
