// One way to read a volume, whatever its file format.
#pragma once
#include "nifti.hpp"

namespace ctseg::io {

/// Reads a volume by the format its name tells.
/// Errors    unsupported for a name that no reader knows; those of the format's reader.
template <class T> Volume<T> read_volume(const std::filesystem::path& path, const ReadOptions& options = {}) {
  for (const char* ending : {".nii", ".nii.gz", ".hdr", ".hdr.gz", ".img", ".img.gz"})
    if (nifti::ends_with(path, ending)) return read_nifti<T>(path, options);
  throw Error(Code::unsupported, path.string(),
              "the name tells no format that can be read; supported: NIfTI (.nii, .nii.gz, .hdr with .img).");
}

/// The same with a reader for one more format, such as dicom::reader(); it goes first where it knows the path.
template <class T, class Reader>
requires requires(const Reader& r, const std::filesystem::path& p) { r.reads(p); }
Volume<T> read_volume(const std::filesystem::path& path, const Reader& reader, const ReadOptions& options = {}) {
  return reader.reads(path) ? reader.template read<T>(path, options) : read_volume<T>(path, options);
}

}   // namespace ctseg::io
