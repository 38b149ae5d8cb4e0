// Resampling: sizes, exact cases, a plain reference for every path, borders, threads; and the whole preprocessing with its way
// back.
#include <Eigen/Geometry>

#include <doctest/doctest.h>
#include <ctseg/core/random.hpp>
#include <ctseg/image/preprocess.hpp>

using namespace ctseg;

namespace {

Affine<Ras> affine(double angle, Eigen::Vector3d spacing, Eigen::Vector3d origin = {0, 0, 0}) {
  Eigen::Matrix4d m = Eigen::Matrix4d::Identity();
  m.block<3, 3>(0, 0) =
      Eigen::AngleAxisd(angle, Eigen::Vector3d(1, 2, 3).normalized()).toRotationMatrix() * spacing.asDiagonal();
  m.block<3, 1>(0, 3) = origin;
  return Affine<Ras>(m);
}
template <class T> Volume<T> noise(const Grid& grid, double low, double high) {
  Volume<T> v(grid);
  RandomStream random({.seed = 3});
  for (T& x : v.voxels()) x = static_cast<T>(random.uniform(low, high));
  return v;
}

/// Trilinear with a repeated border, written as plainly as possible.
double plain_linear(const Volume<float>& v, Xyz<double> at) {
  const Xyz<Index> n = v.shape();
  at = {std::clamp(at.x, 0.0, double(n.x - 1)), std::clamp(at.y, 0.0, double(n.y - 1)), std::clamp(at.z, 0.0, double(n.z - 1))};
  double sum = 0;
  for (Index z = 0; z < n.z; ++z)
    for (Index y = 0; y < n.y; ++y)
      for (Index x = 0; x < n.x; ++x)
        sum += double(v(z, y, x)) * std::max(0.0, 1 - std::abs(at.x - double(x))) *
               std::max(0.0, 1 - std::abs(at.y - double(y))) * std::max(0.0, 1 - std::abs(at.z - double(z)));
  return sum;
}

TEST_CASE("sizes for a spacing follow MONAI and keep the first voxel centre") {
  const auto size = [](Index n, double from, double to) {
    return grid_with_spacing({{n, 1, 1}, affine(0, {from, 1, 1})}, {to, 1, 1}).shape.x;
  };
  CHECK(size(512, 0.7, 1.0) == 359);
  CHECK(size(100, 1.0, 2.0) == 50);   // 50.5 goes to the even number
  CHECK(size(102, 1.0, 2.0) == 52);   // 51.5 too
  CHECK(size(1, 5.0, 1.0) == 1);
  const Grid grid = grid_with_spacing({{20, 30, 40}, affine(0.3, {0.8, 0.9, -2.5}, {1, 2, 3})}, {1, 1, 1.5});
  CHECK(grid.affine(0, 0, 0).z == 3);
  CHECK(grid.spacing_mm().x == doctest::Approx(1));
  CHECK(grid.spacing_mm().z == doctest::Approx(1.5));
  CHECK_THROWS_AS(grid_with_spacing(grid, {0, 1, 1}), Error);
  CHECK_THROWS_AS(grid_with_spacing(grid, {1, -1, 1}), Error);
  CHECK_THROWS_AS(grid_with_spacing(grid, {1, 1, 1e-6}), Error);
  CHECK_THROWS_AS(grid_with_spacing(grid, {1, std::numeric_limits<double>::quiet_NaN(), 1}), Error);
}

TEST_CASE("linear agrees with a plain reference on parallel, flipped, swapped and turned grids") {
  const Volume<float> v = noise<float>({{7, 6, 5}, affine(0.2, {1, 1.5, 2}, {3, 4, 5})}, -1000, 1000);
  const Grid base = grid_with_spacing(v.grid(), {0.6, 2, 1.1});
  const std::vector<Grid> targets{
      base, reorient(Volume<float>(base), "SRP").grid(), {{9, 8, 7}, affine(0.9, {0.9, 0.8, 1.2}, {2, 3, 4})}};
  for (const Grid& target : targets) {
    const Volume<float> out = resample(v, target);
    double worst = 0;
    for (Index z = 0; z < target.shape.z; ++z)
      for (Index y = 0; y < target.shape.y; ++y)
        for (Index x = 0; x < target.shape.x; ++x) {
          const Xyz<double> at = v.affine().index_of(target.affine(double(x), double(y), double(z)));
          worst = std::max(worst, std::abs(plain_linear(v, at) - double(out(z, y, x))));
        }
    CHECK(worst < 1e-4);   // of values to 1000: float rounding
  }
}

TEST_CASE("a plane of values is reproduced by linear, labels by nearest; the same grid is a copy") {
  Volume<float> v(Grid{{8, 8, 8}, affine(0, {2, 2, 2})});
  for (Index z = 0; z < 8; ++z)
    for (Index y = 0; y < 8; ++y)
      for (Index x = 0; x < 8; ++x) v(z, y, x) = static_cast<float>(x + 10 * y + 100 * z);
  const auto fine = resample(v, grid_with_spacing(v.grid(), {1, 1, 1}));
  CHECK(fine.shape() == Xyz<Index>{15, 15, 15});
  CHECK(fine(7, 5, 3) == 1.5f + 25 + 350);
  CHECK(resample(v, v.grid()).voxels() == v.voxels());
  const auto labels = noise<std::uint16_t>(v.grid(), 0, 300);
  const auto there = resample(labels, grid_with_spacing(v.grid(), {1, 1, 1}));
  CHECK(there(2, 4, 6) == labels(1, 2, 3));
  CHECK(there(3, 4, 6) == labels(2, 2, 3));   // index 1.5: halves go to the even voxel
  CHECK(resample_like(there, v).voxels() == labels.voxels());
}

TEST_CASE("halves go to the even voxel on oblique grids too, where the matrix product is noisy") {
  const auto labels = noise<std::int32_t>({{30, 20, 10}, affine(0.3, {0.7, 0.7, 0.7}, {-101.3, 57.7, 33.1})}, 0, 1e6);
  const auto fine = resample(labels, grid_with_spacing(labels.grid(), {0.35, 0.35, 0.35}));
  int wrong = 0;
  for (Index z = 0; z < fine.shape().z; ++z)
    for (Index y = 0; y < fine.shape().y; ++y)
      for (Index x = 0; x < fine.shape().x; ++x) {
        const auto even = [](Index i) { return static_cast<Index>(std::nearbyint(double(i) / 2)); };
        wrong += fine(z, y, x) != labels(even(z), even(y), even(x));
      }
  CHECK(wrong == 0);
}

TEST_CASE("outside: labels become 0, images repeat the border, a given value wins") {
  const Volume<float> v(Grid{{2, 2, 2}, affine(0, {1, 1, 1})}, 5.f);
  const Volume<std::uint8_t> labels(v.grid(), 5);
  const Grid wide{{6, 2, 2}, affine(0, {0.5, 1, 1}, {-1, 0, 0})};   // x = -1, -0.5, 0, 0.5, 1, 1.5
  const auto row = [](const auto& w) { return std::vector<int>(w.voxels().begin(), w.voxels().begin() + 6); };
  CHECK(row(resample(labels, wide)) == std::vector<int>{0, 5, 5, 5, 5, 5});
  CHECK(row(resample(v, wide)) == std::vector<int>{5, 5, 5, 5, 5, 5});
  CHECK(row(resample(v, wide, {.outside = -1000})) == std::vector<int>{-1000, 5, 5, 5, 5, 5});
  CHECK(row(resample(labels, wide, {.outside = 9})) == std::vector<int>{9, 5, 5, 5, 5, 5});
  CHECK_THROWS_AS(resample(labels, wide, {.outside = -1}), Error);
  CHECK_THROWS_AS(resample(labels, wide, {.outside = 0.5}), Error);
  const Grid turned{{30, 30, 30}, affine(0.7, {1, 1, 1}, {-15, -15, -15})};
  CHECK(resample(labels, turned)(0, 0, 0) == 0);
}

TEST_CASE("integer images round once, NaN stays where it is") {
  Volume<std::int16_t> ct(Grid{{2, 1, 1}, affine(0, {1, 1, 1})}, std::vector<std::int16_t>{-1000, -997});
  const Grid middle{{1, 1, 1}, affine(0, {1, 1, 1}, {0.5, 0, 0})};
  CHECK(resample(ct, middle, {.interpolation = Interpolation::linear})(0, 0, 0) == -998);   // -998.5 to even
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const Volume<float> v(Grid{{4, 1, 1}, affine(0, {1, 1, 1})}, std::vector<float>{1, 2, nan, 4});
  const auto out = resample(v, grid_with_spacing(v.grid(), {0.5, 1, 1}));
  CHECK(out(0, 0, 2) == 2);
  CHECK(std::isnan(out(0, 0, 3)));
  CHECK(out(0, 0, 6) == 4);
}

TEST_CASE("the same bits for any number of threads") {
  const Volume<float> v = noise<float>({{31, 17, 23}, affine(0.1, {1, 1, 2})}, -1, 1);
  for (const double angle : {0.1, 0.5}) {
    const Grid target{{25, 26, 27}, affine(angle, {0.9, 1.1, 1.3}, {1, 2, 3})};
    const auto alone = resample(v, target);
    for (const int threads : {1, 2, 4}) {
      ThreadPool pool(threads);
      CHECK(resample(v, target, {.executor = &pool}).voxels() == alone.voxels());
    }
  }
}

TEST_CASE("singular places are refused") {
  const Volume<float> v(Grid{{2, 2, 2}, affine(0, {1, 1, 1})});
  CHECK_THROWS_AS(resample(Volume<float>(Grid{{2, 2, 2}, affine(0, {1, 1, 0})}), v.grid()), Error);
  CHECK_THROWS_AS(resample(v, Grid{{2, 2, 2}, affine(0, {1, 1, std::numeric_limits<double>::infinity()})}), Error);
}

TEST_CASE("preprocess turns, resamples and windows; a mask finds its way back onto the scan's grid") {
  Volume<float> ct(reorient(Volume<float>(Grid{{20, 24, 10}, affine(0.1, {0.8, 0.7, 3}, {5, 5, 5})}), "PIR").grid(), 40.f);
  ct(0, 0, 0) = 3000;
  const auto x = preprocess(ct, {.spacing_mm = {.x = 1.0, .y = 1.0, .z = 1.5}, .window_hu = {-160, 240}});
  CHECK(axis_codes(x.affine()) == "RAS");
  CHECK(x.shape() == Xyz<Index>{16, 17, 19});
  CHECK(x.spacing_mm().z == doctest::Approx(1.5));
  CHECK(x(9, 9, 9) == 0.5f);
  CHECK(*std::max_element(x.voxels().begin(), x.voxels().end()) <= 1);
  const auto mask = resample_like(Volume<std::uint8_t>(x.grid(), 1), ct);
  CHECK(mask.shape() == ct.shape());
  CHECK(mask.affine() == ct.affine());
  CHECK(std::count(mask.voxels().begin(), mask.voxels().end(), 1) == ct.grid().voxels());
  CHECK(preprocess(ct).shape() == Xyz<Index>{20, 24, 10});   // own spacing
  CHECK_THROWS_AS(preprocess(ct, {.window_hu = {1, 0}}), Error);
}

}   // namespace
