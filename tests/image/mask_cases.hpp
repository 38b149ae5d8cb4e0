// Small random masks of every awkward kind, and their voxels counted out plainly.
#pragma once
#include <doctest/doctest.h>

#include <string>
#include <utility>
#include <vector>

#include <ctseg/core/random.hpp>
#include <ctseg/image/mask.hpp>

namespace ctseg::test {

inline Grid mask_grid(Xyz<Index> shape, Xyz<double> spacing = {1, 1, 1}) {
  return {shape, Affine<Ras>(Eigen::Vector4d(-spacing.x, spacing.y, spacing.z, 1).asDiagonal())};
}

/// Values 0 .. labels, 0 with the given share.
inline Volume<std::uint8_t> random_mask(const Grid& grid, double background, std::uint64_t seed, int labels = 1) {
  Volume<std::uint8_t> mask(grid);
  RandomStream random({.seed = seed});
  for (auto& v : mask.voxels())
    v = random.uniform() < background ? std::uint8_t{0} : static_cast<std::uint8_t>(1 + random.below(labels));
  return mask;
}

/// Shapes with thin and single axes, anisotropic spacing; empty, full, one voxel, one hole, sparse, dense.
inline std::vector<Volume<std::uint8_t>> mask_cases() {
  std::vector<Volume<std::uint8_t>> cases;
  std::uint64_t seed = 0;
  for (const Xyz<Index> shape :
       {Xyz<Index>{1, 1, 1}, {9, 1, 1}, {1, 7, 1}, {1, 1, 6}, {11, 8, 1}, {1, 9, 7}, {17, 1, 5}, {19, 6, 7}, {5, 12, 8}}) {
    const Grid grid = mask_grid(shape, {0.75, 1.5, 2.25});
    for (const double background : {0.0, 1.0, 0.5, 0.05, 0.9}) cases.push_back(random_mask(grid, background, ++seed));
    for (const std::uint8_t one : {std::uint8_t{0}, std::uint8_t{1}}) {
      cases.emplace_back(grid, static_cast<std::uint8_t>(1 - one));
      cases.back()(shape.z / 2, shape.y / 3, shape.x / 2) = one;
    }
  }
  return cases;
}

/// f(Xyz) for every voxel in the order of memory.
template <class F> void each_voxel(Xyz<Index> n, F&& f) {
  for (Index z = 0; z < n.z; ++z)
    for (Index y = 0; y < n.y; ++y)
      for (Index x = 0; x < n.x; ++x) f(Xyz<Index>{x, y, z});
}
inline Index place(Xyz<Index> n, Xyz<Index> at) { return (at.z * n.y + at.y) * n.x + at.x; }

/// Whether a step of -1, 0 or 1 along each axis leads to a neighbour.
inline bool is_step(Xyz<Index> step, Connectivity connectivity, bool per_slice) {
  const int used = (step.x != 0) + (step.y != 0) + (step.z != 0);
  return used <= static_cast<int>(connectivity) + 1 && !(per_slice && step.z != 0);
}

inline std::string describe(const Volume<std::uint8_t>& mask) {
  Index inside = 0;
  for (const auto v : mask.voxels()) inside += v != 0;
  return text(mask.shape(), " voxels, ", inside, " of them foreground");
}

/// What f throws says all of these words.
template <class F> void check_says(F&& f, std::initializer_list<const char*> words) {
  std::string what = "nothing was thrown";
  try {
    f();
  } catch (const Error& e) {
    what = e.what();
  }
  for (const char* word : words) CHECK_MESSAGE(what.find(word) != std::string::npos, what << " lacks " << word);
}

}   // namespace ctseg::test
