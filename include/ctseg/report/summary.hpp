// What the scores of many cases come to, with how sure one may be of it, and which cases are worth a look first.
#pragma once
#include "../core/random.hpp"
#include "../metrics/report.hpp"

namespace ctseg {

struct SpreadOptions {
  Skip skip = Skip::nan;
  int resamples = 1000;   // of the bootstrap; 0: no interval
  std::uint64_t seed = 0;
};

/// Of one score of one label over all cases; all NaN where nothing is left.
struct Spread {
  Summary summary{};                          // mean, std over n, median
  double q1 = 0, q3 = 0, low = 0, high = 0;   // quartiles by NumPy's linear rule, least and largest value
  double ci_low = 0, ci_high = 0;             // 95 % of the mean, by the bootstrap's percentiles
  double iqr() const { return q3 - q1; }
};

namespace report {

/// At (n - 1) share between sorted values.
inline double quantile(const std::vector<double>& sorted, double share) {
  const double at = share * static_cast<double>(sorted.size() - 1);
  const auto below = static_cast<std::size_t>(at);
  const double low = sorted[below], high = sorted[std::min(below + 1, sorted.size() - 1)];   // both may be infinite
  return low == high ? low : low + (at - static_cast<double>(below)) * (high - low);
}

/// The 95 % interval of a mean: cases drawn again with replacement.
inline std::pair<double, double> bootstrap_mean(const std::vector<double>& values, const SpreadOptions& options) {
  const Index n = std::ssize(values);
  std::vector<double> means;
  for (int k = 0; k < options.resamples; ++k) {
    RandomStream random({.seed = options.seed, .run = static_cast<std::uint64_t>(k), .op = 0x62});
    double sum = 0;
    for (Index i = 0; i < n; ++i) sum += values[static_cast<std::size_t>(random.below(n))];
    means.push_back(sum / static_cast<double>(n));
  }
  std::sort(means.begin(), means.end());
  return {quantile(means, 0.025), quantile(means, 0.975)};
}

}   // namespace report

/// Mean, deviation, quartiles and the mean's bootstrap interval. The same values, options and order give the same numbers.
/// Errors    bad_argument for resamples outside 0 .. 1000000.
inline Spread spread_of(std::vector<double> values, const SpreadOptions& options = {}) {
  if (options.resamples < 0 || options.resamples > 1000000)
    throw Error(Code::bad_argument, "spread_of", text("resamples = ", options.resamples, "; must be 0 to 1000000."));
  constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
  Spread out{.summary = summarize(values, options.skip), .q1 = kNan, .q3 = kNan, .low = kNan, .high = kNan};
  out.ci_low = out.ci_high = kNan;
  std::erase_if(values, [&](double v) { return is_nan(v) || (options.skip == Skip::not_finite && !is_finite(v)); });
  if (values.empty() || is_nan(out.summary.mean)) return out;
  if (options.resamples > 0 && values.size() > 1) std::tie(out.ci_low, out.ci_high) = report::bootstrap_mean(values, options);
  std::sort(values.begin(), values.end());
  out.q1 = report::quantile(values, 0.25), out.q3 = report::quantile(values, 0.75);
  out.low = values.front(), out.high = values.back();
  return out;
}

/// One score of one label, in the order of the cases; cases without the label are left out.
inline std::vector<double> values_of(const EvaluationReport& r, std::uint8_t label, double LabelScores::*score) {
  std::vector<double> values;
  for (const CaseScores& c : r.cases)
    for (const LabelScores& s : c.labels)
      if (s.label == label) values.push_back(s.*score);
  return values;
}

/// Places in r.cases, worst first, at most `count`: by the mean Dice of their labels, then by the mean HD95. What is NaN comes
/// last.
inline std::vector<std::size_t> worst_cases(const EvaluationReport& r, std::size_t count = 5) {
  std::vector<std::size_t> order(r.cases.size());
  std::vector<std::pair<double, double>> rank;
  for (std::size_t i = 0; i < order.size(); ++i) {
    std::vector<double> dice, hd95;
    for (const LabelScores& s : r.cases[i].labels) dice.push_back(s.dice), hd95.push_back(s.hd95_mm);
    const double mean = summarize(std::move(dice)).mean, apart = summarize(std::move(hd95)).mean;
    rank.push_back({is_nan(mean) ? 2 : mean, is_nan(apart) ? 0 : -apart});
    order[i] = i;
  }
  std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) { return rank[a] < rank[b]; });
  if (order.size() > count) order.resize(count);
  return order;
}

namespace report {

inline void write_spread(JsonWriter& json, const char* name, const Spread& s) {
  json.key(name), json.open('{');
  json.field("mean", s.summary.mean), json.field("sd", s.summary.std), json.field("median", s.summary.median);
  json.field("q1", s.q1), json.field("q3", s.q3), json.field("iqr", s.iqr());
  json.field("min", s.low), json.field("max", s.high);
  json.list("ci95", {s.ci_low, s.ci_high});
  json.field("used", s.summary.used), json.field("skipped", s.summary.skipped);
  json.close('}');
}

/// What a score means where a mask is empty, in words; it belongs beside every number.
inline std::string empty_rule(const EvaluationOptions& o) {
  const char* overlap = o.empty == EmptyPolicy::nan        ? "no value where the truth is empty, false alarms are not counted"
                        : o.empty == EmptyPolicy::one_zero ? "1 where both masks are empty, 0 where only the truth is"
                                                           : "no value where both masks are empty, 0 where only the truth is";
  const char* apart = o.empty_surface == EmptySurface::infinite ? "infinite where one mask is empty, no value where both are"
                      : o.empty_surface == EmptySurface::nan
                          ? "no value where a mask is empty"
                          : "the volume's diagonal where one mask is empty, 0 where both are";
  return text("Dice and IoU (", o.empty, "): ", overlap, "; 0 where only the prediction is empty. Distances (", o.empty_surface,
              "): ", apart, ".");
}

}   // namespace report

/// summary.json: definitions, then for each label mean, sd (over n), median, quartiles and the mean's bootstrap interval of
/// every score, the foreground's means, and the worst cases by name.
inline std::string summary_json(const EvaluationReport& r, SpreadOptions options = {}) {
  options.skip = r.skip;
  report::JsonWriter json;
  json.open('{');
  json.field("schema", 1);
  json.field("cases", std::ssize(r.cases));
  json.field("empty_rule", report::empty_rule(r.options));
  json.field("interval", text("bootstrap of the mean over cases, ", options.resamples, " draws, percentiles, seed ",
                              static_cast<std::size_t>(options.seed)));
  report::write_options(json, r);
  json.key("labels"), json.open('[');
  for (const std::uint8_t label : report::labels_of(r)) {
    json.item(), json.open('{');
    json.field("label", int{label});
    for (const report::Column& column : report::kColumns)
      report::write_spread(json, column.name, spread_of(values_of(r, label, column.value), options));
    json.close('}');
  }
  json.close(']');
  json.key("foreground_mean"), json.open('{');
  for (const report::Column& column : report::kColumns) json.field(column.name, foreground_mean(r, column.value));
  json.close('}');
  json.key("worst"), json.open('[');
  for (const std::size_t i : worst_cases(r)) json.item(), json.quote(r.cases[i].name);
  json.close(']'), json.close('}');
  return json.take();
}

}   // namespace ctseg
