// Previews: sides, colours, proportions, and what does not fit together.
#include <doctest/doctest.h>
#include <ctseg/image/resample.hpp>
#include <ctseg/io/preview.hpp>
#include <ctseg/io/volume.hpp>

#include "temp_folder.hpp"

using namespace ctseg;

namespace {

Grid grid_of(Xyz<Index> shape, double z_mm = 1) {
  Eigen::Matrix4d m = Eigen::Matrix4d::Identity();
  m(2, 2) = z_mm;
  return {shape, Affine<Ras>(m)};
}
std::array<int, 3> pixel(const io::RgbImage& p, int x, int y) {
  const auto at = static_cast<std::size_t>(3 * (y * p.width + x));
  return {p.rgb[at], p.rgb[at + 1], p.rgb[at + 2]};
}

TEST_CASE("the patient's right is on the left, front is up, head is up - for every storage order") {
  Volume<float> ct(grid_of({40, 40, 40}), -1000.f);
  for (Index z = 0; z < 40; ++z)
    for (Index y = 0; y < 40; ++y)
      for (Index x = 0; x < 40; ++x)
        if (x >= 30 && y >= 30) ct(z, y, x) = z >= 20 ? 1000.f : 40.f;   // right front: white above, gray below
  const Volume<std::uint8_t> none(ct.grid());
  const io::RgbImage reference = io::preview(ct, none, {.panel_pixels = 80});
  CHECK(pixel(reference, 14, 6) == std::array{255, 255, 255});   // first panel: head, right front
  CHECK(pixel(reference, 74, 6) == std::array{0, 0, 0});
  CHECK(pixel(reference, 4 * 84 + 14, 2 * 84 + 6) == std::array{128, 128, 128});   // last panel: feet
  for (const char* codes : {"LPS", "PIR", "SLA", "IAL"})
    CHECK(io::preview(reorient(ct, codes), reorient(none, codes), {.panel_pixels = 80}).rgb == reference.rgb);
}

TEST_CASE("labels are outlined and filled, the truth is a white outline") {
  const Volume<float> ct(grid_of({40, 40, 20}), 40.f);
  Volume<std::uint8_t> mask(ct.grid()), truth(ct.grid());
  for (Index z = 5; z < 15; ++z)
    for (Index y = 10; y < 30; ++y)
      for (Index x = 10; x < 30; ++x) mask(z, y, x) = 1, truth(z, y, x) = x < 20 ? 2 : 0;
  const io::RgbImage p = io::preview(ct, mask, {.panel_pixels = 80});
  CHECK(pixel(p, 40, 20) == std::array{230, 159, 0});   // upper outline
  CHECK(pixel(p, 40, 40) ==
        std::array{int(std::lround(127.5 + 0.4 * 102.5)), int(std::lround(127.5 + 0.4 * 31.5)), int(std::lround(127.5 * 0.6))});
  CHECK(pixel(p, 40, 70) == std::array{128, 128, 128});
  const io::RgbImage q = io::preview(ct, mask, {.panel_pixels = 80, .truth = &truth});
  CHECK(pixel(q, 59, 40) == std::array{255, 255, 255});   // the truth is on the patient's left
  CHECK(pixel(q, 20, 40) == std::array{230, 159, 0});
}

TEST_CASE("panels are in true proportions and the letters are there") {
  const Volume<float> ct(grid_of({60, 30, 10}, 6), -1000.f);   // 60 x 30 x 60 mm
  const io::RgbImage p = io::preview(ct, Volume<std::uint8_t>(ct.grid()), {.window_hu = {0, 100}, .panel_pixels = 120});
  CHECK(p.height == 3 * (60 + 4));
  CHECK(p.width == 5 * (120 + 4) + 4 + 92);                     // coronal: 60 x 60 mm in half the height
  CHECK(pixel(p, 3, 23) == std::array{255, 255, 255});          // stem of R
  CHECK(pixel(p, 120 - 14, 23) == std::array{255, 255, 255});   // stem of L
}

TEST_CASE("the palette has 26 different colours and repeats") {
  for (int a = 1; a <= 26; ++a)
    for (int b = 1; b < a; ++b) {
      const auto p = io::previewing::label_colour(a), q = io::previewing::label_colour(b);
      CHECK(std::abs(p.r - q.r) + std::abs(p.g - q.g) + std::abs(p.b - q.b) > 15);
    }
  CHECK(io::previewing::label_colour(27).r == io::previewing::label_colour(1).r);
}

TEST_CASE("an overlay is one slice of each plane, through the most of the mask or where it is told") {
  Volume<float> ct(grid_of({40, 20, 10}, 3), 40.f);   // 40 x 20 x 30 mm
  Volume<std::uint8_t> mask(ct.grid());
  for (Index y = 5; y < 15; ++y)
    for (Index x = 20; x < 35; ++x) mask(7, y, x) = 1;   // RAS: on the patient's right
  const io::RgbImage axial = io::overlay(ct, mask, {.look = {.panel_pixels = 80}});
  CHECK(axial.width == 80);
  CHECK(axial.height == 40);
  CHECK(pixel(axial, 20, 10) == std::array{230, 159, 0});   // an outline, beside the letter R
  CHECK(pixel(axial, 60, 20) == std::array{128, 128, 128});
  const io::RgbImage below = io::overlay(ct, mask, {.slice = 2, .look = {.panel_pixels = 80}});
  CHECK(pixel(below, 20, 10) == std::array{128, 128, 128});
  Volume<std::uint8_t> truth(ct.grid());
  truth(2, 10, 5) = 1;
  CHECK(pixel(io::overlay(ct, mask, {.look = {.panel_pixels = 80, .truth = &truth}}), 20, 10) == std::array{128, 128, 128});
  const io::RgbImage coronal = io::overlay(ct, mask, {.view = io::View::coronal, .look = {.panel_pixels = 80}});
  CHECK(coronal.width == 80);
  CHECK(coronal.height == 60);
  CHECK(pixel(coronal, 20, 17) == std::array{230, 159, 0});   // head is up: slice 7 of 10 is in the upper half's end
  const io::RgbImage sagittal = io::overlay(ct, mask, {.view = io::View::sagittal, .look = {.panel_pixels = 60}});
  CHECK(sagittal.width == 40);
  CHECK(sagittal.height == 60);
  CHECK_THROWS_AS(io::overlay(ct, mask, {.slice = 10}), Error);
}

TEST_CASE("one voxel works; foreign grids and odd options are refused") {
  const Volume<float> dot(grid_of({1, 1, 1}));
  CHECK(io::preview(dot, Volume<std::uint8_t>(dot.grid(), 255)).width > 0);
  const Volume<float> ct(grid_of({10, 10, 10}));
  CHECK_THROWS_AS(io::preview(ct, Volume<std::uint8_t>(grid_of({10, 10, 10}, 2))), Error);
  const Volume<std::uint8_t> mask(ct.grid()), foreign(dot.grid());
  CHECK_THROWS_AS(io::preview(ct, mask, {.truth = &foreign}), Error);
  CHECK_THROWS_AS(io::preview(ct, mask, {.fill = 2}), Error);
  CHECK_THROWS_AS(io::preview(ct, mask, {.panel_pixels = 0}), Error);
  CHECK_THROWS_AS(io::preview(ct, mask, {.window_hu = {5, 5}}), Error);
}

TEST_CASE("real: a CT with its labels, the liver on the left of the picture") {
  const char* folder = std::getenv("CTSEG_TEST_DATA");
  REQUIRE(folder);   // the main of the tests leaves "real: ..." cases out where it is not set
  const std::filesystem::path data(folder);
  const auto ct = io::read_volume<float>(data / "totalseg_ct/example_ct.nii.gz");
  auto labels = io::read_volume<std::uint8_t>(data / "totalseg_ct/example_seg_fast_force_split.nii.gz");
  for (std::uint8_t& v : labels.voxels()) v = v == 5;   // liver
  const io::RgbImage p = io::preview(ct, labels);
  const TempFolder out;
  io::write_png(out / "p.png", p);
  CHECK(std::filesystem::file_size(out / "p.png") > 50'000);
  int left = 0, right = 0;
  for (int y = 0; y < p.height; ++y)
    for (int x = 0; x < 5 * 244; ++x) {
      const auto [r, g, b] = pixel(p, x, y);
      if (r > g + 20 && g > b + 10) ++(x % 244 < 120 ? left : right);
    }
  CHECK(left > 4 * right);
}

}   // namespace
