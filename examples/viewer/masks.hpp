// Masks of a scan: saved as versions beside one another, measured, compared, interpolated, turned into surfaces and pictures.
#pragma once
#include <condition_variable>
#include <stop_token>
#include <thread>

#include "scans.hpp"

namespace viewer {

/// What a number in a mask means, for people.
struct LabelName {
  Index id = 0;
  std::string name{}, color{};   // "#rrggbb"
};
/// The colours previews have.
std::string color_of(Index label);

/// A slice as a picture.
struct OverlayOptions {
  PlaneView plane{};
  Index slice = 0;
  double low = -160, high = 240, opacity = 0.4;
};

/// uint32 vertices, uint32 triangles, 3 float32 (LPS mm) each, 3 uint32 each.
struct CompactMesh {
  std::string bytes{};
  bool simplified = false;   // fewer triangles than the surface in the store has
};

class Masks {
 public:
  Masks(Store& store, Scans& scans)
      : store_(store), scans_(scans), worker_([this](const std::stop_token& stop) { keep_surfaces(stop); }) {}
  Masks(const Masks&) = delete;

  /// Keeps a mask in display order as the scan's next version. Its names are those of the parent, if there is one and `names`
  /// is empty. What of `row` the store decides (id, version, file) is filled in.
  MaskRow save(MaskRow row, const OpenScan& scan, std::vector<std::uint8_t> display, const std::vector<LabelName>& names = {});
  /// labels, and where there is a parent dice and changed.
  Json measure(const OpenScan& scan, const std::vector<std::uint8_t>& display, Index parent,
               const std::vector<LabelName>& names = {});

  MaskRow row(Index id);
  /// In display order. The last two that were asked for stay in memory.
  std::shared_ptr<const std::vector<std::uint8_t>> voxels(const MaskRow& row, const OpenScan& scan);
  Json describe(const MaskRow& row) const;

  /// For the 3-D view. The whole surface goes to the store, as STL, while the answer is on its way.
  CompactMesh compact_mesh(const MaskRow& row, Index label, Index most_triangles);
  /// The path of a surface in the store, made if it is not there yet. label 0: everything.
  fs::path surface_file(const MaskRow& row, Index label, const std::string& format);
  std::string montage_png(const MaskRow& row);
  std::string overlay_png(const MaskRow& row, const OverlayOptions& options);

 private:
  std::vector<LabelName> names_of(Index mask);
  void keep_surface(Index mask, Index label);
  void keep_surfaces(const std::stop_token& stop);

  Store& store_;
  Scans& scans_;
  std::mutex views_, files_;   // one surface of each at a time: they take memory, and a view does not wait for a file
  std::mutex mutex_;           // of kept_
  std::deque<std::pair<Index, std::shared_ptr<const std::vector<std::uint8_t>>>> kept_;
  std::mutex wanted_mutex_;
  std::condition_variable_any changed_;
  std::deque<std::pair<Index, Index>> wanted_;   // surfaces to keep: mask and label
  std::jthread worker_;                          // the last member: it uses all others
};

/// Slices between the given ones, 0 and 1: the level 0 of signed distances, which are interpolated linearly.
struct KeySlices {
  Index width = 0, height = 0;
  double width_mm = 1, height_mm = 1;   // of a pixel
  std::vector<Index> numbers{};         // ascending
  std::vector<std::uint8_t> pixels{};   // one slice after the other
};
/// From the first key to the last one, both included.
std::vector<std::uint8_t> interpolate(const KeySlices& keys);

}   // namespace viewer
