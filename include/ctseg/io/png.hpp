// Pictures as PNG files, through libpng's simplified interface: errors come back as values, nothing jumps over a destructor.
#pragma once
#include <png.h>

#include <cstdint>
#include <vector>

#include "file.hpp"

namespace ctseg::io {

/// 8-bit colour, row by row from the top left, three bytes a pixel.
struct RgbImage {
  int width = 0, height = 0;
  std::vector<std::uint8_t> rgb{};
};
/// 8-bit gray, row by row from the top left.
struct GrayImage {
  int width = 0, height = 0;
  std::vector<std::uint8_t> gray{};
};

namespace png {

inline std::vector<std::byte> encode(const std::string& where, const std::vector<std::uint8_t>& pixels, png_image image) {
  const std::size_t need = image.width > 65535 || image.height > 65535 ? 0 : PNG_IMAGE_SIZE(image);
  if (need == 0 || need != pixels.size())
    throw Error(Code::bad_argument, where,
                text("a picture of ", Index{image.width}, " x ", Index{image.height}, " pixels with ", pixels.size(),
                     " bytes; must have ", need, " bytes and at least 1, at most 65535 pixels on a side."));
  std::vector<std::byte> bytes(PNG_IMAGE_PNG_SIZE_MAX(image));
  png_alloc_size_t size = bytes.size();
  if (!png_image_write_to_memory(&image, bytes.data(), &size, 0, pixels.data(), 0, nullptr))
    throw Error(Code::io, where, text("cannot be encoded as PNG: ", static_cast<const char*>(image.message), "."));
  bytes.resize(size);
  return bytes;
}

inline png_image describe(int width, int height, png_uint_32 format) {
  png_image image{};
  image.version = PNG_IMAGE_VERSION;
  image.width = static_cast<png_uint_32>(std::max(width, 0));
  image.height = static_cast<png_uint_32>(std::max(height, 0));
  image.format = format;
  return image;
}

}   // namespace png

/// The bytes of a PNG file.
/// Errors    bad_argument if the pixels do not fill width x height.
inline std::vector<std::byte> encode_png(const RgbImage& picture) {
  return png::encode("png", picture.rgb, png::describe(picture.width, picture.height, PNG_FORMAT_RGB));
}

/// Writes a PNG, whole or not at all.
/// Errors    bad_argument if the pixels do not fill width x height; io if it could not be written.
inline void write_png(const std::filesystem::path& path, const RgbImage& picture) {
  write_file(path, png::encode(path.string(), picture.rgb, png::describe(picture.width, picture.height, PNG_FORMAT_RGB)));
}
inline void write_png(const std::filesystem::path& path, const GrayImage& picture) {
  write_file(path, png::encode(path.string(), picture.gray, png::describe(picture.width, picture.height, PNG_FORMAT_GRAY)));
}

}   // namespace ctseg::io
