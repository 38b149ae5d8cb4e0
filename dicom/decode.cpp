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
  cells.resize(f.pixels());
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

/// The places that the offset table names, in order; they count from the first fragment's head.
std::vector<std::size_t> named_places(std::span<const std::byte> table) {
  std::vector<std::size_t> places;
  for (std::size_t k = 0; k + 4 <= table.size(); k += 4) {
    std::size_t place = 0;
    for (std::size_t b = 0; b < 4; ++b) place |= static_cast<std::size_t>(table[k + b]) << (8 * b);
    places.push_back(place);
  }
  std::sort(places.begin(), places.end());
  return places;
}

/// The first fragment of each frame. Fragments follow each other; the offset table says where a frame begins, and where it is
/// empty, the first bytes of a stream do.
std::vector<std::size_t> first_fragments(const File& file, Index frames) {
  const auto& all = *file.fragments;
  std::vector<std::size_t> first;
  if (all.size() < 2) refuse(file, "has no fragments.");
  if (frames == 1) return {1};
  const bool one_each = static_cast<Index>(all.size()) - 1 == frames;
  const auto places = named_places(file.at(all[0]));
  const auto begins = [&](const Span& fragment) {
    if (!places.empty()) return std::binary_search(places.begin(), places.end(), fragment.offset - all[1].offset);
    const auto stream = file.at(fragment);   // JPEG and JPEG-LS, JPEG 2000
    return stream.size() > 2 && stream[0] == std::byte{0xff} && (stream[1] == std::byte{0xd8} || stream[1] == std::byte{0x4f});
  };
  for (std::size_t i = 1; i < all.size(); ++i)
    if (one_each || begins(all[i])) first.push_back(i);
  if (static_cast<Index>(first.size()) != frames || first[0] != 1)
    refuse(file, text("has ", all.size() - 1, " fragments, and ", first.size(),
                      " of them begin a frame; NumberOfFrames (0028,0008) = ", frames, "."));
  return first;
}

}   // namespace

FrameDecoder::FrameDecoder(const File& file, const PixelFormat& format) : file_(file), format_(format) {
  if (file.damage) throw *file.damage;
  if (file.syntax.codec == Codec::none) return;
  if (!file.fragments) refuse(file, "changed while the series was read.");
  first_ = first_fragments(file, format.frames);
}

/// The stream of a frame, its fragments put together.
std::vector<std::byte> FrameDecoder::stream(Index frame) const {
  const auto f = static_cast<std::size_t>(frame);
  const std::size_t end = f + 1 < first_.size() ? first_[f + 1] : file_.fragments->size();
  std::vector<std::byte> stream;
  for (std::size_t i = first_[f]; i < end; ++i) {
    const auto part = file_.at((*file_.fragments)[i]);
    stream.insert(stream.end(), part.begin(), part.end());
  }
  return stream;
}

void FrameDecoder::decode(Index frame, std::vector<std::uint16_t>& cells) const {
  if (file_.syntax.codec == Codec::none) return decode_native(file_, format_, frame, cells);
  const auto bytes = stream(frame);
  if (file_.syntax.codec == Codec::rle) return decode_rle(file_, format_, bytes, cells);
  if (file_.syntax.codec == Codec::jpeg2000) return decode_jpeg2000(file_, format_, bytes, cells);
  decode_by_dcmtk(file_, format_, bytes, cells);
}

std::uint16_t CellOf::operator()(std::int64_t sample, std::size_t i) const {
  const auto refuse = [&](const std::string& what) {
    const auto at = static_cast<Index>(i);
    throw Error(Code::bad_input, file.path.string(),
                text("the ", file.syntax.name, " stream holds ", what, " in column ", at % format.columns, ", row ",
                     at / format.columns, "; BitsStored (0028,0101) = ", format.bits_stored, ", ",
                     format.is_signed ? "signed" : "unsigned", ". Hint: the header is not that of these pixels."));
  };
  const int width = format.high_bit + 1;
  if (format.is_signed && !is_signed && sample >> (bits - 1) != 0) {
    const std::int64_t negative = sample - (std::int64_t{1} << bits);
    if (bits < width) refuse(text(sample, " in ", bits, " unsigned bits, which may mean ", negative, ","));
    sample = negative;
  }
  const std::int64_t low = format.is_signed ? -(std::int64_t{1} << (width - 1)) : 0,
                     high = (std::int64_t{1} << (format.is_signed ? width - 1 : width)) - 1;
  if (sample < low || sample > high) refuse(text(sample));
  return static_cast<std::uint16_t>(sample);
}

}   // namespace ctseg::io::dicom
