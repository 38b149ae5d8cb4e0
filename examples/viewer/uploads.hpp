// What comes in as a scan: known by its content, unpacked under names of our own, within limits.
#pragma once
#include "http.hpp"

namespace viewer {

struct UnpackLimits {
  std::size_t most_entries = 20'000;
  Index most_bytes = Index{8} << 30;   // of all entries together
};

/// Moves an upload into `folder`, or unpacks it there if it is a zip archive: then one scan, a .mhd with the files that it names,
/// or the files of a DICOM series.
/// What to read comes back, a name within the folder. Names in archives are never used for files.
/// Errors    Refusal; bad_input for an archive that is damaged, too large or too full.
std::string unpack_upload(const fs::path& file, const fs::path& folder, const UnpackLimits& limits = {});

/// Words as people may see them: at most 120 bytes, no control characters.
std::string shown_text(std::string words);
/// The same of a file's name, without its folders.
std::string shown_name(const std::string& name);

}   // namespace viewer
