// What tests/parity/make_augment_fixtures.py wrote, as patches, and what it takes to hold a patch against it.
#pragma once
#include <ctseg/data/augment/recipes.hpp>

#include "parity/fixture_file.hpp"

namespace ctseg::test {

struct AugmentFixture : Fixture {
  AugmentFixture() : Fixture("augment") {}

  Extent size(const std::string& name) const {
    const auto& s = extents(name);
    return {s[s.size() - 3], s[s.size() - 2], s[s.size() - 1]};
  }
  Patch patch() const {
    return {.size = size("image"), .image = values<float>("image"), .label = values<std::uint8_t>("label")};
  }
};

inline double apart(const std::vector<float>& a, const std::vector<float>& b) {
  REQUIRE(a.size() == b.size());
  double most = 0;
  for (std::size_t i = 0; i < a.size(); ++i) most = std::max(most, std::abs(double{a[i]} - double{b[i]}));
  return most;
}
inline std::size_t different(const std::vector<std::uint8_t>& a, const std::vector<std::uint8_t>& b) {
  REQUIRE(a.size() == b.size());
  std::size_t count = 0;
  for (std::size_t i = 0; i < a.size(); ++i) count += a[i] != b[i];
  return count;
}

}   // namespace ctseg::test
