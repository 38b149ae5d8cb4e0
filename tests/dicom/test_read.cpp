// Series that are sound: whatever order, encoding and arithmetic they come in, voxels land where they belong.
#include <doctest/doctest.h>

#include <ctseg/io/volume.hpp>

#include "dicom_bytes.hpp"

using namespace ctseg;
using namespace dicom_test;

namespace {

/// Checks every voxel and corner of the test series.
template <class T> void check_series(const Volume<T>& v, Index slices) {
  REQUIRE(v.shape() == Xyz<Index>{kColumns, kRows, slices});
  for (Index z = 0; z < slices; ++z)
    for (Index i = 0; i < kColumns * kRows; ++i)
      REQUIRE(v(z, i / kColumns, i % kColumns) == static_cast<T>(stored(z, i) - 1024));
  const Point<Lps> p = to_lps(v.affine()(1, 2, 1));
  CHECK(p.x == doctest::Approx(-10 + 0.75));
  CHECK(p.y == doctest::Approx(-20 + 2 * 0.8));
  CHECK(p.z == doctest::Approx(kStep));
}
bool has_warning(const std::vector<std::string>& warnings, const std::string& words) {
  for (const auto& w : warnings)
    if (w.find(words) != std::string::npos) return true;
  return false;
}

}   // namespace

TEST_CASE("dicom: a series in every uncompressed encoding") {
  for (const std::string syntax : {"1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2"}) {
    const TempFolder folder;
    write_series(
        folder, 4, [](int, Elements&) {}, syntax);
    const auto read = io::read_dicom_series<float>(folder.path);
    check_series(read.volume, 4);
    CHECK(read.warnings.empty());
    CHECK(read.series.uid == "1.2.10");
    CHECK(read.series.description == "Test body");
    CHECK(read.series.images == 4);
    REQUIRE(read.series.files.size() == 4);
    CHECK(read.series.files[3].filename() == "k3");                               // in the order of the slices
    check_series(io::read_dicom_series<std::int16_t>(folder / "a0").volume, 4);   // a file stands for its series
  }
}

TEST_CASE("dicom: read_volume with a reader, and threads") {
  const TempFolder folder;
  write_series(folder, 9);
  check_series(io::read_volume<float>(folder.path, io::dicom::reader()), 9);
  ThreadPool pool(3);
  check_series(io::read_volume<float>(folder.path, io::dicom::reader({.executor = &pool})), 9);
  CHECK(error_of([&] { io::read_volume<float>(folder / "no.xyz", io::dicom::reader()); }).find("no.xyz") != std::string::npos);
}

TEST_CASE("dicom: files without preamble or transfer syntax") {
  const TempFolder folder;
  for (int z = 0; z < 3; ++z) spill(folder / text(z), encode(ct_slice(z), {z == 1, false}));
  const auto read = io::read_dicom_series<float>(folder.path);
  check_series(read.volume, 3);
  CHECK(has_warning(read.warnings, "guessed"));
}

TEST_CASE("dicom: order comes from positions, whatever the direction") {
  const TempFolder folder;
  write_series(folder, 4, [](int z, Elements& e) {
    e[0x00200032] = ds("-10\\-20\\" + text(-kStep * z));
    e[0x00200037] = ds("-1\\0\\0\\0\\1\\0");   // the normal points down: slice 0 stays the first
    e[0x00200013] = {"IS", text(99 - z)};
  });
  const auto v = io::read_dicom_series<float>(folder.path).volume;
  for (Index z = 0; z < 4; ++z) CHECK(v(z, 0, 0) == static_cast<float>(stored(z, 0) - 1024));
  const Point<Lps> p = to_lps(v.affine()(1, 0, 3));
  CHECK(p.x == doctest::Approx(-10.75));
  CHECK(p.z == doctest::Approx(-3 * kStep));
}

TEST_CASE("dicom: bits, signs, slopes and padding") {
  const TempFolder folder;
  SUBCASE("12 bits below bit 14, unsigned") {
    write_series(folder, 2, [](int z, Elements& e) {
      std::vector<int> cells;
      for (Index i = 0; i < kColumns * kRows; ++i) cells.push_back(0x8001 | stored(z, i) << 2);   // bits outside are noise
      e[0x7fe00010] = words(cells);
      e[0x00280101] = us(12), e[0x00280102] = us(13), e[0x00280103] = us(0);
    });
    check_series(io::read_dicom_series<float>(folder.path).volume, 2);
  }
  SUBCASE("12 bits signed, values below zero") {
    write_series(folder, 2, [](int z, Elements& e) {
      std::vector<int> cells;
      for (Index i = 0; i < kColumns * kRows; ++i) cells.push_back((stored(z, i) - 1024) & 0xfff);
      e[0x7fe00010] = words(cells);
      e[0x00280101] = us(12), e[0x00280102] = us(11), e[0x00281052] = ds("0");
    });
    check_series(io::read_dicom_series<float>(folder.path).volume, 2);
  }
  SUBCASE("8 bits") {
    write_series(folder, 2, [](int z, Elements& e) {
      std::string bytes;
      for (Index i = 0; i < kColumns * kRows; ++i) bytes += static_cast<char>(stored(z, i) & 0xff);
      e[0x7fe00010] = {"OB", bytes};
      e[0x00280100] = us(8), e[0x00280101] = us(8), e[0x00280102] = us(7), e[0x00280103] = us(0);
    });
    CHECK(io::read_dicom_series<float>(folder.path).volume(1, 4, 5) == static_cast<float>((stored(1, 29) & 0xff) - 1024));
  }
  SUBCASE("each slice has its own slope and intercept") {
    write_series(folder, 3,
                 [](int z, Elements& e) { e[0x00281053] = ds(z == 1 ? "0.5" : "+2.0e0"), e[0x00281052] = ds(text(-10 * z)); });
    const auto v = io::read_dicom_series<float>(folder.path).volume;
    CHECK(v(0, 0, 1) == 14.0f);
    CHECK(v(1, 0, 1) == 0.5f * 107 - 10);
    CHECK(v(2, 0, 1) == 2 * 207 - 20);
    CHECK(error_of([&] { io::read_dicom_series<std::int16_t>(folder.path); }).find("column 1, row 0 is 43.5 HU") !=
          std::string::npos);
  }
  SUBCASE("padding becomes air") {
    write_series(folder, 2, [](int, Elements& e) {
      e[0x00280120] = {"SS", number(100, 2)}, e[0x00280121] = {"SS", number(110, 2)};
    });
    const auto v = io::read_dicom_series<float>(folder.path).volume;
    CHECK(v(1, 0, 0) == -1024.0f);   // 100
    CHECK(v(1, 0, 1) == -1024.0f);   // 107
    CHECK(v(1, 0, 2) == 114.0f - 1024.0f);
  }
  SUBCASE("no slope at all") {
    write_series(folder, 2, [](int, Elements& e) { e.erase(0x00281052), e.erase(0x00281053); });
    const auto read = io::read_dicom_series<float>(folder.path);
    CHECK(read.volume(1, 0, 1) == 107.0f);
    CHECK(has_warning(read.warnings, "RescaleSlope (0028,1053) is missing"));
  }
}

TEST_CASE("dicom: several series in a folder") {
  const TempFolder folder;
  write_series(folder, 3);
  for (int z = 0; z < 2; ++z) {
    Elements e = ct_slice(z);
    e[0x0020000e] = {"UI", "1.2.77"}, e[0x0008103e] = {"LO", "Lung"};
    spill(folder / text("second", z), file_of(e));
  }
  const std::string error = error_of_reading(folder.path);
  for (const char* words : {"holds 2 series", "1.2.10: 3 images of 6 x 5, CT \"Test body\"", "1.2.77: 2 images", "series_uid"})
    CHECK(error.find(words) != std::string::npos);
  CHECK(io::read_dicom_series<float>(folder.path, {.series_uid = "1.2.77"}).volume.shape().z == 2);
  CHECK(error_of_reading(folder.path, {.series_uid = "1.2"}).find("has no series_uid = \"1.2\"") != std::string::npos);
  check_series(io::read_dicom_series<float>(folder / "a0").volume, 3);
  const auto list = io::list_dicom_series(folder.path);
  REQUIRE(list.size() == 2);
  CHECK(list[1].uid == "1.2.77");
  CHECK(list[1].shape == Xyz<Index>{6, 5, 2});
  CHECK(list[1].files.size() == 2);
  CHECK(list[1].problem.empty());
}

TEST_CASE("dicom: localizers, other files and subfolders") {
  const TempFolder folder;
  std::filesystem::create_directories(folder / "disk/CT 1");
  for (int z = 0; z < 3; ++z) spill(folder / text("disk/CT 1/", z), file_of(ct_slice(z)));
  Elements scout = ct_slice(0);
  scout[0x00080008] = {"CS", "ORIGINAL\\PRIMARY\\LOCALIZER"};
  scout[0x00200037] = ds("1\\0\\0\\0\\0\\-1");
  spill(folder / "disk/CT 1/scout", file_of(scout));
  spill(folder / "disk/readme.txt", "a scan of a cat");
  const Elements directory{{0x00041130, {"CS", "SET"}}};
  std::string dicomdir = file_of(directory);
  dicomdir.replace(dicomdir.find("1.2.840.10008.5.1.4.1.1.2"), 25, std::string("1.2.840.10008.1.3.10") + std::string(5, '\0'));
  spill(folder / "disk/DICOMDIR", dicomdir);
  for (const char* path : {"", "disk", "disk/DICOMDIR", "disk/CT 1/1"}) {
    const auto read = io::read_dicom_series<float>(folder / path);
    check_series(read.volume, 3);
    CHECK(has_warning(read.warnings, "left out 1 localizer"));
  }
}

TEST_CASE("dicom: the same image twice is dropped aloud, a different one at its place is an error") {
  const TempFolder folder;
  write_series(folder, 3);
  spill(folder / "copy", file_of(ct_slice(1), "1.2.840.10008.1.2.2"));   // in another encoding even
  std::vector<std::string> heard;
  const LogSink log{[](void* user, std::string_view line) { static_cast<std::vector<std::string>*>(user)->emplace_back(line); },
                    &heard};
  const auto read = io::read_dicom_series<float>(folder.path, {.log = log});
  check_series(read.volume, 3);
  CHECK(has_warning(read.warnings, "repeats"));
  CHECK(heard == read.warnings);
  Elements other = ct_slice(1);
  other[0x7fe00010].bytes[8] ^= 1;
  spill(folder / "copy", file_of(other));
  CHECK(error_of_reading(folder.path).find("are different images at one position (-10, -20, 2.5)") != std::string::npos);
  CHECK(io::read_dicom_series<float>(folder / "copy", {.single_file = true}).volume.shape().z == 1);
}

TEST_CASE("dicom: a tilted gantry shears the grid, and a single slice takes its thickness") {
  const TempFolder folder;
  SUBCASE("tilt") {
    write_series(folder, 4, [](int, Elements& e) { e[0x00200037] = ds("1\\0\\0\\0\\0.8\\-0.6"); });
    const auto read = io::read_dicom_series<float>(folder.path);
    CHECK(has_warning(read.warnings, "tilted by 36.8699 degrees"));
    const Point<Lps> p = to_lps(read.volume.affine()(0, 1, 2));
    CHECK(p.y == doctest::Approx(-20 + 0.8 * 0.8));
    CHECK(p.z == doctest::Approx(2 * kStep - 0.6 * 0.8));
    CHECK(read.volume.affine().voxel_mm3() == doctest::Approx(0.75 * 0.8 * kStep * 0.8));
  }
  SUBCASE("single") {
    write_series(folder, 1);
    const auto read = io::read_dicom_series<float>(folder.path);
    CHECK(read.volume(0, 4, 5) == static_cast<float>(stored(0, 29) - 1024));
    CHECK(read.volume.spacing_mm().z == doctest::Approx(9));
    CHECK(has_warning(read.warnings, "single slice"));
  }
}

TEST_CASE("dicom: an enhanced multi-frame object") {
  const TempFolder folder;
  for (const bool implicit : {false, true}) {
    const Encoding in{!implicit, false};
    Elements e = ct_slice(0);
    for (const std::uint32_t tag : {0x00200032u, 0x00200037u, 0x00280030u, 0x00281052u, 0x00281053u}) e.erase(tag);
    const auto macro = [&](std::uint32_t tag, const Elements& inner) {
      return encode({{tag, sequence({encode(inner, in)}, in)}}, in);
    };
    e[0x52009229] = sequence(
        {macro(0x00209116, {{0x00200037, ds("1\\0\\0\\0\\1\\0")}}) + macro(0x00289110, {{0x00280030, ds("0.8\\0.75")}}) +
         macro(0x00289145, {{0x00281052, ds("-1024")}, {0x00281053, ds("1")}})},
        in);
    std::vector<std::string> frames;
    std::vector<int> pixels;
    for (const int z : {2, 0, 1}) {
      frames.push_back(macro(0x00209113, {{0x00200032, ds("-10\\-20\\" + text(kStep * z))}}));
      for (Index i = 0; i < kColumns * kRows; ++i) pixels.push_back(stored(z, i));
    }
    e[0x52009230] = sequence(frames, in);
    e[0x00280008] = {"IS", "3"};
    e[0x7fe00010] = words(pixels);
    spill(folder / "enhanced", file_of(e, implicit ? "1.2.840.10008.1.2" : "1.2.840.10008.1.2.1"));
    check_series(io::read_dicom_series<float>(folder.path).volume, 3);
  }
}
