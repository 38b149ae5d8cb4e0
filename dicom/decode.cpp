// Which bytes are a frame's, and the frames that need no codec.
#include "decode.hpp"

#include <algorithm>
#include <cstring>

namespace ctseg::io::dicom {

namespace {

constexpr Tag kPixelData = 0x7fe00010;

[[noreturn]] void refuse(const File& file, const std::string& message) {
  throw Error(Code::bad_input, file.path.string(), text("PixelData (7FE0,0010) ", message));
}

void decode_native(const File& file, const PixelFormat& f, Index frame, std::vector<std::uint16_t>& cells) {
  const Element* pixels = file.dataset.find(kPixelData);
  const std::size_t first = static_cast<std::size_t>(frame) * f.frame_bytes();
  if (!pixels || first + f.frame_bytes() > pixels->value.length) refuse(file, "changed while the series was read.");
  const auto bytes = file.at({pixels->value.offset + first, f.frame_bytes()});
  const bool wide = f.bits_allocated == 16;
  const bool swapped_bytes =
      !wide && file.syntax.big_endian && pixels->vr == std::array{'O', 'W'};   // 8-bit pixels in 16-bit words
  if (swapped_bytes && bytes.size() % 2 != 0) refuse(file, "has an odd number of bytes in big-endian words; this is not read.");
  for (std::size_t i = 0; i < cells.size(); ++i) {
    const auto byte = [&](std::size_t at) { return static_cast<unsigned>(bytes[at]); };
    if (wide)
      cells[i] = static_cast<std::uint16_t>(file.syntax.big_endian ? byte(2 * i) << 8 | byte(2 * i + 1)
                                                                   : byte(2 * i + 1) << 8 | byte(2 * i));
    else
      cells[i] = static_cast<std::uint16_t>(byte(swapped_bytes ? i ^ 1 : i));
  }
}

/// The first fragment of each frame. Fragments follow each other; the offset table says where a frame begins, and where it is
/// empty, the first bytes of a stream do.
std::vector<std::size_t> first_fragments(const File& file, Index frames) {
  const auto& all = *file.fragments;
  std::vector<std::size_t> first;
  if (all.size() < 2) refuse(file, "has no fragments.");
  if (frames == 1) return {1};
  if (static_cast<Index>(all.size()) - 1 == frames) {
    for (std::size_t i = 1; i < all.size(); ++i) first.push_back(i);
    return first;
  }
  const auto table = file.at(all[0]);
  for (std::size_t i = 1; i < all.size(); ++i) {
    const std::size_t place = all[i].offset - 8 - (all[1].offset - 8);
    bool begins = false;
    for (std::size_t k = 0; k + 4 <= table.size(); k += 4) {
      std::uint32_t offset = 0;
      for (std::size_t b = 0; b < 4; ++b) offset |= static_cast<std::uint32_t>(table[k + b]) << (8 * b);
      begins = begins || offset == place;
    }
    const auto stream = file.at(all[i]);
    const auto starts = [&](int second) {
      return stream.size() > 2 && stream[0] == std::byte{0xff} && stream[1] == static_cast<std::byte>(second);
    };
    if (table.empty()) begins = starts(0xd8) || starts(0x4f);   // JPEG and JPEG-LS, JPEG 2000
    if (begins) first.push_back(i);
  }
  if (static_cast<Index>(first.size()) != frames || first[0] != 1)
    refuse(file, text("has ", all.size() - 1, " fragments, and ", first.size(),
                      " of them begin a frame; NumberOfFrames (0028,0008) = ", frames, "."));
  return first;
}

/// The stream of a frame, its fragments put together.
std::vector<std::byte> stream_of(const File& file, Index frame, Index frames) {
  if (!file.fragments) refuse(file, "changed while the series was read.");
  const auto first = first_fragments(file, frames);
  const auto f = static_cast<std::size_t>(frame);
  const std::size_t end = f + 1 < first.size() ? first[f + 1] : file.fragments->size();
  std::vector<std::byte> stream;
  for (std::size_t i = first[f]; i < end; ++i) {
    const auto part = file.at((*file.fragments)[i]);
    stream.insert(stream.end(), part.begin(), part.end());
  }
  return stream;
}

}   // namespace

void decode_frame(const File& file, const PixelFormat& format, Index frame, std::vector<std::uint16_t>& cells) {
  if (file.damage) throw *file.damage;
  cells.resize(static_cast<std::size_t>(format.rows * format.columns));
  if (file.syntax.codec == Codec::none) return decode_native(file, format, frame, cells);
  const auto stream = stream_of(file, frame, format.frames);
  if (file.syntax.codec == Codec::rle) return decode_rle(file, format, stream, cells);
  if (file.syntax.codec == Codec::jpeg2000) return decode_jpeg2000(file, format, stream, cells);
  decode_by_dcmtk(file, format, stream, cells);
}

}   // namespace ctseg::io::dicom
