// The series that a mask was made from, as far as objects that refer to it need it.
#pragma once
#include <ctseg/io/dicom_mask.hpp>

#include "output.hpp"
#include "stack.hpp"

namespace ctseg::io::dicom {

/// One slice of the source.
struct Reference {
  std::string sop_class, sop_instance;
  Index frame = 0;   // counted from 1 in a multi-frame object; 0 in others
};

struct Source {
  std::vector<Reference> slices{};                // in the order of the volume
  std::vector<std::size_t> first_of_instance{};   // one slice for each instance: a multi-frame object counts once
  std::vector<Eigen::Vector3d> positions{};       // LPS
  Plane plane{};                                  // of the first slice
  double slice_distance_mm = 1;                   // along the normal
  std::string series_uid{}, study_uid{}, frame_of_reference_uid{};
  Output modules{};   // patient, study and frame of reference, as the source has them

  Output reference(const Reference& r) const;   // one item that names an instance
};

/// Reads the headers of the source again and checks that the mask lies on its grid and has something to write.
/// Errors    bad_argument, shape_mismatch; those of reading.
Source read_source(const Volume<std::uint8_t>& mask, const DicomWriteOptions& options);

/// Modules that every object has: patient and study of the source, a series and an instance of its own.
Output new_object(const Source& source, const Volume<std::uint8_t>& mask, const DicomWriteOptions& options,
                  const char* sop_class, const char* modality);

Output code_item(const DicomCode& code);

}   // namespace ctseg::io::dicom
