// The bytes of a DICOM file as a tree of elements. Every length is checked against what is there before it is believed, and
// nesting is bounded, so that whatever works on the tree works on sound memory.
#pragma once
#include <array>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <ctseg/core/error.hpp>

namespace ctseg::io::dicom {

using ctseg::text;

using Tag = std::uint32_t;   // group << 16 | element

/// "(0028,0010)".
std::string text_of(Tag tag);

/// A tag and the name by which people know it.
struct Field {
  Tag tag;
  std::string_view name;
};
inline std::string text(const Field& f) { return std::string(f.name) + " " + text_of(f.tag); }

struct Span {
  std::size_t offset = 0, length = 0;
};

struct Element;

/// The elements of a file or of one item of a sequence, by tag.
struct Dataset {
  std::vector<Element> elements;

  const Element* find(Tag tag) const;   // by bisection: every frame of many looks here
};

struct Element {
  Tag tag = 0;
  std::array<char, 2> vr{};   // "  " where the file does not tell
  Span value{};               // of a sequence and of encapsulated pixels: empty
  std::vector<Dataset> items{};
};

enum class Codec { none, rle, jpeg, jpeg_ls, jpeg2000, unknown };

struct Syntax {
  std::string_view uid, name;
  bool explicit_vr = true, big_endian = false, deflated = false;
  Codec codec = Codec::none;
};

/// A DICOM file in memory.
struct File {
  std::filesystem::path path;
  std::vector<std::byte> bytes{};   // inflated where the transfer syntax deflates
  std::string syntax_uid{};
  Syntax syntax{};
  Dataset meta{}, dataset{};
  std::optional<std::vector<Span>> fragments{};   // of encapsulated pixels; the first is the offset table
  bool guessed_syntax = false;
  std::optional<Error> damage{};   // what ended the walk; the elements before it are there

  std::span<const std::byte> at(Span s) const { return std::span(bytes).subspan(s.offset, s.length); }
};

/// Reads a file and walks its elements up to the pixels; what follows them is nobody's business.
/// Errors    io if the file cannot be read. What is wrong inside it goes to File::damage.
File load(const std::filesystem::path& path, Index max_bytes);

/// True if the first bytes of a regular file are those of DICOM.
bool has_dicom_start(const std::filesystem::path& path);

/// The value as text, without the padding; empty if the element is not there. No text that is read here has more than 1024
/// bytes, and the rest of a longer one is left out: it may be read again for each of many frames.
std::string text_value(const File& file, const Dataset& dataset, Tag tag);
/// The parts of a text value between backslashes.
std::vector<std::string> text_values(const File& file, const Dataset& dataset, Tag tag);
/// Decimal strings; nothing if the element is missing or empty.
/// Errors    bad_input if a part is no finite number or there are not `count` of them.
std::optional<std::vector<double>> decimals(const File& file, const Dataset& dataset, Field field, std::size_t count);
/// The first 16-bit value, unsigned; nothing if the element is missing or empty.
std::optional<int> unsigned_short(const File& file, const Dataset& dataset, Field field);

}   // namespace ctseg::io::dicom
