// NIfTI: what is written comes back, placement bit for bit; every datatype, byte order and version; real files.
#include <Eigen/Geometry>

#include <doctest/doctest.h>
#include <ctseg/image/orientation.hpp>
#include <ctseg/io/volume.hpp>

#include "temp_folder.hpp"
#include "volumes.hpp"

using namespace ctseg;

namespace {

TEST_CASE_TEMPLATE("volumes survive .nii and .nii.gz", T, std::uint8_t, std::uint16_t, std::int16_t, std::int32_t, std::int64_t,
                   float, double) {
  const TempFolder folder;
  const Volume<T> v = ramp<T>({7, 5, 3});
  for (const char* name : {"a.nii", "a.nii.gz"}) {
    io::write_nifti(folder / name, v);
    Log log;
    const Volume<T> back = io::read_volume<T>(folder / name, {.log = log.sink()});
    CHECK(back.voxels() == v.voxels());
    CHECK(same_grid(back.grid(), v.grid()));
    CHECK(log.lines.empty());
    CHECK(back.grid().nifti->qform_code == 1);
    CHECK(back.grid().nifti->sform_code == 1);
    CHECK(io::read_nifti<float>(folder / name)(2, 4, 6) == static_cast<float>(v(2, 4, 6)));
  }
}

TEST_CASE("a mask on a file's grid carries the file's placement bit for bit") {
  const TempFolder folder;
  Volume<std::int16_t> ct = ramp<std::int16_t>({4, 4, 4});
  NiftiPlacement p = io::nifti::placement_of(ct.grid());
  p.qform_code = 2, p.sform_code = 4, p.xyzt_units = 10;
  p.pixdim[4] = 2.5, p.qoffset[0] = static_cast<double>(1.1f);
  io::write_nifti(folder / "ct.nii.gz", Volume<std::int16_t>(Grid{ct.shape(), ct.affine(), p}, ct.voxels()));
  const auto read = io::read_nifti<float>(folder / "ct.nii.gz");
  CHECK(*read.grid().nifti == p);
  io::write_nifti(folder / "mask.nii", Volume<std::uint8_t>(read.grid(), 1));
  const std::string a = slurp(folder / "mask.nii");
  io::write_nifti(folder / "ct.nii", Volume<std::int16_t>(read.grid(), 1));
  const std::string b = slurp(folder / "ct.nii");
  CHECK(a.substr(76, 32) == b.substr(76, 32));     // pixdim
  CHECK(a.substr(252, 76) == b.substr(252, 76));   // codes, quaternion, offsets, rows
  CHECK(io::read_nifti<std::uint8_t>(folder / "mask.nii").affine() == read.affine());
}

TEST_CASE("NIfTI-2 where NIfTI-1 cannot hold the extents or the placement") {
  const TempFolder folder;
  const Volume<std::uint8_t> longer(Grid{{40000, 1, 1}, Affine<Ras>(Eigen::Matrix4d::Identity())}, 3);
  io::write_nifti(folder / "a.nii.gz", longer);
  CHECK(io::read_nifti<std::uint8_t>(folder / "a.nii.gz").shape() == longer.shape());
  Volume<std::uint8_t> v = ramp<std::uint8_t>({3, 3, 3});
  NiftiPlacement p = io::nifti::placement_of(v.grid());
  p.srow[3] += 1e-9;   // not a float
  io::write_nifti(folder / "b.nii", Volume<std::uint8_t>(Grid{v.shape(), v.affine(), p}, v.voxels()));
  CHECK(slurp(folder / "b.nii").substr(0, 4) == std::string("\x1c\x02\0\0", 4));
  CHECK(*io::read_nifti<std::uint8_t>(folder / "b.nii").grid().nifti == p);
}

TEST_CASE("a sheared grid gets no qform, keeps its shear and is named in the log") {
  const TempFolder folder;
  Eigen::Matrix4d m = Eigen::Matrix4d::Identity();
  m(1, 2) = 0.3;
  io::write_nifti(folder / "a.nii", Volume<float>(Grid{{3, 4, 5}, Affine<Ras>(m)}));
  Log log;
  const auto back = io::read_nifti<float>(folder / "a.nii", {.log = log.sink()});
  CHECK(back.grid().nifti->qform_code == 0);
  CHECK(same_grid(back.grid(), {{3, 4, 5}, Affine<Ras>(m)}));
  CHECK(log.lines.find("sheared") != std::string::npos);
}

TEST_CASE("scaling, and labels that are not exact") {
  const TempFolder folder;
  io::write_nifti(folder / "a.nii", ramp<std::int16_t>({4, 1, 1}));
  std::string bytes = slurp(folder / "a.nii");
  const float scale[2] = {0.5f, -1000};
  bytes.replace(112, 8, reinterpret_cast<const char*>(scale), 8);
  spill(folder / "a.nii", bytes);
  CHECK(io::read_nifti<float>(folder / "a.nii").voxels() == std::vector<float>{-1000, -999.5f, -999, -998.5f});
  CHECK(error_of([&] { io::read_nifti<std::int16_t>(folder / "a.nii"); }).find("voxel (1, 0, 0) = -999.5") !=
        std::string::npos);
  CHECK_THROWS_AS(io::read_nifti<std::uint8_t>(folder / "a.nii"), Error);
  Volume<float> labels = ramp<float>({4, 1, 1});
  for (const float odd :
       {255.5f, 256.f, -1.f, std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
    labels(0, 0, 3) = odd;
    io::write_nifti(folder / "b.nii", labels);
    CHECK(error_of([&] { io::read_nifti<std::uint8_t>(folder / "b.nii"); }).find("voxel (3, 0, 0)") != std::string::npos);
  }
  labels(0, 0, 3) = 255;
  io::write_nifti(folder / "b.nii", labels);
  CHECK(io::read_nifti<std::uint8_t>(folder / "b.nii")(0, 0, 3) == 255);
}

std::filesystem::path data(const std::string& name) {
  const char* folder = std::getenv("CTSEG_TEST_DATA");
  REQUIRE(folder);   // the main of the tests leaves "real: ..." cases out where it is not set
  return std::filesystem::path(folder) / name;
}

TEST_CASE("real: twelve storage orders of one image agree in the world") {
  const Volume<float> reference = io::read_volume<float>(data("nifti_odd/niivue_orientations/RAS.nii.gz"));
  int files = 0;
  for (const char* codes : {"ARS", "ASR", "IRA", "LAS", "LPI", "LPS", "PIR", "RAI", "RAS", "RPS", "SLP", "SPL"}) {
    const auto v = io::read_volume<float>(data(text("nifti_odd/niivue_orientations/", codes, ".nii.gz")));
    CHECK(axis_codes(v.affine()) == codes);
    const auto turned = reorient(v, "RAS");
    CHECK(same_grid(turned.grid(), reference.grid()));
    CHECK(turned.voxels() == reference.voxels());
    ++files;
  }
  CHECK(files == 12);
}

TEST_CASE("real: big-endian, pairs, NIfTI-2, extensions and qform-only files read; the others say why not") {
  const auto odd = [](const char* name) { return io::read_volume<float>(data(text("nifti_odd/", name))); };
  CHECK(odd("nibabel/anatomical.nii").shape() == Xyz<Index>{33, 41, 25});
  CHECK(odd("nifti_reader_js/air.hdr.gz").voxels() == odd("nifti_reader_js/air2.img.gz").voxels());
  CHECK(odd("nifti_reader_js/big.nii.gz").voxels() == odd("nifti_reader_js/little.nii.gz").voxels());
  CHECK(odd("nifti_reader_js/with_extension.nii.gz").shape() == Xyz<Index>{161, 191, 151});
  CHECK(axis_codes(io::read_volume<float>(data("verse/sub-verse005_ct.nii.gz")).affine()) == "PIR");
  const auto refused = [&](const char* name, const char* field) {
    CHECK(error_of([&] { odd(name); }).find(field) != std::string::npos);
  };
  refused("nibabel/analyze.hdr", "magic");
  refused("nibabel/functional.nii", "dim[4] = 20");
  refused("nibabel/nifti1.hdr", "no .img file");
  refused("nibabel/nifti2.hdr", "no .img file");
  refused("nibabel/row_major.dconn.nii", "dim[5] = 10");
  refused("nifti_reader_js/not-nifti.nii", "sizeof_hdr");
}

TEST_CASE("real: a CT and its labels are on one grid, and a written mask has the CT's bits") {
  const TempFolder folder;
  const auto ct = io::read_volume<float>(data("totalseg_ct/example_ct.nii.gz"));
  const auto labels = io::read_volume<std::uint8_t>(data("totalseg_ct/example_seg_fast_force_split.nii.gz"));
  CHECK(same_grid(ct.grid(), labels.grid()));
  CHECK(axis_codes(ct.affine()) == "RAS");
  for (const char* name : {"totalseg_ct/example_ct.nii.gz", "verse/sub-verse005_ct.nii.gz", "lung_tumour/lungpat1_ct.nii.gz"}) {
    const auto scan = io::read_volume<float>(data(name));
    io::write_nifti(folder / "mask.nii.gz", Volume<std::uint8_t>(scan.grid(), 1));
    const auto back = io::read_volume<std::uint8_t>(folder / "mask.nii.gz");
    CHECK(back.affine() == scan.affine());
    CHECK(*back.grid().nifti == *scan.grid().nifti);
  }
}

}   // namespace
