// Real files: the same voxels and places as pydicom gives (tests/parity/make_dicom_expectations.py), or one clear refusal.
#include <doctest/doctest.h>
#include <zlib.h>

#include <cstdlib>
#include <ctseg/io/dicom_mask.hpp>
#include <ctseg/io/nifti.hpp>
#include <sstream>

#include "dicom_bytes.hpp"

using namespace ctseg;
namespace fs = std::filesystem;

namespace {

/// The folder of real data, or nothing with a message.
std::optional<fs::path> real_data() {
  const char* data = std::getenv("CTSEG_TEST_DATA");
  if (!data) MESSAGE("CTSEG_TEST_DATA is not set: skipped");
  return data ? std::optional<fs::path>(data) : std::nullopt;
}

struct Expected {
  std::string kind, crc, path;
  Xyz<Index> shape;
  Eigen::Matrix4d affine = Eigen::Matrix4d::Identity();
  double mean = 0, least = 0, most = 0;
};
std::vector<Expected> expectations() {
  std::ifstream in(std::string(CTSEG_SOURCE_DIR) + "/tests/parity/dicom_expected.txt");
  std::vector<Expected> all;
  for (std::string line; std::getline(in, line);) {
    if (line.starts_with("#")) continue;
    std::istringstream words(line);
    Expected e;
    words >> e.kind >> e.shape.x >> e.shape.y >> e.shape.z;
    for (int i = 0; i < 12; ++i) words >> e.affine(i / 4, i % 4);
    words >> e.mean >> e.least >> e.most >> e.crc >> std::ws;
    std::getline(words, e.path);
    all.push_back(e);
  }
  return all;
}

void check(const Expected& e, const Volume<float>& v) {
  INFO(e.path);
  REQUIRE(v.shape() == e.shape);
  const Grid expected{e.shape, to_ras(Affine<Lps>(e.affine))};
  CHECK(same_grid(v.grid(), expected, 0.01));
  double sum = 0;
  float least = v.voxels()[0], most = least;
  for (float x : v.voxels()) sum += x, least = std::min(least, x), most = std::max(most, x);
  const bool lossy = e.crc == "lossy";
  CHECK(std::abs(sum / static_cast<double>(v.voxels().size()) - e.mean) < (lossy ? 0.6 : 1e-4));
  CHECK(std::abs(least - e.least) <= (lossy ? 2.5 : 1e-9));
  CHECK(std::abs(most - e.most) <= (lossy ? 2.5 : 1e-9));
  if (lossy) return;
  char crc[16];
  std::snprintf(crc, sizeof crc, "%08lx",
                ::crc32(0, reinterpret_cast<const Bytef*>(v.data()), static_cast<uInt>(v.voxels().size() * sizeof(float))));
  CHECK(crc == e.crc);
}

}   // namespace

TEST_CASE("real: DICOM series and files give pydicom's voxels and places") {
  const auto data = real_data();
  if (!data) return;
  const auto all = expectations();
  REQUIRE(all.size() >= 30);
  ThreadPool pool(2);
  for (const Expected& e : all)
    check(e, io::read_dicom_series<float>(*data / e.path, {.single_file = e.kind == "file", .executor = &pool}).volume);
}

TEST_CASE("real: DICOM and NIfTI of the same scan are the same volume") {
  const auto data = real_data();
  if (!data) return;
  const auto dicom = io::read_dicom_series<std::int16_t>(*data / "lung_tumour/pat_2_dicom_rtstruct").volume;
  const auto nifti = io::read_nifti<std::int16_t>(*data / "lung_tumour/lungpat2_ct.nii.gz");
  CHECK(same_grid(dicom.grid(), nifti.grid()));
  CHECK(dicom.voxels() == nifti.voxels());

  const auto ct = io::read_dicom_series<float>(*data / "totalseg_ct/example_ct_dicom").volume;
  const auto labels = io::read_nifti<std::uint8_t>(*data / "totalseg_ct/example_seg_dicom.nii.gz");   // rows from bottom to top
  Eigen::Matrix4d flip = Eigen::Matrix4d::Identity();
  flip(1, 1) = -1, flip(1, 3) = static_cast<double>(labels.shape().y - 1);
  CHECK(same_grid(ct.grid(), {labels.shape(), Affine<Ras>(labels.affine().matrix * flip)}));
}

TEST_CASE("real: a DICOM SEG lands on its series") {
  const auto data = real_data();
  if (!data) return;
  const auto ct = io::read_dicom_series<float>(*data / "dicom_seg_dcmqi/ct-3slice").volume;
  const auto read = io::read_dicom_seg(*data / "dicom_seg_dcmqi/liver.dcm", ct.grid());
  CHECK(read.segments == std::vector{std::pair(1, std::string("Liver"))});
  Index count[3] = {};
  double hu = 0;
  for (Index z = 0; z < 3; ++z)
    for (Index y = 0; y < 512; ++y)
      for (Index x = 0; x < 512; ++x)
        if (read.mask(z, y, x)) ++count[z], hu += ct(z, y, x);
  CHECK(count[0] == 36233);   // as highdicom counts
  CHECK(count[1] == 35645);
  CHECK(count[2] == 35220);
  CHECK(hu / 107098 > 30);   // liver tissue, so it is at the right place
}

TEST_CASE("real: the tilted head keeps its sheared grid") {
  const auto data = real_data();
  if (!data) return;
  const auto read = io::read_dicom_series<float>(*data / "dicom_tilt_philips");
  REQUIRE(read.warnings.size() == 1);
  CHECK(read.warnings[0].find("tilted by 18.5 degrees") != std::string::npos);
  const double area = 0.482421875 * 0.482421875;
  CHECK(read.volume.affine().voxel_mm3() == doctest::Approx(area * 2.371).epsilon(1e-3));
}

TEST_CASE("real: what is no readable scan is refused in one sentence with its name") {
  const auto data = real_data();
  if (!data) return;
  const std::pair<const char*, const char*> refused[] = {
      {"dicom_odd/ExplVR_BigEnd.dcm", "PhotometricInterpretation"},
      {"dicom_odd/ExplVR_LitEndNoMeta.dcm", "holds no scan"},
      {"dicom_odd/JPEG2000.dcm", "ImagePositionPatient (0020,0032) is missing"},
      {"dicom_odd/JPEG2000-embedded-sequence-delimiter.dcm", "ImagePositionPatient"},
      {"dicom_odd/MR_truncated.dcm", "(7FE0,0010) at byte 1488 has 8192 bytes, and 8130 are left"},
      {"dicom_odd/UN_sequence.dcm", "holds no scan"},
      {"dicom_odd/badVR.dcm", "holds no scan, its Modality (0008,0060) is \"RTDOSE\""},
      {"dicom_odd/empty_charset_LEI.dcm", "holds no scan"},
      {"dicom_odd/image_dfl.dcm", "ImagePositionPatient"},
      {"dicom_odd/meta_missing_tsyntax.dcm", "Rows (0028,0010) is missing"},
      {"dicom_odd/no_meta.dcm", "is not a DICOM file"},
      {"dicom_odd/no_meta_group_length.dcm", "holds no scan"},
      {"dicom_odd/rtdose.dcm", "RTDOSE"},
      {"dicom_odd/rtstruct.dcm", "RTSTRUCT"},
      {"dicom_odd/dicom_4d", "holds 19 series"},
      {"dicom_odd/dicom_4d_enhanced", "holds 19 series"},
      {"dicom_odd/pydicom_dicomdir_77654033", "MONOCHROME1"},
      {"dicom_odd/pydicom_dicomdir_77654033/CT2", "about 161 slices are missing"},
      {"dicom_seg_dcmqi/liver.dcm", "SEG"},
      {"dicom_seg_dcmqi/23x38x3/seg/label.seg", "SEG"},
      {"dicom_transfer_syntaxes/no-pixel-data.dcm", "holds no scan"},
      {"dicom_transfer_syntaxes/no-pixel-spacing.dcm", "PALETTE COLOR"},
      {"dicom_transfer_syntaxes", "holds 3 series"},
      {"totalseg_ct/example_seg.nii.gz", "is not a DICOM file"},
  };
  for (const auto& [name, why] : refused) {
    const std::string error = dicom_test::error_of_reading(*data / name);
    INFO(error);
    CHECK(error.starts_with((*data / name).string()));
    CHECK(error.find(why) != std::string::npos);
  }
}
