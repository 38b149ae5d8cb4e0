// A scan as a DICOM series, whose slices dicom_bytes.hpp makes.
#pragma once
#include <ctseg/image/orientation.hpp>

#include "../dicom/dicom_bytes.hpp"

/// In whole HU; the scan's axes are the patient's. Returns what a reader must find.
inline ctseg::Volume<float> write_dicom(const std::filesystem::path& folder, const ctseg::Volume<float>& scan) {
  using ctseg::Index, ctseg::text;
  auto ct = ctseg::reorient(scan, "LPS");
  const auto n = ct.shape();
  const auto mm = ct.spacing_mm();
  std::filesystem::create_directories(folder);
  for (Index z = 0; z < n.z; ++z) {
    std::vector<int> stored;
    for (Index y = 0; y < n.y; ++y)
      for (Index x = 0; x < n.x; ++x) {
        ct(z, y, x) = std::clamp(std::round(ct(z, y, x)), -1024.f, 3071.f);
        stored.push_back(static_cast<int>(ct(z, y, x)) + 1024);
      }
    dicom_test::Elements e = dicom_test::ct_slice(static_cast<int>(z));
    const auto corner = ctseg::to_lps(ct.affine()(0, 0, static_cast<double>(z)));
    e[0x00200032] = dicom_test::ds(text(corner.x, "\\", corner.y, "\\", corner.z));
    e[0x00280010] = dicom_test::us(static_cast<int>(n.y));
    e[0x00280011] = dicom_test::us(static_cast<int>(n.x));
    e[0x00280030] = dicom_test::ds(text(mm.y, "\\", mm.x));
    e[0x7fe00010] = dicom_test::words(stored);
    spill(folder / text(z), dicom_test::file_of(e));
  }
  return ct;
}
