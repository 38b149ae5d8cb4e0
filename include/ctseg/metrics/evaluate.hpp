// Everything that is said about one case, label by label: overlap, volumes, distances of surfaces, centre lines, and a grade.
// What a score means where a label is absent, and which surfaces were meant, stands in the options, and they travel with the
// report.
#pragma once
#include "cldice.hpp"
#include "surface_distance.hpp"

namespace ctseg {

/// A grade is given to a Dice of at least this; the first one that fits counts.
struct QualityGrade {
  std::string name;
  double min_dice = 0;
};
/// What a clinic asks for; a score that is NaN does not meet it.
struct ClinicalThresholds {
  double dice = 0.90, iou = 0.90, sensitivity = 0.92, specificity = 0.96;
};
struct QualityPolicy {
  std::vector<QualityGrade> grades{{"excellent", 0.95}, {"good", 0.90}, {"acceptable", 0.80}, {"poor", 0}};
  ClinicalThresholds clinical{};
};

struct EvaluationOptions {
  std::vector<std::uint8_t> labels{};                    // unset: every label but 0 that occurs in one of both
  std::vector<std::string> label_names{};                // of labels 0, 1, ...; may be shorter
  EmptyPolicy empty = EmptyPolicy::nan;                  // Dice and IoU
  EmptySurface empty_surface = EmptySurface::infinite;   // distances and surface Dice
  bool surfaces = true;                                  // else distances and surface Dice are NaN
  Surface hausdorff_surface = Surface::voxels;           // of hd, hd95 and assd
  HausdorffMetricOptions hausdorff{.percentile = 95};    // of hd95
  Surface nsd_surface = Surface::elements;
  double nsd_tolerance_mm = 1;
  bool planar = false;        // volumes of one slice: contours
  bool centerlines = false;   // clDice, for vessels; slow for thick organs
  QualityPolicy quality{};
  Executor* executor = nullptr;   // unset: the calling thread
};

/// One label of one case. NaN: could not be said, or was not asked for.
struct LabelScores {
  std::uint8_t label = 1;
  std::string name{};
  Overlap counts{};
  double dice = 0, iou = 0, sensitivity = 0, specificity = 0, precision = 0, accuracy = 0;
  double volume_ml = 0, truth_volume_ml = 0, volume_error_ml = 0;   // error: prediction minus truth
  double relative_volume_error = 0;                                 // over the truth's volume
  double hd_mm = 0, hd95_mm = 0, assd_mm = 0, nsd = 0, cldice = 0;
  std::string quality_grade{};   // empty if Dice is NaN
  bool meets_clinical_standards = false;
};
struct CaseScores {
  std::string name{};
  Xyz<double> spacing_mm{};
  std::vector<LabelScores> labels{};
};

namespace evaluation {

inline void check(const EvaluationOptions& options) {
  const auto& h = options.hausdorff;
  if (!(h.percentile >= 0 && h.percentile <= 100))
    throw Error(Code::bad_argument, "evaluate", text("hausdorff.percentile = ", h.percentile, "; must be 0 to 100."));
  if (!(options.nsd_tolerance_mm >= 0 && options.nsd_tolerance_mm <= 1e6))
    throw Error(Code::bad_argument, "evaluate",
                text("nsd_tolerance_mm = ", options.nsd_tolerance_mm, "; must be 0 to 1000000."));
}

inline void grade(LabelScores& s, const QualityPolicy& policy) {
  for (const QualityGrade& g : policy.grades)
    if (s.dice >= g.min_dice) {
      s.quality_grade = g.name;
      break;
    }
  const ClinicalThresholds& c = policy.clinical;
  s.meets_clinical_standards =
      s.dice >= c.dice && s.iou >= c.iou && s.sensitivity >= c.sensitivity && s.specificity >= c.specificity;
}

inline void score_overlap(LabelScores& s, double voxel_mm3, const EvaluationOptions& options) {
  const Overlap& o = s.counts;
  s.dice = o.dice(options.empty), s.iou = o.iou(options.empty);
  s.sensitivity = o.sensitivity(), s.specificity = o.specificity();
  s.precision = o.precision(), s.accuracy = o.accuracy();
  s.volume_ml = static_cast<double>(o.tp + o.fp) * voxel_mm3 / 1000;
  s.truth_volume_ml = static_cast<double>(o.tp + o.fn) * voxel_mm3 / 1000;
  s.volume_error_ml = static_cast<double>(o.fp - o.fn) * voxel_mm3 / 1000;
  s.relative_volume_error = o.tp + o.fn > 0 ? static_cast<double>(o.fp - o.fn) / static_cast<double>(o.tp + o.fn)
                                            : std::numeric_limits<double>::quiet_NaN();
}

inline void score_surfaces(LabelScores& s, const MaskPair& pair, const SurfaceDistanceOptions& options,
                           const EvaluationOptions& how) {
  SurfaceDistanceOptions o = options;
  o.label = s.label;
  o.surface = how.hausdorff_surface;
  const SurfaceDistances apart(pair, o);
  s.hd_mm = apart.hausdorff_mm({.directions = how.hausdorff.directions});
  s.hd95_mm = apart.hausdorff_mm(how.hausdorff);
  s.assd_mm = apart.assd_mm();
  o.surface = how.nsd_surface;
  o.limit_mm = how.nsd_tolerance_mm;   // within it or not is all that matters
  s.nsd = (o.surface == how.hausdorff_surface ? apart : SurfaceDistances(pair, o)).nsd(how.nsd_tolerance_mm);
}

}   // namespace evaluation

/// Scores of one case.
/// Numerics  the same bits for any number of threads.
/// Cost      one read of both volumes, then the surfaces in the box of each label and the distances between them
///           (nearest.hpp), twice where both surfaces differ. Labels go to threads; one label alone is cut up itself.
/// Errors    shape_mismatch unless both lie on one grid; unsupported for sheared grids if surfaces are wanted; bad_argument for
///           a percentile, tolerance or planar that cannot be.
inline CaseScores evaluate(const Volume<std::uint8_t>& prediction, const Volume<std::uint8_t>& truth,
                           const EvaluationOptions& options = {}) {
  evaluation::check(options);
  const LabelScan scan = scan_labels(prediction, truth, {options.executor});
  CaseScores out{.spacing_mm = truth.spacing_mm()};
  SurfaceDistanceOptions surface{.empty = options.empty_surface, .planar = options.planar, .executor = options.executor};
  if (options.surfaces) surface.spacing_mm = mask::spacing_for_distance(truth.grid(), {}, "evaluate");
  std::vector<std::uint8_t> labels = options.labels;
  if (labels.empty())
    for (int l = 1; l < 256; ++l)
      if (const auto i = static_cast<std::size_t>(l); scan.predicted[i] + scan.present[i] > 0)
        labels.push_back(static_cast<std::uint8_t>(l));
  out.labels.resize(labels.size());
  mask::for_tasks(options.executor, std::ssize(labels), [&](Index i) {
    LabelScores& s = out.labels[static_cast<std::size_t>(i)];
    s.label = labels[static_cast<std::size_t>(i)];
    s.name = s.label < options.label_names.size() ? options.label_names[s.label] : text("label ", int{s.label});
    s.counts = scan.overlap(s.label);
    s.hd_mm = s.hd95_mm = s.assd_mm = s.nsd = s.cldice = std::numeric_limits<double>::quiet_NaN();
    evaluation::score_overlap(s, truth.affine().voxel_mm3(), options);
    evaluation::grade(s, options.quality);
    const Box box = s.label == 0 ? whole(truth.shape()) : scan.boxes[s.label];
    const MaskPair pair{prediction.data(), truth.data(), truth.shape(), s.label, box};
    if (options.surfaces) evaluation::score_surfaces(s, pair, surface, options);
    if (options.centerlines) s.cldice = centerline_overlap(pair).cldice();
  });
  return out;
}

}   // namespace ctseg
