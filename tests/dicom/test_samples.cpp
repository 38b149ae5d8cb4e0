// A code stream may hold other samples than its header says: what BitsStored cannot keep is refused, never wrapped.
#include <doctest/doctest.h>

#include "streams.hpp"

using namespace ctseg;
using namespace dicom_test;

namespace {

/// The same image of -100 + 7 i, signed, 12 bits. JPEG and JPEG-LS hold the 16-bit cells, JPEG 2000 samples of 12 bits with and
/// without a sign. Made with DCMTK's dcmcjpeg and dcmcjpls, and OpenJPEG's opj_compress.
constexpr Stream kBelowZero[] = {
    {kJpegSv1.syntax,
     "ffd8ffe000104a46494600010100000100010000ffc3000b100005000601011100ffc40016000101010000000000000000000000000003060fffda00"
     "08010100010000dfe71ddddea9ddddea9ddddea9ddddea9ddddfffd9"},
    {kJpegLs.syntax,
     "ffd8fff7000b100005000601011100fff8000d01ffff0012004301140040ffda00080101000000004c681b02e0981e0b1520740c82a0881d1520d048"
     "640080114a00801152050322941414141414ffd9"},
    {kJpeg2000.syntax,
     "ff4fff5100290000000000060000000500000000000000000000000600000005000000000000000000018b0101ff52000c00000001000004040001ff"
     "5c00044060ff90000a00000000002e0001ff93c0fb47001289a66318d4038ab2af8f88a1ab34c7d3505eb9adfec5c6a1ed2fafffd9"},
    {kJpeg2000.syntax,
     "ff4fff5100290000000000060000000500000000000000000000000600000005000000000000000000010b0101ff52000c00000001000004040001ff"
     "5c00044060ff90000a0000000000340001ff93cfe48c13ddf959f9ab2bb70aab32068a34c29bad4f44e4f27ec5aa5c490cc5c0ef6b24dbe6d5ffd9"}};

struct Bits {
  int stored;
  bool is_signed;
  int allocated = 16;
};

/// Reads the stream under a header of these bits; the error, or what the first pixel is.
std::string first_pixel(const Stream& s, const Bits& bits) {
  const TempFolder folder;
  Elements e = ct_slice(3);
  e.erase(0x7fe00010);
  e[0x00280100] = us(bits.allocated), e[0x00280101] = us(bits.stored), e[0x00280102] = us(bits.stored - 1);
  e[0x00280103] = us(bits.is_signed ? 1 : 0), e[0x00281052] = ds("0");
  spill(folder / "image", file_of(e, s.syntax) + encapsulated({s.bytes()}));
  std::string value;
  const std::string error = error_of([&] { value = text(io::read_dicom_series<float>(folder.path).volume(0, 0, 0)); });
  return error.empty() ? value : error.substr(folder.path.string().size());
}

void check(const std::string& what, const std::string& words) {
  INFO(what);
  CHECK(what.find(words) != std::string::npos);
}

}   // namespace

TEST_CASE("dicom: values below zero, extended by their sign or cut to their bits") {
  for (const Stream& s : kBelowZero) {
    INFO(std::string(s.syntax));
    CHECK(first_pixel(s, {12, true}) == "-100");
  }
  for (const Stream& s : {kBelowZero[0], kBelowZero[1], kBelowZero[2]}) CHECK(first_pixel(s, {16, true}) == "-100");
}

TEST_CASE("dicom: samples beyond BitsStored") {   // 300 to 503
  for (const Stream& s : {kJpegSv1, kJpegLossless, kJpegLs, kJpeg2000}) {
    INFO(std::string(s.syntax));
    CHECK(first_pixel(s, {10, true}) == "300");
    CHECK(first_pixel(s, {9, false}) == "300");
    check(first_pixel(s, {9, true}), "stream holds 300 in column 0, row 0; BitsStored (0028,0101) = 9, signed.");
    check(first_pixel(s, {8, false}), "stream holds 300 in column 0, row 0; BitsStored (0028,0101) = 8, unsigned.");
    check(first_pixel(s, {1, false}), "BitsStored (0028,0101) = 1, unsigned.");
    check(first_pixel(s, {8, false, 8}), "stream holds");   // in cells of one byte
  }
  for (const Stream& s : {kBelowZero[0], kBelowZero[1], kBelowZero[2]}) {
    check(first_pixel(s, {7, true}), "stream holds -100 in column 0, row 0; BitsStored (0028,0101) = 7, signed.");
    check(first_pixel(s, {12, false}), text("stream holds ", s.syntax == kJpeg2000.syntax ? "-100" : "65436", " in column 0"));
  }
  check(first_pixel(kBelowZero[3], {11, false}), "stream holds 3996 in column 0");
  // 12 bits without a sign under a header of 16 with one: other readers disagree what that is
  check(first_pixel(kBelowZero[3], {16, true}), "holds 3996 in 12 unsigned bits, which may mean -100, in column 0, row 0;");
  CHECK(first_pixel(kBelowZero[3], {16, false}) == "3996");
}
