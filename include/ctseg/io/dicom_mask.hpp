// Masks out to DICOM, on the grid of the series they were made from: SEG for archives, RTSTRUCT for planning systems. SEG in.
#pragma once
#include <array>

#include "dicom.hpp"

namespace ctseg::io {

/// A coded term, for example {"10200004", "SCT", "Liver"}.
struct DicomCode {
  std::string value, scheme, meaning;
};

/// One value of a mask and what it stands for.
struct DicomSegment {
  int label = 1;
  std::string name{};   // at most 64 bytes
  DicomCode category{"123037004", "SCT", "Anatomical Structure"};
  DicomCode type{"85756007", "SCT", "Tissue"};
  std::array<std::uint8_t, 3> rgb{255, 64, 64};
};

struct DicomWriteOptions {
  DicomSeries source{};   // of the volume that read_dicom_series gave: patient, study and places come from its files
  std::vector<DicomSegment> segments{};   // labels of the mask that are not named here are not written
  std::string series_description = "Segmentation";
  std::string algorithm = "ctseg";
  int series_number = 900;
  std::string date{}, time{};   // YYYYMMDD, HHMMSS; empty: now. Equal input with equal time gives equal files
};

/// Writes a DICOM Segmentation (BINARY): one bit a voxel, a frame for each slice in which a segment has a voxel.
/// Errors    shape_mismatch if the mask is not on the series' grid; bad_argument for an empty mask; io if it cannot be written.
void write_dicom_seg(const std::filesystem::path& path, const Volume<std::uint8_t>& mask, const DicomWriteOptions& options);

/// Writes an RT Structure Set: closed planar contours in LPS millimetres, along the edges of the pixels.
/// Numerics  filling the contours by the even-odd rule gives the mask back, voxel for voxel; a hole is a contour of its own.
/// Errors    as write_dicom_seg.
void write_dicom_rtstruct(const std::filesystem::path& path, const Volume<std::uint8_t>& mask,
                          const DicomWriteOptions& options);

/// A mask and the names of its labels, which are the segment numbers of the file.
struct DicomMask {
  Volume<std::uint8_t> mask;
  std::vector<std::pair<int, std::string>> segments;
};

/// Reads a DICOM Segmentation (BINARY, not compressed) onto the grid of the volume it belongs to.
/// Errors    shape_mismatch if a frame is not on that grid; unsupported for other kinds and for segments that overlap.
DicomMask read_dicom_seg(const std::filesystem::path& path, const Grid& grid);

}   // namespace ctseg::io
