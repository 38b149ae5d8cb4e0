// One pass over two label maps that counts every label and finds its box: all that scores of overlap need, and where to cut for
// scores of surfaces. Both maps are read by stretches in which neither changes, eight voxels at a time.
#pragma once
#include "../image/taps.hpp"
#include "overlap.hpp"

namespace ctseg {

/// One label of two label maps on one grid.
struct MaskPair {
  const std::uint8_t *prediction = nullptr, *truth = nullptr;
  Xyz<Index> shape{};
  std::uint8_t label = 1;
  Box box{};   // holds all voxels of the label in both; without voxels if there are none
};

/// All labels of two label maps.
struct LabelScan {
  std::array<Index, 256> predicted{}, present{}, both{};
  std::array<Box, 256> boxes{};   // of prediction and truth together; the box of 0 is not found
  Index voxels = 0;

  Overlap overlap(std::uint8_t label) const {
    return {.tp = both[label],
            .fp = predicted[label] - both[label],
            .fn = present[label] - both[label],
            .tn = voxels - predicted[label] - present[label] + both[label]};
  }
};

namespace label_scan {

inline Box nothing(Xyz<Index> shape) { return {shape, {0, 0, 0}}; }
inline Box joined(const Box& a, const Box& b) {
  return {{std::min(a.begin.x, b.begin.x), std::min(a.begin.y, b.begin.y), std::min(a.begin.z, b.begin.z)},
          {std::max(a.end.x, b.end.x), std::max(a.end.y, b.end.y), std::max(a.end.z, b.end.z)}};
}
inline std::uint64_t eight(const std::uint8_t* at) {
  std::uint64_t word;
  std::memcpy(&word, at, 8);
  return word;
}

inline void add_row(LabelScan& scan, const std::uint8_t* p, const std::uint8_t* t, const Box& row) {
  constexpr std::uint64_t kOnes = 0x0101010101010101;
  const Index n = row.end.x;
  for (Index begin = 0; begin < n;) {
    const std::uint8_t a = p[begin], b = t[begin];
    Index end = begin + 1;
    while (end + 8 <= n && eight(p + end) == a * kOnes && eight(t + end) == b * kOnes) end += 8;
    while (end < n && p[end] == a && t[end] == b) ++end;
    scan.predicted[a] += end - begin;
    scan.present[b] += end - begin;
    if (a == b) scan.both[a] += end - begin;
    const Box stretch{{begin, row.begin.y, row.begin.z}, {end, row.end.y, row.end.z}};
    if (a != 0) scan.boxes[a] = joined(scan.boxes[a], stretch);
    if (b != 0 && b != a) scan.boxes[b] = joined(scan.boxes[b], stretch);
    begin = end;
  }
}

}   // namespace label_scan

struct ScanOptions {
  Executor* executor = nullptr;   // unset: the calling thread
};
/// Counts and boxes of all labels, exact.
/// Errors    shape_mismatch unless both lie on one grid, to a thousandth of a voxel.
inline LabelScan scan_labels(const Volume<std::uint8_t>& prediction, const Volume<std::uint8_t>& truth,
                             const ScanOptions& options = {}) {
  check_same_grid(prediction, truth, "scan_labels");
  const Xyz<Index> n = truth.shape();
  LabelScan all;
  all.voxels = truth.grid().voxels();
  all.boxes.fill(label_scan::nothing(n));
  const Index slices = std::max<Index>(1, (n.z + 31) / 32), parts = (n.z + slices - 1) / slices;
  std::vector<LabelScan> found(static_cast<std::size_t>(parts), all);
  mask::for_tasks(options.executor, parts, [&](Index part) {
    for (Index z = part * slices; z < std::min(n.z, (part + 1) * slices); ++z)
      for (Index y = 0; y < n.y; ++y) {
        const Index first = (z * n.y + y) * n.x;
        label_scan::add_row(found[static_cast<std::size_t>(part)], prediction.data() + first, truth.data() + first,
                            {{0, y, z}, {n.x, y + 1, z + 1}});
      }
  });
  for (const LabelScan& one : found)
    for (std::size_t l = 0; l < 256; ++l) {
      all.predicted[l] += one.predicted[l];
      all.present[l] += one.present[l];
      all.both[l] += one.both[l];
      all.boxes[l] = label_scan::joined(all.boxes[l], one.boxes[l]);
    }
  return all;
}

/// One label of two volumes.
inline MaskPair mask_pair(const Volume<std::uint8_t>& prediction, const Volume<std::uint8_t>& truth, std::uint8_t label) {
  const Box box = label == 0 ? whole(truth.shape()) : scan_labels(prediction, truth).boxes[label];
  return {prediction.data(), truth.data(), truth.shape(), label, box};
}

}   // namespace ctseg
