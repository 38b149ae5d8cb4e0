// Scores of many cases, what they come to, and both as text: JSON for programs, CSV for spreadsheets. The definitions that were
// used are part of it, because a number without them cannot be compared with anybody's.
#pragma once
#include <charconv>

#include "evaluate.hpp"

namespace ctseg {

/// Which values a mean, deviation or median leaves out; how many it left out is always said.
enum class Skip {
  nan,          // NaN only: one infinite distance makes the mean infinite
  not_finite,   // NaN and infinity
  nothing,      // one NaN makes the result NaN
};
inline std::string text(Skip s) { return s == Skip::nan ? "nan" : s == Skip::not_finite ? "not_finite" : "nothing"; }

/// Of one score of one label over all cases.
struct Summary {
  double mean = 0, std = 0, median = 0;   // std over n, as NumPy's; all NaN where nothing is left
  Index used = 0, skipped = 0;
};

/// Scores of many cases with the options they were made with.
struct EvaluationReport {
  EvaluationOptions options{};
  Skip skip = Skip::nan;
  std::vector<CaseScores> cases{};

  /// Adds a case under a name.
  void add(std::string name, const Volume<std::uint8_t>& prediction, const Volume<std::uint8_t>& truth) {
    cases.push_back(evaluate(prediction, truth, options));
    cases.back().name = std::move(name);
  }
};

namespace report {

struct Column {
  const char* name;
  double LabelScores::*value;
};
/// The scores in the order of files. Nearly all of them are needed under one name everywhere.
inline constexpr Column kColumns[] = {
    {"dice", &LabelScores::dice},
    {"iou", &LabelScores::iou},
    {"sensitivity", &LabelScores::sensitivity},
    {"specificity", &LabelScores::specificity},
    {"precision", &LabelScores::precision},
    {"accuracy", &LabelScores::accuracy},
    {"volume_ml", &LabelScores::volume_ml},
    {"truth_volume_ml", &LabelScores::truth_volume_ml},
    {"volume_error_ml", &LabelScores::volume_error_ml},
    {"relative_volume_error", &LabelScores::relative_volume_error},
    {"hd_mm", &LabelScores::hd_mm},
    {"hd95_mm", &LabelScores::hd95_mm},
    {"assd_mm", &LabelScores::assd_mm},
    {"nsd", &LabelScores::nsd},
    {"cldice", &LabelScores::cldice},
};

/// The shortest digits that give the same double again; false for NaN and infinity, which get their names.
inline bool append_number(std::string& out, double value) {
  if (is_nan(value)) return out += "nan", false;
  if (!is_finite(value)) return out += value > 0 ? "inf" : "-inf", false;
  char digits[32];
  const auto end = std::to_chars(digits, digits + sizeof digits, value).ptr;
  out.append(digits, end);
  return true;
}

/// JSON, two spaces a level. NaN is null, infinity the string "inf": JSON has no words for them.
class JsonWriter {
 public:
  std::string take() {
    out_ += '\n';
    return std::move(out_);
  }
  void open(char bracket) {
    out_ += bracket;
    first_ = true;
    ++depth_;
  }
  void close(char bracket) {
    --depth_;
    if (!first_) line();
    out_ += bracket;
    first_ = false;
  }
  void key(std::string_view name) {
    item();
    quote(name);
    out_ += ": ";
  }
  /// A new element of an array.
  void item() {
    if (!first_) out_ += ',';
    first_ = false;
    line();
  }
  void number(double value) {
    std::string digits;
    if (append_number(digits, value))
      out_ += digits;
    else if (is_nan(value))
      out_ += "null";
    else
      quote(digits);
  }
  /// Numbers in one line.
  void list(std::initializer_list<double> values) {
    out_ += '[';
    for (const double* v = values.begin(); v != values.end(); ++v) {
      if (v != values.begin()) out_ += ", ";
      number(*v);
    }
    out_ += ']';
  }
  void list(std::string_view name, std::initializer_list<double> values) { key(name), list(values); }
  void field(std::string_view name, double value) { key(name), number(value); }
  void field(std::string_view name, Index value) { key(name), out_ += text(value); }
  void field(std::string_view name, std::uint64_t value) { key(name), out_ += text(std::size_t{value}); }
  void field(std::string_view name, int value) { key(name), out_ += text(value); }
  void field(std::string_view name, bool value) { key(name), out_ += value ? "true" : "false"; }
  void field(std::string_view name, std::string_view value) { key(name), quote(value); }
  void field(std::string_view name, const char* value) { field(name, std::string_view(value)); }
  void quote(std::string_view words) {
    constexpr const char* kHex = "0123456789abcdef";
    out_ += '"';
    for (std::size_t i = 0; i < words.size(); ++i) {
      const char c = words[i];
      const auto byte = static_cast<unsigned char>(c);
      const std::size_t length = utf8_length(words.substr(i));
      if (c == '"' || c == '\\')
        out_ += '\\', out_ += c;
      else if (byte < 0x20)
        out_ += "\\u00", out_ += kHex[byte >> 4], out_ += kHex[byte & 15];
      else if (length == 0)
        out_ += "\\ufffd";   // a file's name may be any bytes, JSON may not
      else
        out_ += words.substr(i, length), i += length - 1;
    }
    out_ += '"';
  }

 private:
  /// Bytes of the character that the words begin with; 0 where they are not UTF-8.
  static std::size_t utf8_length(std::string_view words) {
    const auto byte = [&](std::size_t i) { return i < words.size() ? static_cast<unsigned char>(words[i]) : 0u; };
    const std::size_t length = byte(0) < 0x80 ? 1 : byte(0) < 0xC2 ? 0 : byte(0) < 0xE0 ? 2 : byte(0) < 0xF0 ? 3 : 4;
    if (byte(0) > 0xF4) return 0;
    for (std::size_t i = 1; i < length; ++i)
      if ((byte(i) & 0xC0) != 0x80) return 0;
    const unsigned two = byte(0) << 8 | byte(1);   // overlong forms, surrogates, beyond U+10FFFF
    const bool odd = length > 2 && ((two >= 0xE080 && two < 0xE0A0) || (two >= 0xEDA0 && two < 0xEE00) ||
                                    (two >= 0xF080 && two < 0xF090) || two >= 0xF490);
    return odd ? 0 : length;
  }
  void line() {
    out_ += '\n';
    out_.append(static_cast<std::size_t>(2 * depth_), ' ');
  }
  std::string out_{};
  int depth_ = 0;
  bool first_ = true;
};

/// The labels that occur in any case, ascending.
inline std::vector<std::uint8_t> labels_of(const EvaluationReport& r) {
  std::array<bool, 256> seen{};
  for (const CaseScores& c : r.cases)
    for (const LabelScores& s : c.labels) seen[s.label] = true;
  std::vector<std::uint8_t> out;
  for (int l = 0; l < 256; ++l)
    if (seen[static_cast<std::size_t>(l)]) out.push_back(static_cast<std::uint8_t>(l));
  return out;
}

}   // namespace report

/// Mean, deviation and median of values.
inline Summary summarize(std::vector<double> values, Skip skip = Skip::nan) {
  constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
  Summary out{.mean = kNan, .std = kNan, .median = kNan};
  const Index all = std::ssize(values);
  const bool any_nan = std::any_of(values.begin(), values.end(), [](double v) { return is_nan(v); });
  if (skip != Skip::nothing)
    std::erase_if(values, [&](double v) { return is_nan(v) || (skip == Skip::not_finite && !is_finite(v)); });
  out.used = std::ssize(values), out.skipped = all - out.used;
  if (values.empty() || (skip == Skip::nothing && any_nan)) return out;
  const double n = static_cast<double>(values.size());
  out.mean = 0;
  for (const double v : values) out.mean += v;
  out.mean /= n;
  double squares = 0;
  for (const double v : values) squares += (v - out.mean) * (v - out.mean) / n;
  out.std = is_finite(out.mean) ? std::sqrt(squares) : kNan;
  std::sort(values.begin(), values.end());
  const double high = values[values.size() / 2], low = values[(values.size() - 1) / 2];
  out.median = low == high ? low : (low + high) / 2;
  return out;
}

/// One score of one label over all cases that have the label.
inline Summary summarize(const EvaluationReport& r, std::uint8_t label, double LabelScores::*score) {
  std::vector<double> values;
  for (const CaseScores& c : r.cases)
    for (const LabelScores& s : c.labels)
      if (s.label == label) values.push_back(s.*score);
  return summarize(std::move(values), r.skip);
}

/// The mean over labels but 0 of the labels' means: nnU-Net's foreground_mean, if Skip::nan.
inline double foreground_mean(const EvaluationReport& r, double LabelScores::*score) {
  std::vector<double> means;
  for (const std::uint8_t label : report::labels_of(r))
    if (label != 0) means.push_back(summarize(r, label, score).mean);
  return summarize(std::move(means), r.skip).mean;
}

namespace report {

inline void write_options(JsonWriter& json, const EvaluationReport& r) {
  const EvaluationOptions& o = r.options;
  json.key("definitions"), json.open('{');
  json.field("empty", text(o.empty));
  json.field("empty_surface", text(o.empty_surface));
  json.field("hausdorff_surface", text(o.hausdorff_surface));
  json.field("hausdorff_percentile", o.hausdorff.percentile);
  json.field("hausdorff_directions", text(o.hausdorff.directions));
  json.field("percentile_rule", text(o.hausdorff.rule));
  json.field("nsd_surface", text(o.nsd_surface));
  json.field("nsd_tolerance_mm", o.nsd_tolerance_mm);
  json.field("planar", o.planar);
  json.field("skip", text(r.skip));
  json.field("std", "over n");
  json.key("quality_grades"), json.open('{');
  for (const QualityGrade& g : o.quality.grades) json.field(g.name, g.min_dice);
  json.close('}');
  const ClinicalThresholds& c = o.quality.clinical;
  json.key("clinical_thresholds"), json.open('{');
  json.field("dice", c.dice), json.field("iou", c.iou);
  json.field("sensitivity", c.sensitivity), json.field("specificity", c.specificity);
  json.close('}'), json.close('}');
}
inline void write_case(JsonWriter& json, const CaseScores& c) {
  json.item(), json.open('{');
  json.field("case", c.name);
  json.key("spacing_mm"), json.open('[');
  for (const double mm : {c.spacing_mm.x, c.spacing_mm.y, c.spacing_mm.z}) json.item(), json.number(mm);
  json.close(']');
  json.key("labels"), json.open('[');
  for (const LabelScores& s : c.labels) {
    json.item(), json.open('{');
    json.field("label", int{s.label}), json.field("name", s.name);
    for (const Column& column : kColumns) json.field(column.name, s.*column.value);
    json.field("tp", s.counts.tp), json.field("fp", s.counts.fp);
    json.field("fn", s.counts.fn), json.field("tn", s.counts.tn);
    json.field("quality_grade", s.quality_grade);
    json.field("meets_clinical_standards", s.meets_clinical_standards);
    json.close('}');
  }
  json.close(']'), json.close('}');
}
inline void write_summary(JsonWriter& json, const EvaluationReport& r, std::uint8_t label) {
  json.item(), json.open('{');
  json.field("label", int{label});
  for (const Column& column : kColumns) {
    const Summary s = summarize(r, label, column.value);
    json.key(column.name), json.open('{');
    json.field("mean", s.mean), json.field("std", s.std), json.field("median", s.median);
    json.field("used", s.used), json.field("skipped", s.skipped);
    json.close('}');
  }
  json.close('}');
}

}   // namespace report

/// The report as JSON: definitions, cases, summary of each label, foreground_mean. NaN is null, infinity "inf".
inline std::string to_json(const EvaluationReport& r) {
  report::JsonWriter json;
  json.open('{');
  json.field("schema", 1);
  report::write_options(json, r);
  json.key("cases"), json.open('[');
  for (const CaseScores& c : r.cases) report::write_case(json, c);
  json.close(']');
  json.key("summary"), json.open('[');
  for (const std::uint8_t label : report::labels_of(r)) report::write_summary(json, r, label);
  json.close(']');
  json.key("foreground_mean"), json.open('{');
  for (const report::Column& column : report::kColumns) json.field(column.name, foreground_mean(r, column.value));
  json.close('}'), json.close('}');
  return json.take();
}

namespace report {

/// Words as one cell of a CSV file: in quotes, as RFC 4180 wants, where they need them.
inline std::string cell(std::string_view words) {
  if (words.find_first_of(",\"\r\n") == std::string_view::npos) return std::string(words);
  std::string out = "\"";
  for (const char c : words) out.append(c == '"' ? 2 : 1, c);
  return out + '"';
}

}   // namespace report

/// The report as CSV, a row for each label of each case; NaN is an empty cell, infinity inf. Quotes as RFC 4180 wants.
inline std::string to_csv(const EvaluationReport& r) {
  using report::cell;
  std::string out = "case,label,name";
  for (const report::Column& column : report::kColumns) out += text(",", column.name);
  out += ",quality_grade,meets_clinical_standards\n";
  for (const CaseScores& c : r.cases)
    for (const LabelScores& s : c.labels) {
      out += text(cell(c.name), ",", int{s.label}, ",", cell(s.name));
      for (const report::Column& column : report::kColumns) {
        out += ',';
        if (!is_nan(s.*column.value)) report::append_number(out, s.*column.value);
      }
      out += text(",", cell(s.quality_grade), ",", s.meets_clinical_standards ? "true" : "false", "\n");
    }
  return out;
}

}   // namespace ctseg
