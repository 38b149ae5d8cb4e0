// Pixels of one frame, whatever they are packed in.
#pragma once
#include "image.hpp"

namespace ctseg::io::dicom {

/// The frames of one file. Which fragments are whose is found out once, however many frames are asked for.
class FrameDecoder {
 public:
  /// Errors    bad_input if the fragments are not those of so many frames.
  FrameDecoder(const File& file, const PixelFormat& format);

  /// The cells of a frame, BitsAllocated wide. Where they stand as such in the file, bits outside BitsStored are still in them.
  /// Errors    bad_input if the frame is damaged, or has another size or wider samples than the header says.
  void decode(Index frame, std::vector<std::uint16_t>& cells) const;

 private:
  std::vector<std::byte> stream(Index frame) const;

  const File& file_;
  const PixelFormat& format_;
  std::vector<std::size_t> first_{};   // fragment of each frame
};

/// Makes cells of the samples of a code stream, which has a width and a sign of its own.
struct CellOf {
  const File& file;
  const PixelFormat& format;
  int bits;         // of a sample in the stream
  bool is_signed;   // of the stream; one that knows no sign holds negative values as their two's complement

  /// Errors    bad_input if BitsStored cannot hold sample i.
  std::uint16_t operator()(std::int64_t sample, std::size_t i) const;
};

/// Decodes one JPEG 2000 code stream. As with the others, `cells` get their memory when the stream has proved its size.
void decode_jpeg2000(const File& file, const PixelFormat& format, std::span<const std::byte> stream,
                     std::vector<std::uint16_t>& cells);
/// Same for one frame in RLE.
void decode_rle(const File& file, const PixelFormat& format, std::span<const std::byte> stream,
                std::vector<std::uint16_t>& cells);
/// Same for one frame in JPEG or JPEG-LS, by DCMTK.
void decode_by_dcmtk(const File& file, const PixelFormat& format, std::span<const std::byte> stream,
                     std::vector<std::uint16_t>& cells);

/// The stored value in a cell: BitsStored bits below HighBit, signed or not.
inline int stored_value(std::uint16_t cell, const PixelFormat& f) {
  const unsigned mask = (1u << f.bits_stored) - 1,
                 value = static_cast<unsigned>(cell) >> (f.high_bit + 1 - f.bits_stored) & mask;
  const bool negative = f.is_signed && (value >> (f.bits_stored - 1) & 1u);
  return static_cast<int>(value) - (negative ? static_cast<int>(mask) + 1 : 0);
}

}   // namespace ctseg::io::dicom
