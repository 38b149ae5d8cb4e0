// A case: one scan and its labels on the same grid.
#pragma once
#include <string>

#include "../image/volume.hpp"

namespace ctseg {

/// `image` is what the network sees (windowed, resampled); `label` holds class numbers.
struct Case {
  std::string name;
  Volume<float> image;
  Volume<std::uint8_t> label;
};

}   // namespace ctseg
