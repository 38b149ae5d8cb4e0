// Compressed pixels: every compression gives the same image, and a damaged stream gives an error, whatever byte is wrong.
#include <doctest/doctest.h>

#include <ctseg/core/random.hpp>

#include "streams.hpp"

using namespace ctseg;
using namespace dicom_test;

namespace {

void check_image(const Volume<float>& v) {
  REQUIRE(v.shape() == Xyz<Index>{kColumns, kRows, 1});
  for (Index i = 0; i < kColumns * kRows; ++i) REQUIRE(v.data()[i] == static_cast<float>(stored(3, i) - 1024));
}

}   // namespace

TEST_CASE("dicom: every lossless compression gives the same pixels") {
  const TempFolder folder;
  for (const Stream& s : kStreams) {
    INFO(std::string(s.syntax));
    spill(folder / "image", compressed_file(s));
    check_image(io::read_dicom_series<float>(folder.path).volume);
    if (s.syntax == kRle.syntax) continue;
    const std::string bytes = s.bytes();   // in pieces
    spill(folder / "image", compressed_file(s, {bytes.substr(0, 20), bytes.substr(20, 30), bytes.substr(50)}));
    check_image(io::read_dicom_series<float>(folder.path).volume);
  }
}

TEST_CASE("dicom: JPEG baseline") {
  const TempFolder folder;
  Elements e = ct_slice(0);
  e.erase(0x7fe00010);
  e[0x00280100] = us(8), e[0x00280101] = us(8), e[0x00280102] = us(7), e[0x00280103] = us(0);
  spill(folder / "image", file_of(e, kJpegBaseline.syntax) + encapsulated({kJpegBaseline.bytes()}));
  const auto v = io::read_dicom_series<float>(folder.path).volume;
  const float expected[] = {0, 3, 7, 11, 15, 19, 23, 27};
  for (int i = 0; i < 8; ++i) CHECK(std::abs(v.data()[i] + 1024 - expected[i]) <= 1);
}

TEST_CASE("dicom: frames in fragments of an enhanced object") {
  const TempFolder folder;
  Elements e = ct_slice(0);
  e.erase(0x7fe00010);
  e[0x00280008] = {"IS", "2"};
  const auto frame = [](int z) {
    return encode({{0x00209113, sequence({encode({{0x00200032, ds("-10\\-20\\" + text(z))}})})}});
  };
  e[0x52009230] = sequence({frame(1), frame(0)});
  const std::string bytes = kJpegLs.bytes();
  const auto read = [&](const std::vector<std::string>& fragments) {
    spill(folder / "image", file_of(e, kJpegLs.syntax) + encapsulated(fragments));
    return io::read_dicom_series<float>(folder.path).volume;
  };
  CHECK(read({bytes, bytes})(1, 4, 5) == static_cast<float>(stored(3, 29) - 1024));
  CHECK(read({bytes.substr(0, 40), bytes.substr(40), bytes})(0, 4, 5) == static_cast<float>(stored(3, 29) - 1024));
  spill(folder / "image", file_of(e, kJpegLs.syntax) + encapsulated({bytes}));
  CHECK(error_of_reading(folder.path).find("1 of them begin a frame; NumberOfFrames (0028,0008) = 2") != std::string::npos);
}

TEST_CASE("dicom: streams of another size, or none") {
  const TempFolder folder;
  const auto error = [&](const std::string& file) {
    spill(folder / "image", file);
    return error_of_reading(folder.path);
  };
  for (const Stream& s : kStreams) {
    INFO(std::string(s.syntax));
    Elements e = ct_slice(3);
    e.erase(0x7fe00010);
    e[0x00280010] = us(7);
    const std::string larger = error(file_of(e, s.syntax) + encapsulated({s.bytes()}));
    CHECK(larger.find(s.syntax == kRle.syntax ? "RLE stream does not fill plane 1 with 42 bytes" : "the header says") !=
          std::string::npos);
    CHECK(error(compressed_file(s, {std::string(64, '\0')})).find("stream") != std::string::npos);
    CHECK(error(compressed_file(s, {})).find("has no fragments") != std::string::npos);
    CHECK(error(compressed_file(s, {s.bytes().substr(0, 30)})) != "");
  }
  std::string bomb = kJpeg2000.bytes();   // one tile a pixel
  bomb.replace(8, 8, std::string("\0\0\x10\0\0\0\x10\0", 8)).replace(24, 8, std::string("\0\0\0\1\0\0\0\1", 8));
  Elements e = ct_slice(3);
  e.erase(0x7fe00010);
  e[0x00280010] = us(4096), e[0x00280011] = us(4096);
  CHECK(error(file_of(e, kJpeg2000.syntax) + encapsulated({bomb})).find("has tiles of 1 x 1") != std::string::npos);
  CHECK(error(compressed_file({"1.2.840.10008.1.2.4.201", kJpegLs.hex})).find("this compression is not read") !=
        std::string::npos);
  CHECK(error(compressed_file({"1.2.840.10008.1.2.1", kJpegLs.hex})).find("is in fragments, and the transfer syntax") !=
        std::string::npos);
}

TEST_CASE("dicom: no byte of a compressed stream can do harm") {
  const TempFolder folder;
  int read = 0, refused = 0;
  for (const Stream& s : kStreams) {
    const std::string good = s.bytes();
    RandomStream random({.seed = 7});
    for (int round = 0; round < 250; ++round) {
      std::string bad = good;
      const auto place = [&] { return static_cast<std::size_t>(random.below(static_cast<Index>(bad.size()))); };
      bad[place()] ^= static_cast<char>(1 + random.below(255));
      if (round % 4 == 0) bad.resize(place());
      spill(folder / "image", compressed_file(s, {bad}));
      error_of_reading(folder.path).empty() ? ++read : ++refused;
    }
  }
  CHECK(read > 100);
  CHECK(refused > 300);
}
