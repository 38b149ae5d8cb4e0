// Splits: shares by patient, nobody on two sides, the same for every order of the input.
#include <doctest/doctest.h>
#include <ctseg/data/split.hpp>

#include "../io/temp_folder.hpp"

using namespace ctseg;

namespace {

/// Cases c0, c1, ...; `each` of them in a row are one patient's.
std::vector<CaseFiles> cases_of(int patients, int each = 1) {
  std::vector<CaseFiles> out;
  for (int p = 0; p < patients; ++p)
    for (int i = 0; i < each; ++i) {
      const std::string name = text("c", p * each + i);
      out.push_back({name, text("p", p), "/d/" + name + ".nii", "/d/" + name + "_l.nii"});
    }
  return out;
}
std::string names_of(const std::vector<CaseFiles>& cases) {
  std::string out;
  for (const CaseFiles& c : cases) out += c.name + " ";
  return out;
}
std::string names_of(const CaseSplit& s) { return names_of(s.train) + "| " + names_of(s.val) + "| " + names_of(s.test); }
std::set<std::string> patients_of(const std::vector<CaseFiles>& cases) {
  std::set<std::string> out;
  for (const CaseFiles& c : cases) out.insert(c.patient);
  return out;
}

TEST_CASE("shares of patients are rounded, halves up, and none is empty") {
  struct Row {
    int patients;
    double train, test;
    std::size_t in_train, in_val, in_test;
  };
  for (const Row& r :
       {Row{10, 0.7, 0, 7, 3, 0}, Row{10, 0.8, 0, 8, 2, 0}, Row{5, 0.7, 0, 4, 1, 0}, Row{50, 0.29, 0, 15, 35, 0},
        Row{10, 0.7, 0.15, 7, 1, 2}, Row{10, 0.7, 0.3, 7, 0, 3}, Row{2, 0.99, 0, 1, 1, 0}, Row{2, 0.01, 0, 1, 1, 0},
        Row{3, 0.98, 0.01, 1, 1, 1}, Row{3, 0.01, 0.01, 1, 1, 1}, Row{3, 1, 0, 3, 0, 0}, Row{3, 0, 0, 0, 3, 0},
        Row{3, 0, 1, 0, 0, 3}, Row{1000, 0.1, 0.2, 100, 700, 200}}) {
    CAPTURE(r.patients);
    CAPTURE(r.train);
    CAPTURE(r.test);
    const CaseSplit s = split(cases_of(r.patients), {.train = r.train, .test = r.test});
    CHECK(s.train.size() == r.in_train);
    CHECK(s.val.size() == r.in_val);
    CHECK(s.test.size() == r.in_test);
  }
}

TEST_CASE("all cases of a patient are on one side, and every case is somewhere once") {
  for (std::uint64_t seed = 0; seed < 20; ++seed) {
    const CaseSplit s = split(cases_of(9, 4), {.train = 0.6, .test = 0.2, .seed = seed});
    CHECK(s.train.size() + s.val.size() + s.test.size() == 36);
    auto all = patients_of(s.train);
    const std::size_t train = all.size();
    CHECK(train == 5);
    all.merge(patients_of(s.val));
    all.merge(patients_of(s.test));
    CHECK(all.size() == 9);
    CHECK(patients_of(s.val).size() + patients_of(s.test).size() == 4);
  }
}

TEST_CASE("a split depends on the seed, not on the order of the input; its parts are in natural order") {
  auto cases = cases_of(12, 2);
  const std::string first = names_of(split(cases, {.seed = 7}));
  // Written down once: a split that changed would leak test patients into somebody's training.
  CHECK(first == "c2 c3 c4 c5 c8 c9 c10 c11 c12 c13 c14 c15 c18 c19 c22 c23 | c0 c1 c6 c7 c16 c17 c20 c21 | ");
  RandomStream random({1});
  for (int i = 0; i < 10; ++i) {
    for (std::size_t k = cases.size(); k > 1; --k)
      std::swap(cases[k - 1], cases[static_cast<std::size_t>(random.below(static_cast<Index>(k)))]);
    CHECK(names_of(split(cases, {.seed = 7})) == first);
    CHECK(names_of(k_folds(cases, 3, 5)[1]) == names_of(k_folds(cases_of(12, 2), 3, 5)[1]));
  }
  std::set<std::string> different;
  for (std::uint64_t seed = 0; seed < 20; ++seed) different.insert(names_of(split(cases, {.seed = seed})));
  CHECK(different.size() >= 19);
}

TEST_CASE("every patient is drawn about equally often") {
  std::map<std::string, int> in_val;
  for (std::uint64_t seed = 0; seed < 1000; ++seed)
    for (const CaseFiles& c : split(cases_of(10), {.train = 0.7, .seed = seed}).val) ++in_val[c.name];
  CHECK(in_val.size() == 10);
  for (const auto& [name, count] : in_val) CHECK(std::abs(count - 300) < 75);   // 5 standard deviations
}

TEST_CASE("folds: each patient is held out once, sizes differ by one at most") {
  for (int k : {2, 3, 5, 11}) {
    const auto folds = k_folds(cases_of(11, 3), k, 3);
    REQUIRE(folds.size() == static_cast<std::size_t>(k));
    std::map<std::string, int> held;
    for (const CaseSplit& f : folds) {
      CHECK(f.test.empty());
      CHECK(f.train.size() + f.val.size() == 33);
      const auto val = patients_of(f.val), train = patients_of(f.train);
      CHECK(val.size() + train.size() == 11);
      CHECK((val.size() == static_cast<std::size_t>(11 / k) || val.size() == static_cast<std::size_t>(11 / k) + 1));
      for (const auto& p : val) ++held[p];
    }
    CHECK(held.size() == 11);
    for (const auto& [patient, times] : held) CHECK(times == 1);
  }
}

TEST_CASE("a case without a patient counts as one of its own") {
  auto cases = cases_of(4);
  for (CaseFiles& c : cases) c.patient.clear();
  CHECK(split(cases, {.train = 0.5}).train.size() == 2);
}

TEST_CASE("what cannot be split is said with numbers") {
  CHECK(error_of([] { split(cases_of(3), {.train = -0.1}); }).find("train = -0.1") != std::string::npos);
  CHECK(error_of([] { split(cases_of(3), {.train = 0.7, .test = 0.4}); }).find("at most 1") != std::string::npos);
  CHECK(error_of([] { split(cases_of(3), {.train = std::nan("")}); }) != "");
  CHECK(error_of([] { split(cases_of(1, 5), {.train = 0.7}); }).find("1 patients cannot be split into 2") != std::string::npos);
  CHECK(error_of([] { split({}); }).find("0 patients") != std::string::npos);
  CHECK(error_of([] { k_folds(cases_of(4), 1); }).find("k = 1; must be 2 to 4") != std::string::npos);
  CHECK(error_of([] { k_folds(cases_of(4, 9), 5); }).find("k = 5; must be 2 to 4") != std::string::npos);
}

TEST_CASE("a data set that comes split is taken as it is, unless a patient is in two parts") {
  const TempFolder f;
  const auto add = [&](const std::string& part, const std::string& name) {
    for (const char* kind : {"ct_scans", "masks"}) {
      std::filesystem::create_directories(f / part / kind);
      spill(f / part / kind / (name + ".nii.gz"), "x");
    }
  };
  add("train", "a_1");
  add("train", "a_2");
  add("val", "b_1");
  CHECK(names_of(find_split(f.path)) == "a_1 a_2 | b_1 | ");
  add("test", "c_1");
  CHECK(names_of(find_split(f.path)) == "a_1 a_2 | b_1 | c_1 ");
  add("test", "a_3");
  CHECK(names_of(find_split(f.path)) == "a_1 a_2 | b_1 | a_3 c_1 ");
  Layout by_patient = layouts::ct_scans_masks;
  by_patient.patient_until = "_";
  const std::string message = error_of([&] { find_split(f.path, by_patient); });
  CHECK(message.find("test/ct_scans/a_3.nii.gz: is of patient a, as is") != std::string::npos);
  CHECK(message.find("train/ct_scans/a_1.nii.gz") != std::string::npos);
}

}   // namespace
