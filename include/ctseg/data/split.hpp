// Splits by patient: no patient is ever on two sides. The same cases and seed give the same split, in whatever order they come.
#pragma once
#include <cmath>
#include <optional>
#include <set>
#include <tuple>

#include "../core/random.hpp"
#include "dataset.hpp"

namespace ctseg {

struct CaseSplit {
  std::vector<CaseFiles> train, val, test;   // each in natural order of names
};

/// Shares of the patients; val takes what train and test leave.
struct SplitOptions {
  double train = 0.7, test = 0;
  std::uint64_t seed = 0;
};

namespace dataset {

inline const std::string& patient_of(const CaseFiles& c) { return c.patient.empty() ? c.name : c.patient; }

/// Every patient once, shuffled by the seed alone.
inline std::vector<std::string> shuffled_patients(const std::vector<CaseFiles>& cases, std::uint64_t seed) {
  constexpr std::uint32_t kStream = 0x53504c54;   // keeps these draws apart from everything else's
  std::set<std::string> all;
  for (const CaseFiles& c : cases) all.insert(patient_of(c));
  std::vector<std::string> patients(all.begin(), all.end());
  RandomStream random({seed, 0, kStream});
  for (std::size_t i = patients.size(); i > 1; --i)
    std::swap(patients[i - 1], patients[static_cast<std::size_t>(random.below(static_cast<Index>(i)))]);
  return patients;
}

/// Sends each case where its patient goes: 0 train, 1 val, 2 test.
inline CaseSplit distribute(std::vector<CaseFiles> cases, const std::map<std::string, int>& side_of) {
  std::sort(cases.begin(), cases.end(), [](const CaseFiles& a, const CaseFiles& b) {
    if (a.name != b.name) return natural_less(a.name, b.name);
    return std::tie(a.image, a.label, a.patient) < std::tie(b.image, b.label, b.patient);
  });
  CaseSplit out;
  for (CaseFiles& c : cases) {
    const int side = side_of.at(patient_of(c));
    (side == 0 ? out.train : side == 1 ? out.val : out.test).push_back(std::move(c));
  }
  return out;
}

}   // namespace dataset

/// Splits by patient: round(train * patients) go to train, the next to test up to round((train + test) * patients), the others
/// to val; halves round up. A share above 0 gets at least one patient.
/// Errors    bad_argument for shares that are none, or if there are fewer patients than shares.
inline CaseSplit split(std::vector<CaseFiles> cases, const SplitOptions& options = {}) {
  const double sum = options.train + options.test;
  if (!is_finite(sum) || options.train < 0 || options.test < 0 || sum > 1 + 1e-9)
    throw Error(Code::bad_argument, "split",
                text("train = ", options.train, ", test = ", options.test, "; both must be >= 0 and their sum at most 1."));
  const std::vector<std::string> patients = dataset::shuffled_patients(cases, options.seed);
  const auto count = std::ssize(patients);
  const bool has_train = options.train > 0, has_test = options.test > 0, has_val = sum < 1 - 1e-9;
  if (const int shares = has_train + has_test + has_val; count < shares)
    throw Error(Code::bad_argument, "split",
                text(count, " patients cannot be split into ", shares, " shares; each needs at least one patient."));
  const auto rounded = [&](double share) {   // 0.29 * 50 is a hair below 14.5
    return static_cast<Index>(std::floor(share * static_cast<double>(count) + 0.5 + 1e-9));
  };
  const Index train = std::clamp<Index>(rounded(options.train), has_train, count - has_test - has_val);
  const Index held = std::clamp<Index>(rounded(sum), train + has_test, count - has_val);   // end of the patients for test
  std::map<std::string, int> side_of;
  for (Index i = 0; i < count; ++i) side_of[patients[static_cast<std::size_t>(i)]] = i < train ? 0 : i < held ? 2 : 1;
  return dataset::distribute(std::move(cases), side_of);
}

/// k splits; each patient is in `val` of exactly one of them. Fold sizes differ by at most one patient.
/// Errors    bad_argument unless 2 <= k <= patients.
inline std::vector<CaseSplit> k_folds(const std::vector<CaseFiles>& cases, int k, std::uint64_t seed = 0) {
  const std::vector<std::string> patients = dataset::shuffled_patients(cases, seed);
  if (k < 2 || k > std::ssize(patients))
    throw Error(Code::bad_argument, "k_folds",
                text("k = ", k, "; must be 2 to ", patients.size(), ", the number of patients."));
  std::vector<CaseSplit> folds;
  for (int fold = 0; fold < k; ++fold) {
    std::map<std::string, int> side_of;
    for (std::size_t i = 0; i < patients.size(); ++i) side_of[patients[i]] = static_cast<int>(i) % k == fold ? 1 : 0;
    folds.push_back(dataset::distribute(cases, side_of));
  }
  return folds;
}

/// A data set that comes split: folder/train, folder/val, folder/test, each in `layout`. val and test may be missing.
/// Errors    those of find_cases; bad_input if a patient is in two of them.
inline CaseSplit find_split(const std::filesystem::path& folder, const Layout& layout = layouts::ct_scans_masks) {
  CaseSplit out{.train = find_cases(folder / "train", layout), .val = {}, .test = {}};
  std::error_code ignored;
  if (std::filesystem::exists(folder / "val", ignored)) out.val = find_cases(folder / "val", layout);
  if (std::filesystem::exists(folder / "test", ignored)) out.test = find_cases(folder / "test", layout);
  std::map<std::string, std::pair<int, std::filesystem::path>> seen;
  int side = 0;
  for (const auto* part : {&out.train, &out.val, &out.test}) {
    for (const CaseFiles& c : *part)
      if (const auto at = seen.emplace(dataset::patient_of(c), std::pair(side, c.image)).first; at->second.first != side)
        throw Error(Code::bad_input, c.image.string(),
                    text("is of patient ", at->first, ", as is ", at->second.second.string(),
                         "; a patient must be in one of train, val and test only."));
    ++side;
  }
  return out;
}

}   // namespace ctseg
