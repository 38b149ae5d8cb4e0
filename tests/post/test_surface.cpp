// Surfaces of masks: closed for every mask, outward for every affine, with the volume of the voxels.
#include <doctest/doctest.h>

#include <cmath>
#include <map>
#include <set>

#include <ctseg/post/surface.hpp>

#include "image/mask_cases.hpp"

using namespace ctseg;
using namespace ctseg::test;

namespace {

Volume<std::uint8_t> ball(double radius, Xyz<double> spacing = {1, 1, 1}) {
  const auto half = [&](double s) { return static_cast<Index>(radius / s) + 2; };
  const Xyz<Index> c{half(spacing.x), half(spacing.y), half(spacing.z)};
  Volume<std::uint8_t> mask(mask_grid({2 * c.x + 1, 2 * c.y + 1, 2 * c.z + 1}, spacing));
  each_voxel(mask.shape(), [&](Xyz<Index> at) {
    const double x = double(at.x - c.x) * spacing.x, y = double(at.y - c.y) * spacing.y, z = double(at.z - c.z) * spacing.z;
    mask(at.z, at.y, at.x) = x * x + y * y + z * z <= radius * radius;
  });
  return mask;
}

template <class T> double voxel_volume(const Volume<T>& mask) {
  Index count = 0;
  for (const T v : mask.voxels()) count += v != T(0);
  return static_cast<double>(count) * mask.affine().voxel_mm3();
}

/// Whether the triangles around each vertex are one fan: walked from neighbour to neighbour, all are met.
bool vertices_are_manifold(const Mesh<Ras>& mesh) {
  std::vector<std::map<std::uint32_t, std::uint32_t>> next(mesh.vertices.size());
  for (const auto& t : mesh.triangles)
    for (std::size_t i = 0; i < 3; ++i) next[t[i]][t[(i + 1) % 3]] = t[(i + 2) % 3];
  for (const auto& around : next) {
    if (around.empty()) return false;   // a vertex without triangles
    std::set<std::uint32_t> met;
    for (std::uint32_t v = around.begin()->first; met.insert(v).second;) {
      if (!around.contains(v)) return false;
      v = around.at(v);
    }
    if (met.size() != around.size()) return false;
  }
  return true;
}

Affine<Ras> affine(std::initializer_list<double> columns_x_y_z_origin) {
  Eigen::Matrix4d m = Eigen::Matrix4d::Identity();
  const double* v = columns_x_y_z_origin.begin();
  for (int column = 0; column < 4; ++column)
    for (int row = 0; row < 3; ++row) m(row, column) = *v++;
  return Affine<Ras>(m);
}

}   // namespace

TEST_CASE("the surface of any mask is watertight, one fan around each vertex, with the voxels' volume") {
  RandomStream random({.seed = 7});
  double worst = 0;
  for (int i = 0; i < 1000; ++i) {
    const Grid grid = mask_grid({1 + random.below(5), 1 + random.below(5), 1 + random.below(5)}, {0.7, 0.8, 2.5});
    auto mask = random_mask(grid, 0.1 * static_cast<double>(random.below(10)), static_cast<std::uint64_t>(i));
    if (voxel_volume(mask) == 0) mask(0, 0, 0) = 1;
    const Mesh<Ras> faces = surface_of(mask, {.smooth = 0}), smooth = surface_of(mask);
    const std::string what = text("mask ", i, ": ", describe(mask));
    REQUIRE_MESSAGE(is_watertight(faces), what);
    REQUIRE_MESSAGE(vertices_are_manifold(faces), what);
    CHECK_MESSAGE(volume_mm3(faces) == doctest::Approx(voxel_volume(mask)).epsilon(1e-12), what);
    CHECK_MESSAGE(smooth.triangles == faces.triangles, what);
    CHECK_MESSAGE(volume_mm3(smooth) > 0.001 * voxel_volume(mask), what);
    worst = std::max(worst, volume_mm3(smooth) / voxel_volume(mask));
  }
  CHECK(worst < 1.05);   // smoothing does not make masks grow
}

TEST_CASE("all 256 ways to fill eight voxels, and each beside its mirror image") {
  for (int code = 1; code < 256; ++code)
    for (const Index copies : {1, 2}) {
      Volume<std::uint8_t> mask(mask_grid({2, 2, 2 * copies}));
      each_voxel(mask.shape(), [&](Xyz<Index> at) {
        const Index z = at.z < 2 ? at.z : 3 - at.z;
        mask(at.z, at.y, at.x) = code >> (at.x + 2 * at.y + 4 * z) & 1;
      });
      const Mesh<Ras> mesh = surface_of(mask, {.smooth = 0});
      REQUIRE_MESSAGE((is_watertight(mesh) && vertices_are_manifold(mesh)), "code " << code << " x " << copies);
      CHECK(volume_mm3(mesh) == doctest::Approx(voxel_volume(mask)));
    }
}

TEST_CASE("one voxel is a cube of twelve triangles; voxels that touch at an edge or a corner are two") {
  Volume<std::uint8_t> mask(mask_grid({2, 2, 2}));
  mask(0, 0, 0) = 1;
  const Mesh<Ras> one = surface_of(mask, {.smooth = 0});
  CHECK(one.vertices.size() == 8);
  CHECK(one.triangles.size() == 12);
  double low = 9, high = -9;
  for (const auto& p : one.vertices) low = std::min(low, p.y), high = std::max(high, p.y);
  CHECK(low == -0.5);
  CHECK(high == 0.5);
  for (const int other : {3, 7}) {
    auto two = mask;
    two.voxels()[static_cast<std::size_t>(other)] = 1;
    CHECK(surface_of(two, {.smooth = 0}).vertices.size() == 16);
    CHECK(surface_of(two, {.smooth = 0}).triangles.size() == 24);
  }
  mask(0, 0, 1) = 1;
  CHECK(surface_of(mask, {.smooth = 0}).vertices.size() == 12);
}

TEST_CASE("a cavity has a surface of its own and its volume is taken off") {
  Volume<std::uint8_t> mask(mask_grid({5, 5, 5}), 1);   // reaches the border on all sides
  CHECK(volume_mm3(surface_of(mask, {.smooth = 0})) == doctest::Approx(125));
  mask(2, 2, 2) = 0;
  const Mesh<Ras> mesh = surface_of(mask, {.smooth = 0});
  CHECK(is_watertight(mesh));
  CHECK(mesh.triangles.size() == 2 * (6 * 25 + 6));
  CHECK(volume_mm3(mesh) == doctest::Approx(124));
}

TEST_CASE("smoothing keeps a ball's volume within 1 % and brings the surface to the ball") {
  for (const Xyz<double> spacing : {Xyz<double>{1, 1, 1}, {0.75, 0.75, 1.5}}) {
    const auto mask = ball(12, spacing);
    const auto distances = [&](const Mesh<Ras>& mesh) {   // root mean square of the distance to the ideal ball, mm
      const Xyz<Index> n = mask.shape();
      const Point<Ras> c = mask.affine()(double(n.x / 2), double(n.y / 2), double(n.z / 2));
      double sum = 0;
      for (const auto& p : mesh.vertices) sum += std::pow(std::hypot(p.x - c.x, p.y - c.y, p.z - c.z) - 12, 2);
      return std::sqrt(sum / static_cast<double>(mesh.vertices.size()));
    };
    const Mesh<Ras> rough = surface_of(mask, {.smooth = 0}), smooth = surface_of(mask);
    MESSAGE(text("voxels ", voxel_volume(mask), " mm3, smoothed ", volume_mm3(smooth), "; off the ball ", distances(rough),
                 " -> ", distances(smooth), " mm"));
    CHECK(volume_mm3(smooth) == doctest::Approx(voxel_volume(mask)).epsilon(0.01));
    CHECK(distances(smooth) < 0.6 * distances(rough));
  }
}

TEST_CASE("outward for mirrored, turned and sheared affines") {
  const Affine<Ras> all[] = {
      affine({1, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0}),       affine({-1, 0, 0, 0, 1, 0, 0, 0, 2, 5, 5, 5}),
      affine({0, 0, 1, 1, 0, 0, 0, 1, 0, 0, 0, 0}),       affine({0, 1, 0, 1, 0, 0, 0, 0, 1, 9, 0, 0}),
      affine({1, 0, 0, 0, 1, 0, 0, 0.4, 3, 0, 0, -1000}), affine({-0.7, 0.1, 0, 0.1, -0.7, 0.2, 0, 0.4, -3, 0, 0, 1e5})};
  for (const auto& a : all)
    for (const int smooth : {0, 10}) {
      Volume<std::uint8_t> mask({.shape = {6, 7, 5}, .affine = a}, 1);
      mask(0, 0, 0) = mask(4, 6, 5) = 0;
      const Mesh<Ras> mesh = surface_of(mask, {.smooth = smooth});
      CHECK(is_watertight(mesh));
      CHECK(volume_mm3(mesh) == doctest::Approx(voxel_volume(mask)).epsilon(smooth == 0 ? 1e-9 : 0.15));
      CHECK(volume_mm3(to_lps(mesh)) == doctest::Approx(volume_mm3(mesh)));
    }
}

TEST_CASE("a label is what a mask of it would be, and the same bits come every time") {
  const auto labels = random_mask(mask_grid({9, 8, 7}), 0.4, 3, 3);
  for (const Index label : {1, 2, 3}) {
    Volume<float> mask(labels.grid());
    for (std::size_t i = 0; i < mask.voxels().size(); ++i) mask.voxels()[i] = labels.voxels()[i] == label ? 1.0f : 0.0f;
    const Mesh<Ras> a = surface_of(labels, {.label = label}), b = surface_of(mask),
                    again = surface_of(labels, {.label = label});
    CHECK(a.triangles == b.triangles);
    for (const auto* other : {&b, &again}) {
      REQUIRE(a.vertices.size() == other->vertices.size());
      bool same = true;
      for (std::size_t i = 0; i < a.vertices.size(); ++i) {
        const auto &p = a.vertices[i], &q = other->vertices[i];
        same = same && p.x == q.x && p.y == q.y && p.z == q.z;
      }
      CHECK(same);
    }
  }
}

TEST_CASE("is_watertight and volume_mm3 see what is wrong with a mesh") {
  Mesh<Ras> mesh = surface_of(Volume<std::uint8_t>(mask_grid({1, 1, 1}), 1), {.smooth = 0});
  CHECK(is_watertight(mesh));
  auto open = mesh, turned = mesh, twice = mesh, bad = mesh;
  open.triangles.pop_back();
  CHECK(!is_watertight(open));
  std::swap(turned.triangles[3][0], turned.triangles[3][1]);
  CHECK(!is_watertight(turned));
  twice.triangles.insert(twice.triangles.end(), mesh.triangles.begin(), mesh.triangles.end());
  CHECK(!is_watertight(twice));
  for (auto& t : mesh.triangles) std::swap(t[0], t[1]);
  CHECK(is_watertight(mesh));
  CHECK(volume_mm3(mesh) == doctest::Approx(-1));
  CHECK(!is_watertight(Mesh<Ras>{}));
  CHECK(volume_mm3(Mesh<Ras>{}) == 0);
  bad.triangles[1][2] = 8;
  check_says([&] { (void)volume_mm3(bad); }, {"triangle 1 names vertex 8 of a mesh with 8 vertices"});
  check_says([&] { (void)is_watertight(bad); }, {"triangle 1 names vertex 8"});
}

TEST_CASE("refusals name what is there") {
  auto labels = Volume<std::uint8_t>(mask_grid({3, 4, 5}));
  check_says([&] { (void)surface_of(labels); }, {"surface_of: all voxels of 3 x 4 x 5 are 0"});
  check_says([&] { (void)surface_of(labels, {.label = 7}); }, {"has label 7", "none but 0"});
  labels(1, 1, 1) = 2, labels(0, 0, 0) = 5;
  check_says([&] { (void)surface_of(labels, {.label = 7}); },
             {"no voxel of 3 x 4 x 5 has label 7; the labels there are 2, 5."});
  check_says([&] { (void)surface_of(labels, {.label = 300}); }, {"label = 300", "1 bytes"});
  check_says([&] { (void)surface_of(labels, {.smooth = -1}); }, {"smooth = -1"});
  check_says([&] { (void)surface_of(labels, {.mu = 0.5}); }, {"lambda = 0.5, mu = 0.5"});
  check_says([&] { (void)surface_of(labels, {.most_voxels = 0.5}); }, {"most_voxels = 0.5"});
  const Volume<std::uint8_t> flat({.shape = {1, 1, 1}, .affine = affine({1, 0, 0, 0, 1, 0, 1, 1, 0, 0, 0, 0})}, 1);
  check_says([&] { (void)surface_of(flat); }, {"voxels of 0 mm3"});
}
