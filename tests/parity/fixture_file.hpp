// A file of tests/parity that one of its scripts wrote: tensors by name, as they are stored or in double.
#pragma once
#include <doctest/doctest.h>

#include <cstring>
#include <map>

#include <ctseg/core/tensor.hpp>
#include <ctseg/io/safetensors.hpp>

namespace ctseg::test {

class Fixture {
 public:
  explicit Fixture(const std::string& name) {
    const std::string path = std::string(CTSEG_SOURCE_DIR) + "/tests/parity/" + name + ".safetensors";
    io::TensorFile file = io::read_safetensors(path);
    for (auto& t : file.tensors) tensors_[t.name] = t;
    metadata_ = std::move(file.metadata);
  }
  std::vector<std::string> names() const {
    std::vector<std::string> all;
    for (const auto& [name, tensor] : tensors_) all.push_back(name);
    return all;
  }
  bool has(const std::string& name) const { return tensors_.contains(name); }
  std::string metadata(const std::string& key) const { return metadata_.contains(key) ? metadata_.at(key) : ""; }
  Dtype dtype(const std::string& name) const { return record(name).dtype; }
  const std::vector<Index>& extents(const std::string& name) const { return record(name).shape; }
  template <int Dim> Shape<Dim> shape(const std::string& name) const {
    const std::vector<Index>& e = extents(name);
    REQUIRE(std::ssize(e) == Dim + 2);
    Shape<Dim> shape{.n = e[0], .c = e[1]};
    std::copy(e.begin() + 2, e.end(), shape.space.begin());
    return shape;
  }
  std::vector<double> values(const std::string& name) const {
    switch (dtype(name)) {
      case Dtype::f64:
        return widened(values<double>(name));
      case Dtype::f32:
        return widened(values<float>(name));
      case Dtype::f16:
        return widened(values<half>(name));
      case Dtype::u8:
        return widened(values<std::uint8_t>(name));
      case Dtype::u16:
        return widened(values<std::uint16_t>(name));
      default:
        FAIL("fixtures have no values of ", text(dtype(name)));
        return {};
    }
  }
  /// Values as they are stored.
  template <class T> std::vector<T> values(const std::string& name) const {
    const io::TensorRecord& t = record(name);
    std::vector<T> out(t.bytes.size() / sizeof(T));
    std::memcpy(out.data(), t.bytes.data(), out.size() * sizeof(T));
    return out;
  }
  template <class T, int Dim> Tensor<T, Dim> tensor(const std::string& name) const {
    const Shape<Dim> shape = this->shape<Dim>(name);
    Tensor<T, Dim> out(shape);
    const std::vector<double> from = values(name);
    const Index voxels = shape.voxels();
    for (Index i = 0; i < shape.elements(); ++i)   // N, C, voxels to N, voxels, C
      out.view().at(i / voxels / shape.c, i % voxels)[i / voxels % shape.c] = static_cast<T>(from[static_cast<std::size_t>(i)]);
    return out;
  }

 private:
  const io::TensorRecord& record(const std::string& name) const {
    const auto found = tensors_.find(name);
    REQUIRE_MESSAGE(found != tensors_.end(), "the fixture has no ", name);
    return found->second;
  }
  template <class T> static std::vector<double> widened(const std::vector<T>& from) {
    std::vector<double> out;
    for (const T& v : from)
      if constexpr (std::is_same_v<T, half>)
        out.push_back(double{static_cast<float>(v)});
      else
        out.push_back(static_cast<double>(v));
    return out;
  }
  std::map<std::string, io::TensorRecord> tensors_;
  std::map<std::string, std::string> metadata_;
};

}   // namespace ctseg::test
