// Compressed pixels of DICOM: the input is the code stream; its first bytes choose the compression and what the header says.
#include "../dicom/streams.hpp"
#include "fuzz.hpp"

using namespace ctseg;
using namespace dicom_test;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  constexpr std::size_t kHead = 6;
  if (size < kHead) return 0;
  constexpr const char* kSyntaxes[] = {
      kRle.syntax,      kJpegSv1.syntax,          kJpegBaseline.syntax,     kJpegLs.syntax,
      kJpeg2000.syntax, "1.2.840.10008.1.2.4.51", "1.2.840.10008.1.2.4.53", "1.2.840.10008.1.2.4.55"};
  const int allocated = data[2] & 0x40 ? 8 : 16;
  Elements e = ct_slice(0);
  e.erase(0x7fe00010);
  e[0x00280010] = us(static_cast<int>(kRows) + data[3] % 64);
  e[0x00280011] = us(static_cast<int>(kColumns) + data[4] % 64);
  e[0x00280100] = us(allocated);
  e[0x00280101] = us(allocated - (data[1] & 7));
  e[0x00280102] = us(allocated - (data[1] >> 4 & 7) - 1);
  e[0x00280103] = us(data[2] & 1);
  const std::string stream(reinterpret_cast<const char*>(data) + kHead, size - kHead);
  const std::size_t first = data[5] < stream.size() ? data[5] : stream.size();   // in two pieces
  const std::string bytes =
      file_of(e, kSyntaxes[data[0] % std::size(kSyntaxes)]) + encapsulated({stream.substr(0, first), stream.substr(first)});
  fuzz::run([&] {
    const auto read = io::read_dicom_series<float>(fuzz::as_file("x.dcm", bytes.data(), bytes.size()), {.single_file = true});
    const int lowest = data[2] & 1 ? -(1 << (allocated - 1)) : 0;
    for (const float hu : read.volume.voxels()) fuzz::require(hu >= lowest - 1024 && hu <= 65535 - 1024);
  });
  return 0;
}
