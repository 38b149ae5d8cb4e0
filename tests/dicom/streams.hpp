// The same small image in every compression that is read: 6 x 5 pixels, 300 + 7 i, 16 bits, signed. Made with DCMTK's dcmcjpeg,
// OpenJPEG's opj_compress, pydicom and pyjpegls.
#pragma once
#include "dicom_bytes.hpp"

namespace dicom_test {

struct Stream {
  const char* syntax;
  const char* hex;
  std::string bytes() const {
    std::string out;
    for (const char* at = hex; *at; at += 2) out += static_cast<char>(std::stoi(std::string(at, 2), nullptr, 16));
    return out;
  }
};

constexpr Stream kRle{
    "1.2.840.10008.1.2.5",
    "02000000400000004a00000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000"
    "000000000000000000fb01fb01fb01fb01fb01052c333a41484f05565d646b72790580878e959ca305aab1b8bfc6cd05d4dbe2e9f0f700"};
constexpr Stream kJpegSv1{
    "1.2.840.10008.1.2.4.70",
    "ffd8ffe000104a46494600010100000100010000ffc3000b100005000601011100ffc400160001010100000000000000000000000000"
    "03060fffda0008010100010000c04adddddea9ddddea9ddddea9ddddea9ddddfffd9"};
constexpr Stream kJpegLossless{
    "1.2.840.10008.1.2.4.57",
    "ffd8ffe000104a46494600010100000100010000ffc3000b100005000601011100ffc4001700010101010000000000000000000000"
    "000503060fffda0008010100060000e02577bdef7d52aaaaaabaa5555555754aaaaaaaea95555555ffffd9"};
constexpr Stream kJpegLs{
    "1.2.840.10008.1.2.4.80",
    "ffd8fff7000b100005000601011100fff8000d01ffff0012004301140040ffda000801010000000065781b02e0981e0b1520740c82a088"
    "1d1520d0482412064528282828282a50828282828200ffd900"};
constexpr Stream kJpeg2000{
    "1.2.840.10008.1.2.4.90",
    "ff4fff5100290000000000060000000500000000000000000000000600000005000000000000000000018f0101ff52000c0000000100"
    "0104040001ff5c00074080888890ff640025000143726561746564206279204f70656e4a5045472076657273696f6e20322e352e30ff"
    "90000a0000000000260001ff93c03f30c002337b1ccd936a08dcef005fc0007c2180158b7fffd9"};
constexpr Stream kStreams[] = {kRle, kJpegSv1, kJpegLossless, kJpegLs, kJpeg2000};
/// 8 bits, lossy: 0, 3 or 4 more each.
constexpr Stream kJpegBaseline{
    "1.2.840.10008.1.2.4.50",
    "ffd8ffe000104a46494600010100000100010000ffdb004300010101010101010101010101010101010101010101010101010101010101010101010101"
    "0101"
    "0101010101010101010101010101010101010101010101010101ffc0000b080005000601011100ffc40014000100000000000000000000000000000009"
    "ffc40020100000020b00000000000000000000000000010204060709142443455163ffda0008010100003f001ad8687cb94933a7b658e57da3dc7fffff"
    "d9"};

/// Slice 3 of the test series in one of them: its stored values are 300 + 7 i.
inline std::string compressed_file(const Stream& s, const std::vector<std::string>& fragments) {
  Elements e = ct_slice(3);
  e.erase(0x7fe00010);
  return file_of(e, s.syntax) + encapsulated(fragments);
}
inline std::string compressed_file(const Stream& s) { return compressed_file(s, {s.bytes()}); }

}   // namespace dicom_test
