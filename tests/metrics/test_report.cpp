#include <cmath>
#include <ctseg/metrics/calibration.hpp>
#include <ctseg/metrics/report.hpp>
#include <nlohmann/json.hpp>
#include <string>

#include <doctest/doctest.h>

#include "mask_shapes.hpp"

using namespace ctseg;
using test::add_box;
using test::balls;
using test::grid_of;
using test::Mask;

namespace {

bool same(double a, double b) { return a == b || (std::isnan(a) && std::isnan(b)); }
std::string message_of(const auto& f) {
  try {
    f();
  } catch (const Error& e) {
    return e.what();
  }
  return "";
}

}   // namespace

TEST_CASE("labels are counted and boxed in one pass") {
  const Grid grid = grid_of({37, 21, 40});
  const Mask a = balls(grid, 1, 5), b = balls(grid, 2, 5);
  ThreadPool pool(3);
  const LabelScan scan = scan_labels(a, b, {&pool});
  const auto table = overlap_table(a, b, 6);
  for (std::uint8_t l = 0; l < 6; ++l) {
    CHECK(scan.overlap(l) == table[l]);
    Box box{grid.shape, {0, 0, 0}};
    for (Index z = 0; z < 40; ++z)
      for (Index y = 0; y < 21; ++y)
        for (Index x = 0; x < 37; ++x)
          if (a(z, y, x) == l || b(z, y, x) == l) box = label_scan::joined(box, {{x, y, z}, {x + 1, y + 1, z + 1}});
    if (l > 0) CHECK(scan.boxes[l] == box);
  }
}

TEST_CASE("scores of a case, by hand") {
  Mask truth(grid_of({20, 20, 20}, {1, 2, 0.5})), prediction = truth;
  add_box(truth, {2, 2, 2}, {12, 12, 12});
  add_box(prediction, {4, 2, 2}, {12, 12, 12});
  add_box(prediction, {15, 15, 15}, {16, 16, 16}, 3);
  const CaseScores scores = evaluate(prediction, truth, {.label_names = {"background", "liver"}, .centerlines = true});
  REQUIRE(scores.labels.size() == 2);
  const LabelScores &liver = scores.labels[0], &alarm = scores.labels[1];
  CHECK(liver.name == "liver");
  CHECK(liver.dice == 1600.0 / 1800);
  CHECK(liver.iou == 0.8);
  CHECK(liver.volume_ml == doctest::Approx(0.8));
  CHECK(liver.truth_volume_ml == doctest::Approx(1));
  CHECK(liver.volume_error_ml == doctest::Approx(-0.2));
  CHECK(liver.relative_volume_error == doctest::Approx(-0.2));
  CHECK(liver.hd_mm == doctest::Approx(2));
  CHECK(liver.quality_grade == "acceptable");
  CHECK_FALSE(liver.meets_clinical_standards);
  CHECK(alarm.label == 3);
  CHECK(alarm.name == "label 3");
  CHECK(std::isnan(alarm.dice));
  CHECK(alarm.quality_grade.empty());
  CHECK(std::isinf(alarm.hd95_mm));
  CHECK(alarm.nsd == 0);
  CHECK(std::isnan(alarm.relative_volume_error));
  const auto strict = evaluate(prediction, truth,
                               {.labels = {3},
                                .empty = EmptyPolicy::nnunet,
                                .empty_surface = EmptySurface::penalty,
                                .quality = {.grades = {{"fine", 0.5}, {"bad", 0}}, .clinical = {0, 0, 0, 0}}});
  CHECK(strict.labels[0].dice == 0);
  CHECK(strict.labels[0].quality_grade == "bad");
  CHECK(strict.labels[0].hd95_mm == doctest::Approx(std::sqrt(400 + 1600 + 100.0)));
  CHECK(std::isnan(evaluate(prediction, truth, {.surfaces = false}).labels[0].hd95_mm));
  const auto same_case = evaluate(truth, truth).labels[0];
  CHECK(same_case.meets_clinical_standards);
  CHECK(same_case.quality_grade == "excellent");
  CHECK(message_of([&] { evaluate(truth, truth, {.nsd_tolerance_mm = -1}); }).find("nsd_tolerance_mm = -1") !=
        std::string::npos);
  CHECK(message_of([&] { evaluate(truth, truth, {.hausdorff = {.percentile = 195}}); }).find("195") != std::string::npos);
}

TEST_CASE("many labels have the same bits for 1, 2 and 4 threads") {
  const Grid grid = grid_of({48, 40, 44}, {0.7, 1.3, 2.1});
  const Mask a = balls(grid, 5, 7), b = balls(grid, 6, 7);
  EvaluationOptions options{.centerlines = true};
  const CaseScores alone = evaluate(a, b, options);
  CHECK(alone.labels.size() == 7);
  for (const int threads : {2, 4}) {
    ThreadPool pool(threads);
    options.executor = &pool;
    const CaseScores together = evaluate(a, b, options);
    for (std::size_t l = 0; l < alone.labels.size(); ++l)
      for (const auto& column : report::kColumns) CHECK(same(together.labels[l].*column.value, alone.labels[l].*column.value));
  }
}

TEST_CASE("mean, deviation and median, and what they leave out") {
  const Summary s = summarize(std::vector<double>{4, NAN, 1, 1, 2});
  CHECK(s.mean == 2);
  CHECK(s.std == doctest::Approx(std::sqrt(1.5)));
  CHECK(s.median == 1.5);
  CHECK(s.used == 4);
  CHECK(s.skipped == 1);
  CHECK(std::isnan(summarize(std::vector<double>{1, NAN}, Skip::nothing).mean));
  CHECK(std::isinf(summarize(std::vector<double>{1, INFINITY}).mean));
  CHECK(summarize(std::vector<double>{1, INFINITY}, Skip::not_finite).mean == 1);
  CHECK(std::isnan(summarize(std::vector<double>{NAN}).median));
}

TEST_CASE("a report as JSON and CSV") {
  Mask truth(grid_of({12, 12, 12})), prediction = truth;
  add_box(truth, {2, 2, 2}, {8, 8, 8});
  add_box(prediction, {3, 2, 2}, {8, 8, 8});
  EvaluationReport r{.options = {.label_names = {"", "liver, \"left\"\n"}, .empty = EmptyPolicy::one_zero}};
  r.add("one", prediction, truth);
  r.add("two", truth, truth);
  r.add("three", prediction, Mask(truth.grid()));
  const auto json = nlohmann::json::parse(to_json(r));
  CHECK(json["definitions"]["empty"] == "one_zero");
  CHECK(json["definitions"]["nsd_surface"] == "elements");
  CHECK(json["definitions"]["skip"] == "nan");
  CHECK(json["cases"].size() == 3);
  const auto& one = json["cases"][0]["labels"][0];
  CHECK(one["name"] == "liver, \"left\"\n");
  CHECK(one["dice"].get<double>() == r.cases[0].labels[0].dice);
  CHECK(one["hd95_mm"].get<double>() == 1);
  CHECK(one["cldice"].is_null());
  const auto& three = json["cases"][2]["labels"][0];
  CHECK(three["dice"] == 0);
  CHECK(three["hd95_mm"] == "inf");
  CHECK(three["sensitivity"].is_null());
  CHECK(json["summary"][0]["dice"]["mean"].get<double>() == doctest::Approx((360.0 / 396 + 1) / 3));
  CHECK(json["summary"][0]["sensitivity"]["skipped"] == 1);
  CHECK(json["foreground_mean"]["dice"] == json["summary"][0]["dice"]["mean"]);
  const std::string csv = to_csv(r);
  CHECK(csv.starts_with("case,label,name,dice,iou,"));
  CHECK(csv.find("one,1,\"liver, \"\"left\"\"\n\",0.909090909090909") != std::string::npos);
  CHECK(csv.find(",inf,inf,inf,0,,") != std::string::npos);
  CHECK(nlohmann::json::parse(to_json(EvaluationReport{}))["cases"].empty());
}

TEST_CASE("centre lines: a broken vessel loses its length, an empty one says nothing") {
  Mask truth(grid_of({40, 9, 9}));
  add_box(truth, {2, 3, 3}, {38, 6, 6});
  Mask broken = truth;
  add_box(broken, {20, 3, 3}, {38, 6, 6}, 0);
  CHECK(centerline_overlap(truth, truth).cldice() == 1);
  const CenterlineOverlap o = centerline_overlap(broken, truth);
  CHECK(o.precision() == 1);
  CHECK(o.sensitivity() == doctest::Approx(0.5).epsilon(0.03));
  CHECK(o.cldice() == doctest::Approx(2.0 / 3).epsilon(0.03));
  CHECK(o.present_inside <= o.present);
  CHECK(std::isnan(centerline_overlap(Mask(truth.grid()), truth).cldice()));
}

TEST_CASE("calibration, by hand") {
  const std::vector<float> p{0.f, 0.25f, 0.5f, 0.75f, 1.f};
  const std::vector<std::uint8_t> truth{0, 1, 0, 1, 1};
  const Calibration c = calibration(p, truth, {.bins = 2});
  CHECK(c.bins[0].count == 3);   // 0, 0.25 and the upper end
  CHECK(c.bins[0].mean_probability == 0.25);
  CHECK(c.bins[0].mean_truth == 1.0 / 3);
  CHECK(c.ece == doctest::Approx((3 * (1.0 / 3 - 0.25) + 2 * 0.125) / 5));
  CHECK(c.mce == 0.125);
  CHECK(c.brier == (0.5625 + 0.25 + 0.0625) / 5);
  const Calibration side = calibration(p, truth, {.bins = 2, .reliability = Reliability::confidence});
  CHECK(side.bins[1].count == 4);
  CHECK(side.bins[1].mean_truth == 0.75);   // 0.25 was said of foreground
  CHECK(std::isnan(calibration({}, {}).ece));
  const std::vector<float> bad{1.5f};
  const std::vector<std::uint8_t> one{1};
  CHECK(message_of([&] { calibration(bad, one); }).find("1.5") != std::string::npos);
  CHECK(message_of([&] { calibration(p, one); }).find("5 probabilities") != std::string::npos);
  CHECK(message_of([&] { calibration(bad, one, {.bins = 0}); }).find("bins = 0") != std::string::npos);
}
