// How far two surfaces are apart, in millimetres: Hausdorff distance and its percentiles, average distance, surface Dice. One
// pass finds the distances from every place of each surface to the other one; every score is then a few sums over them. Which
// definition is meant is an option, for three of them are in use under the same names.
#pragma once
#include "nearest.hpp"

namespace ctseg {

/// Distances and surface Dice where a mask is empty.
enum class EmptySurface {
  infinite,   // one empty: infinity, and surface Dice 0; both: NaN (MONAI, DeepMind)
  nan,        // NaN if one or both are empty: such a case says nothing
  penalty,    // one empty: the diagonal of the volume, and surface Dice 0; both: 0 mm and 1 (challenges that rank)
};
inline std::string text(EmptySurface e) {
  return e == EmptySurface::infinite ? "infinite" : e == EmptySurface::nan ? "nan" : "penalty";
}

/// How the two directions, prediction to truth and back, become one Hausdorff distance.
enum class Directions {
  larger,   // the percentile of each, then the larger one (MONAI, DeepMind)
  pooled,   // one percentile of both together (medpy)
};
inline std::string text(Directions d) { return d == Directions::larger ? "larger" : "pooled"; }

/// What a percentile is.
enum class Percentile {
  linear,    // between the two nearest of the sorted distances; areas do not matter (NumPy, MONAI, medpy)
  by_area,   // the least distance within which that share of the area lies (DeepMind)
};
inline std::string text(Percentile p) { return p == Percentile::linear ? "linear" : "by_area"; }

struct SurfaceDistanceOptions {
  std::uint8_t label = 1;
  Surface surface = Surface::voxels;
  EmptySurface empty = EmptySurface::infinite;
  bool planar = false;                       // the volume is one slice: contours instead of surfaces, as of 2-D arrays
  std::optional<Xyz<double>> spacing_mm{};   // unset: the volume's own
  double limit_mm = std::numeric_limits<double>::infinity();   // distances beyond are infinite: enough for nsd(), and quicker
  Executor* executor = nullptr;                                // unset: the calling thread
};

struct HausdorffMetricOptions {
  double percentile = 100;
  Directions directions = Directions::larger;
  Percentile rule = Percentile::linear;
};

/// From every place of one surface to the other one.
struct DirectedDistances {
  std::vector<float> mm;             // in the order of memory
  std::vector<std::uint8_t> kinds;   // of each, the code of its area; empty where all weigh 1
};

namespace surfaces {

/// NumPy's percentile: linear between the two nearest ranks.
inline double linear_percentile(std::vector<float> values, double percentile) {
  const double rank = percentile / 100 * static_cast<double>(values.size() - 1), below = std::floor(rank);
  const auto at = values.begin() + static_cast<std::ptrdiff_t>(below);
  if (percentile == 100) return double{*std::max_element(values.begin(), values.end())};
  std::nth_element(values.begin(), at, values.end());
  const double low = double{*at};
  if (rank == below) return low;
  return low + (rank - below) * (double{*std::min_element(at + 1, values.end())} - low);
}

/// The least distance within which a share of the weights lies. Sums that miss the share by rounding alone reach it.
inline double weighted_percentile(std::vector<std::pair<float, double>> values, double percentile) {
  std::sort(values.begin(), values.end());
  double total = 0, within = 0;
  for (const auto& [mm, weight] : values) total += weight;
  for (const auto& [mm, weight] : values)
    if ((within += weight) >= percentile / 100 * total * (1 - 1e-12)) return double{mm};
  return double{values.back().first};
}

}   // namespace surfaces

/// The distances between two surfaces, both ways.
class SurfaceDistances {
 public:
  /// What lies between two masks of one label.
  /// Errors    bad_argument for spacing or a limit that cannot be, or planar with several slices.
  SurfaceDistances(const MaskPair& pair, const SurfaceDistanceOptions& options) : empty_(options.empty) {
    const Xyz<double> spacing = options.spacing_mm.value_or(Xyz<double>{1, 1, 1});
    edt::check_spacing(spacing, "surface_distances");
    if (!(options.limit_mm >= 0))
      throw Error(Code::bad_argument, "surface_distances",
                  text("limit_mm = ", options.limit_mm, "; must be 0 or more, or infinite."));
    if (options.planar && pair.shape.z > 1)
      throw Error(Code::bad_argument, "surface_distances",
                  text("planar = true with ", pair.shape.z, " slices; contours are those of one. Hint: planar = false, or ",
                       "slice after slice."));
    const Xyz<double> size{static_cast<double>(pair.shape.x) * spacing.x, static_cast<double>(pair.shape.y) * spacing.y,
                           static_cast<double>(pair.shape.z) * spacing.z};
    diagonal_mm_ = std::hypot(size.x, size.y, options.planar ? 0 : size.z);
    if (options.surface == Surface::elements)
      weights_ = options.planar ? surfaces::element_lengths(spacing) : surfaces::element_areas(spacing);
    if (pair.box.shape().x <= 0) return;
    const surfaces::HowToFind how{options.surface, options.planar, options.executor};
    surfaces::Found prediction = find_surface(pair.prediction, pair, how), truth = find_surface(pair.truth, pair, how);
    const surfaces::Bricks of_prediction(prediction.places), of_truth(truth.places);
    to_truth_.mm = nearest_distances(of_prediction, of_truth, {spacing, options.limit_mm, options.executor});
    to_prediction_.mm = nearest_distances(of_truth, of_prediction, {spacing, options.limit_mm, options.executor});
    to_truth_.kinds = std::move(prediction.kinds), to_prediction_.kinds = std::move(truth.kinds);
  }

  /// From the surface of the prediction to that of the truth, and back; infinite where the other is empty.
  const DirectedDistances& to_truth() const { return to_truth_; }
  const DirectedDistances& to_prediction() const { return to_prediction_; }
  /// Area of a place in mm2 (length in mm where planar); 1 if the surface is of voxels.
  double weight(const DirectedDistances& of, std::size_t i) const { return of.kinds.empty() ? 1 : weights_[of.kinds[i]]; }
  double area(const DirectedDistances& of) const {
    double sum = 0;
    for (std::size_t i = 0; i < of.mm.size(); ++i) sum += weight(of, i);
    return sum;
  }

  /// Hausdorff distance, or the percentile of distances that stands for it.
  /// Errors    bad_argument unless the percentile is 0 to 100.
  double hausdorff_mm(const HausdorffMetricOptions& options = {}) const {
    if (!(options.percentile >= 0 && options.percentile <= 100))
      throw Error(Code::bad_argument, "hausdorff", text("percentile = ", options.percentile, "; must be 0 to 100."));
    if (const auto mm = distance_where_empty()) return *mm;
    if (options.directions == Directions::larger)
      return std::max(percentile_of({&to_truth_}, options), percentile_of({&to_prediction_}, options));
    return percentile_of({&to_truth_, &to_prediction_}, options);
  }

  /// Average symmetric surface distance: the mean over both surfaces together (MONAI with symmetric = true, medpy's assd).
  double assd_mm() const {
    if (const auto mm = distance_where_empty()) return *mm;
    return mean_of({&to_truth_, &to_prediction_});
  }
  /// The mean over the surface of the prediction alone (MONAI's default), and over that of the truth alone.
  double mean_to_truth_mm() const {
    const auto mm = distance_where_empty();
    return mm ? *mm : mean_of({&to_truth_});
  }
  double mean_to_prediction_mm() const {
    const auto mm = distance_where_empty();
    return mm ? *mm : mean_of({&to_prediction_});
  }

  /// Normalised surface Dice: the share of both surfaces that lies within the tolerance of the other, ends included (what
  /// rounding puts a millionth beyond it counts as within).
  /// Errors    bad_argument for a tolerance that is negative or not a number.
  double nsd(double tolerance_mm) const {
    if (!(tolerance_mm >= 0))
      throw Error(Code::bad_argument, "nsd", text("tolerance_mm = ", tolerance_mm, "; must be 0 or more."));
    const bool a = to_truth_.mm.empty(), b = to_prediction_.mm.empty();
    if (a || b) {
      if (empty_ == EmptySurface::nan || (a && b && empty_ == EmptySurface::infinite)) return kNan;
      return a && b ? 1 : 0;
    }
    const double reach = tolerance_mm * (1 + 1e-6);
    double within = 0, all = 0;
    for (const DirectedDistances* one : {&to_truth_, &to_prediction_})
      for (std::size_t i = 0; i < one->mm.size(); ++i) {
        const double w = weight(*one, i);
        all += w;
        if (double{one->mm[i]} <= reach) within += w;
      }
    return within / all;
  }

 private:
  static constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
  using Some = std::initializer_list<const DirectedDistances*>;

  std::optional<double> distance_where_empty() const {
    const bool a = to_truth_.mm.empty(), b = to_prediction_.mm.empty();
    if (!a && !b) return {};
    if (empty_ == EmptySurface::penalty) return a && b ? 0 : diagonal_mm_;
    return empty_ == EmptySurface::nan || (a && b) ? kNan : std::numeric_limits<double>::infinity();
  }
  double mean_of(Some some) const {
    double sum = 0, all = 0;
    for (const DirectedDistances* one : some)
      for (std::size_t i = 0; i < one->mm.size(); ++i) {
        const double w = weight(*one, i);
        all += w;
        sum += w * double{one->mm[i]};
      }
    return sum / all;
  }
  double percentile_of(Some some, const HausdorffMetricOptions& options) const {
    if (options.rule == Percentile::linear || options.percentile == 100) {
      std::vector<float> all;
      for (const DirectedDistances* one : some) all.insert(all.end(), one->mm.begin(), one->mm.end());
      return surfaces::linear_percentile(std::move(all), options.percentile);
    }
    std::vector<std::pair<float, double>> all;
    for (const DirectedDistances* one : some)
      for (std::size_t i = 0; i < one->mm.size(); ++i) all.emplace_back(one->mm[i], weight(*one, i));
    return surfaces::weighted_percentile(std::move(all), options.percentile);
  }

  DirectedDistances to_truth_, to_prediction_;
  std::array<double, 256> weights_{};
  double diagonal_mm_ = 0;
  EmptySurface empty_;
};

/// The distances between the surfaces of one label in two volumes; spacing is that of the grid.
/// Cost      a read of the box that holds both masks, and of each surface a search of the other (nearest_distances); about 50
///           bytes for each place of both surfaces.
/// Errors    shape_mismatch unless both lie on one grid; unsupported for sheared grids (mask::spacing_for_distance); those of
///           SurfaceDistances.
inline SurfaceDistances surface_distances(const Volume<std::uint8_t>& prediction, const Volume<std::uint8_t>& truth,
                                          SurfaceDistanceOptions options = {}) {
  check_same_grid(prediction, truth, "surface_distances");
  options.spacing_mm = mask::spacing_for_distance(truth.grid(), options.spacing_mm, "surface_distances");
  return SurfaceDistances(mask_pair(prediction, truth, options.label), options);
}

}   // namespace ctseg
