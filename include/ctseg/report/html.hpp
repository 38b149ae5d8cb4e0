// report.html: definitions, tables, the distribution and pictures of the worst cases in one file that asks for no other, so
// that it can be mailed, archived and opened years later.
#pragma once
#include "../io/png.hpp"
#include "../version.hpp"
#include "distribution.hpp"

namespace ctseg {

/// A case that is shown.
struct ReportPicture {
  std::string name{};
  io::RgbImage image{};
};

struct HtmlOptions {
  std::string title = "Evaluation";
  std::vector<std::string> facts{};     // lines under the title: what was compared with what
  std::vector<ReportPicture> worst{};   // in this order
  SpreadOptions spread{};
};

namespace report {

inline std::string base64(std::span<const std::byte> bytes) {
  constexpr const char* kDigits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string out;
  out.reserve((bytes.size() + 2) / 3 * 4);
  for (std::size_t i = 0; i < bytes.size(); i += 3) {
    const std::size_t have = std::min<std::size_t>(3, bytes.size() - i);
    std::uint32_t three = 0;
    for (std::size_t k = 0; k < 3; ++k) three = three << 8 | (k < have ? static_cast<std::uint32_t>(bytes[i + k]) : 0);
    for (std::size_t k = 0; k < 4; ++k) out += k <= have ? kDigits[three >> (18 - 6 * k) & 63] : '=';
  }
  return out;
}

inline constexpr const char* kStyle =
    "body{font-family:sans-serif;max-width:60em;margin:2em auto;padding:0 1em;color:#222}"
    "table{border-collapse:collapse;margin:1em 0}"
    "th,td{border-bottom:1px solid #ddd;padding:.25em .7em;text-align:right}"
    "th:first-child,td:first-child{text-align:left}img{max-width:100%}figure{margin:1em 0}td.bad{background:#fde0dd}";

/// Columns that people compare; all of them are in cases.csv.
inline constexpr const char* kShown[] = {"dice", "iou", "hd95_mm", "assd_mm", "nsd", "volume_error_ml"};

inline std::vector<const Column*> shown_columns(const EvaluationReport& r) {
  std::vector<const Column*> out;
  for (const Column& column : kColumns)
    for (const char* name : kShown)
      if (std::string_view(name) == column.name) out.push_back(&column);
  if (r.options.centerlines) out.push_back(std::end(kColumns) - 1);
  return out;
}

inline std::string summary_table(const EvaluationReport& r, SpreadOptions options) {
  options.skip = r.skip;
  std::string out =
      "<table><tr><th>label</th><th>score</th><th>mean</th><th>95 % interval</th><th>sd</th><th>median</th>"
      "<th>quartiles</th><th>cases</th><th>left out</th></tr>\n";
  for (const std::uint8_t label : labels_of(r))
    for (const Column* column : shown_columns(r)) {
      const Spread s = spread_of(values_of(r, label, column->value), options);
      out += text("<tr><td>", int{label}, "</td><td>", column->name, "</td><td>", brief(s.summary.mean), "</td><td>",
                  brief(s.ci_low), " to ", brief(s.ci_high), "</td><td>", brief(s.summary.std), "</td><td>",
                  brief(s.summary.median), "</td><td>");
      out +=
          text(brief(s.q1), " to ", brief(s.q3), "</td><td>", s.summary.used, "</td><td>", s.summary.skipped, "</td></tr>\n");
    }
  return out + "</table>\n";
}

inline std::string case_table(const EvaluationReport& r) {
  const auto columns = shown_columns(r);
  std::string out = "<table><tr><th>case</th><th>label</th>";
  for (const Column* column : columns) out += text("<th>", column->name, "</th>");
  out += "<th>grade</th></tr>\n";
  for (const CaseScores& c : r.cases)
    for (const LabelScores& s : c.labels) {
      out += text("<tr><td>", escaped(c.name), "</td><td>", escaped(s.name), "</td>");
      for (const Column* column : columns) out += text("<td>", brief(s.*column->value), "</td>");
      out += text("<td>", escaped(s.quality_grade.empty() ? "-" : s.quality_grade), "</td></tr>\n");
    }
  return out + "</table>\n";
}

}   // namespace report

/// The report as one HTML page without scripts and without anything from elsewhere.
/// Errors    bad_argument for a picture whose pixels do not fill it.
inline std::string to_html(const EvaluationReport& r, const HtmlOptions& options = {}) {
  using namespace report;
  std::string out = text("<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>", escaped(options.title),
                         "</title><style>", kStyle, "</style></head><body>\n<h1>", escaped(options.title), "</h1>\n<p>");
  for (const std::string& fact : options.facts) out += escaped(fact) + "<br>\n";
  const EvaluationOptions& o = r.options;
  out += text("ctseg ", static_cast<const char*>(kVersion), ", ", r.cases.size(), " cases.</p>\n<h2>Definitions</h2>\n<p>",
              escaped(empty_rule(o)), "<br>\nHD95: percentile ", o.hausdorff.percentile, " (", o.hausdorff.rule, "), surface ",
              o.hausdorff_surface, ", directions ", o.hausdorff.directions, ". NSD: tolerance ", o.nsd_tolerance_mm,
              " mm, surface ", o.nsd_surface, ". Left out of means: ", r.skip, ". Deviations are over n.</p>\n");
  out += "<h2>Summary</h2>\n" + summary_table(r, options.spread);
  out += "<h2>Distribution</h2>\n<figure>" + distribution_svg(r) +
         "<figcaption>A row for each label: every case a point, the box its quartiles, the orange line its median; a cross is "
         "an infinite value.</figcaption></figure>\n";
  if (!options.worst.empty()) out += "<h2>Worst cases</h2>\n";
  for (const ReportPicture& picture : options.worst)
    out += text("<figure><figcaption>", escaped(picture.name), "</figcaption><img alt=\"", escaped(picture.name),
                "\" src=\"data:image/png;base64,", base64(io::encode_png(picture.image)), "\"></figure>\n");
  if (!options.worst.empty()) out += "<p>Coloured: the prediction. White outline: the truth.</p>\n";
  out += "<h2>Cases</h2>\n" + case_table(r);
  return out + "</body></html>\n";
}

}   // namespace ctseg
