// A scan, a recipe with every kind of step, and how labels are compared, for the tests of segmentation.
#pragma once
#include <doctest/doctest.h>

#include <ctseg/recipe/segment.hpp>

#include "threshold_network.hpp"

namespace segment_cases {

using namespace ctseg;

/// A scan of smooth values in an odd orientation, not isotropic, with air around it.
inline Volume<float> scan() {
  Eigen::Matrix4d m = Eigen::Matrix4d::Identity();
  m.block<3, 3>(0, 0) << 0, -0.8, 0, 0, 0, 1.5, 0.7, 0, 0;
  Volume<float> v(Grid{{.x = 31, .y = 26, .z = 22}, Affine<Ras>(m)}, -1000.f);
  for (Index z = 3; z < 20; ++z)
    for (Index y = 4; y < 24; ++y)
      for (Index x = 2; x < 29; ++x)
        v(z, y, x) = static_cast<float>(40 + 300 * std::sin(0.35 * double(x)) * std::cos(0.3 * double(y) + 0.25 * double(z)));
  return v;
}
inline const std::vector<PreprocessStep> kSteps = {Reorient{"RAS"}, CropForeground{.threshold = -500}, Spacing{{1, 1, 1.25}},
                                                   WindowHu{-160, 240}};

/// Two classes that meet at 0.5, the middle of the window.
inline LoadedModel two_classes(std::vector<PreprocessStep> steps, WayBack way = WayBack::logits) {
  return {{.network = line_config<3>(2),
           .preprocess = std::move(steps),
           .sliding_window = SlidingWindowOptions<3>{.window = 16},
           .labels = {{0, "background"}, {7, "bright"}},
           .decision = {.way_back = way}},
          line_network<3>({{-4, 2}, {4, -2}})};
}
inline Index differing(const Volume<std::uint8_t>& labels, const Volume<std::uint8_t>& wanted) {
  REQUIRE(same_grid(labels.grid(), wanted.grid()));
  Index count = 0;
  for (std::size_t i = 0; i < labels.voxels().size(); ++i) count += labels.voxels()[i] != wanted.voxels()[i];
  return count;
}

}   // namespace segment_cases
