// Scores against MONAI, DeepMind's surface-distance, SciPy and scikit-image: what make_metric_fixtures.py wrote.
#include <ctseg/metrics/calibration.hpp>
#include <ctseg/metrics/evaluate.hpp>
#include <ctseg/metrics/froc.hpp>

#include <iterator>
#include <sstream>

#include "fixture_file.hpp"

using namespace ctseg;

namespace {

using Mask = Volume<std::uint8_t>;

struct Pair {
  Mask prediction, truth;
  std::vector<std::uint8_t> centerline;   // of the prediction, by scikit-image
  double tolerance_mm;
  bool planar;
  std::map<std::string, double> scores;
};

std::vector<std::uint8_t> unpacked(const std::vector<std::uint8_t>& bits, std::size_t& at, Index count) {
  std::vector<std::uint8_t> out;
  for (Index i = 0; i < count; ++i) out.push_back(bits[at + static_cast<std::size_t>(i) / 8] >> (7 - i % 8) & 1);
  at += static_cast<std::size_t>(count + 7) / 8;
  return out;
}

std::vector<Pair> pairs() {
  const test::Fixture fixture("metrics");
  const auto bits = fixture.values<std::uint8_t>("masks"), lines = fixture.values<std::uint8_t>("skeletons");
  const auto shapes = fixture.values<std::int32_t>("shapes");
  const auto spacings = fixture.values("spacings"), tolerances = fixture.values("tolerances"),
             scores = fixture.values("scores");
  std::istringstream words(fixture.metadata("columns"));
  const std::vector<std::string> columns{std::istream_iterator<std::string>(words), {}};
  std::vector<Pair> out;
  std::size_t at = 0, line_at = 0;
  for (std::size_t i = 0; i < tolerances.size(); ++i) {
    const std::int32_t* n = shapes.data() + 3 * i;
    const double* mm = spacings.data() + 3 * i;
    const Grid grid{{n[2], n[1], n[0]}, Affine<Ras>(Eigen::Vector4d(mm[2], mm[1], mm[0], 1).asDiagonal())};
    Mask prediction(grid, unpacked(bits, at, grid.voxels())), truth(grid, unpacked(bits, at, grid.voxels()));
    Pair pair{std::move(prediction), std::move(truth), unpacked(lines, line_at, grid.voxels()), tolerances[i], i >= 160, {}};
    for (std::size_t c = 0; c < columns.size(); ++c) pair.scores[columns[c]] = scores[i * columns.size() + c];
    out.push_back(std::move(pair));
  }
  return out;
}

/// Largest differences, by score; both NaN, or both infinite, is none.
struct Worst {
  std::map<std::string, double> apart{};
  void add(const std::string& name, double found, double exact) {
    const bool same = found == exact || (std::isnan(found) && std::isnan(exact));
    const double gap = same ? 0 : std::isfinite(found) && std::isfinite(exact) ? std::abs(found - exact) : INFINITY;
    apart[name] = std::max(apart[name], gap / std::max(1.0, std::isfinite(exact) ? std::abs(exact) : 1.0));
  }
  void check() const {
    for (const auto& score : apart) {
      MESSAGE(score.first << " differs by at most " << score.second);
      CHECK_MESSAGE(score.second <= 1e-6, score.first << " differs by " << score.second);
    }
  }
};

}   // namespace

TEST_CASE("scores of 200 pairs of masks equal MONAI's, DeepMind's, SciPy's and scikit-image's") {
  const auto all = pairs();
  REQUIRE(all.size() == 200);
  Worst worst;
  for (const Pair& p : all) {
    const auto check = [&](const std::string& name, double found) { worst.add(name, found, p.scores.at(name)); };
    const Overlap o = overlap(p.prediction, p.truth);
    check("dice_nan", o.dice());
    check("dice_one", o.dice(EmptyPolicy::one_zero));
    check("iou_nan", o.iou());
    check("sensitivity", o.sensitivity());
    check("specificity", o.specificity());
    check("precision", o.precision());
    check("accuracy", o.accuracy());
    const auto monai = surface_distances(p.prediction, p.truth, {.planar = p.planar});
    check("hd", monai.hausdorff_mm());
    check("hd95", monai.hausdorff_mm({.percentile = 95}));
    check("hd50", monai.hausdorff_mm({.percentile = 50}));
    check("pooled95", monai.hausdorff_mm({.percentile = 95, .directions = Directions::pooled}));
    check("asd", monai.mean_to_truth_mm());
    check("assd", monai.assd_mm());
    check("nsd", monai.nsd(p.tolerance_mm));
    const auto deepmind = surface_distances(p.prediction, p.truth, {.surface = Surface::elements, .planar = p.planar});
    check("deepmind_hd", deepmind.hausdorff_mm());
    check("deepmind_hd95", deepmind.hausdorff_mm({.percentile = 95, .rule = Percentile::by_area}));
    check("deepmind_to_truth", deepmind.mean_to_truth_mm());
    check("deepmind_to_prediction", deepmind.mean_to_prediction_mm());
    check("deepmind_nsd", deepmind.nsd(p.tolerance_mm));
    check("cldice", centerline_overlap(p.prediction, p.truth).cldice());
  }
  worst.check();
}

TEST_CASE("centre lines are scikit-image's, voxel for voxel") {
  for (const Pair& p : pairs()) CHECK(skeletonize(p.prediction).voxels() == p.centerline);
}

TEST_CASE("evaluate says the same as the functions it is made of") {
  Worst worst;
  for (const Pair& p : pairs()) {
    const LabelScores s = evaluate(p.prediction, p.truth,
                                   {.labels = {1}, .nsd_tolerance_mm = p.tolerance_mm, .planar = p.planar, .centerlines = true})
                              .labels[0];
    const auto check = [&](const std::string& name, double found) { worst.add(name, found, p.scores.at(name)); };
    check("dice_nan", s.dice);
    check("sensitivity", s.sensitivity);
    check("hd", s.hd_mm);
    check("hd95", s.hd95_mm);
    check("assd", s.assd_mm);
    check("deepmind_nsd", s.nsd);
    check("cldice", s.cldice);
  }
  worst.check();
}

TEST_CASE("calibration equals MONAI's and the published formulas") {
  const test::Fixture fixture("metrics");
  const auto probability = fixture.values<float>("probability");
  const auto truth = fixture.values<std::uint8_t>("truth");
  const auto exact = fixture.values("calibration");
  const Calibration monai = calibration(probability, truth);
  CHECK(monai.ece == doctest::Approx(exact[0]).epsilon(1e-5));   // MONAI sums in float
  CHECK(monai.brier == doctest::Approx(exact[2]).epsilon(1e-9));
  CHECK(monai.nll == doctest::Approx(exact[3]).epsilon(1e-9));
  const Calibration guo = calibration(probability, truth, {.reliability = Reliability::confidence});
  CHECK(guo.ece == doctest::Approx(exact[1]).epsilon(1e-6));
  CHECK(guo.brier == monai.brier);
}

TEST_CASE("FROC equals LUNA16's rules as NumPy has them") {
  const test::Fixture fixture("metrics");
  const auto table = fixture.values<std::int32_t>("froc.shape");
  FrocInput input;
  for (int s = 0; s < table[0]; ++s) input.series.push_back(text("scan ", s));
  const auto rows = [&](const std::string& name, auto& out) {
    const auto v = fixture.values(name);
    for (std::size_t i = 0; i < v.size(); i += 5)
      out.push_back({text("scan ", static_cast<int>(v[i])), {v[i + 1], v[i + 2], v[i + 3]}, v[i + 4]});
  };
  rows("froc.nodules", input.nodules);
  rows("froc.excluded", input.excluded);
  rows("froc.candidates", input.candidates);
  const FrocResult found = evaluate_froc(input, {.max_candidates = table[1]});
  const auto exact = fixture.values("froc.sensitivity");
  REQUIRE(found.sensitivity.size() == 7);
  for (std::size_t i = 0; i < 7; ++i) CHECK(found.sensitivity[i].value == doctest::Approx(exact[i]).epsilon(1e-12));
  CHECK(found.cpm.value == doctest::Approx(exact[7]).epsilon(1e-12));
  CHECK(found.over_limit > 0);
  CHECK(found.irrelevant > 0);
  CHECK(found.double_hits > 0);
}
