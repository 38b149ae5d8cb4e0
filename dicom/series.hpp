// Which files a path stands for, and the series in them.
#pragma once
#include <ctseg/io/dicom.hpp>

#include "stack.hpp"

namespace ctseg::io::dicom {

/// One series: its images, and those without a problem also as stacks, which point into them: to be moved, not copied.
struct Series {
  std::vector<ImageFile> images{};   // by file name; localizers are not among them
  std::vector<Stack> stacks{};
  Index localizers = 0;
};

/// What was found behind a path.
struct Found {
  std::vector<Series> series{};          // by UID
  std::vector<std::string> left_out{};   // files that may belong to a series, but nobody knows to which
};

/// Errors    bad_input if there is no image at all, or the file that was named is damaged.
Found find_series(const std::filesystem::path& path, const DicomReadOptions& options);

/// What goes out of one stack of a series, or of a series whose images make no stack.
DicomSeries describe(const Series& series, int stack);

/// The stack to read. Errors    bad_input if there is more than one to choose from, naming them all.
std::pair<const Series*, int> choose(const Found& found, const std::filesystem::path& path, const DicomReadOptions& options);

}   // namespace ctseg::io::dicom
