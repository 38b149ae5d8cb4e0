// In place of dicom_on.cpp where ctseg::dicom is not built: DICOM is recognised, so that the refusal can say why.
#include <ctseg/io/file.hpp>

#include "volumes.hpp"

namespace cli::dicom {

namespace {

[[noreturn]] void refuse(const fs::path& path) {
  throw cs::Error(cs::Code::unsupported, path.string(),
                  "is DICOM, or a folder, and this program was built without DICOM (CTSEG_DICOM needs DCMTK and OpenJPEG).");
}

}   // namespace

bool is_dicom(const fs::path& path) {
  std::error_code ignored;
  if (fs::is_directory(path, ignored)) return true;
  if (!fs::is_regular_file(path, ignored)) return false;
  std::array<std::byte, 132> bytes{};
  const std::string_view start(reinterpret_cast<const char*>(bytes.data()), cs::io::InputFile(path, false).read(bytes));
  return start.size() == 132 && start.substr(128) == "DICM";
}

cs::io::DicomVolume<float> read(const CaseOptions& which, Console&) { refuse(which.path); }
cs::Volume<std::uint8_t> read_segmentation(const fs::path& path, const cs::Grid&) { refuse(path); }
void write(const fs::path& path, const cs::Volume<std::uint8_t>&, const cs::io::DicomWriteOptions&, MaskFormat) {
  refuse(path);
}

}   // namespace cli::dicom
