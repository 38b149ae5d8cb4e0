// Pixels of one frame, whatever they are packed in.
#pragma once
#include "image.hpp"

namespace ctseg::io::dicom {

/// The cells of a frame as they stand in memory, BitsAllocated wide: bits outside BitsStored are still in them.
/// Errors    bad_input if the frame is damaged or has another size than the header says.
void decode_frame(const File& file, const PixelFormat& format, Index frame, std::vector<std::uint16_t>& cells);

/// Same for one JPEG 2000 code stream.
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
