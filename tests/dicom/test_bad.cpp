// DICOM that is wrong, one file or folder per kind of damage: each gives one error that names file, field and value.
#include <doctest/doctest.h>

#include <ctime>

#include "dicom_bytes.hpp"

using namespace ctseg;
using namespace dicom_test;

namespace {

/// The error of a series of three in which slice 1 was changed.
template <class F> std::string error_with(F&& change) {
  const TempFolder folder;
  write_series(folder, 3, [&](int z, Elements& e) {
    if (z == 1) change(e);
  });
  return error_of_reading(folder.path);
}
/// The error of a folder with one file.
std::string error_of_bytes(const std::string& bytes) {
  const TempFolder folder;
  spill(folder / "image", bytes);
  const std::clock_t start = std::clock();   // of this process: other programs may be busy
  const std::string error = error_of_reading(folder / "image");
  CHECK(std::clock() - start < CLOCKS_PER_SEC);
  return error;
}
void check(const std::string& error, const std::string& words) {
  INFO(error);
  CHECK(error.find(words) != std::string::npos);
}
const std::string kLittle = "1.2.840.10008.1.2.1";

}   // namespace

TEST_CASE("dicom bad: fields that are missing") {
  const std::pair<std::uint32_t, const char*> fields[] = {{0x00280010, "Rows (0028,0010)"},
                                                          {0x00280011, "Columns (0028,0011)"},
                                                          {0x00280030, "PixelSpacing (0028,0030)"},
                                                          {0x00280100, "BitsAllocated (0028,0100)"},
                                                          {0x00280103, "PixelRepresentation (0028,0103)"},
                                                          {0x00200032, "ImagePositionPatient (0020,0032)"},
                                                          {0x00200037, "ImageOrientationPatient (0020,0037)"},
                                                          {0x7fe00010, "PixelData (7FE0,0010)"}};
  for (const auto& [tag, name] : fields) {
    const std::uint32_t t = tag;
    check(error_with([&](Elements& e) { e.erase(t); }), std::string("h1: ") + name + " is missing");
    if (t != 0x7fe00010) check(error_with([&](Elements& e) { e[t].bytes.clear(); }), std::string(name) + " is missing");
  }
}

TEST_CASE("dicom bad: fields that make no sense") {
  const auto with = [](std::uint32_t tag, const Value& value) { return error_with([&](Elements& e) { e[tag] = value; }); };
  for (const int bits : {1, 12, 32, 0, 64})
    check(with(0x00280100, us(bits)), text("BitsAllocated (0028,0100) = ", bits, "; must be 8 or 16."));
  check(with(0x00280100, us(8)), "BitsStored (0028,0101) = 16; must be 1 to BitsAllocated = 8.");
  check(with(0x00280101, us(0)), "BitsStored (0028,0101) = 0");
  check(with(0x00280101, us(17)), "BitsStored (0028,0101) = 17; must be 1 to BitsAllocated = 16.");
  check(with(0x00280102, us(16)), "HighBit (0028,0102) = 16; must be 15 to 15.");
  check(with(0x00280102, us(3)), "HighBit (0028,0102) = 3");
  check(with(0x00280103, us(2)), "PixelRepresentation (0028,0103) = 2; must be 0 (unsigned) or 1 (signed).");
  check(with(0x00280010, us(0)), "Rows (0028,0010) = 0; must be 1 to 8192.");
  check(with(0x00280011, us(65535)), "Columns (0028,0011) = 65535; must be 1 to 8192.");
  check(with(0x00280002, us(3)), "with 3 sample(s) per pixel");
  for (const char* colours : {"RGB", "MONOCHROME1", "PALETTE COLOR"}) check(with(0x00280004, {"CS", colours}), colours);
  for (const char* spacing : {"0\\1", "-1\\1", "1\\nan", "1\\inf", "1", "1\\2\\3", "abc\\1", "101\\1", "1\\1e300", "1,0\\1"})
    check(with(0x00280030, ds(spacing)), "h1: PixelSpacing (0028,0030) = ");
  for (const char* place : {"1\\2", "1\\2\\x", "1\\2\\nan", "1e9\\0\\0", "\\\\"})
    check(with(0x00200032, ds(place)), "ImagePositionPatient");
  for (const char* o : {"0\\0\\0\\0\\1\\0", "1\\0\\0\\1\\0\\0", "2\\0\\0\\0\\1\\0", "1\\0\\0\\0\\1"})
    check(with(0x00200037, ds(o)), "ImageOrientationPatient");
  check(with(0x00281053, ds("0")), "RescaleSlope (0028,1053) = 0; must not be 0");
  check(with(0x00281053, ds("one")), "RescaleSlope (0028,1053) = \"one\"; must be 1 number.");
  check(with(0x00281052, ds("-1e7")), "RescaleIntercept (0028,1052) = -1e+07");
  check(with(0x00280008, {"IS", "0"}), "NumberOfFrames (0028,0008) = 0; must be 1 to 65535.");
  check(with(0x00280008, {"IS", "2"}), "PixelData (7FE0,0010) has 60 bytes; 2 x 5 x 6 pixels of 16 bits take 120.");
  check(error_with([](Elements& e) { e[0x7fe00010].bytes.resize(58); }), "has 58 bytes; 1 x 5 x 6 pixels of 16 bits take 60.");
  check(error_with([](Elements& e) { e[0x7fe00010].bytes += "1234"; }), "has 64 bytes; 1 x 5 x 6 pixels of 16 bits take 60.");
  check(error_with([](Elements& e) {
          e[0x00280008] = {"IS", "2"};
          e[0x7fe00010].bytes += e[0x7fe00010].bytes;
        }),
        "NumberOfFrames (0028,0008) = 2 with 0 items of PerFrameFunctionalGroupsSequence (5200,9230)");
  check(error_with([](Elements& e) {
          e.erase(0x00281053), e.erase(0x00281052);
          e[0x00283000] = sequence({});
        }),
        "ModalityLUTSequence (0028,3000)");
}

TEST_CASE("dicom bad: slices that make no volume") {
  const auto positions = [](const std::vector<std::string>& at) {
    const TempFolder folder;
    write_series(folder, static_cast<int>(at.size()),
                 [&](int z, Elements& e) { e[0x00200032] = ds(at[static_cast<std::size_t>(z)]); });
    return error_of_reading(folder.path);
  };
  CHECK(positions({"0\\0\\0", "0\\0\\2", "0\\0\\4", "0\\0\\6"}) == "");
  check(positions({"0\\0\\0", "0\\0\\2", "0\\0\\6", "0\\0\\8"}),
        "h1: the slice at 2 mm along the normal is followed by d2 at 6 mm; that is 4 mm, elsewhere it is 2 mm: about 1 slices");
  check(positions({"0\\0\\0", "0\\0\\2", "0\\0\\4.05", "0\\0\\6.05"}), "that is 2.05 mm, elsewhere it is 2 mm.");
  check(positions({"0\\0\\0", "0\\0\\2", "1\\0\\4", "0\\0\\6"}), "d2: ImagePositionPatient (0020,0032) lies 1");
  check(positions({"0\\0\\0", "0\\0\\2", "5\\0\\2"}), "h1: lies beside d2 at the same height, 5 mm away");
  check(positions({"0\\0\\0", "0\\0\\2", "0\\0\\2"}), "are different images at one position");
  std::vector<std::string> drifting;   // each step is fine, the sum is not
  for (int z = 0; z < 60; ++z) drifting.push_back("0\\0\\" + text(z < 30 ? 2.0 * z : 60 + 2.019 * (z - 30)));
  check(positions(drifting), "evenly spaced on one line");
}

TEST_CASE("dicom bad: images that do not share a grid") {
  const TempFolder folder;
  write_series(folder, 4, [](int z, Elements& e) {
    if (z == 3) e[0x00280030] = ds("0.8\\0.7502");
  });
  const std::string error = error_of_reading(folder.path);
  check(error, "holds 2 stacks of images in one series");
  check(error, "3 images of 6 x 5");
  check(error, "1.2.10, stack 1: 1 image of 6 x 5");
  check(error, "DicomReadOptions::stack");
  const int stack = io::list_dicom_series(folder.path)[0].images == 3 ? 0 : 1;
  CHECK(io::read_dicom_series<float>(folder.path, {.stack = stack}).volume.shape().z == 3);
  for (const auto& [tag, value] :
       {std::pair(0x00200052u, Value{"UI", "1.2.12"}), std::pair(0x00200037u, ds("1\\0.0002\\0\\-0.0002\\1\\0"))})
    check(error_with([&, t = tag, v = value](Elements& e) { e[t] = v; }), "holds 2 stacks");
  check(error_with([](Elements& e) { e[0x0020000e] = {"UI", "1.2.99"}; }), "holds 2 series");
}

TEST_CASE("dicom bad: nothing to read") {
  const TempFolder folder;
  check(error_of_reading(folder.path), "holds no DICOM image, nor do its subfolders.");
  check(error_of_reading(folder / "absent"), "cannot open");
  check(error_of_reading("/dev/zero"), "is not a regular file");
  spill(folder / "empty", "");
  check(error_of_reading(folder / "empty"), "is not a DICOM file");
  check(error_of_reading(folder.path), "holds no DICOM image");
  write_series(folder, 1, [](int, Elements& e) { e[0x00080008] = {"CS", "A\\B\\LOCALIZER"}; });
  check(error_of_reading(folder.path), "holds only localizers (1).");
  std::filesystem::remove(folder / "a0");
  write_series(folder, 1, [](int, Elements& e) { e.erase(0x00180050); });
  check(error_of_reading(folder.path), "is a single slice without a usable SliceThickness (0018,0050)");
  write_series(folder, 30);
  check(error_of_reading(folder.path, {.max_bytes = 3000}), "has 6 x 5 x 30 voxels, which take 3600 bytes; the limit is");
  check(error_of_reading(folder.path, {.max_bytes = 300}), "holds more than 300 bytes");
}

TEST_CASE("dicom bad: what lies beside a series") {
  const TempFolder folder;
  write_series(folder, 3);
  spill(folder / "rest", "abc");
  const auto read = io::read_dicom_series<float>(folder.path);
  REQUIRE(read.warnings.size() == 1);
  check(read.warnings[0], "rest: is too short for a DICOM file");
  spill(folder / "rest", preamble(kLittle) + "\x08");   // its series is unknown
  check(error_of_reading(folder.path), "rest: ends inside the head of an element at byte");
  const auto named = io::read_dicom_series<float>(folder / "a0");
  REQUIRE(named.warnings.size() == 1);
  check(named.warnings[0], "rest: ends inside the head");
  Elements other = ct_slice(0);
  other[0x0020000e] = {"UI", "1.2.99"}, other[0x00280004] = {"CS", "RGB"};
  spill(folder / "rest", file_of(other));
  CHECK(io::read_dicom_series<float>(folder / "a0").warnings.empty());
  check(error_of_reading(folder.path), "1.2.99: cannot be read: ");
  check(io::list_dicom_series(folder.path)[1].problem, "PhotometricInterpretation");
}

TEST_CASE("dicom bad: structure") {
  Elements e = ct_slice(0);
  e.erase(0x7fe00010);
  const std::string head_only = file_of(e), pixels = encode({{0x7fe00010, ct_slice(0)[0x7fe00010]}});
  const auto undefined = [](std::uint32_t tag) { return head(tag, "SQ", 0xffffffff, {}); };
  const std::string item = head(0xfffee000, "", 0xffffffff, {}), item_end = head(0xfffee00d, "", 0, {}),
                    sequence_end = head(0xfffee0dd, "", 0, {});
  const Elements beginning{{0x00080060, {"CS", "CT"}}};
  const std::string start = preamble(kLittle) + encode(beginning);
  CHECK(error_of_bytes(head_only + undefined(0x52009999) + item + item_end + sequence_end + pixels) == "");
  const std::string implicit = encode({{0x00080060, {"CS", "CT"}}}, {false, false});   // inside UN, so says the standard
  const std::string unknown = head(0x52009999, "UN", 0xffffffff, {}) + item + implicit + item_end + sequence_end;
  CHECK(error_of_bytes(head_only + unknown + pixels) == "");
  check(error_of_bytes(start + undefined(0x00081140) + item),
        "an item of sequence (0008,1140) of undefined length is never closed");
  check(error_of_bytes(start + undefined(0x00081140) + item + item_end),
        "sequence (0008,1140) of undefined length is never closed");
  check(error_of_bytes(start + undefined(0x00081140) + item_end), "has (FFFE,E00D) at byte");
  check(error_of_bytes(start + item_end), "delimiter (FFFE,E00D) at byte");
  check(error_of_bytes(start + undefined(0x00081140) + head(0xfffee000, "", 1000, {})), "has 1000 bytes, and 0 are left");
  check(error_of_bytes(start + head(0x00100010, "PN", 40, {}) + "A"), "element (0010,0010) at byte");
  check(error_of_bytes(start + std::string(64, '\0')), "element (0000,0000) at byte");
  check(error_of_bytes(head_only + head(0x7fe00010, "OW", 0xffffffff, {})),
        "PixelData (7FE0,0010) of undefined length is never closed");
  check(error_of_bytes(head_only + head(0x7fe00010, "OW", 0xfffffff0, {})), "has 4294967280 bytes, and 0 are left");
  std::string deep = start;
  for (int i = 0; i < 200'000; ++i) deep += undefined(0x00081140) + item;
  check(error_of_bytes(deep), "sequences are nested more than 32 deep");
  std::string many = start;
  for (int i = 0; i < 500'001; ++i) many += std::string("\x10\0\x10\0LO\0\0", 8);
  check(error_of_bytes(many), "has more than 500000 elements");
  check(error_of_bytes(preamble("1.2.840.10008.1.2.1.99") + "no deflate"), "the deflated data set is damaged or truncated");
  check(error_of_bytes(preamble("1.2.840.10008.1.2.4.100") + encode(e) + pixels),
        "1.2.840.10008.1.2.4.100; this compression is not read");
}
