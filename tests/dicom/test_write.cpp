// Masks to DICOM and back: every voxel returns, every contour fills up to the pixels it was drawn around.
#include <doctest/doctest.h>

#include <ctseg/core/random.hpp>
#include <ctseg/io/dicom_mask.hpp>

#include "../../dicom/contours.hpp"
#include "dicom_bytes.hpp"

using namespace ctseg;
using namespace dicom_test;

namespace {

/// A series of four slices in a folder, and what can be written of it.
struct Fixture {
  TempFolder folder;
  io::DicomVolume<float> ct;
  io::DicomWriteOptions options;

  Fixture() : ct(read(folder)) {
    options = {
        .source = ct.series,
        .segments = {{.label = 7, .name = "Liver", .type = {"10200004", "SCT", "Liver"}}, {.label = 2, .name = "Lesion"}},
        .date = "20260101",
        .time = "120000"};
  }
  static io::DicomVolume<float> read(const TempFolder& folder) {
    write_series(folder, 4, [](int, Elements& e) { e[0x00100010] = {"PN", "Doe^Jane"}; });
    return io::read_dicom_series<float>(folder.path);
  }
  Volume<std::uint8_t> mask(std::uint64_t seed) const {
    Volume<std::uint8_t> m(ct.volume.grid());
    RandomStream random({.seed = seed});
    const std::uint8_t labels[] = {0, 7, 2, 9};   // 9 is not named: not written
    for (auto& v : m.voxels()) v = labels[random.below(4)];
    return m;
  }
};

}   // namespace

TEST_CASE("dicom write: SEG gives every voxel back") {
  const Fixture f;
  const Volume<std::uint8_t> mask = f.mask(1);
  const TempFolder out;
  io::write_dicom_seg(out / "mask.dcm", mask, f.options);
  const auto read = io::read_dicom_seg(out / "mask.dcm", f.ct.volume.grid());
  for (std::size_t i = 0; i < mask.voxels().size(); ++i) {
    const int expected = mask.voxels()[i] == 7 ? 1 : mask.voxels()[i] == 2 ? 2 : 0;
    REQUIRE(read.mask.voxels()[i] == expected);
  }
  REQUIRE(read.segments.size() == 2);
  CHECK(read.segments[0] == std::pair(1, std::string("Liver")));
  CHECK(read.segments[1] == std::pair(2, std::string("Lesion")));

  const std::string bytes = slurp(out / "mask.dcm");
  for (const char* words : {"Doe^Jane", "1.2.11", "1.2.10", "1.2.3.4", "10200004", "20260101", "BINARY"})
    CHECK(bytes.find(words) != std::string::npos);
  io::write_dicom_seg(out / "again.dcm", mask, f.options);
  CHECK(slurp(out / "again.dcm") == bytes);
  io::write_dicom_seg(out / "other.dcm", f.mask(2), f.options);
  CHECK(slurp(out / "other.dcm") != bytes);
  CHECK(error_of_reading(out / "mask.dcm").find("holds no scan, its Modality (0008,0060) is \"SEG\"") != std::string::npos);
}

TEST_CASE("dicom write: a SEG with two frames only lands on its slices") {
  const Fixture f;
  Volume<std::uint8_t> mask(f.ct.volume.grid());
  mask(3, 4, 5) = mask(1, 0, 0) = 2;
  const TempFolder out;
  io::write_dicom_seg(out / "mask.dcm", mask, f.options);
  const auto read = io::read_dicom_seg(out / "mask.dcm", f.ct.volume.grid());
  CHECK(read.mask.voxels() == mask.voxels());   // label 2 is segment 2 as well
  Grid moved = f.ct.volume.grid();
  moved.affine.matrix(2, 3) += 0.5 * kStep;
  CHECK(error_of([&] { io::read_dicom_seg(out / "mask.dcm", moved); }).find("must lie on one of its slices") !=
        std::string::npos);
  moved.shape.x = 7;
  CHECK(error_of([&] { io::read_dicom_seg(out / "mask.dcm", moved); }).find("has frames of 6 x 5 pixels") != std::string::npos);
  const std::string bytes = slurp(out / "mask.dcm");
  for (std::size_t length = 0; length < bytes.size(); ++length) {
    spill(out / "cut.dcm", bytes.substr(0, length));
    REQUIRE(error_of([&] { io::read_dicom_seg(out / "cut.dcm", f.ct.volume.grid()); }) != "");
  }
}

TEST_CASE("dicom write: RTSTRUCT has the corners of a voxel in millimetres") {
  const Fixture f;
  Volume<std::uint8_t> mask(f.ct.volume.grid());
  mask(1, 2, 3) = 7;
  const TempFolder out;
  io::write_dicom_rtstruct(out / "plan.dcm", mask, f.options);
  const std::string bytes = slurp(out / "plan.dcm");
  for (const char* words : {"CLOSED_PLANAR", "-8.125\\-18.8\\2.5\\-7.375\\-18.8\\2.5\\-7.375\\-18\\2.5\\-8.125\\-18\\2.5",
                            "Liver", "RTSTRUCT", "1.2.11", "1.2.3.2", "Doe^Jane"})
    CHECK(bytes.find(words) != std::string::npos);
  CHECK(error_of_reading(out / "plan.dcm").find("RTSTRUCT") != std::string::npos);
}

TEST_CASE("dicom write: contours fill up to their pixels by the even-odd rule") {
  RandomStream random({.seed = 3});
  for (int round = 0; round < 300; ++round) {
    const Index columns = 1 + random.below(9), rows = 1 + random.below(9);
    std::vector<std::uint8_t> slice(static_cast<std::size_t>(columns * rows));
    for (auto& v : slice) v = random.below(5) < round % 5 ? 3 : 0;
    std::vector<int> crossings(slice.size());   // edges to the left of each pixel's centre
    for (const auto& contour : io::dicom::contours_of(slice, columns, 3)) {
      REQUIRE(contour.size() >= 4);
      for (std::size_t i = 0; i < contour.size(); ++i) {
        const auto a = contour[i], b = contour[(i + 1) % contour.size()];
        REQUIRE((a.x == b.x) != (a.y == b.y));
        for (int y = std::min(a.y, b.y); y < std::max(a.y, b.y); ++y)
          for (Index x = a.x; x < columns; ++x) ++crossings[static_cast<std::size_t>(y * columns + x)];
      }
    }
    for (std::size_t i = 0; i < slice.size(); ++i) REQUIRE(crossings[i] % 2 == (slice[i] == 3));
  }
}

TEST_CASE("dicom write: what cannot be written") {
  const Fixture f;
  const TempFolder out;
  const auto error = [&](const Volume<std::uint8_t>& mask, const io::DicomWriteOptions& options) {
    const std::string a = error_of([&] { io::write_dicom_seg(out / "x.dcm", mask, options); });
    CHECK(error_of([&] { io::write_dicom_rtstruct(out / "x.dcm", mask, options); }) == a);
    CHECK(!std::filesystem::exists(out / "x.dcm"));
    return a;
  };
  const auto mask = f.mask(1);
  const auto with = [&](auto&& change) {
    io::DicomWriteOptions o = f.options;
    change(o);
    return error(mask, o);
  };
  CHECK(error(Volume<std::uint8_t>(f.ct.volume.grid()), f.options).find("no voxel of any segment") != std::string::npos);
  Grid moved = f.ct.volume.grid();
  moved.affine.matrix(0, 3) += 1;
  CHECK(error(Volume<std::uint8_t>(moved, std::uint8_t{7}), f.options).find("is not on the grid of its source series") !=
        std::string::npos);
  CHECK(with([](auto& o) { o.source.files.clear(); }).find("names no files") != std::string::npos);
  CHECK(with([](auto& o) { o.source.files.pop_back(); }).find("is not on the grid") != std::string::npos);
  CHECK(with([](auto& o) { o.segments.clear(); }).find("there are 0 segments") != std::string::npos);
  CHECK(with([](auto& o) { o.segments[1].label = 7; }).find("labels are 1 to 255, each once") != std::string::npos);
  CHECK(with([](auto& o) { o.segments[0].label = 0; }).find("has label 0") != std::string::npos);
  CHECK(with([](auto& o) { o.segments[0].name = "a\\b"; }).find("segment name = \"a\\b\"") != std::string::npos);
  CHECK(error_of([&] { io::write_dicom_seg(out / "no/x.dcm", mask, f.options); }).find("cannot create") != std::string::npos);
}
