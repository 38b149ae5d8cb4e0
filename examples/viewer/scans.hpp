// Scans of the store, opened: voxels in display order (x to the left, y to the back, z to the head), as floats for measuring
// and as whole HU for the page.
#pragma once
#include <array>
#include <deque>

#include "../ctseg/volumes.hpp"
#include "store.hpp"

namespace viewer {

/// How the page lays a slice out: `right` and `down` are axes of the display order (x 0, y 1, z 2); z runs down from the head.
struct PlaneView {
  int right = 0, down = 1, through = 2;
};
/// Errors    Refusal unless the name is axial, coronal or sagittal.
PlaneView plane_named(const std::string& name);

struct OpenScan {
  Index id = 0;
  cs::Grid stored;   // the file's own grid: masks go there
  cs::Volume<float> display;
  std::vector<std::int16_t> hu;   // display, rounded and clamped

  std::array<Index, 3> extent() const { return {display.shape().x, display.shape().y, display.shape().z}; }
  /// Number of the voxel at column i and row j of a slice.
  std::size_t at(const PlaneView& plane, Index slice, Index i, Index j) const;
};

/// A mask in display order on the file's grid, and back.
cs::Volume<std::uint8_t> to_stored(const OpenScan& scan, std::vector<std::uint8_t> display);
cs::Volume<std::uint8_t> to_display(const OpenScan& scan, const cs::Volume<std::uint8_t>& stored);

std::vector<std::int16_t> coarse_voxels(const OpenScan& scan, Index step);
std::vector<std::int16_t> slice_of(const OpenScan& scan, const PlaneView& plane, Index slice);

class Scans {
 public:
  Scans(Store& store, int threads);

  /// Every scan has at most this many voxels: what memory can hold a few times.
  Index most_voxels() const { return most_voxels_; }
  /// The CASE of the command line; one that was opened before and has not changed keeps its masks.
  Index add_case(const cli::CaseOptions& which, cli::Console& console);
  /// A file that came in; it is moved into the store.
  /// Errors    those of the readers: such a file leaves nothing behind.
  Index add_upload(const fs::path& file, const std::string& name);
  std::shared_ptr<const OpenScan> open(Index id);
  void remove(Index id);
  /// As the interface says it, without its masks.
  static Json describe(const ScanRow& row);

 private:
  std::shared_ptr<OpenScan> read(const cli::CaseOptions& which, cli::Console& console, ScanRow& row);
  void keep(std::shared_ptr<const OpenScan> scan);

  static constexpr std::size_t kKept = 2;   // scans in memory, beside those in use
  Store& store_;
  int threads_;
  Index most_voxels_ = 0;
  std::mutex mutex_;   // one scan is read at a time
  std::deque<std::shared_ptr<const OpenScan>> kept_;
};

}   // namespace viewer
