// Detection scored as LUNA16 does: which candidates find which nodules, how many false alarms that costs per scan (FROC), and
// the mean sensitivity at seven rates of them (CPM), with intervals from drawing the scans again.
#pragma once
#include "../core/parallel.hpp"
#include "../core/random.hpp"
#include "../data/luna16_results.hpp"
#include "../image/mask.hpp"

namespace ctseg {

struct FrocOptions {
  std::vector<double> rates{0.125, 0.25, 0.5, 1, 2, 4, 8};   // false positives per scan; the CPM is the mean over them
  int max_candidates = 100;                                  // of a scan; 0: all
  double unknown_diameter_mm = 10;                           // of annotations whose diameter is below 0
  int resamples = 1000;                                      // of the scans, for the intervals; 0: no intervals
  double confidence = 0.95;
  std::uint64_t seed = 0;
  Executor* executor = nullptr;   // unset: the calling thread
};

/// What is scored. Rows of scans that are not listed are left out and counted.
struct FrocInput {
  std::vector<std::string> series{};         // all scans, those without nodules and candidates too
  std::vector<Nodule> nodules{};             // annotations.csv
  std::vector<Nodule> excluded{};            // annotations_excluded.csv: hits there count for nothing
  std::vector<NoduleFinding> candidates{};   // results.csv
};

/// Candidates of at least a probability: how many false alarms, how many nodules found.
struct FrocPoint {
  double threshold = 0, false_positives_per_scan = 0, sensitivity = 0;
};
/// A value with its interval; NaN where none was drawn.
struct Interval {
  double value = 0, low = 0, high = 0;
};
struct FrocResult {
  std::vector<FrocPoint> curve{};        // falling thresholds; one point for each different probability
  std::vector<Interval> sensitivity{};   // at options.rates
  Interval cpm{};
  Index scans = 0, nodules = 0, found = 0, false_positives = 0;
  Index double_hits = 0;   // further candidates in a nodule that was found: neither right nor wrong
  Index irrelevant = 0;    // candidates in excluded annotations alone
  Index over_limit = 0;    // candidates beyond max_candidates
  Index not_listed = 0;    // nodules, excluded ones and candidates of scans that are not listed
};

namespace froc {

/// A nodule that was found, or a false alarm.
struct Mark {
  double probability = 0;
  std::uint32_t scan = 0;
  bool nodule = false;
};
/// Marks of all scans by falling probability, and how many nodules each scan has.
struct Marks {
  std::vector<Mark> sorted{};
  std::vector<Index> nodules{};
};

/// The official limit: if there are more, those strictly above the probability of the first one too many.
inline void limit(std::vector<const NoduleFinding*>& of_scan, int most) {
  if (most <= 0 || std::ssize(of_scan) <= most) return;
  std::vector<double> p;
  for (const auto* c : of_scan) p.push_back(c->probability);
  std::sort(p.begin(), p.end(), [](double a, double b) { return a > b; });
  const double least = p[static_cast<std::size_t>(most)];
  std::erase_if(of_scan, [&](const NoduleFinding* c) { return !(c->probability > least); });
}

/// Strictly within the radius of the annotation.
inline bool hits(const NoduleFinding& c, const Nodule& n, const FrocOptions& options) {
  const double radius = (n.diameter_mm < 0 ? options.unknown_diameter_mm : n.diameter_mm) / 2;
  const double x = c.centre.x - n.centre.x, y = c.centre.y - n.centre.y, z = c.centre.z - n.centre.z;
  return x * x + y * y + z * z < radius * radius;
}

/// What one scan has.
struct Scan {
  std::vector<const Nodule*> nodules{}, excluded{};
  std::vector<const NoduleFinding*> candidates{};
};

inline void mark_scan(const Scan& scan, std::uint32_t number, const FrocOptions& options, Marks& marks, FrocResult& out) {
  std::vector<bool> used(scan.candidates.size());
  for (const Nodule* n : scan.nodules) {
    Index matches = 0;
    double best = 0;
    for (std::size_t i = 0; i < used.size(); ++i) {
      const NoduleFinding& c = *scan.candidates[i];
      if (!hits(c, *n, options)) continue;
      used[i] = true;   // it may find another nodule too
      best = matches++ == 0 ? c.probability : std::max(best, c.probability);
    }
    if (matches == 0) continue;
    marks.sorted.push_back({best, number, true});
    out.double_hits += matches - 1;
    ++out.found;
  }
  for (std::size_t i = 0; i < used.size(); ++i) {
    if (used[i]) continue;
    const NoduleFinding& c = *scan.candidates[i];
    if (std::any_of(scan.excluded.begin(), scan.excluded.end(), [&](const Nodule* n) { return hits(c, *n, options); })) {
      ++out.irrelevant;
      continue;
    }
    marks.sorted.push_back({c.probability, number, false});
    ++out.false_positives;
  }
  marks.nodules.push_back(std::ssize(scan.nodules));
}

/// Walks the curve of the marks, scans counted `times` each: point(threshold, false positives per scan, sensitivity).
template <class F> void walk(const Marks& marks, const std::vector<Index>& times, F&& point) {
  Index nodules = 0, found = 0, alarms = 0;
  for (std::size_t s = 0; s < times.size(); ++s) nodules += times[s] * marks.nodules[s];
  const double scans = static_cast<double>(times.size());
  for (std::size_t i = 0; i < marks.sorted.size(); ++i) {
    const Mark& m = marks.sorted[i];
    (m.nodule ? found : alarms) += times[m.scan];
    if (i + 1 < marks.sorted.size() && marks.sorted[i + 1].probability == m.probability) continue;
    point(m.probability, static_cast<double>(alarms) / scans, static_cast<double>(found) / static_cast<double>(nodules));
  }
}

/// Sensitivities at the rates: straight lines between points of the curve, which starts at (0, 0) and goes on level; where it
/// rises at one rate, its upper end.
inline std::vector<double> at_rates(const Marks& marks, const std::vector<Index>& times, const std::vector<double>& rates) {
  std::vector<double> out(rates.size());
  std::vector<bool> done(rates.size());
  double rate = 0, sensitivity = 0;
  walk(marks, times, [&](double, double next_rate, double next) {
    for (std::size_t r = 0; r < rates.size(); ++r)
      if (!done[r] && next_rate > rates[r]) {
        out[r] = sensitivity + (rates[r] - rate) / (next_rate - rate) * (next - sensitivity);
        done[r] = true;
      }
    rate = next_rate, sensitivity = next;
  });
  for (std::size_t r = 0; r < rates.size(); ++r)
    if (!done[r]) out[r] = sensitivity;
  return out;
}
inline double mean(const std::vector<double>& values) {
  double sum = 0;
  for (const double v : values) sum += v;
  return sum / static_cast<double>(values.size());
}

/// As many scans as there are, drawn with replacement; again if none of them has a nodule.
inline std::vector<Index> draw(const Marks& marks, std::uint64_t seed, Index resample) {
  constexpr std::uint32_t kStream = 0x46524f43;
  RandomStream random({.seed = seed, .run = static_cast<std::uint64_t>(resample), .op = kStream});
  for (;;) {
    std::vector<Index> times(marks.nodules.size());
    Index nodules = 0;
    for (std::size_t i = 0; i < times.size(); ++i) {
      const auto scan = static_cast<std::size_t>(random.below(std::ssize(times)));
      ++times[scan];
      nodules += marks.nodules[scan];
    }
    if (nodules > 0) return times;
  }
}

/// The official order statistics: element floor(q n) of the sorted values.
inline void set_interval(Interval& to, std::vector<double> values, double confidence) {
  std::sort(values.begin(), values.end());
  const auto at = [&](double q) {
    const auto i = static_cast<std::size_t>(std::floor(q * static_cast<double>(values.size())));
    return values[std::min(i, values.size() - 1)];
  };
  const double tail = (1 - confidence) / 2;
  to.low = at(tail), to.high = at(1 - tail);
}
inline void bootstrap(const Marks& marks, const FrocOptions& options, FrocResult& out) {
  const auto n = static_cast<std::size_t>(options.resamples);
  std::vector<std::vector<double>> columns(options.rates.size() + 1, std::vector<double>(n));
  mask::for_tasks(options.executor, options.resamples, [&](Index i) {
    const std::vector<double> s = at_rates(marks, draw(marks, options.seed, i), options.rates);
    for (std::size_t r = 0; r < s.size(); ++r) columns[r][static_cast<std::size_t>(i)] = s[r];
    columns.back()[static_cast<std::size_t>(i)] = mean(s);
  });
  for (std::size_t r = 0; r < options.rates.size(); ++r) set_interval(out.sensitivity[r], columns[r], options.confidence);
  set_interval(out.cpm, columns.back(), options.confidence);
}

inline void check(const FrocInput& input, const FrocOptions& options) {
  const auto bad = [](std::string_view what) { throw Error(Code::bad_argument, "froc", what); };
  if (options.rates.empty()) bad("no rates; name at least one rate of false positives per scan.");
  for (const double rate : options.rates)
    if (!(rate > 0 && rate <= 1e9)) bad(text("a rate is ", rate, "; must be above 0."));
  if (options.resamples < 0 || options.resamples > 10'000'000)
    bad(text("resamples = ", options.resamples, "; must be 0 to 10000000."));
  if (!(options.confidence > 0 && options.confidence < 1))
    bad(text("confidence = ", options.confidence, "; must be between 0 and 1. Hint: 0.95."));
  if (input.series.empty()) bad("no scans; series must list all of them, those without nodules too.");
  for (const NoduleFinding& c : input.candidates)
    if (!is_finite(c.probability)) bad(text("a candidate in ", c.series_uid, " has a probability that is no number."));
}

}   // namespace froc

/// FROC curve and CPM by LUNA16's rules.
/// Numerics  a candidate finds a nodule if its centre is strictly within the radius; of several in one nodule the most probable
///           counts and the others are left out; one in two nodules finds both. What hits excluded annotations alone is left
///           out. Scans without nodules count in the rate. Intervals draw scans with replacement (counter-based: the same for
///           any number of threads); draws without a nodule, where official scripts divide by 0, are repeated.
/// Errors    bad_argument for options that cannot be, or no scans; bad_input if the listed scans have no nodule, or a scan is
///           listed twice.
/// Source    Setio et al., Medical Image Analysis 42, 2017, and the evaluation page of LUNA16.
inline FrocResult evaluate_froc(const FrocInput& input, const FrocOptions& options = {}) {
  froc::check(input, options);
  FrocResult out;
  std::map<std::string, std::uint32_t> number;
  for (const std::string& uid : input.series)
    if (!number.emplace(uid, static_cast<std::uint32_t>(number.size())).second)
      throw Error(Code::bad_input, "froc", text("the scan ", uid, " is listed twice; every scan counts once."));
  std::vector<froc::Scan> scans(number.size());
  const auto sort_in = [&](const auto& rows, auto froc::Scan::*list) {
    for (const auto& row : rows)
      if (const auto at = number.find(row.series_uid); at != number.end())
        (scans[at->second].*list).push_back(&row);
      else
        ++out.not_listed;
  };
  sort_in(input.nodules, &froc::Scan::nodules);
  sort_in(input.excluded, &froc::Scan::excluded);
  sort_in(input.candidates, &froc::Scan::candidates);
  froc::Marks marks;
  for (std::size_t s = 0; s < scans.size(); ++s) {
    const Index before = std::ssize(scans[s].candidates);
    froc::limit(scans[s].candidates, options.max_candidates);
    out.over_limit += before - std::ssize(scans[s].candidates);
    froc::mark_scan(scans[s], static_cast<std::uint32_t>(s), options, marks, out);
    out.nodules += marks.nodules.back();
  }
  out.scans = std::ssize(scans);
  if (out.nodules == 0)
    throw Error(
        Code::bad_input, "froc",
        text("none of the ", out.scans, " scans has a nodule; sensitivity needs one. Hint: do the names of series match?"));
  std::stable_sort(marks.sorted.begin(), marks.sorted.end(),
                   [](const froc::Mark& a, const froc::Mark& b) { return a.probability > b.probability; });
  const std::vector<Index> once(scans.size(), 1);
  froc::walk(marks, once, [&](double threshold, double rate, double found) { out.curve.push_back({threshold, rate, found}); });
  constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
  const std::vector<double> at = froc::at_rates(marks, once, options.rates);
  for (const double s : at) out.sensitivity.push_back({s, kNan, kNan});
  out.cpm = {froc::mean(at), kNan, kNan};
  if (options.resamples > 0) froc::bootstrap(marks, options, out);
  return out;
}

}   // namespace ctseg
