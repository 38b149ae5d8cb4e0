// Scans and masks in and out, whatever their format. The readers' templates are compiled in volumes.cpp alone.
#pragma once
#include <optional>

#include <ctseg/io/dicom_mask.hpp>   // declarations; what is behind them is there where the component is built

#include "console.hpp"

namespace cli {

/// How a CASE is given: a file or folder, and what it may lack.
struct CaseOptions {
  std::string path{};
  std::vector<double> spacing_mm{};   // of a .npy file: x, y, z
  std::string series{};               // of a DICOM folder that holds several
  Index max_bytes = Index{1} << 34;   // of voxels
};

struct Scan {
  cs::Volume<float> volume;
  std::string format, dtype;             // NIfTI, MetaImage, npy or DICOM; NumPy's name of the stored type
  cs::io::DicomSeries dicom{};           // of a DICOM series
  std::vector<std::string> warnings{};   // what the reader found odd
};

Scan read_scan(const CaseOptions& which, Console& console);
/// Label maps. A DICOM segmentation is read onto the grid of `reference`, which must be given for it.
cs::Volume<std::uint8_t> read_mask(const CaseOptions& which, Console& console, const cs::Grid* reference = nullptr);

/// The same on exactly `grid`: a mask of the same voxels stored in another order is turned, any other grid is an error.
cs::Volume<std::uint8_t> read_mask_on(const cs::Grid& grid, const CaseOptions& which, Console& console);

void write_mask(const fs::path& path, const cs::Volume<std::uint8_t>& mask);
/// With the smallest of uint8, int16, int32 and float32 that holds every voxel exactly; its NumPy name comes back.
std::string write_exactly(const fs::path& path, const cs::Volume<float>& volume);

/// DICOM, where ctseg::dicom is built (dicom_on.cpp) and where it is not (dicom_off.cpp).
namespace dicom {
bool is_dicom(const fs::path& path);
cs::io::DicomVolume<float> read(const CaseOptions& which, Console& console);
cs::Volume<std::uint8_t> read_segmentation(const fs::path& path, const cs::Grid& grid);
enum class MaskFormat { seg, rtstruct };
void write(const fs::path& path, const cs::Volume<std::uint8_t>& mask, const cs::io::DicomWriteOptions& options, MaskFormat as);
}   // namespace dicom

}   // namespace cli
