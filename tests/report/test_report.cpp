// What reports are made of: measures of labels, spreads of scores, hashes, and text that is valid whatever it is about.
#include <doctest/doctest.h>
#include <ctseg/report/case_info.hpp>
#include <ctseg/report/html.hpp>
#include <ctseg/report/sha256.hpp>
#include <nlohmann/json.hpp>

#include "../io/temp_folder.hpp"

using namespace ctseg;

namespace {

Grid grid_of(Xyz<Index> shape) {
  Eigen::Matrix4d m = Eigen::Matrix4d::Identity();
  m(0, 0) = -0.5, m(2, 2) = 4, m(0, 3) = 10, m(1, 3) = 20, m(2, 3) = 30;
  return {shape, Affine<Ras>(m)};
}
EvaluationReport report_of(const std::vector<double>& dice) {
  EvaluationReport r;
  for (std::size_t i = 0; i < dice.size(); ++i) {
    CaseScores c{.name = text("case ", i)};
    LabelScores s{.name = "a < b & \"c\""};
    s.dice = dice[i], s.hd95_mm = 1;
    c.labels = {s};
    r.cases.push_back(c);
  }
  return r;
}
constexpr double kNan = std::numeric_limits<double>::quiet_NaN(), kInf = std::numeric_limits<double>::infinity();

}   // namespace

TEST_CASE("labels are measured") {
  Volume<std::uint8_t> mask(grid_of({5, 4, 70}));   // more slices than tasks
  Volume<float> ct(mask.grid(), -1000);
  for (const Index z : {1, 68})
    for (const Index x : {2, 3, 4}) mask(z, 2, x) = 7, ct(z, 2, x) = static_cast<float>(10 * x + z);
  mask(0, 0, 0) = 1;
  ct(68, 2, 4) = std::numeric_limits<float>::quiet_NaN();
  ThreadPool pool(2);
  const auto all = measure_labels(mask, {.ct = &ct, .names = {"none", "first"}, .executor = &pool});
  REQUIRE(all.size() == 2);
  CHECK(all[0].name == "first");
  CHECK(all[1].name == "label 7");
  const LabelMeasure& m = all[1];
  CHECK(m.voxels == 6);
  CHECK(m.volume_ml == doctest::Approx(6 * 2.0 / 1000));
  CHECK(m.hu_mean == doctest::Approx((21 + 31 + 41 + 88 + 98) / 5.0));   // without the NaN
  CHECK(m.hu_sd == doctest::Approx(std::sqrt((21 * 21 + 31 * 31 + 41 * 41 + 88 * 88 + 98 * 98) / 5.0 - 55.8 * 55.8)));
  CHECK(m.first == Xyz<Index>{2, 2, 1});
  CHECK(m.last == Xyz<Index>{4, 2, 68});
  CHECK(m.centroid_voxel == Xyz<double>{3, 2, 34.5});
  CHECK(m.centroid_mm.x == -8.5);   // LPS
  CHECK(m.centroid_mm.y == -22);
  CHECK(m.centroid_mm.z == 168);
  CHECK(is_nan(measure_labels(mask)[1].hu_mean));
  CHECK_THROWS_AS(measure_labels(Volume<std::uint8_t>(grid_of({5, 4, 3})), {.ct = &ct}), Error);
}

TEST_CASE("SHA-256 of the standard's examples") {
  const auto of = [](std::string_view words) {
    Sha256 hash;
    for (const char& c : words) hash.add(std::as_bytes(std::span(&c, 1)));
    return hash.finish();
  };
  CHECK(of("") == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  CHECK(of("abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  CHECK(of("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq") ==
        "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
  const TempFolder folder;
  spill(folder / "million", std::string(1000000, 'a'));
  CHECK(sha256_of(folder / "million") == "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

TEST_CASE("spreads: quartiles as NumPy's, an interval around the mean, what is left out") {
  const Spread s = spread_of({1, 2, 3, 4, kNan});
  CHECK(s.summary.mean == 2.5);
  CHECK(s.summary.skipped == 1);
  CHECK(s.q1 == 1.75);
  CHECK(s.q3 == 3.25);
  CHECK(s.iqr() == 1.5);
  CHECK(s.ci_low >= 1);
  CHECK(s.ci_low < 2.5);
  CHECK(s.ci_high > 2.5);
  CHECK(s.ci_high <= 4);
  CHECK(spread_of({1, 2, 3, 4}).ci_low == s.ci_low);   // the same draws every time
  CHECK(spread_of({1, 2, 3, 4}, {.seed = 9}).ci_low != 0);
  CHECK(spread_of({1, kInf}).summary.mean == kInf);
  CHECK(spread_of({1, kInf}, {.skip = Skip::not_finite}).high == 1);
  CHECK(is_nan(spread_of({kNan}).q1));
  CHECK(is_nan(spread_of({5}).ci_low));   // one value has no interval
  std::vector<double> many;
  for (int i = 0; i < 400; ++i) many.push_back(i % 20);
  const Spread wide = spread_of(many);   // mean 9.5, its deviation 5.766 / 20
  CHECK(wide.ci_low == doctest::Approx(9.5 - 1.96 * 0.2883).epsilon(0.02));
  CHECK(wide.ci_high == doctest::Approx(9.5 + 1.96 * 0.2883).epsilon(0.02));
}

TEST_CASE("the worst cases come first, those without a score last") {
  const EvaluationReport r = report_of({0.9, kNan, 0.2, 0.5, 0.7, 0.8});
  CHECK(worst_cases(r) == std::vector<std::size_t>{2, 3, 4, 5, 0});
  CHECK(worst_cases(r, 9).back() == 1);
}

TEST_CASE("summary, page and picture hold what they must, escaped") {
  const EvaluationReport r = report_of({0.9, kNan, 0.2, kInf});
  const auto json = nlohmann::json::parse(summary_json(r));
  CHECK(json["labels"][0]["dice"]["skipped"] == 1);
  CHECK(json["labels"][0]["dice"]["mean"] == "inf");
  CHECK(json["worst"].size() == 4);
  CHECK(json["empty_rule"].get<std::string>().find("(nan)") != std::string::npos);
  const std::string html = to_html(r, {.title = "<T>", .worst = {{"x", {2, 1, {1, 2, 3, 4, 5, 6}}}}});
  CHECK(html.find("<T>") == std::string::npos);
  CHECK(html.find("a &lt; b &amp; &quot;c&quot;") != std::string::npos);
  CHECK(html.find("base64,iVBORw0KGgo") != std::string::npos);   // how every PNG begins
  const std::string svg = distribution_svg(r);
  CHECK(svg.find("&#215;") != std::string::npos);   // the infinite one
  CHECK(svg.find("nan") == std::string::npos);
  CHECK_THROWS_AS(distribution_svg(r, {.scores = {"charm"}}), Error);
}

TEST_CASE("base64") {
  const auto of = [](std::string_view words) { return report::base64(std::as_bytes(std::span(words))); };
  CHECK(of("") == "");
  CHECK(of("f") == "Zg==");
  CHECK(of("fo") == "Zm8=");
  CHECK(of("foobar") == "Zm9vYmFy");
}

TEST_CASE("JSON is valid whatever bytes a name has") {
  for (const std::string name :
       {"plain", "\"\\\n\x01", "скан", "\xff\xfe", "\xc3", "\xe2\x82", "\xed\xa0\x80", "\xf4\x90\x80\x80", "\xc0\xaf"}) {
    report::JsonWriter json;
    json.open('{');
    json.field("name", std::string_view(name));
    json.close('}');
    const std::string words = json.take();
    CHECK_MESSAGE(nlohmann::json::accept(words), words);
  }
}

TEST_CASE("a run's record") {
  RunRecord run{.command = "segment", .inputs = {"ct.nii"}, .model = "m", .model_sha256 = "00"};
  RunClock clock(run);
  clock.stage("read"), clock.stage("work"), clock.stage("read");
  clock.finish();
  run.grid = grid_of({2, 3, 4});
  run.labels = measure_labels(Volume<std::uint8_t>(*run.grid, 3));
  const auto json = nlohmann::json::parse(to_json(run));
  CHECK(json["stages_s"].size() == 2);
  CHECK(json["peak_memory_mb"] > 1);
  CHECK(json["started"].get<std::string>().size() == 20);
  CHECK(json["model"]["sha256"] == "00");
  CHECK(json["labels"][0]["hu_mean"].is_null());
  CHECK(json["labels"][0]["bbox"]["last"] == nlohmann::json({1, 2, 3}));
  CHECK(json["affine"][0] == nlohmann::json({-0.5, 0, 0, 10}));
}

TEST_CASE("what is odd about a scan") {
  Volume<float> ct(grid_of({2, 2, 2}), 5);
  CHECK(describe(ct).warnings == std::vector<std::string>{"all voxels are 5"});
  ct.voxels()[0] = -1e6f;
  CHECK(describe(ct).warnings.size() == 1);
  ct.voxels()[0] = -1000;
  CHECK(describe(ct).warnings.empty());
  CHECK(describe(ct).hu_min == -1000);
  std::fill(ct.voxels().begin(), ct.voxels().end(), std::numeric_limits<float>::infinity());
  CHECK(describe(ct).not_finite == 8);
  CHECK(is_nan(describe(ct).hu_mean));
}
