#include <cmath>
#include <ctseg/metrics/surface_distance.hpp>
#include <string>

#include <doctest/doctest.h>

#include "mask_shapes.hpp"

using namespace ctseg;
using test::add_box;
using test::balls;
using test::grid_of;
using test::Mask;

namespace {

constexpr double kInf = std::numeric_limits<double>::infinity();

std::string message_of(const auto& f) {
  try {
    f();
  } catch (const Error& e) {
    return e.what();
  }
  return "";
}

}   // namespace

TEST_CASE("distances of two voxels, by hand") {
  Mask a(grid_of({9, 9, 9}, {0.5, 2, 3})), b = a;
  a(1, 1, 1) = 1;
  b(3, 4, 5) = 1;   // 4 steps of 0.5, 3 of 2, 2 of 3
  const auto apart = surface_distances(a, b);
  const double mm = std::sqrt(4.0 + 36 + 36);
  CHECK(apart.hausdorff_mm() == doctest::Approx(mm).epsilon(1e-7));
  CHECK(apart.hausdorff_mm({.percentile = 95}) == doctest::Approx(mm).epsilon(1e-7));
  CHECK(apart.assd_mm() == doctest::Approx(mm).epsilon(1e-7));
  CHECK(apart.nsd(mm) == 1);
  CHECK(apart.nsd(mm - 1e-3) == 0);
  CHECK(surface_distances(a, b, {.spacing_mm = Xyz<double>{1, 1, 1}}).hausdorff_mm() ==
        doctest::Approx(std::sqrt(29.0)).epsilon(1e-7));
}

TEST_CASE("percentiles, by hand") {
  using surfaces::linear_percentile, surfaces::weighted_percentile;
  CHECK(linear_percentile({4, 1, 3, 2}, 50) == 2.5);
  CHECK(linear_percentile({4, 1, 3, 2}, 95) == doctest::Approx(3.85));
  CHECK(linear_percentile({4, 1, 3, 2}, 0) == 1);
  CHECK(linear_percentile({4, 1, 3, 2}, 100) == 4);
  CHECK(linear_percentile({7}, 95) == 7);
  CHECK(weighted_percentile({{4, 1}, {1, 6}, {3, 2}}, 60) == 1);
  CHECK(weighted_percentile({{4, 1}, {1, 6}, {3, 2}}, 70) == 3);
  CHECK(weighted_percentile({{4, 1}, {1, 6}, {3, 2}}, 95) == 4);
}

TEST_CASE("the area of a box's surface is that of its faces, with edges cut off") {
  Mask a(grid_of({20, 20, 20}, {0.5, 2, 3}));
  add_box(a, {3, 4, 5}, {13, 12, 11});
  const auto apart = surface_distances(a, a, {.surface = Surface::elements});
  // Flat parts reach from the first to the last voxel's centre; edges and corners are cut at half a voxel.
  const double x = 9 * 0.5, y = 7 * 2, z = 5 * 3;
  const double edges = 4 * (x * std::hypot(2, 3) + y * std::hypot(0.5, 3) + z * std::hypot(0.5, 2)) / 2;
  const double cut = std::sqrt(std::pow(6.0, 2) + std::pow(1.5, 2) + std::pow(1.0, 2)) / 8;   // triangle between three edges
  CHECK(apart.area(apart.to_truth()) == doctest::Approx(2 * (x * y + y * z + x * z) + edges + 8 * cut).epsilon(1e-12));
  CHECK(apart.nsd(0) == 1);
  Mask picture(grid_of({20, 20, 1}, {0.5, 2, 3}));
  add_box(picture, {3, 4, 0}, {13, 12, 1});
  const auto contour = surface_distances(picture, picture, {.surface = Surface::elements, .planar = true});
  CHECK(contour.area(contour.to_truth()) == doctest::Approx(2 * (9 * 0.5 + 7 * 2) + 4 * std::hypot(0.5, 2) / 2).epsilon(1e-12));
}

TEST_CASE("symmetry, identity, translation") {
  for (const Surface surface : {Surface::voxels, Surface::elements})
    for (std::uint64_t seed = 0; seed < 6; ++seed) {
      const Grid grid = grid_of({23, 17, 19}, {0.7, 1.3, 2.1});
      const Mask a = balls(grid, 2 * seed), b = balls(grid, 2 * seed + 1);
      const SurfaceDistanceOptions options{.surface = surface};
      const auto same = surface_distances(a, a, options), there = surface_distances(a, b, options),
                 back = surface_distances(b, a, options);
      CHECK(same.hausdorff_mm() == 0);
      CHECK(same.assd_mm() == 0);
      CHECK(same.nsd(0) == 1);
      CHECK(there.hausdorff_mm({.percentile = 95}) == back.hausdorff_mm({.percentile = 95}));
      CHECK(there.assd_mm() == doctest::Approx(back.assd_mm()));
      CHECK(there.nsd(1.5) == doctest::Approx(back.nsd(1.5)));
      CHECK(there.mean_to_truth_mm() == back.mean_to_prediction_mm());
      CHECK(there.hausdorff_mm({.percentile = 95}) <= there.hausdorff_mm());
      CHECK(there.nsd(1) <= there.nsd(2));
    }
  for (Index k = 1; k < 5; ++k) {   // a thin plate, moved across itself
    Mask a(grid_of({16, 12, 14}, {0.7, 1.3, 2.1})), b = a;
    add_box(a, {5, 2, 2}, {6, 10, 12});
    add_box(b, {5 + k, 2, 2}, {6 + k, 10, 12});
    const auto moved = surface_distances(a, b);
    const double mm = 0.7 * static_cast<double>(k);
    for (const double found : {moved.hausdorff_mm(), moved.hausdorff_mm({.percentile = 95}), moved.assd_mm()})
      CHECK(found == doctest::Approx(mm).epsilon(1e-7));
    CHECK(moved.nsd(mm) == 1);   // the end counts, whatever was rounded
    CHECK(moved.nsd(0.99 * mm) == 0);
  }
}

TEST_CASE("nearest distances equal those of the distance transform") {
  for (std::uint64_t seed = 0; seed < 8; ++seed) {
    const bool dense = seed % 2;   // noise: surfaces everywhere
    const Grid grid = grid_of({45, 38, 70}, {0.7, 1.3, seed < 4 ? 0.4 : 5});
    Mask a = balls(grid, 20 + seed), b = balls(grid, 40 + seed);
    RandomStream random({.seed = seed});
    if (dense)
      for (auto& v : b.voxels()) v = random.uniform() < 0.4;
    else   // far apart
      for (Index i = 0; i < grid.voxels(); ++i) (i < grid.voxels() / 2 ? a : b).voxels()[static_cast<std::size_t>(i)] = 0;
    a(0, 0, 0) = b(69, 37, 44) = 1;
    const MaskPair pair{a.data(), b.data(), a.shape(), 1, whole(a.shape())};
    const auto from = surfaces::find_surface(a.data(), pair, {}), to = surfaces::find_surface(b.data(), pair, {});
    Mask sites(grid);
    for (const auto& p : to.places) sites(p.z, p.y, p.x) = 1;
    const auto exact = distance_to_foreground(sites);
    const surfaces::Bricks of_a(from.places), of_b(to.places);
    const auto found = surfaces::nearest_distances(of_a, of_b, {.spacing_mm = grid.spacing_mm()});
    REQUIRE(found.size() == from.places.size());
    double worst = 0;
    for (std::size_t i = 0; i < found.size(); ++i) {
      const auto& p = from.places[i];
      worst = std::max(worst, std::abs(double{found[i]} - double{exact(p.z, p.y, p.x)}) / (1 + double{found[i]}));
    }
    CHECK(worst <= 3e-7);
    for (const double limit : {0.0, 0.7, 3.0, 1e6}) {   // 0.7: the distance of neighbours along x
      const auto near = surfaces::nearest_distances(of_a, of_b, {.spacing_mm = grid.spacing_mm(), .limit_mm = limit});
      for (std::size_t i = 0; i < found.size(); ++i)
        if (near[i] != found[i]) {
          REQUIRE(!is_finite(near[i]));
          REQUIRE(double{found[i]} > limit * (1 + 1e-6));
        }
    }
  }
}

TEST_CASE("what distances mean when a mask is empty") {
  const Mask none(grid_of({3, 4, 12}));
  Mask some = none;
  some(1, 1, 1) = 1;
  const auto scores = [](const Mask& a, const Mask& b, EmptySurface empty) {
    const auto d = surface_distances(a, b, {.empty = empty});
    return std::array{d.hausdorff_mm(), d.hausdorff_mm({.percentile = 95, .directions = Directions::pooled}), d.assd_mm(),
                      d.mean_to_truth_mm(), d.nsd(1)};
  };
  const std::pair<const Mask*, const Mask*> one_empty[] = {{&none, &some}, {&some, &none}};
  for (const auto& [a, b] : one_empty) {
    CHECK(scores(*a, *b, EmptySurface::infinite) == std::array{kInf, kInf, kInf, kInf, 0.0});
    CHECK(scores(*a, *b, EmptySurface::penalty) == std::array{13.0, 13.0, 13.0, 13.0, 0.0});
    for (const double s : scores(*a, *b, EmptySurface::nan)) CHECK(std::isnan(s));
  }
  for (const double s : scores(none, none, EmptySurface::infinite)) CHECK(std::isnan(s));
  for (const double s : scores(none, none, EmptySurface::nan)) CHECK(std::isnan(s));
  CHECK(scores(none, none, EmptySurface::penalty) == std::array{0.0, 0.0, 0.0, 0.0, 1.0});
}

TEST_CASE("distances have the same bits for 1, 2 and 4 threads") {
  const Grid grid = grid_of({50, 40, 45}, {0.7, 1.3, 2.1});
  const Mask a = balls(grid, 3), b = balls(grid, 4);
  for (const Surface surface : {Surface::voxels, Surface::elements}) {
    const auto alone = surface_distances(a, b, {.surface = surface});
    for (const int threads : {2, 4}) {
      ThreadPool pool(threads);
      const auto together = surface_distances(a, b, {.surface = surface, .executor = &pool});
      CHECK(together.to_truth().mm == alone.to_truth().mm);
      CHECK(together.to_prediction().mm == alone.to_prediction().mm);
      CHECK(together.to_truth().kinds == alone.to_truth().kinds);
    }
  }
}

TEST_CASE("what cannot be measured is refused, with numbers") {
  const Mask a(grid_of({4, 4, 4}), 1), other(grid_of({4, 4, 5}), 1);
  CHECK(message_of([&] { surface_distances(a, other); }).find("4 x 4 x 5") != std::string::npos);
  CHECK(message_of([&] { surface_distances(a, a, {.planar = true}); }).find("4 slices") != std::string::npos);
  CHECK(message_of([&] {
          surface_distances(a, a, {.spacing_mm = Xyz<double>{1, 0, 1}});
        }).find("spacing_mm = 1 x 0 x 1") != std::string::npos);
  const auto apart = surface_distances(a, a);
  CHECK(message_of([&] { apart.hausdorff_mm({.percentile = 101}); }).find("101") != std::string::npos);
  CHECK(message_of([&] { apart.nsd(-2); }).find("tolerance_mm = -2") != std::string::npos);
  Grid sheared = grid_of({4, 4, 4});
  sheared.affine.matrix(0, 2) = 0.5;
  const Mask tilted(sheared, 1);
  CHECK(message_of([&] { surface_distances(tilted, tilted); }).find("sheared") != std::string::npos);
}
