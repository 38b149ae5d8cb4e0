// From a mask of nodules to a list of findings: where in the patient, how large, how sure. LUNA16's currency.
#pragma once
#include <cmath>
#include <numbers>
#include <optional>

#include "../data/luna16_results.hpp"
#include "../image/components.hpp"

namespace ctseg {

/// How sure a candidate is, from the probabilities of its voxels.
enum class CandidateScore { max, mean };

struct NoduleOptions {
  Index label = 1;                                     // of the mask
  Connectivity connectivity = Connectivity::corners;   // 26 neighbours
  CandidateScore score = CandidateScore::max;
  bool weighted_centre = false;   // centre of gravity of the probabilities instead of the voxels
  double min_diameter_mm = 0;     // smaller candidates are left out
  Executor* executor = nullptr;   // unset: the calling thread
};

/// One candidate. Boxes and centres are voxel indices or millimetres of the patient in LPS, LUNA16's frame.
struct MeasuredNodule {
  Point<Lps> centre{};
  Xyz<double> centre_voxel{};
  double diameter_mm = 0;   // of the ball of its volume
  double volume_mm3 = 0;
  Index voxels = 0;
  Xyz<Index> low{}, high{};   // its box, both corners inside
  double probability = 1;
};

namespace nodules {

/// Sums of the probabilities of each component, in the order of memory.
struct Sums {
  double max = 0, total = 0;
  Xyz<double> moment{};
};

template <class T>
std::vector<Sums> sums_of(const components::RunTable<T>& table, const Volume<float>& probability, std::size_t count) {
  std::vector<Sums> sums(count);
  const Xyz<Index> n = probability.shape();
  table.each_run(0, table.rows(), [&](Index row, components::Run run, std::uint32_t component) {
    Sums& s = sums[component];
    const double y = static_cast<double>(row % n.y), z = static_cast<double>(row / n.y);
    for (std::int32_t x = run.begin; x < run.end; ++x) {
      const double p = static_cast<double>(probability.data()[row * n.x + x]);
      if (!(p >= 0 && p <= 1))
        throw Error(Code::bad_argument, "measure_nodules",
                    text("the probability of voxel (", x, ", ", row % n.y, ", ", row / n.y, ") is ", p, "; must be 0 to 1."));
      s.max = std::max(s.max, p);
      s.total += p;
      s.moment = {s.moment.x + p * x, s.moment.y + p * y, s.moment.z + p * z};
    }
  });
  return sums;
}

}   // namespace nodules

/// The connected components of a mask as candidates, the surest first (of equal ones the first in memory).
/// Units     diameter = (6 V / pi)^(1/3); volumes by the determinant of the affine.
/// Errors    shape_mismatch if the probabilities are not on the mask's grid; bad_argument for a probability outside 0..1 in a
///           candidate, or a negative diameter.
template <class T> std::vector<MeasuredNodule> measure_nodules(const Volume<T>& mask,
                                                               const std::optional<Volume<float>>& probability = {},
                                                               const NoduleOptions& options = {}) {
  if (probability && !same_grid(mask.grid(), probability->grid()))
    throw Error(Code::shape_mismatch, "measure_nodules",
                text("the probabilities are on another grid (", probability->shape(), ") than the mask (", mask.shape(), ")."));
  if (!(options.min_diameter_mm >= 0))
    throw Error(Code::bad_argument, "measure_nodules",
                text("min_diameter_mm = ", options.min_diameter_mm, "; must be 0 or more."));
  const auto table =
      components::RunTable<T>(mask.data(), mask.shape(),
                              {.connectivity = options.connectivity, .label = options.label, .executor = options.executor})
          .build();
  const std::vector<Component> list = table.list();
  const auto sums = probability ? nodules::sums_of(table, *probability, list.size()) : std::vector<nodules::Sums>{};
  std::vector<MeasuredNodule> out;
  for (std::size_t i = 0; i < list.size(); ++i) {
    const Component& c = list[i];
    const double n = static_cast<double>(c.voxels), mm3 = n * mask.affine().voxel_mm3();
    MeasuredNodule found{.centre_voxel = c.center,
                         .diameter_mm = std::cbrt(6 * mm3 / std::numbers::pi),
                         .volume_mm3 = mm3,
                         .voxels = c.voxels,
                         .low = c.low,
                         .high = c.high};
    if (probability) {
      const nodules::Sums& s = sums[i];
      found.probability = options.score == CandidateScore::max ? s.max : s.total / n;
      if (options.weighted_centre && s.total > 0)
        found.centre_voxel = {s.moment.x / s.total, s.moment.y / s.total, s.moment.z / s.total};
    }
    found.centre = to_lps(mask.affine()(found.centre_voxel.x, found.centre_voxel.y, found.centre_voxel.z));
    if (found.diameter_mm >= options.min_diameter_mm) out.push_back(found);
  }
  std::stable_sort(out.begin(), out.end(),
                   [](const MeasuredNodule& a, const MeasuredNodule& b) { return a.probability > b.probability; });
  return out;
}

/// Candidates of one scan as rows of LUNA16's submission: write_luna16_results writes them.
template <class = void>
std::vector<NoduleFinding> luna16_rows(const std::string& series_uid, const std::vector<MeasuredNodule>& candidates) {
  std::vector<NoduleFinding> rows;
  for (const MeasuredNodule& c : candidates) rows.push_back({series_uid, c.centre, c.probability});
  return rows;
}

}   // namespace ctseg
