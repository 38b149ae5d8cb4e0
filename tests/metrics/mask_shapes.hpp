// Masks that tests of metrics share.
#pragma once
#include <ctseg/core/random.hpp>
#include <ctseg/image/volume.hpp>

namespace ctseg::test {

using Mask = Volume<std::uint8_t>;

inline Grid grid_of(Xyz<Index> shape, Xyz<double> spacing = {1, 1, 1}) {
  return {shape, Affine<Ras>(Eigen::Vector4d(spacing.x, spacing.y, spacing.z, 1).asDiagonal())};
}
/// Adds voxels [begin, end).
inline Mask& add_box(Mask& mask, Xyz<Index> begin, Xyz<Index> end, std::uint8_t label = 1) {
  for (Index z = begin.z; z < end.z; ++z)
    for (Index y = begin.y; y < end.y; ++y)
      for (Index x = begin.x; x < end.x; ++x) mask(z, y, x) = label;
  return mask;
}
/// Balls of random sizes and labels 1 .. labels.
inline Mask balls(const Grid& grid, std::uint64_t seed, int labels = 1) {
  Mask mask(grid);
  RandomStream random({.seed = seed});
  const Xyz<Index> n = grid.shape;
  for (int i = 0; i < 6 * labels; ++i) {
    const double r = random.uniform(1, 6), cx = random.uniform(0, double(n.x)), cy = random.uniform(0, double(n.y)),
                 cz = random.uniform(0, double(n.z));
    for (Index z = 0; z < n.z; ++z)
      for (Index y = 0; y < n.y; ++y)
        for (Index x = 0; x < n.x; ++x)
          if (std::hypot(double(x) - cx, double(y) - cy, double(z) - cz) < r)
            mask(z, y, x) = static_cast<std::uint8_t>(1 + i % labels);
  }
  return mask;
}

}   // namespace ctseg::test
