#include <ctseg/image/components.hpp>
#include <ctseg/image/skeleton.hpp>

#include <doctest/doctest.h>

#include "mask_cases.hpp"

using namespace ctseg;

namespace {

Volume<std::uint8_t> mask_of(Xyz<Index> shape) {
  return Volume<std::uint8_t>(Grid{shape, Affine<Ras>(Eigen::Matrix4d::Identity())});
}
Index count(const Volume<std::uint8_t>& mask) {
  Index sum = 0;
  for (const auto v : mask.voxels()) sum += v;
  return sum;
}

}   // namespace

TEST_CASE("a bar becomes its middle line, a ring stays a ring, a hollow ball stays closed") {
  auto bar = mask_of({30, 9, 9}), ring = mask_of({21, 21, 5}), shell = mask_of({15, 15, 15});
  for (Index z = 0; z < 9; ++z)
    for (Index y = 0; y < 9; ++y)
      for (Index x = 0; x < 30; ++x) bar(z, y, x) = x >= 2 && x < 28 && y >= 3 && y < 6 && z >= 3 && z < 6;
  const auto line = skeletonize(bar);
  for (Index z = 0; z < 9; ++z)
    for (Index y = 0; y < 9; ++y)
      for (Index x = 5; x < 25; ++x) CHECK(line(z, y, x) == (y == 4 && z == 4));
  for (Index z = 1; z < 4; ++z)
    for (Index y = 0; y < 21; ++y)
      for (Index x = 0; x < 21; ++x) {
        const auto r = (x - 10) * (x - 10) + (y - 10) * (y - 10);
        ring(z, y, x) = r <= 81 && r >= 25;
      }
  const auto thin = skeletonize(ring);
  CHECK(list_components(thin).size() == 1);
  CHECK(list_components(thin, {.connectivity = Connectivity::faces, .label = 0, .per_slice = false}).size() == 1);
  Index in_slice = 0;   // the hole is still there: the ring's plane falls apart into inside and outside
  for (Index z = 0; z < 5; ++z)
    in_slice +=
        list_components(thin.data() + z * 441, {21, 21, 1}, {.connectivity = Connectivity::faces, .label = 0}).size() == 2;
  CHECK(in_slice == 1);
  CHECK(count(thin) < 60);
  for (Index z = 0; z < 15; ++z)
    for (Index y = 0; y < 15; ++y)
      for (Index x = 0; x < 15; ++x) {
        const auto r = (x - 7) * (x - 7) + (y - 7) * (y - 7) + (z - 7) * (z - 7);
        shell(z, y, x) = r <= 36 && r >= 9;
      }
  const auto closed = skeletonize(shell);
  CHECK(list_components(closed, {.connectivity = Connectivity::faces, .label = 0}).size() == 2);
  CHECK(count(closed) < count(shell));
}

TEST_CASE("thinning changes no connection, and a second time nothing") {
  for (std::uint64_t seed = 0; seed < 5; ++seed) {
    auto mask = mask_of({17, 15, 13});
    RandomStream random({.seed = seed});
    for (auto& v : mask.voxels()) v = random.uniform() < 0.45;
    const auto thin = skeletonize(mask);
    CHECK(list_components(thin).size() == list_components(mask).size());
    CHECK(skeletonize(thin).voxels() == thin.voxels());
    for (std::size_t i = 0; i < thin.voxels().size(); ++i) REQUIRE(thin.voxels()[i] <= mask.voxels()[i]);
  }
}

TEST_CASE("centre lines of one label, and labels that cannot be") {
  auto mask = mask_of({9, 9, 9});
  for (Index x = 1; x < 8; ++x) mask(4, 4, x) = 3, mask(2, 2, x) = 2;
  const auto line = skeletonize(mask, {.label = 3});
  CHECK(count(line) == 7);
  CHECK(line(4, 4, 4) == 1);
  CHECK_THROWS_AS(skeletonize(mask, {.label = 300}), Error);
}
