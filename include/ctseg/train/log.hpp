// Logs of a training as observers: CSV or JSON lines, TensorBoard, and the learning curve as a picture.
#pragma once
#include <chrono>
#include <cstring>

#include "../io/event_file.hpp"
#include "observer.hpp"

namespace ctseg {

enum class TextLogFormat { csv, json_lines };

/// One line a step: step, loss, last_loss, learning_rate, gradient_norm, steps_per_second, memory_bytes, score (of the last
/// validation); what is not known is empty, or null. A resumed training goes on with the lines before its first step.
/// Errors    io if the file cannot be read or written.
class TextLog final : public FitObserver {
 public:
  TextLog(std::filesystem::path path, TextLogFormat format) : path_(std::move(path)), format_(format) {}

  void on_plan(const FitPlan& p) override { score_ = p.last_score; }
  void on_step(const FitProgress& p) override {
    if (file_.number() < 0) open(p.step);
    const double values[] = {
        p.loss, p.last_loss, p.learning_rate, p.gradient_norm, p.steps_per_second, static_cast<double>(p.memory_bytes), score_};
    const bool json = format_ == TextLogFormat::json_lines;
    std::string line = json ? text("{\"step\":", p.step) : text(p.step);
    for (std::size_t k = 0; k < std::size(kNames); ++k) {
      if (json) line.append(",\"").append(kNames[k]).append("\":");
      if (!json) line += ',';
      line += is_finite(values[k]) ? detail::digits(values[k], std::chars_format::general, 9) : json ? "null" : "";
    }
    write(line + (json ? "}\n" : "\n"));
  }
  void on_score(const FitScore& s) override { score_ = s.score; }

 private:
  static constexpr const char* kNames[] = {"loss",         "last_loss", "learning_rate", "gradient_norm", "steps_per_second",
                                           "memory_bytes", "score"};

  /// Keeps what an interrupted training wrote before the step it goes on with.
  void open(Index step) {
    std::string kept;
    std::error_code error;
    if (std::filesystem::exists(path_, error)) {
      const auto bytes = io::read_file(path_);
      const std::string_view all(reinterpret_cast<const char*>(bytes.data()), bytes.size());
      for (std::size_t at = 0, end; (end = all.find('\n', at)) != std::string_view::npos; at = end + 1) {
        const std::string_view line = all.substr(at, end - at);
        const std::size_t digits = line.find_first_of("0123456789");
        const bool row = format_ == TextLogFormat::csv ? digits == 0 : line.starts_with("{\"step\":");
        if (row && digits != std::string_view::npos && std::atoll(std::string(line.substr(digits)).c_str()) < step)
          kept.append(line).append("\n");
      }
    }
    if (format_ == TextLogFormat::csv) {
      std::string head = "step";
      for (const char* name : kNames) head.append(",").append(name);
      kept = head + "\n" + kept;
    }
    io::write_file(path_, std::as_bytes(std::span(std::as_const(kept))));
    file_ = io::FileDescriptor(::open(path_.c_str(), O_WRONLY | O_APPEND | O_CLOEXEC));
    if (file_.number() < 0) throw io::system_error(path_, "open");
  }
  void write(std::string_view rest) const {
    while (!rest.empty()) {
      const ssize_t n = ::write(file_.number(), rest.data(), rest.size());
      if (n < 0 && errno == EINTR) continue;
      if (n <= 0) throw io::system_error(path_, "write");
      rest.remove_prefix(static_cast<std::size_t>(n));
    }
  }

  std::filesystem::path path_;
  TextLogFormat format_;
  io::FileDescriptor file_;
  double score_ = std::numeric_limits<double>::quiet_NaN();
};

/// Scalars for TensorBoard: loss/mean, loss/step, learning_rate, gradient_norm, steps_per_second, validation/score. Through
/// file() a program adds images of overlays and histograms of weights.
class TensorBoardLog final : public FitObserver {
 public:
  explicit TensorBoardLog(const std::filesystem::path& folder) : file_(folder, now()) {}

  void on_step(const FitProgress& p) override {
    const double seconds = now();
    if (!std::exchange(begun_, true)) file_.begin(p.step, seconds);
    file_.scalar("loss/mean", p.loss, p.step, seconds);
    file_.scalar("loss/step", p.last_loss, p.step, seconds);
    file_.scalar("learning_rate", p.learning_rate, p.step, seconds);
    if (is_finite(p.gradient_norm)) file_.scalar("gradient_norm", p.gradient_norm, p.step, seconds);
    file_.scalar("steps_per_second", p.steps_per_second, p.step, seconds);
  }
  void on_score(const FitScore& s) override { file_.scalar("validation/score", s.score, s.step, now()); }

  io::EventFile& file() { return file_; }
  /// Seconds since 1970.
  static double now() { return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count(); }

 private:
  io::EventFile file_;
  bool begun_ = false;
};

/// The learning curve as a picture (SVG): running mean of the loss, and scores of validations on an axis of their own. With the
/// CSV file of a TextLog, what it has of the steps before those of a resumed training is drawn as well.
/// Errors    io if that file is there and cannot be read.
class LearningCurve final : public FitObserver {
 public:
  explicit LearningCurve(std::filesystem::path earlier = {}) : earlier_(std::move(earlier)) {}

  void on_plan(const FitPlan& p) override {
    std::error_code error;
    if (p.first_step < 1 || !std::filesystem::exists(earlier_, error)) return;
    const auto bytes = io::read_file(earlier_);
    read({reinterpret_cast<const char*>(bytes.data()), bytes.size()}, p.first_step);
    if (p.first_step == p.steps && is_finite(p.last_score)) on_score({.step = p.steps, .score = p.last_score});
  }
  void on_step(const FitProgress& p) override { losses_.push_back({static_cast<double>(p.step), p.loss}); }
  void on_score(const FitScore& s) override { scores_.push_back({static_cast<double>(s.step), s.score}); }

  /// Errors    io.
  void write(const std::filesystem::path& path) const {
    const std::string picture = svg();
    io::write_file(path, std::as_bytes(std::span(picture)));
  }
  std::string svg() const {
    std::string out =
        text("<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"", kWidth + 2 * kMargin, "\" height=\"", kHeight + 2 * kMargin,
             "\" font-family=\"sans-serif\" font-size=\"12\">\n<rect width=\"100%\" "
             "height=\"100%\" fill=\"white\"/>\n");
    const double last = std::max(losses_.empty() ? 1 : losses_.back().step, scores_.empty() ? 1 : scores_.back().step);
    draw(out, losses_, last, {"loss (running mean)", "#1f77b4", kMargin - 6, "end"});
    draw(out, scores_, last, {"validation score", "#d62728", kMargin + kWidth + 6, "start"});
    out += text("<text x=\"", kMargin + kWidth / 2, "\" y=\"", kHeight + 2 * kMargin - 12,
                "\" text-anchor=\"middle\">step, to ", static_cast<Index>(last), "</text>\n</svg>\n");
    return out;
  }

 private:
  static constexpr int kWidth = 640, kHeight = 320, kMargin = 64, kMostPoints = 2000;
  struct Point {
    double step, value;
  };
  struct Look {
    const char *name, *colour;
    int label_x;
    const char* anchor;
  };

  /// A line has the score of the last validation before it: a new one was made at the step above.
  void read(std::string_view csv, Index last_step) {
    double score = std::numeric_limits<double>::quiet_NaN();
    for (std::size_t at = 0, end; (end = csv.find('\n', at)) != std::string_view::npos; at = end + 1) {
      const std::string line(csv.substr(at, end - at));
      const std::size_t loss = line.find(',') + 1, shown = line.rfind(',') + 1;
      const double step = number(line, 0);
      if (loss == 0 || loss == shown || !(step <= static_cast<double>(last_step))) continue;
      losses_.push_back({step, number(line, loss)});
      const double now = number(line, shown);
      if (is_finite(now) && now != score) scores_.push_back({step - 1, score = now});
    }
  }
  static double number(const std::string& line, std::size_t at) {
    double value = std::numeric_limits<double>::quiet_NaN();   // what is no number, as in the first line
    std::from_chars(line.data() + at, line.data() + line.size(), value);
    return value;
  }

  static void draw(std::string& out, const std::vector<Point>& all, double last, const Look& look) {
    std::vector<Point> points;
    const std::size_t every = all.size() / kMostPoints + 1;
    for (std::size_t k = 0; k < all.size(); ++k)
      if (is_finite(all[k].value) && (k % every == 0 || k + 1 == all.size())) points.push_back(all[k]);
    if (points.empty()) return;
    double low = points[0].value, high = low;
    for (const Point& p : points) low = std::min(low, p.value), high = std::max(high, p.value);
    if (high == low) high = low + 1;
    out += text("<polyline fill=\"none\" stroke=\"", look.colour, "\" stroke-width=\"1.5\" points=\"");
    const auto fixed = [](double v) { return detail::digits(v, std::chars_format::fixed, 1); };
    for (const Point& p : points)
      out +=
          text(fixed(kMargin + p.step / last * kWidth), ",", fixed(kMargin + (high - p.value) / (high - low) * kHeight), " ");
    out += "\"/>\n";
    for (const double value : {high, low}) {
      const int y = value == high ? kMargin : kMargin + kHeight;
      out += text("<line x1=\"", kMargin, "\" x2=\"", kMargin + kWidth, "\" y1=\"", y, "\" y2=\"", y, "\" stroke=\"#ccc\"/>\n");
      out += text("<text x=\"", look.label_x, "\" y=\"", y + 4, "\" text-anchor=\"", look.anchor, "\" fill=\"", look.colour,
                  "\">", detail::digits(value, std::chars_format::general, 4), "</text>\n");
    }
    out += text("<text x=\"", look.label_x, "\" y=\"", kMargin - 24, "\" text-anchor=\"",
                look.anchor == std::string("end") ? "start" : "end", "\" fill=\"", look.colour, "\">", look.name, "</text>\n");
  }

  std::filesystem::path earlier_;
  std::vector<Point> losses_, scores_;
};

}   // namespace ctseg
