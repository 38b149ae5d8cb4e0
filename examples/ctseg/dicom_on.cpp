// DICOM through ctseg::dicom.
#include "volumes.hpp"

namespace cli::dicom {

bool is_dicom(const fs::path& path) { return cs::io::dicom::is_dicom(path); }

cs::io::DicomVolume<float> read(const CaseOptions& which, Console& console) {
  cs::ThreadPool threads(std::max(console.common().threads, 1));
  return cs::io::read_dicom_series<float>(
      which.path, {.series_uid = which.series, .max_bytes = which.max_bytes, .executor = &threads, .log = console.log()});
}

cs::Volume<std::uint8_t> read_segmentation(const fs::path& path, const cs::Grid& grid) {
  return cs::io::read_dicom_seg(path, grid).mask;
}

void write(const fs::path& path, const cs::Volume<std::uint8_t>& mask, const cs::io::DicomWriteOptions& options,
           MaskFormat as) {
  as == MaskFormat::seg ? cs::io::write_dicom_seg(path, mask, options) : cs::io::write_dicom_rtstruct(path, mask, options);
}

}   // namespace cli::dicom
