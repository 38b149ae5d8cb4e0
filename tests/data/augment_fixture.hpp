// What tests/parity/make_augment_fixtures.py wrote, as patches, and what it takes to hold a patch against it.
#pragma once
#include <doctest/doctest.h>

#include <cstring>

#include <ctseg/data/augment/recipes.hpp>
#include <ctseg/io/safetensors.hpp>

namespace ctseg::test {

class AugmentFixture {
 public:
  AugmentFixture() : file_(io::read_safetensors(std::string(CTSEG_SOURCE_DIR) + "/tests/parity/augment.safetensors")) {}

  std::string made_with() const { return file_.metadata.at("made_with"); }
  template <class T> std::vector<T> values(const std::string& name) const {
    const io::TensorRecord& t = record(name);
    std::vector<T> v(t.bytes.size() / sizeof(T));
    std::memcpy(v.data(), t.bytes.data(), v.size() * sizeof(T));
    return v;
  }
  Extent size(const std::string& name) const {
    const auto& s = record(name).shape;
    return {s[s.size() - 3], s[s.size() - 2], s[s.size() - 1]};
  }
  Patch patch() const {
    return {.size = size("image"), .image = values<float>("image"), .label = values<std::uint8_t>("label")};
  }

 private:
  const io::TensorRecord& record(const std::string& name) const {
    for (const auto& t : file_.tensors)
      if (t.name == name) return t;
    FAIL("the fixture has no " << name);
    return file_.tensors.front();
  }
  io::TensorFile file_;
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
