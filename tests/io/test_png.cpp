// PNG: libpng's own reader gives the pixels back.
#include <doctest/doctest.h>
#include <ctseg/io/png.hpp>

#include "temp_folder.hpp"

using namespace ctseg;

namespace {

std::vector<std::uint8_t> decode(const std::filesystem::path& path, int width, int height, png_uint_32 format) {
  png_image image{};
  image.version = PNG_IMAGE_VERSION;
  REQUIRE(png_image_begin_read_from_file(&image, path.c_str()));
  CHECK(static_cast<int>(image.width) == width);
  CHECK(static_cast<int>(image.height) == height);
  CHECK(image.format == format);
  std::vector<std::uint8_t> out(PNG_IMAGE_SIZE(image));
  REQUIRE(png_image_finish_read(&image, nullptr, out.data(), 0, nullptr));
  return out;
}

TEST_CASE("pixels survive, colour and gray, odd sizes") {
  const TempFolder folder;
  for (const auto& [width, height] : {std::pair{1, 1}, {7, 3}, {200, 131}}) {
    io::RgbImage colour{width, height, {}};
    io::GrayImage gray{width, height, {}};
    for (int i = 0; i < width * height * 3; ++i) colour.rgb.push_back(static_cast<std::uint8_t>(i * 37));
    for (int i = 0; i < width * height; ++i) gray.gray.push_back(static_cast<std::uint8_t>(i * 11));
    io::write_png(folder / "c.png", colour);
    io::write_png(folder / "g.png", gray);
    CHECK(decode(folder / "c.png", width, height, PNG_FORMAT_RGB) == colour.rgb);
    CHECK(decode(folder / "g.png", width, height, PNG_FORMAT_GRAY) == gray.gray);
  }
}

TEST_CASE("a picture whose pixels do not fit its size is refused") {
  const TempFolder folder;
  CHECK_THROWS_AS(io::write_png(folder / "a.png", io::RgbImage{2, 2, std::vector<std::uint8_t>(11)}), Error);
  CHECK_THROWS_AS(io::write_png(folder / "a.png", io::RgbImage{}), Error);
  CHECK_THROWS_AS(io::write_png(folder / "a.png", io::RgbImage{-3, 2, std::vector<std::uint8_t>(18)}), Error);
  CHECK_THROWS_AS(io::write_png(folder / "a.png", io::GrayImage{70000, 1, std::vector<std::uint8_t>(70000)}), Error);
  CHECK_THROWS_AS(io::write_png(folder / "none/a.png", io::GrayImage{1, 1, {9}}), Error);
  CHECK(!std::filesystem::exists(folder / "a.png"));
}

}   // namespace
