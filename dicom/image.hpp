// What one DICOM file says of the images in it: how to read their pixels, and where each lies in the patient.
#pragma once
#include <Eigen/Dense>
#include <ctseg/image/geometry.hpp>
#include <memory>

#include "dataset.hpp"

namespace ctseg::io::dicom {

/// How pixels are stored.
struct PixelFormat {
  Index rows = 0, columns = 0, frames = 1;
  int bits_allocated = 16, bits_stored = 16, high_bit = 15;
  bool is_signed = false;
  std::optional<std::pair<int, int>> padding{};   // stored values from first to second are no tissue

  int bytes_per_pixel() const { return bits_allocated / 8; }
  std::size_t pixels() const { return static_cast<std::size_t>(rows * columns); }   // of a frame
  std::size_t frame_bytes() const { return pixels() * static_cast<std::size_t>(bytes_per_pixel()); }
};

/// Where an image lies and what its numbers mean.
struct Plane {
  Eigen::Vector3d position{0, 0, 0}, along_row{1, 0, 0}, along_column{0, 1, 0};   // LPS, millimetres
  double column_spacing = 1, row_spacing = 1;                                     // from one column, from one row to the next
  std::optional<double> thickness{};
  double slope = 1, intercept = 0;
  bool rescaled = false;    // slope and intercept are the file's
  bool localizer = false;   // of a frame among others

  Eigen::Vector3d normal() const { return along_row.cross(along_column); }
};

/// A file that holds images, or that should.
struct ImageFile {
  std::filesystem::path path;
  std::string sop_class{}, sop_instance{}, series_uid{}, study_uid{}, frame_of_reference_uid{}, modality{}, description{};
  bool is_image = false;       // DICOMDIRs, reports, masks and plans are not
  bool series_known = false;   // the series could be read
  bool localizer = false;
  PixelFormat format{};
  std::vector<Plane> planes{};   // one for each frame
  bool guessed_syntax = false;
  bool compressed = false;
  Index bytes = 0;                  // of the file
  std::optional<Error> problem{};   // why its images cannot be used
};

/// Reads the header of a DICOM file.
/// Errors    io if the file cannot be read. What is wrong inside goes to ImageFile::problem.
ImageFile read_image(const std::filesystem::path& path, Index max_bytes);

/// The planes of the frames of a sound file, whatever is in them.
/// Errors    bad_input or unsupported if one has no place in the patient.
std::vector<Plane> read_planes(const File& file, Index frames);

}   // namespace ctseg::io::dicom
