// Encoding of what is written, and identifiers.
#include "output.hpp"

#include <charconv>
#include <cstdio>
#include <ctseg/io/file.hpp>
#include <ctseg/version.hpp>
#include <span>

namespace ctseg::io::dicom {

namespace {

void append(std::string& out, std::uint64_t value, int bytes) {
  for (int i = 0; i < bytes; ++i) out += static_cast<char>(value >> (8 * i) & 0xff);
}
void append_tag(std::string& out, Tag tag) {
  append(out, tag >> 16, 2);
  append(out, tag & 0xffff, 2);
}

/// The most digits that fit into the 16 characters of a decimal string.
std::string decimal(double value) {
  char line[40];   // to_chars: a program's locale may write decimal commas
  for (int digits = 15;; --digits) {
    const auto end = std::to_chars(line, line + sizeof line, value, std::chars_format::general, digits).ptr;
    if (end - line <= 16 || digits == 1) return {line, end};
  }
}

}   // namespace

void Output::put_shorts(Tag tag, const std::vector<int>& values) {
  std::string bytes;
  for (int v : values) append(bytes, static_cast<std::uint64_t>(v), 2);
  put(tag, "US", bytes);
}

void Output::put_tag(Tag tag, Tag value) {
  std::string bytes;
  append_tag(bytes, value);
  put(tag, "AT", bytes);
}

void Output::put_longs(Tag tag, const std::vector<std::uint32_t>& values) {
  std::string bytes;
  for (std::uint32_t v : values) append(bytes, v, 4);
  put(tag, "UL", bytes);
}

void Output::put_decimals(Tag tag, const std::vector<double>& values) {
  std::string bytes;
  for (double v : values) bytes += (bytes.empty() ? "" : "\\") + decimal(v);
  put(tag, "DS", bytes);
}

std::string Output::encoded(bool explicit_vr) const {
  std::string out;
  for (const auto& [tag, value] : elements_) {
    std::string bytes = value.bytes;
    for (const Output& item : value.items) {
      const std::string content = item.encoded(explicit_vr);
      append_tag(bytes, 0xfffee000);
      append(bytes, content.size(), 4);
      bytes += content;
    }
    const bool binary = value.vr == "UI" || value.vr == "OB";   // padded with zero, not with a blank
    if (bytes.size() % 2 != 0) bytes += binary ? '\0' : ' ';
    const bool wide = !explicit_vr || value.vr == "SQ" || value.vr == "OB";
    if (bytes.size() > (wide ? 0xfffffffeu : 0xfffeu))
      throw Error(Code::unsupported, "dicom",
                  text("element ", text_of(tag), " would have ", bytes.size(), " bytes, more than its length can say."));
    append_tag(out, tag);
    if (explicit_vr) out += value.vr;
    if (explicit_vr && wide) append(out, 0, 2);
    append(out, bytes.size(), wide ? 4 : 2);
    out += bytes;
  }
  return out;
}

void Output::write(const std::filesystem::path& path, bool explicit_vr) const {
  Output meta;
  meta.put(0x00020001, "OB", std::string("\0\1", 2));
  meta.put(0x00020002, "UI", bytes(0x00080016));
  meta.put(0x00020003, "UI", bytes(0x00080018));
  meta.put(0x00020010, "UI", explicit_vr ? "1.2.840.10008.1.2.1" : "1.2.840.10008.1.2");
  meta.put(0x00020012, "UI", uid_of("ctseg"));
  meta.put(0x00020013, "SH", text("CTSEG_", kVersion));
  const std::string rest = meta.encoded();
  Output length;
  length.put_longs(0x00020000, {static_cast<std::uint32_t>(rest.size())});
  const std::string file = std::string(128, '\0') + "DICM" + length.encoded() + rest + encoded(explicit_vr);
  write_file(path, std::as_bytes(std::span(file.data(), file.size())));
}

std::string uid_of(std::string_view content) {
  __extension__ using Wide = unsigned __int128;
  const auto wide = [](std::uint64_t high, std::uint64_t low) { return static_cast<Wide>(high) << 64 | low; };
  Wide hash = wide(0x6c62272e07bb0142, 0x62b821756295c58d);   // FNV-1a
  for (char c : content) hash = (hash ^ static_cast<unsigned char>(c)) * wide(std::uint64_t{1} << 24, 0x13b);
  hash &= wide(0xffffffffffff0fff, 0x3fffffffffffffff);
  hash |= wide(0x8000, 0x8000000000000000);   // as a UUID: version 8, made by a rule of one's own
  std::string digits;
  for (; hash != 0; hash /= 10) digits.insert(digits.begin(), static_cast<char>('0' + static_cast<int>(hash % 10)));
  return "2.25." + digits;
}

}   // namespace ctseg::io::dicom
