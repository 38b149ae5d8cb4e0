// From the images of a series to a grid: which of them share one, in which order, and where the voxels are.
#pragma once
#include <ctseg/core/context.hpp>
#include <ctseg/image/volume.hpp>

#include "image.hpp"

namespace ctseg::io::dicom {

/// Collects what was odd but could be read, and tells the caller's log as it comes up.
struct Warnings {
  LogSink log{};
  std::vector<std::string> lines{};

  void add(const std::filesystem::path& where, std::string_view message) {
    lines.push_back(text(where.string(), ": warning: ", message));
    if (log.write) log.write(log.user, lines.back());
  }
};

/// One image of a stack.
struct Slice {
  const ImageFile* file;
  Index frame;

  const Plane& plane() const { return file->planes[static_cast<std::size_t>(frame)]; }
  std::string name() const;
};

/// Images that share matrix size, pixel spacing, orientation and frame of reference.
using Stack = std::vector<Slice>;
/// Errors    unsupported if they make more than 1000 stacks.
std::vector<Stack> group_by_grid(const std::vector<const ImageFile*>& images);

/// A stack in order, with the grid it makes. `same_place` are pairs that must hold the same pixels; the second is in no slice.
struct Placed {
  Grid grid;
  Stack slices;
  std::vector<std::pair<Slice, Slice>> same_place;
};

/// Errors    bad_input if slices are missing or their positions do not lie evenly on one line.
Placed place(Stack stack, Warnings& warnings);

}   // namespace ctseg::io::dicom
