// Fewer triangles, the same surface: closed, outward, and where it was.
#include <doctest/doctest.h>

#include <cmath>

#include <ctseg/post/decimate.hpp>
#include <ctseg/post/surface.hpp>

#include "image/mask_cases.hpp"

using namespace ctseg;
using namespace ctseg::test;

TEST_CASE("decimation leaves the surface of any mask watertight") {
  RandomStream random({.seed = 11});
  for (int i = 0; i < 300; ++i) {
    const Grid grid = mask_grid({1 + random.below(6), 1 + random.below(6), 1 + random.below(6)}, {0.7, 0.8, 2.5});
    auto mask = random_mask(grid, 0.1 * static_cast<double>(random.below(10)), static_cast<std::uint64_t>(i));
    mask(0, 0, 0) = 1;
    const Mesh<Ras> mesh = surface_of(mask, {.smooth = i % 3 == 0 ? 0 : 5});
    const Mesh<Ras> few = decimate(mesh, {.keep = 0.3}), none = decimate(mesh, {.keep = 1e-9});
    REQUIRE_MESSAGE(is_watertight(few), i << ": " << describe(mask));
    REQUIRE_MESSAGE(is_watertight(none), i << ": " << describe(mask));
    CHECK(few.triangles.size() < mesh.triangles.size());
    std::vector<bool> used(few.vertices.size());
    for (const auto& t : few.triangles)
      for (const std::uint32_t v : t) used[v] = true;
    CHECK(std::count(used.begin(), used.end(), false) == 0);
  }
}

TEST_CASE("a box far from the origin becomes twelve triangles or a few more and keeps its corners") {
  Grid grid = mask_grid({9, 7, 6}, {1.5, 1, 2});
  grid.affine.matrix(0, 3) = 1e5;
  const Mesh<Ras> box = surface_of(Volume<std::uint8_t>(grid, 1), {.smooth = 0}), few = decimate(box, {.keep = 0.02});
  CHECK(few.triangles.size() < 16);
  CHECK(is_watertight(few));
  CHECK(volume_mm3(few) == doctest::Approx(volume_mm3(box)).epsilon(1e-5));
}

TEST_CASE("a smoothed ball with a fifth of its triangles has its volume within 1 % and is where it was") {
  Volume<std::uint8_t> mask(mask_grid({29, 29, 29}));
  each_voxel(mask.shape(), [&](Xyz<Index> p) {
    mask(p.z, p.y, p.x) = (p.x - 14) * (p.x - 14) + (p.y - 14) * (p.y - 14) + (p.z - 14) * (p.z - 14) <= 144;
  });
  const Mesh<Ras> ball = surface_of(mask), few = decimate(ball, {.keep = 0.2}), again = decimate(ball, {.keep = 0.2});
  CHECK(few.triangles.size() <= ball.triangles.size() / 5 + 1);
  CHECK(volume_mm3(few) == doctest::Approx(volume_mm3(ball)).epsilon(0.01));
  const Point<Ras> c = mask.affine()(14, 14, 14);
  double worst = 0;
  for (const auto& p : few.vertices) worst = std::max(worst, std::abs(std::hypot(p.x - c.x, p.y - c.y, p.z - c.z) - 12));
  MESSAGE(text(ball.triangles.size(), " -> ", few.triangles.size(), " triangles, ", volume_mm3(ball), " -> ", volume_mm3(few),
               " mm3, at most ", worst, " mm off the ball"));
  CHECK(worst < 0.6);
  CHECK(few.triangles == again.triangles);
  CHECK(std::equal(few.vertices.begin(), few.vertices.end(), again.vertices.begin(),
                   [](const auto& p, const auto& q) { return p.x == q.x && p.y == q.y && p.z == q.z; }));
}

TEST_CASE("a flat tetrahedron is not folded into two triangles back to back") {
  const Mesh<Lps> flat{{{0, 0, 0}, {0, 0, 0.01}, {5, -5, 0}, {5, 5, 0}}, {{0, 3, 2}, {1, 2, 3}, {0, 2, 1}, {0, 1, 3}}};
  REQUIRE(is_watertight(flat));
  CHECK(decimate(flat, {.keep = 0.1}).triangles.size() == 4);
  CHECK(volume_mm3(decimate(flat, {.keep = 0.1})) == doctest::Approx(volume_mm3(flat)));
}

TEST_CASE("what cannot be decimated is refused") {
  Mesh<Ras> cube = surface_of(Volume<std::uint8_t>(mask_grid({1, 1, 1}), 1), {.smooth = 0});
  CHECK(decimate(cube, {.keep = 1}).triangles.size() == cube.triangles.size());
  check_says([&] { (void)decimate(cube, {.keep = 0}); }, {"decimate: keep = 0; must be more than 0"});
  cube.triangles.pop_back();
  check_says([&] { (void)decimate(cube); }, {"the mesh of 11 triangles is not watertight"});
}
