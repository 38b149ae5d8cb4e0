// Resampling by name: size rules, splines, coarse axes, votes of labels, resize. Other programs' values are in tests/parity.
#include <doctest/doctest.h>
#include <ctseg/core/random.hpp>
#include <ctseg/image/orientation.hpp>
#include <ctseg/image/resize.hpp>

using namespace ctseg;

namespace {

Affine<Ras> spaced(double x, double y, double z) {
  return Affine<Ras>(Eigen::Matrix4d(Eigen::Vector4d(x, y, z, 1).asDiagonal()));
}
template <class T> Volume<T> noise(const Grid& grid, double low, double high) {
  Volume<T> v(grid);
  RandomStream random({.seed = 5});
  for (T& x : v.voxels()) x = static_cast<T>(random.uniform(low, high));
  return v;
}
template <class T> Volume<T> row(std::vector<T> values) {
  const Grid grid{{std::ssize(values), 1, 1}, spaced(1, 1, 1)};
  return Volume<T>(grid, std::move(values));
}
double apart(const Volume<float>& a, const Volume<float>& b) {
  REQUIRE(a.shape() == b.shape());
  double worst = 0;
  for (std::size_t i = 0; i < a.voxels().size(); ++i)
    worst = std::max(worst, std::abs(double{a.voxels()[i]} - double{b.voxels()[i]}));
  return worst;
}

TEST_CASE("nnU-Net's size rule keeps the edges of the field of view, MONAI's the first centre") {
  const Grid grid{{512, 100, 3}, spaced(0.7, 1, 5)};
  const Grid n = grid_with_spacing(grid, {1, 2.5, 100}, SizeRule::nnunet), m = grid_with_spacing(grid, {1, 2.5, 100});
  CHECK(n.shape == Xyz<Index>{358, 40, 1});
  CHECK(m.shape == Xyz<Index>{359, 41, 1});
  const auto low = n.affine(-0.5, -0.5, -0.5), high = n.affine(357.5, 39.5, 0.5);
  CHECK(low.x == doctest::Approx(-0.35));
  CHECK(high.x == doctest::Approx(511.5 * 0.7));
  CHECK(high.y == doctest::Approx(99.5));
  CHECK(high.z == doctest::Approx(12.5));
  CHECK(m.affine(0, 0, 0).x == 0);
  CHECK(m.spacing_mm().x == doctest::Approx(1));
  CHECK(same_grid(grid_with_shape(grid_with_shape(grid, Xyz<Index>{7, 8, 9}), grid.shape), grid));
  CHECK_THROWS_AS(grid_with_shape(grid, Xyz<Index>{7, -8, 9}), Error);
}

TEST_CASE("the coarse axis: more than 3 times the finest, old spacing first, one axis only") {
  CHECK(coarse_axis({1, 1, 3}, {1, 1, 1}) == std::nullopt);
  CHECK(coarse_axis({1, 1, 3.01}, {5, 1, 1}) == 2);
  CHECK(coarse_axis({1, 1, 1}, {1, 5, 1}) == 1);
  CHECK(coarse_axis({1, 5, 5}, {9, 1, 1}) == std::nullopt);
}

TEST_CASE("a cubic spline goes through the voxels, is exact for a cubic away from borders, and overshoots unless clipped") {
  const auto v = noise<float>({{9, 8, 7}, spaced(1, 1, 1)}, -1000, 1000);
  const Grid moved{{8, 7, 6}, Affine<Ras>([] {
                     Eigen::Matrix4d m = Eigen::Matrix4d::Identity();
                     m.block<3, 1>(0, 3) << 1, 1, 1;
                     return m;
                   }())};
  const auto same = resample(v, moved, {.interpolation = Interpolation::cubic, .outside = 0});
  CHECK(same(2, 3, 4) == doctest::Approx(v(3, 4, 5)));
  std::vector<double> cube(60);
  for (std::size_t i = 0; i < cube.size(); ++i) cube[i] = std::pow(double(i) - 30, 3);
  const Grid quarter{{1, 1, 1}, Affine<Ras>([] {
                       Eigen::Matrix4d m = Eigen::Matrix4d::Identity();
                       m(0, 3) = 33.25;
                       return m;
                     }())};
  CHECK(resample(row(cube), quarter, {.interpolation = Interpolation::cubic})(0, 0, 0) == doctest::Approx(std::pow(3.25, 3)));
  const auto step = row<float>({0, 0, 0, 0, 1, 1, 1, 1});
  const auto wild = resize(step, {{31, 0, 0}, ResizeMode::linear}),
             fine = resample(step, wild.grid(), {.interpolation = Interpolation::cubic});
  CHECK(*std::ranges::max_element(fine.voxels()) > 1.05);
  const auto kept = resize(step, {{31, 0, 0}, ResizeMode::cubic});
  CHECK(*std::ranges::max_element(kept.voxels()) == 1);
  CHECK(*std::ranges::min_element(kept.voxels()) == 0);
  const auto bytes = row<std::uint8_t>({0, 0, 0, 0, 255, 255, 255, 255});   // no wrap-around
  const auto wide = resample(bytes, wild.grid(), {.interpolation = Interpolation::cubic});
  CHECK(std::ranges::is_sorted(std::vector<int>(wide.voxels().begin() + 12, wide.voxels().begin() + 19)));
  CHECK(wide(0, 0, 18) == 255);
}

TEST_CASE("a spline refuses voxels that are no numbers and says where the first is; linear goes round them") {
  auto v = noise<float>({{9, 8, 7}, spaced(1, 1, 1)}, -1, 1);
  const Grid target = grid_with_spacing(v.grid(), {0.7, 0.7, 0.7});
  v(6, 1, 2) = std::numeric_limits<float>::infinity();
  v(5, 7, 3) = std::numeric_limits<float>::quiet_NaN();
  ThreadPool pool(3);
  for (Executor* executor : {static_cast<Executor*>(nullptr), static_cast<Executor*>(&pool)}) {
    const ResampleOptions cubic{.interpolation = Interpolation::cubic, .executor = executor};
    CHECK_THROWS_WITH_AS(resample(v, target, cubic), doctest::Contains("voxel x 3, y 7, z 5 (of 9 x 8 x 7) is NaN"), Error);
  }
  CHECK_THROWS_AS(resize(v, {{5, 5, 5}, ResizeMode::cubic}), Error);
  Grid turned = target;
  turned.affine.matrix(0, 1) = 0.1;
  CHECK_THROWS_AS(resample(v, turned, {.interpolation = Interpolation::cubic}), Error);
  const auto linear = resample(v, target);
  const auto bad = std::ranges::count_if(linear.voxels(), [](const float& x) { return !is_finite(x); });
  CHECK(bad > 0);
  CHECK(bad < 60);
  v(5, 7, 3) = 0;
  CHECK_THROWS_WITH_AS(resample(v, target, {.interpolation = Interpolation::cubic}), doctest::Contains("z 6"), Error);
  CHECK_THROWS_WITH_AS(resample(v, target, {.interpolation = Interpolation::cubic}), doctest::Contains("infinite"), Error);
}

TEST_CASE("splines: swapped axes, turned grids and threads give what the plain way gives; outside gets its value") {
  const auto v = noise<float>({{13, 12, 11}, spaced(1, 1.5, 2)}, -1, 1);
  ThreadPool pool(3);
  ResampleOptions cubic{.interpolation = Interpolation::cubic};
  const Grid target = grid_with_spacing(v.grid(), {0.7, 2, 1.1});
  const auto plain = resample(v, target, cubic);
  CHECK(apart(resample(v, reorient(plain, "SPL").grid(), cubic), reorient(plain, "SPL")) < 1e-6);
  cubic.executor = &pool;
  CHECK(resample(v, target, cubic).voxels() == plain.voxels());
  Grid turned = target;   // turned so little that the values hardly change
  turned.affine.matrix(0, 1) += 1e-7;
  CHECK(apart(resample(v, turned, cubic), plain) < 1e-5);
  cubic.outside = 7;
  const auto padded = resample(v, {{20, 12, 11}, v.affine()}, cubic);
  CHECK(padded(0, 0, 12) == doctest::Approx(v(0, 0, 12)));
  CHECK(padded(0, 0, 13) == 7);
  CHECK_THROWS_AS(resample(v, turned, {.coarse_axis = 2}), Error);
  CHECK_THROWS_AS(resample(v, target, {.coarse_axis = 3}), Error);
}

TEST_CASE("a coarse axis is nearest, the others linear; halves go where they are told") {
  Volume<float> v(Grid{{2, 1, 2}, spaced(1, 1, 10)}, std::vector<float>{0, 10, 100, 110});
  const Grid between{{3, 1, 3}, spaced(0.5, 1, 5)};
  CHECK(resample(v, between, {.coarse_axis = 2}).voxels() == std::vector<float>{0, 5, 10, 0, 5, 10, 100, 105, 110});
  CHECK(resample(v, between, {.coarse_axis = 2, .halves = Halves::up}).voxels() ==
        std::vector<float>{0, 5, 10, 100, 105, 110, 100, 105, 110});
  const auto turned = reorient(v, "SPL");   // x is now the coarse axis of the volume; the target stays
  CHECK(resample(turned, between, {.coarse_axis = 0}).voxels() == std::vector<float>{0, 5, 10, 0, 5, 10, 100, 105, 110});
}

TEST_CASE("a vote of labels: at least half, larger labels win ties; or most, nearer labels win ties") {
  const Grid middle{{1, 1, 1}, Affine<Ras>([] {
                      Eigen::Matrix4d m = Eigen::Matrix4d::Identity();
                      m.block<3, 1>(0, 3) << 0.5, 0.25, 0.5;
                      return m;
                    }())};
  const auto vote = [&](std::vector<std::uint16_t> eight, Interpolation how) {
    const Volume<std::uint16_t> v(Grid{{2, 2, 2}, spaced(1, 1, 1)}, std::move(eight));
    Grid turned = middle;
    turned.affine.matrix(0, 1) = 0.1, turned.affine.matrix(1, 0) = 0.1;
    const auto parallel = resample(v, middle, {.interpolation = how})(0, 0, 0);
    CHECK(resample(v, turned, {.interpolation = how})(0, 0, 0) == parallel);
    return parallel;
  };
  using enum Interpolation;   // rows y = 0 weigh 3/16 a voxel, rows y = 1 weigh 1/16
  CHECK(vote({7, 7, 7, 7, 7, 7, 7, 7}, label_vote) == 7);
  CHECK(vote({2, 2, 9, 9, 2, 9, 9, 9}, label_vote) == 2);   // 9 of 16
  CHECK(vote({2, 2, 9, 2, 9, 9, 2, 9}, label_vote) == 9);   // 8 against 8
  CHECK(vote({1, 2, 3, 4, 1, 2, 3, 4}, label_vote) == 0);   // 6 of 16 at most
  CHECK(vote({1, 2, 3, 4, 5, 2, 3, 4}, label_most) == 2);
  CHECK(vote({9, 9, 2, 9, 2, 2, 9, 2}, label_most) == 2);   // 8 against 8, and 2 is nearest: (1, 0, 1)
  CHECK(vote({2, 2, 9, 2, 9, 9, 2, 9}, label_most) == 9);
  CHECK(vote({3, 1, 4, 4, 3, 8, 1, 1}, label_most) == 3);
  CHECK_THROWS_AS(resample(row<float>({1, 2}), middle, {.interpolation = label_vote}), Error);
}

TEST_CASE("resize: means, PyTorch's nearest, integers; 0 keeps an axis") {
  CHECK(resize(row<float>({1, 2, 3, 4, 5}), {{2, 0, 0}}).voxels() == std::vector<float>{2, 4});   // means of 3, overlapping
  CHECK(resize(row<float>({1, 2, 3, 4, 5}), {{2, 0, 0}, ResizeMode::nearest}).voxels() == std::vector<float>{1, 3});
  const auto stretched = resize(row<float>({1, 2}), {{82, 0, 0}, ResizeMode::nearest});
  CHECK(stretched(0, 0, 41) == 1);   // in float, as PyTorch
  CHECK(stretched(0, 0, 42) == 2);
  CHECK(resize(row<float>({1, 2, 4}), {{6, 1, 1}, ResizeMode::linear}).voxels() ==
        std::vector<float>{1, 1.25f, 1.75f, 2.5f, 3.5f, 4});
  CHECK(resize(row<std::int16_t>({1, 2, 4, 4}), {{2, 0, 0}}).voxels() == std::vector<std::int16_t>{2, 4});   // 1.5 to even
  const auto v = noise<float>({{6, 7, 8}, spaced(1, 1, 1)}, 0, 1);
  ThreadPool pool(2);
  CHECK(resize(v, {{3, 9, 5}}).voxels() == resize(v, {{3, 9, 5}}, &pool).voxels());
  CHECK(resize(v, {}).voxels() == v.voxels());
  CHECK_THROWS_AS(resize(v, {{-1, 0, 0}}), Error);
}

}   // namespace
