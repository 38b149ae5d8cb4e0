// Values of elements as text and numbers.
#include <algorithm>
#include <charconv>
#include <ctseg/core/finite.hpp>

#include "dataset.hpp"

namespace ctseg::io::dicom {

namespace {

constexpr std::size_t kMaxText = 1024;

std::string trimmed(std::string_view s) {
  const auto is_padding = [](char c) { return c == ' ' || c == '\0'; };
  while (!s.empty() && is_padding(s.back())) s.remove_suffix(1);
  while (!s.empty() && is_padding(s.front())) s.remove_prefix(1);
  return std::string(s);
}

}   // namespace

std::string text_value(const File& file, const Dataset& dataset, Tag tag) {
  const Element* e = dataset.find(tag);
  if (!e || e->value.length == 0) return {};
  const auto bytes = file.at(e->value);
  return trimmed({reinterpret_cast<const char*>(bytes.data()), std::min(bytes.size(), kMaxText)});
}

std::vector<std::string> text_values(const File& file, const Dataset& dataset, Tag tag) {
  const std::string all = text_value(file, dataset, tag);
  std::vector<std::string> parts;
  for (std::size_t first = 0; first <= all.size() && !all.empty();) {
    const std::size_t end = std::min(all.find('\\', first), all.size());
    parts.push_back(trimmed(std::string_view(all).substr(first, end - first)));
    first = end + 1;
  }
  return parts;
}

std::optional<std::vector<double>> decimals(const File& file, const Dataset& dataset, Field field, std::size_t count) {
  const auto parts = text_values(file, dataset, field.tag);
  if (parts.empty()) return {};
  std::vector<double> numbers;
  for (std::string_view part : parts) {
    if (part.starts_with('+')) part.remove_prefix(1);   // legal in a decimal string, unknown to from_chars
    double value = 0;
    const auto [end, error] = std::from_chars(part.data(), part.data() + part.size(), value);
    if (error != std::errc() || end != part.data() + part.size() || !is_finite(value)) break;
    numbers.push_back(value);
  }
  if (numbers.size() != parts.size() || numbers.size() != count)
    throw Error(Code::bad_input, file.path.string(),
                text(field, " = \"", text_value(file, dataset, field.tag).substr(0, 80), "\"; must be ", count,
                     count == 1 ? " number." : " numbers."));
  return numbers;
}

std::optional<int> unsigned_short(const File& file, const Dataset& dataset, Field field) {
  const Element* e = dataset.find(field.tag);
  if (!e || e->value.length == 0) return {};
  if (e->value.length < 2)
    throw Error(Code::bad_input, file.path.string(), text(field, " has ", e->value.length, " byte; must be 2."));
  const auto bytes = file.at(e->value);
  const int a = static_cast<int>(bytes[0]), b = static_cast<int>(bytes[1]);
  return file.syntax.big_endian ? a << 8 | b : b << 8 | a;
}

}   // namespace ctseg::io::dicom
