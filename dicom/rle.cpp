// RLE (part 5, annex G): a table of offsets, then one run-length coded plane for each byte of a pixel, the highest first.
// Written here because DCMTK 3.6.7's own reads past the end of a damaged stream.
#include <algorithm>

#include "decode.hpp"

namespace ctseg::io::dicom {

namespace {

constexpr std::size_t kMostFromOne = 64;   // two bytes stand for 128 at most

std::size_t little_endian(std::span<const std::byte> bytes, std::size_t at) {
  std::size_t value = 0;
  for (std::size_t i = 0; i < 4; ++i) value |= static_cast<std::size_t>(bytes[at + i]) << (8 * i);
  return value;
}

/// Unpacks runs into the byte `shift` of each cell; false if they end early.
bool unpack(std::span<const std::byte> runs, int shift, std::vector<std::uint16_t>& cells) {
  const auto put = [&](std::size_t i, std::byte b) {
    cells[i] = static_cast<std::uint16_t>(cells[i] | static_cast<unsigned>(b) << shift);
  };
  std::size_t filled = 0;
  for (std::size_t at = 0; at < runs.size() && filled < cells.size();) {
    const int code = static_cast<int>(runs[at++]);
    if (code == 128) continue;
    const std::size_t length = static_cast<std::size_t>(code < 128 ? code + 1 : 257 - code), source = code < 128 ? length : 1;
    if (runs.size() - at < source || cells.size() - filled < length) return false;
    for (std::size_t i = 0; i < length; ++i) put(filled + i, runs[at + (code < 128 ? i : 0)]);
    at += source;
    filled += length;
  }
  return filled == cells.size();
}

}   // namespace

void decode_rle(const File& file, const PixelFormat& format, std::span<const std::byte> stream,
                std::vector<std::uint16_t>& cells) {
  const auto refuse = [&](const std::string& message) {
    throw Error(Code::bad_input, file.path.string(), text("the RLE stream ", message, " Hint: copy the file again."));
  };
  const std::size_t planes = static_cast<std::size_t>(format.bytes_per_pixel());
  if (stream.size() < 64) refuse(text("has ", stream.size(), " bytes; its head alone has 64."));
  if (little_endian(stream, 0) != planes)
    refuse(text("has ", little_endian(stream, 0), " planes; pixels of ", format.bits_allocated, " bits have ", planes, "."));
  if (format.frame_bytes() > stream.size() * kMostFromOne)
    refuse(text("has ", stream.size(), " bytes, which cannot fill ", planes, " plane(s) of ", format.pixels(), " bytes."));
  cells.assign(format.pixels(), 0);
  for (std::size_t p = 0; p < planes; ++p) {
    const std::size_t first = little_endian(stream, 4 + 4 * p),
                      end = p + 1 < planes ? little_endian(stream, 8 + 4 * p) : stream.size();
    if (first < 64 || end < first || end > stream.size())
      refuse(text("has plane ", p + 1, " in bytes ", first, " to ", end, " of ", stream.size(), "."));
    if (!unpack(stream.subspan(first, end - first), static_cast<int>(8 * (planes - 1 - p)), cells))
      refuse(text("does not fill plane ", p + 1, " with ", cells.size(), " bytes."));
  }
}

}   // namespace ctseg::io::dicom
