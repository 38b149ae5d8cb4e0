// What a mask holds, label by label: how much, where, and which Hounsfield units lie under it. One read of mask and scan.
#pragma once
#include <array>
#include <string>
#include <vector>

#include "../image/mask.hpp"
#include "../metrics/overlap.hpp"

namespace ctseg {

struct MeasureOptions {
  const Volume<float>* ct = nullptr;   // unset: Hounsfield units are NaN
  std::vector<std::string> names{};    // of labels 0, 1, ...; may be shorter
  Executor* executor = nullptr;        // unset: the calling thread
};

/// One label of a mask. NaN: could not be said.
struct LabelMeasure {
  std::uint8_t label = 1;
  std::string name{};
  Index voxels = 0;
  double volume_ml = 0;
  double hu_mean = 0, hu_sd = 0;   // over the voxels that are finite numbers; sd over n
  Xyz<Index> first{}, last{};      // corner voxels of the box, both inside
  Xyz<double> centroid_voxel{};
  Point<Lps> centroid_mm{};
};

namespace measuring {

struct Sums {
  Index voxels = 0, x = 0, y = 0, z = 0, finite = 0;
  double hu = 0, hu_squared = 0;
  Xyz<Index> first{std::numeric_limits<Index>::max(), std::numeric_limits<Index>::max(), std::numeric_limits<Index>::max()};
  Xyz<Index> last{-1, -1, -1};

  void add(const Sums& other) {
    voxels += other.voxels, x += other.x, y += other.y, z += other.z, finite += other.finite;
    hu += other.hu, hu_squared += other.hu_squared;
    first = {std::min(first.x, other.first.x), std::min(first.y, other.first.y), std::min(first.z, other.first.z)};
    last = {std::max(last.x, other.last.x), std::max(last.y, other.last.y), std::max(last.z, other.last.z)};
  }
};
using Table = std::array<Sums, 256>;

inline void add_row(Table& table, const std::uint8_t* labels, const float* hu, Xyz<Index> row) {
  mask::for_equal_runs(labels, row.x, mask::Foreground<std::uint8_t>{0, false}, [&](Index begin, Index end) {
    Sums run;
    run.voxels = end - begin;
    run.x = (begin + end - 1) * run.voxels / 2, run.y = row.y * run.voxels, run.z = row.z * run.voxels;
    run.first = {begin, row.y, row.z}, run.last = {end - 1, row.y, row.z};
    for (Index i = begin; hu && i < end; ++i) {
      if (!is_finite(hu[i])) continue;
      const double value = hu[i];
      ++run.finite, run.hu += value, run.hu_squared += value * value;
    }
    table[labels[begin]].add(run);
  });
}

}   // namespace measuring

/// Volume, place and Hounsfield units of every label but 0 that occurs, ascending.
/// Numerics  whole numbers exact, Hounsfield units summed in double in an order that no number of threads changes.
/// Errors    shape_mismatch if the scan is not on the mask's grid.
inline std::vector<LabelMeasure> measure_labels(const Volume<std::uint8_t>& volume, const MeasureOptions& options = {}) {
  if (options.ct && !same_grid(volume.grid(), options.ct->grid()))
    throw Error(Code::shape_mismatch, "measure_labels",
                text("the mask (", volume.shape(), ") is on another grid than the scan (", options.ct->shape(), ")."));
  const Xyz<Index> n = volume.shape();
  const Index slices = std::max<Index>(1, (n.z + 31) / 32), parts = (n.z + slices - 1) / slices;
  std::vector<measuring::Table> tables(static_cast<std::size_t>(parts));
  mask::for_tasks(options.executor, parts, [&](Index part) {
    for (Index row = part * slices * n.y; row < std::min(n.z, (part + 1) * slices) * n.y; ++row)
      measuring::add_row(tables[static_cast<std::size_t>(part)], volume.data() + row * n.x,
                         options.ct ? options.ct->data() + row * n.x : nullptr, {n.x, row % n.y, row / n.y});
  });
  std::vector<LabelMeasure> out;
  for (std::size_t label = 1; label < 256; ++label) {
    measuring::Sums s;
    for (const measuring::Table& table : tables) s.add(table[label]);
    if (s.voxels == 0) continue;
    const double count = static_cast<double>(s.voxels), finite = static_cast<double>(s.finite);
    LabelMeasure m{.label = static_cast<std::uint8_t>(label), .voxels = s.voxels, .first = s.first, .last = s.last};
    m.name = label < options.names.size() ? options.names[label] : text("label ", label);
    m.volume_ml = count * volume.affine().voxel_mm3() / 1000;
    m.hu_mean = s.finite > 0 ? s.hu / finite : std::numeric_limits<double>::quiet_NaN();
    m.hu_sd = std::sqrt(std::max(s.hu_squared / finite - m.hu_mean * m.hu_mean, 0.0));
    if (s.finite == 0) m.hu_sd = m.hu_mean;
    m.centroid_voxel = {static_cast<double>(s.x) / count, static_cast<double>(s.y) / count, static_cast<double>(s.z) / count};
    m.centroid_mm = to_lps(volume.affine()(m.centroid_voxel.x, m.centroid_voxel.y, m.centroid_voxel.z));
    out.push_back(std::move(m));
  }
  return out;
}

}   // namespace ctseg
