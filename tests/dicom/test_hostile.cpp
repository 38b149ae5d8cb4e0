// Files made to cost: little on the disk, much in memory or time. Each ends in one sentence, or in the volume, at once.
#include <doctest/doctest.h>
#include <sys/resource.h>

#include <ctime>
#include <ctseg/io/volume.hpp>

#include "streams.hpp"

using namespace ctseg;
using namespace dicom_test;

namespace {

/// Processor time of what runs in a scope: other programs may be busy.
struct Seconds {
  std::clock_t start = std::clock();
  double passed() const { return static_cast<double>(std::clock() - start) / CLOCKS_PER_SEC; }
};

long peak_megabytes() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return usage.ru_maxrss / 1024;
}

/// The error of reading bytes as a file; what it costs is checked.
std::string error_of_bytes(const std::string& bytes, const io::DicomReadOptions& options = {}) {
  const TempFolder folder;
  spill(folder / "image", bytes);
  const long before = peak_megabytes();
  const Seconds seconds;
  const std::string error = error_of_reading(folder / "image", options);
  CHECK(seconds.passed() < 3);   // sanitizers included
  CHECK(peak_megabytes() - before < 400);
  return error;
}
void check(const std::string& error, const std::string& words) {
  INFO(error);
  CHECK(error.find(words) != std::string::npos);
}

/// An enhanced object without its pixels; `frame(i)` is the item of one frame.
template <class F> std::string enhanced(int frames, const std::string& syntax, const Elements& changes, F&& frame) {
  Elements e = ct_slice(0);
  for (const std::uint32_t tag : {0x7fe00010u, 0x00200032u}) e.erase(tag);
  for (const auto& [tag, value] : changes) e[tag] = value;
  e[0x00280008] = {"IS", text(frames)};
  std::vector<std::string> items;
  for (int i = 0; i < frames; ++i) items.push_back(frame(i));
  e[0x52009230] = sequence(items);
  return file_of(e, syntax);
}
std::string at_height(double mm) { return encode({{0x00209113, sequence({encode({{0x00200032, ds("0\\0\\" + text(mm))}})})}}); }

}   // namespace

TEST_CASE("dicom hostile: a small compressed file asks for all memory") {
  const Elements huge{{0x00280010, us(8192)}, {0x00280011, us(8192)}};
  for (const Stream& s : kStreams) {
    INFO(std::string(s.syntax));
    const std::string file = enhanced(60, s.syntax, huge, [](int i) { return at_height(i); }) +
                             encapsulated(std::vector<std::string>(60, s.bytes()));
    const std::string error = error_of_bytes(file);
    check(error, "which take 16106127360 bytes, ");
    check(error, "the limit is DicomReadOptions::max_expansion = 1000. Hint: raise it if you trust the files.");
    check(error_of_bytes(file, {.max_bytes = Index{1} << 30}), "the limit is DicomReadOptions::max_bytes = 1073741824.");
    // who trusts the file gets to its pixels, before the volume takes memory
    check(error_of_bytes(file, {.max_expansion = Index{1} << 40}), "stream ");
  }
  const std::string same = enhanced(60, kJpegLs.syntax, huge, [](int) { return at_height(1); }) +
                           encapsulated(std::vector<std::string>(60, kJpegLs.bytes()));
  check(error_of_bytes(same), "the series has 119 compressed images of 8192 x 8192 pixels");
}

TEST_CASE("dicom hostile: a progressive image of many scans") {
  std::string stream = kJpegBaseline.bytes();
  stream.resize(stream.size() - 2);
  for (int i = 0; i < 200; ++i) stream += std::string("\xff\xda\0\x08\1\1\0\0\x3f\0", 10);
  const Elements narrow{{0x00280100, us(8)}, {0x00280101, us(8)}, {0x00280102, us(7)}};
  const std::string file = enhanced(1, "1.2.840.10008.1.2.4.55", narrow, [](int) { return at_height(1); });
  check(error_of_bytes(file + encapsulated({stream + "\xff\xd9"})), "stream has 201 scans; at most 100 are read.");
}

TEST_CASE("dicom hostile: a marker that would hold the decoder's scan of the header for ever") {
  const Elements narrow{{0x00280100, us(8)}, {0x00280101, us(8)}, {0x00280102, us(7)}};
  for (const char marker : {'\x01', '\xd0', '\xd8', '\xd9', '\x40', '\xf7'}) {
    std::string stream = kJpegBaseline.bytes();
    stream.insert(2, std::string{'\xff', marker, 0, 2});
    const std::string file = enhanced(1, kJpegBaseline.syntax, narrow, [](int) { return at_height(1); });
    check(
        error_of_bytes(file + encapsulated({stream})),
        text("stream has a marker of type ", int(static_cast<unsigned char>(marker)), " at byte 2, before its frame header."));
  }
}

TEST_CASE("dicom hostile: sequences of empty items") {
  const std::string kLittle = "1.2.840.10008.1.2.1";
  std::string bomb = preamble(kLittle) + encode(Elements{{0x00080060, {"CS", "CT"}}}) + head(0x00081140, "SQ", 0xffffffff, {});
  for (int i = 0; i < 1'000'000; ++i) bomb += head(0xfffee000, "", 0, {});
  check(error_of_bytes(bomb), "has more than 500000 elements, items and fragments, the most that are read.");
  std::string branching = preamble(kLittle) + encode(Elements{{0x00080060, {"CS", "CT"}}});
  std::string item = head(0xfffee000, "", 0, {});   // each level holds the one below twice: 2^15 items
  for (int depth = 0; depth < 15; ++depth) {
    const std::string inner = head(0x00081140, "SQ", 0xffffffff, {}) + item + item + head(0xfffee0dd, "", 0, {});
    item = head(0xfffee000, "", static_cast<std::uint32_t>(inner.size()), {}) + inner;
  }
  for (int i = 0; i < 8; ++i) branching += head(0x00081140, "SQ", 0xffffffff, {}) + item + head(0xfffee0dd, "", 0, {});
  check(error_of_bytes(branching), "has more than 500000 elements, items and fragments");
}

TEST_CASE("dicom hostile: many frames cost no more than their number") {
  const Elements tiny{{0x00280010, us(1)}, {0x00280011, us(1)}};
  constexpr int kFrames = 4000;
  const auto places = [](int i) { return at_height(0.5 * i); };
  std::string fragments = head(0x7fe00010, "OB", 0xffffffff, {}), stream;   // two fragments a frame, and a table
  const std::string rle = number(2, 4) + number(64, 4) + number(66, 4) + std::string(52, '\0') + std::string("\0\1\0\2", 4);
  fragments += head(0xfffee000, "", 4 * kFrames, {});
  for (int i = 0; i < kFrames; ++i) fragments += number(static_cast<std::uint64_t>(i) * (16 + rle.size()), 4);
  for (int i = 0; i < kFrames; ++i)
    fragments += head(0xfffee000, "", 60, {}) + rle.substr(0, 60) + head(0xfffee000, "", 8, {}) + rle.substr(60);
  fragments += head(0xfffee0dd, "", 0, {});
  CHECK(error_of_bytes(enhanced(kFrames, kRle.syntax, tiny, places) + fragments) == "");
  const std::string pixels = encode({{0x7fe00010, {"OW", std::string(2 * kFrames, '\1')}}}), native = "1.2.840.10008.1.2.1";
  // all at one place: each is compared with the first
  CHECK(error_of_bytes(enhanced(kFrames, native, tiny, [](int) { return at_height(1); }) + pixels) == "");
  // each on a grid of its own
  check(error_of_bytes(enhanced(kFrames, native, tiny,
                                [&](int i) {
                                  const double angle = 1e-3 * i;
                                  const std::string o = text(std::cos(angle)) + "\\" + text(std::sin(angle)) + "\\0\\0\\0\\1";
                                  return places(i) + encode({{0x00209116, sequence({encode({{0x00200037, ds(o)}})})}});
                                }) +
                       pixels),
        "the images of one series lie on more than 1000 grids");
}

TEST_CASE("dicom hostile: what every frame looks up lies among many elements, or is long") {
  constexpr int kFrames = 10'000;
  Elements crowd{{0x00280010, us(1)}, {0x00280011, us(1)}};
  for (std::uint32_t i = 0; i < 100'000; ++i) crowd[0x00091000 + i / 0xe000 * 0x20000 + i % 0xe000] = {"LO", ""};
  crowd[0x00089007] = {"UN", std::string(4'000'000, 'A')};   // FrameType
  const std::string pixels = encode({{0x7fe00010, {"OW", std::string(2 * kFrames, '\1')}}});
  CHECK(error_of_bytes(enhanced(kFrames, "1.2.840.10008.1.2.1", crowd, [](int i) { return at_height(0.5 * i); }) + pixels) ==
        "");
}

TEST_CASE("dicom: elements out of order, and one that is there twice") {
  const TempFolder folder;
  const Elements slice = ct_slice(0);
  std::string file = preamble("1.2.840.10008.1.2.1");
  for (auto at = slice.rbegin(); at != slice.rend(); ++at)
    if (at->first != 0x7fe00010) file += encode({*at});
  file += encode({{0x00281052, ds("7")}}) + encode({{0x7fe00010, slice.at(0x7fe00010)}});
  spill(folder / "image", file);
  CHECK(io::read_dicom_series<float>(folder.path).volume(0, 0, 1) == static_cast<float>(stored(0, 1) - 1024));
}

TEST_CASE("dicom: a place given beside one that the files say") {
  const TempFolder folder;
  write_series(folder, 2);
  const auto error = error_of(
      [&] { io::read_volume<float>(folder.path, io::dicom::reader(), {.affine = Affine<Ras>(Eigen::Matrix4d::Identity())}); });
  check(error, "says itself where its voxels are; ReadOptions::affine is for .npy files.");
}
