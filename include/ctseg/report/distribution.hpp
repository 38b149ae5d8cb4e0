// How a score spreads over cases, as a picture (SVG): a row for each label with its box, its median and every case as a point.
// What is infinite stands at the right edge as a cross; a mean would hide it.
#pragma once
#include "summary.hpp"

namespace ctseg {

struct DistributionOptions {
  std::vector<std::string> scores{"dice", "hd95_mm"};   // columns of the report, one panel each
};

namespace report {

/// Text between tags or in an attribute.
inline std::string escaped(std::string_view words) {
  std::string out;
  for (const char c : words) {
    const char* name = c == '&' ? "&amp;" : c == '<' ? "&lt;" : c == '>' ? "&gt;" : c == '"' ? "&quot;" : nullptr;
    if (name)
      out += name;
    else
      out += static_cast<unsigned char>(c) < 0x20 ? ' ' : c;
  }
  return out;
}

/// A number as short as a table wants it.
inline std::string brief(double value, int digits = 3) {
  if (is_nan(value)) return "-";
  if (!is_finite(value)) return value > 0 ? "inf" : "-inf";
  char line[40];
  std::snprintf(line, sizeof line, "%.*f", digits, value);
  return line;
}

/// One panel: where it begins, which values it shows, from 0 to `most`.
struct Panel {
  const Column* column;
  int x;
  double most;

  static constexpr int kWidth = 300, kGap = 40;
  std::string at(double value) const { return brief(x + std::clamp(value / most, 0.0, 1.0) * kWidth, 1); }
};
inline constexpr int kRowHeight = 26, kTop = 44, kNameWidth = 150;

inline double most_of(const EvaluationReport& r, const Column& column) {
  double most = 0;
  for (const CaseScores& c : r.cases)
    for (const LabelScores& s : c.labels)
      if (const double v = s.*column.value; is_finite(v)) most = std::max(most, v);
  return std::string_view(column.name).ends_with("_mm") && most > 0 ? most : 1;
}

inline void draw_label(std::string& out, const Panel& panel, const std::vector<double>& values, int y) {
  const auto line = [&](double from, double to, const char* look) {
    out += text("<line x1=\"", panel.at(from), "\" x2=\"", panel.at(to), "\" y1=\"", y, "\" y2=\"", y, "\" ", look, "/>\n");
  };
  const Spread s = spread_of(values, {.skip = Skip::not_finite, .resamples = 0});
  if (s.summary.used > 0) {
    line(s.low, s.high, "stroke=\"#888\"");
    line(s.q1, s.q3, "stroke=\"#9ecae1\" stroke-width=\"12\"");
  }
  int place = 0;
  for (const double v : values) {
    if (is_nan(v)) continue;
    const int offset = 5 * (place++ % 3 - 1);   // side by side, so that equal ones stay apart
    if (is_finite(v))
      out += text("<circle cx=\"", panel.at(v), "\" cy=\"", y + offset, "\" r=\"2\" fill=\"#08519c\" fill-opacity=\"0.6\"/>\n");
    else
      out += text("<text x=\"", panel.x + Panel::kWidth + 6, "\" y=\"", y + 4 + offset, "\" fill=\"#a50f15\">&#215;</text>\n");
  }
  if (s.summary.used > 0)
    out += text("<line x1=\"", panel.at(s.summary.median), "\" x2=\"", panel.at(s.summary.median), "\" y1=\"", y - 8,
                "\" y2=\"", y + 8, "\" stroke=\"#d94801\" stroke-width=\"2\"/>\n");
}

inline void draw_axis(std::string& out, const Panel& panel, int bottom) {
  out +=
      text("<text x=\"", panel.x + Panel::kWidth / 2, "\" y=\"18\" text-anchor=\"middle\">", panel.column->name, "</text>\n");
  for (const double share : {0.0, 0.5, 1.0}) {
    const std::string x = panel.at(share * panel.most);
    out += text("<line x1=\"", x, "\" x2=\"", x, "\" y1=\"", kTop - 8, "\" y2=\"", bottom, "\" stroke=\"#ddd\"/>\n<text x=\"",
                x, "\" y=\"", kTop - 12, "\" text-anchor=\"middle\" fill=\"#555\">", share * panel.most, "</text>\n");
  }
}

}   // namespace report

/// The picture as SVG, which browsers show on its own and inside HTML.
/// Errors    bad_argument for a score that the report has not.
inline std::string distribution_svg(const EvaluationReport& r, const DistributionOptions& options = {}) {
  using namespace report;
  const std::vector<std::uint8_t> labels = labels_of(r);
  std::vector<Panel> panels;
  for (const std::string& name : options.scores) {
    const auto* column =
        std::find_if(std::begin(kColumns), std::end(kColumns), [&](const Column& c) { return name == c.name; });
    if (column == std::end(kColumns))
      throw Error(Code::bad_argument, "distribution_svg", text("the report has no score \"", name, "\"."));
    panels.push_back(
        {column, kNameWidth + 16 + static_cast<int>(panels.size()) * (Panel::kWidth + Panel::kGap), most_of(r, *column)});
  }
  const int bottom = kTop + static_cast<int>(labels.size()) * kRowHeight;
  const int width = kNameWidth + 16 + static_cast<int>(panels.size()) * (Panel::kWidth + Panel::kGap);
  std::string out =
      text("<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"", width, "\" height=\"", bottom + 12,
           "\" font-family=\"sans-serif\" font-size=\"12\">\n<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n");
  for (const Panel& panel : panels) draw_axis(out, panel, bottom);
  int y = kTop + kRowHeight / 2;
  for (const std::uint8_t label : labels) {
    std::string name = text("label ", int{label});
    for (const CaseScores& c : r.cases)
      for (const LabelScores& s : c.labels)
        if (s.label == label) name = s.name;
    out += text("<text x=\"", kNameWidth, "\" y=\"", y + 4, "\" text-anchor=\"end\">", escaped(name), "</text>\n");
    for (const Panel& panel : panels) draw_label(out, panel, values_of(r, label, panel.column->value), y);
    y += kRowHeight;
  }
  return out + "</svg>\n";
}

}   // namespace ctseg
