// A data set to be written, little endian: elements by tag, encoded in their order.
#pragma once
#include <ctseg/core/error.hpp>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "dataset.hpp"

namespace ctseg::io::dicom {

class Output {
 public:
  void put(Tag tag, const char* vr, std::string bytes) { elements_[tag] = {vr, std::move(bytes), {}}; }
  void put_shorts(Tag tag, const std::vector<int>& values);            // US
  void put_tag(Tag tag, Tag value);                                    // AT
  void put_longs(Tag tag, const std::vector<std::uint32_t>& values);   // UL
  void put_decimals(Tag tag, const std::vector<double>& values);       // DS, at most 16 characters each
  void put_items(Tag tag, std::vector<Output> items) { elements_[tag] = {"SQ", {}, std::move(items)}; }
  const std::string& bytes(Tag tag) const { return elements_.at(tag).bytes; }

  std::string encoded(bool explicit_vr = true) const;
  /// Writes the file whole or not at all. Implicit where a text may be longer than the 65534 bytes an explicit one can have.
  void write(const std::filesystem::path& path, bool explicit_vr = true) const;

 private:
  struct Value {
    std::string vr, bytes;
    std::vector<Output> items;
  };
  std::map<Tag, Value> elements_;
};

/// An identifier made of content: 2.25. and a number of 128 bits. The same content gives the same identifier.
std::string uid_of(std::string_view content);

}   // namespace ctseg::io::dicom
