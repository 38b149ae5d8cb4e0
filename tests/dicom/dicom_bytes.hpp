// DICOM files made byte by byte, so that the tests know what is in them and can make them wrong.
#pragma once
#include <ctseg/io/dicom.hpp>
#include <map>

#include "../io/temp_folder.hpp"

namespace dicom_test {

using ctseg::Index;
using ctseg::text;

struct Value {
  std::string vr, bytes;   // numbers little endian
};
using Elements = std::map<std::uint32_t, Value>;

struct Encoding {
  bool explicit_vr = true, big_endian = false;
};

inline std::string number(std::uint64_t value, int bytes, bool big_endian = false) {
  std::string out;
  for (int i = 0; i < bytes; ++i) out += static_cast<char>(value >> 8 * (big_endian ? bytes - 1 - i : i) & 0xff);
  return out;
}
inline Value us(int value) { return {"US", number(static_cast<std::uint16_t>(value), 2)}; }
inline Value ds(const std::string& value) { return {"DS", value}; }
inline Value words(const std::vector<int>& values) {
  Value v{"OW", ""};
  for (int x : values) v.bytes += number(static_cast<std::uint16_t>(x), 2);
  return v;
}

inline std::string head(std::uint32_t tag, const std::string& vr, std::uint32_t length, Encoding e) {
  std::string out = number(tag >> 16, 2, e.big_endian) + number(tag & 0xffff, 2, e.big_endian);
  if (!e.explicit_vr || tag >> 16 == 0xfffe) return out + number(length, 4, e.big_endian);
  const bool wide = std::string("OB OW SQ UN UT").find(vr) != std::string::npos;
  return out + vr + (wide ? number(0, 2) + number(length, 4, e.big_endian) : number(length, 2, e.big_endian));
}
inline std::string encode(const Elements& elements, Encoding e = {}) {
  std::string out;
  for (const auto& [tag, value] : elements) {
    std::string bytes = value.bytes;
    if (bytes.size() % 2 != 0) bytes += value.vr == "UI" || value.vr == "OB" ? '\0' : ' ';
    if (e.big_endian && (value.vr == "US" || value.vr == "OW"))
      for (std::size_t i = 0; i + 1 < bytes.size(); i += 2) std::swap(bytes[i], bytes[i + 1]);
    out += head(tag, value.vr, static_cast<std::uint32_t>(bytes.size()), e) + bytes;
  }
  return out;
}
/// A sequence of items, each of them encoded elements.
inline Value sequence(const std::vector<std::string>& items, Encoding e = {}) {
  Value v{"SQ", ""};
  for (const std::string& item : items) v.bytes += head(0xfffee000, "", static_cast<std::uint32_t>(item.size()), e) + item;
  return v;
}
/// Pixels in fragments behind an empty offset table, from the tag on.
inline std::string encapsulated(const std::vector<std::string>& fragments) {
  std::string out = head(0x7fe00010, "OB", 0xffffffff, {}) + head(0xfffee000, "", 0, {});
  for (std::string f : fragments) {
    if (f.size() % 2 != 0) f += '\0';
    out += head(0xfffee000, "", static_cast<std::uint32_t>(f.size()), {}) + f;
  }
  return out + head(0xfffee0dd, "", 0, {});
}
inline std::string preamble(const std::string& syntax) {
  const std::string meta = encode({{0x00020002, {"UI", "1.2.840.10008.5.1.4.1.1.2"}}, {0x00020010, {"UI", syntax}}});
  return std::string(128, '\0') + "DICM" + encode({{0x00020000, {"UL", number(meta.size(), 4)}}}) + meta;
}
inline std::string file_of(const Elements& elements, const std::string& syntax = "1.2.840.10008.1.2.1") {
  return preamble(syntax) + encode(elements, {syntax != "1.2.840.10008.1.2", syntax == "1.2.840.10008.1.2.2"});
}

constexpr Index kColumns = 6, kRows = 5;
constexpr double kStep = 2.5;

/// Stored value of a pixel of slice z in the test series; HU are 1024 less.
inline int stored(Index z, Index i) { return static_cast<int>(100 * z + 7 * i); }

/// Slice z of a small CT, 6 x 5 pixels of 0.75 x 0.8 mm, 2.5 mm apart.
inline Elements ct_slice(int z) {
  std::vector<int> pixels;
  for (Index i = 0; i < kColumns * kRows; ++i) pixels.push_back(stored(z, i));
  return {{0x00080008, {"CS", "ORIGINAL\\PRIMARY\\AXIAL"}},
          {0x00080016, {"UI", "1.2.840.10008.5.1.4.1.1.2"}},
          {0x00080018, {"UI", "1.2.3." + text(z + 1)}},
          {0x00080060, {"CS", "CT"}},
          {0x0008103e, {"LO", "Test body"}},
          {0x00180050, ds("9")},   // a lie, as often in real files
          {0x0020000d, {"UI", "1.2.9"}},
          {0x0020000e, {"UI", "1.2.10"}},
          {0x00200032, ds("-10\\-20\\" + text(kStep * z))},
          {0x00200037, ds("1\\0\\0\\0\\1\\0")},
          {0x00200052, {"UI", "1.2.11"}},
          {0x00280002, us(1)},
          {0x00280004, {"CS", "MONOCHROME2"}},
          {0x00280010, us(kRows)},
          {0x00280011, us(kColumns)},
          {0x00280030, ds("0.8\\0.75")},   // rows first
          {0x00280100, us(16)},
          {0x00280101, us(16)},
          {0x00280102, us(15)},
          {0x00280103, us(1)},
          {0x00281052, ds("-1024")},
          {0x00281053, ds("1")},
          {0x7fe00010, words(pixels)}};
}

/// Writes a series of slices, file names in an order of their own. `change` edits slice z before it is written.
template <class F>
void write_series(const TempFolder& folder, int slices, F&& change, const std::string& syntax = "1.2.840.10008.1.2.1") {
  for (int z = 0; z < slices; ++z) {
    Elements e = ct_slice(z);
    change(z, e);
    spill(folder / (std::string(1, static_cast<char>('a' + (z * 7) % 11)) + text(z)), file_of(e, syntax));
  }
}
inline void write_series(const TempFolder& folder, int slices) {
  write_series(folder, slices, [](int, Elements&) {});
}

inline std::string error_of_reading(const std::filesystem::path& path, const ctseg::io::DicomReadOptions& options = {}) {
  return error_of([&] { ctseg::io::read_dicom_series<float>(path, options); });
}

}   // namespace dicom_test
