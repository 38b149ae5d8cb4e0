#include <cmath>
#include <ctseg/metrics/froc.hpp>
#include <string>

#include <doctest/doctest.h>

#include "../io/temp_folder.hpp"

using namespace ctseg;

namespace {

// Four scans, four nodules. a has two that overlap; d has nothing, but counts in the rate.
//   a  nodules at x = 0 and 4, radius 5:  candidate at 2 (0.9) finds both; at -1 (0.95) finds the first, and is 5 from the
//      second, which is not within 5; at 30 (0.8) is a false alarm
//   b  nodule at 0, radius 3: candidate at 3 (0.7) is not within 3, a false alarm; at 1 (0.7) finds it; excluded at 20 without
//      a diameter, so radius 5: candidate 4 beside it (0.99) counts for nothing
//   c  nodule at 50, radius 4, missed; excluded at 0, radius 2: candidate 1 beside it (0.5) counts for nothing; candidates at
//      10 (0.7) and -10 (0.3) are false alarms
// Nodules are found at 0.95, 0.9 and 0.7, false alarms at 0.8, 0.7, 0.7 and 0.3. The curve:
//   threshold  0.95   0.9   0.8   0.7   0.3
//   alarms/4   0      0     0.25  0.75  1
//   found/4    0.25   0.5   0.5   0.75  0.75
// At 1/8 and 1/4: 0.5; at 1/2 half way from 0.5 to 0.75: 0.625; from 1 on: 0.75. CPM = (0.5 + 0.5 + 0.625 + 4 * 0.75) / 7.
FrocInput by_hand() {
  return {
      .series = {"a", "b", "c", "d"},
      .nodules = {{"a", {0, 0, 0}, 10}, {"a", {4, 0, 0}, 10}, {"b", {0, 0, 0}, 6}, {"c", {50, 0, 0}, 8}, {"x", {0, 0, 0}, 9}},
      .excluded = {{"b", {20, 0, 0}, -1}, {"c", {0, 0, 0}, 4}},
      .candidates = {{"c", {-10, 0, 0}, 0.3},
                     {"a", {2, 0, 0}, 0.9},
                     {"a", {-1, 0, 0}, 0.95},
                     {"a", {30, 0, 0}, 0.8},
                     {"b", {3, 0, 0}, 0.7},
                     {"b", {0, 1, 0}, 0.7},
                     {"b", {20, 4, 0}, 0.99},
                     {"c", {0, 0, 1}, 0.5},
                     {"c", {10, 0, 0}, 0.7},
                     {"y", {0, 0, 0}, 1}}};
}

}   // namespace

TEST_CASE("CPM of four scans, worked by hand") {
  const FrocResult r = evaluate_froc(by_hand());
  CHECK(r.scans == 4);
  CHECK(r.nodules == 4);
  CHECK(r.found == 3);
  CHECK(r.false_positives == 4);
  CHECK(r.double_hits == 1);
  CHECK(r.irrelevant == 2);
  CHECK(r.not_listed == 2);
  CHECK(r.over_limit == 0);
  const double thresholds[] = {0.95, 0.9, 0.8, 0.7, 0.3}, alarms[] = {0, 0, 0.25, 0.75, 1},
               found[] = {0.25, 0.5, 0.5, 0.75, 0.75};
  REQUIRE(r.curve.size() == 5);
  for (std::size_t i = 0; i < 5; ++i) {
    CHECK(r.curve[i].threshold == thresholds[i]);
    CHECK(r.curve[i].false_positives_per_scan == alarms[i]);
    CHECK(r.curve[i].sensitivity == found[i]);
  }
  const double at[] = {0.5, 0.5, 0.625, 0.75, 0.75, 0.75, 0.75};
  REQUIRE(r.sensitivity.size() == 7);
  for (std::size_t i = 0; i < 7; ++i) CHECK(r.sensitivity[i].value == at[i]);
  CHECK(r.cpm.value == doctest::Approx(4.625 / 7).epsilon(1e-15));
}

TEST_CASE("the limit of candidates is strict: equals of the first one too many go with it") {
  FrocInput input{.series = {"a"}, .nodules = {{"a", {0, 0, 0}, 4}}, .excluded = {}, .candidates = {}};
  for (const double p : {0.8, 0.9, 0.1, 0.8}) input.candidates.push_back({"a", {9, 9, 9}, p});
  CHECK(evaluate_froc(input, {.max_candidates = 2, .resamples = 0}).false_positives == 1);
  CHECK(evaluate_froc(input, {.max_candidates = 3, .resamples = 0}).false_positives == 3);
  CHECK(evaluate_froc(input, {.max_candidates = 0, .resamples = 0}).false_positives == 4);
  CHECK(evaluate_froc(input, {.max_candidates = 2, .resamples = 0}).over_limit == 3);
}

TEST_CASE("nothing found, nothing wrong, everything right") {
  const FrocInput none{.series = {"a", "b"}, .nodules = {{"a", {0, 0, 0}, 4}}, .excluded = {}, .candidates = {}};
  CHECK(evaluate_froc(none).cpm.value == 0);
  FrocInput all = none;
  all.candidates = {{"a", {0, 0, 0}, 0.5}};
  const FrocResult r = evaluate_froc(all);
  CHECK(r.cpm.value == 1);
  CHECK(r.cpm.low == 1);
  CHECK(r.cpm.high == 1);
}

TEST_CASE("intervals: the same for any number of threads, another seed other ones, around the value") {
  FrocInput input;
  RandomStream random({.seed = 3});
  for (int s = 0; s < 40; ++s) {
    const std::string uid = text("scan ", s);
    input.series.push_back(uid);
    for (Index n = random.below(4); n > 0; --n) {
      const Point<Lps> at{random.uniform(-99, 99), random.uniform(-99, 99), random.uniform(-99, 99)};
      input.nodules.push_back({uid, at, 8});
      if (random.uniform() < 0.7) input.candidates.push_back({uid, at, random.uniform(0.3, 1)});
    }
    for (int c = 0; c < 6; ++c) input.candidates.push_back({uid, {200, 200, 200}, random.uniform()});
  }
  const FrocResult alone = evaluate_froc(input, {.seed = 1});
  ThreadPool pool(4);
  const FrocResult together = evaluate_froc(input, {.seed = 1, .executor = &pool}), other = evaluate_froc(input, {.seed = 2});
  CHECK(alone.cpm.low == together.cpm.low);
  CHECK(alone.cpm.high == together.cpm.high);
  CHECK(alone.cpm.low != other.cpm.low);
  for (const Interval& i : alone.sensitivity) {
    CHECK(i.low <= i.value);
    CHECK(i.value <= i.high);
    CHECK(i.high - i.low < 0.5);
  }
  CHECK(alone.cpm.low < alone.cpm.value - 0.02);
  CHECK(alone.cpm.high > alone.cpm.value + 0.02);
  CHECK(std::isnan(evaluate_froc(input, {.resamples = 0}).cpm.low));
  const FrocResult narrow = evaluate_froc(input, {.confidence = 0.5, .seed = 1});
  CHECK(narrow.cpm.low > alone.cpm.low);
  CHECK(narrow.cpm.high < alone.cpm.high);
}

TEST_CASE("what cannot be scored is refused") {
  FrocInput input = by_hand();
  CHECK(error_of([&] { evaluate_froc(input, {.rates = {}}); }).find("no rates") != std::string::npos);
  CHECK(error_of([&] { evaluate_froc(input, {.rates = {0}}); }).find("a rate is 0") != std::string::npos);
  CHECK(error_of([&] { evaluate_froc(input, {.resamples = -1}); }).find("resamples = -1") != std::string::npos);
  CHECK(error_of([&] { evaluate_froc(input, {.confidence = 95}); }).find("confidence = 95") != std::string::npos);
  input.candidates[0].probability = NAN;
  CHECK(error_of([&] { evaluate_froc(input); }).find("no number") != std::string::npos);
  input = by_hand();
  input.series.push_back("a");
  CHECK(error_of([&] { evaluate_froc(input); }).find("a is listed twice") != std::string::npos);
  input.series = {"d"};
  CHECK(error_of([&] { evaluate_froc(input); }).find("none of the 1 scans") != std::string::npos);
  CHECK(error_of([&] { evaluate_froc({}); }).find("no scans") != std::string::npos);
}

TEST_CASE("LUNA16's tables of results, written and read") {
  const TempFolder folder;
  const std::vector<NoduleFinding> findings{{"1.3.6", {-12.25, 1.0 / 3, 1e-3}, 0.875}, {"1.3.7", {1, 2, 3}, 1}};
  write_luna16_results(folder / "results.csv", findings);
  const auto again = read_luna16_results(folder / "results.csv");
  REQUIRE(again.size() == 2);
  CHECK(again[0].series_uid == "1.3.6");
  CHECK(again[0].centre.y == 1.0 / 3);
  CHECK(again[0].probability == 0.875);
  const std::vector<Nodule> nodules{{"a", {1.0 / 3, -2, 1e-9}, 5.25}};
  write_luna16_annotations(folder / "annotations.csv", nodules);
  const auto back = read_luna16_annotations(folder / "annotations.csv");
  REQUIRE(back.size() == 1);
  CHECK((back[0].series_uid == "a" && back[0].centre.x == 1.0 / 3 && back[0].centre.z == 1e-9));
  CHECK((back[0].centre.y == -2 && back[0].diameter_mm == 5.25));
  CHECK(error_of([&] { write_luna16_results(folder / "bad.csv", {{"a,b", {}, 1}}); }).find("a,b") != std::string::npos);
  CHECK(error_of([&] {
          write_luna16_results(folder / "bad.csv", {{"a", {}, INFINITY}});
        }).find("not finite") != std::string::npos);
  const auto put = [&](const char* name, const std::string& words) {
    io::write_file(folder / name, std::as_bytes(std::span(words)));
    return folder / name;
  };
  const auto excluded = put("excluded.csv", "seriesuid,coordX,coordY,coordZ,diameter_mm\n1.3.6,1,2,3,-1\n1.3.7,1,2,3,4.5\n");
  CHECK(read_luna16_excluded(excluded)[0].diameter_mm == -1);
  CHECK(read_luna16_excluded(excluded)[1].diameter_mm == 4.5);
  CHECK(read_luna16_series(put("series.csv", "1.3.6\r\n1.3.7\n\n")) == std::vector<std::string>{"1.3.6", "1.3.7"});
  CHECK(read_luna16_series(put("named.csv", "seriesuid\n1.3.6")) == std::vector<std::string>{"1.3.6"});
  CHECK(error_of([&] { read_luna16_series(put("two.csv", "1.3.6,7\n")); }).find("2 columns") != std::string::npos);
  CHECK(error_of([&] { read_luna16_series(put("none.csv", "\n")); }).find("no names") != std::string::npos);
  CHECK(error_of([&] {
          read_luna16_results(put("p.csv", "seriesuid,coordX,coordY,coordZ,probability\na,1,2,3,nan\n"));
        }).find("line 2") != std::string::npos);
}
