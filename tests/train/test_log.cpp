// Logs: what a resumed training keeps, what TensorBoard reads, the curve.
#include <doctest/doctest.h>

#include <ctseg/train/log.hpp>

#include "io/temp_folder.hpp"

using namespace ctseg;

namespace {

FitProgress at(Index step) {
  return {.step = step, .steps = 9, .loss = 0.5 / double(step), .last_loss = 1, .learning_rate = 0.25};
}

std::uint64_t little(const std::string& bytes, std::size_t at, std::size_t count) {
  std::uint64_t value = 0;
  for (std::size_t i = count; i-- > 0;) value = value << 8 | static_cast<unsigned char>(bytes[at + i]);
  return value;
}

/// The messages of an event file, their checksums tested.
std::vector<std::string> messages(const std::filesystem::path& path) {
  const std::string bytes = slurp(path);
  std::vector<std::string> all;
  const auto masked = [](std::uint32_t crc) { return (crc >> 15 | crc << 17) + 0xa282ead8u; };
  for (std::size_t p = 0; p < bytes.size();) {
    const auto length = static_cast<std::size_t>(little(bytes, p, 8));
    CHECK(little(bytes, p + 8, 4) == masked(io::crc32c(std::string_view(bytes).substr(p, 8))));
    all.push_back(bytes.substr(p + 12, length));
    CHECK(little(bytes, p + 12 + length, 4) == masked(io::crc32c(all.back())));
    p += 16 + length;
  }
  return all;
}

}   // namespace

TEST_CASE("the checksum is Castagnoli's") {
  CHECK(io::crc32c("123456789") == 0xe3069283u);
  CHECK(io::crc32c("") == 0);
  CHECK(io::crc32c(std::string(32, '\0')) == 0x8a9136aau);
}

TEST_CASE("a text log has a line a step, and a resumed training replaces those after its start") {
  const TempFolder folder;
  for (const auto format : {TextLogFormat::csv, TextLogFormat::json_lines}) {
    const bool json = format == TextLogFormat::json_lines;
    const auto path = folder / (json ? "log.jsonl" : "log.csv");
    {
      TextLog log(path, format);
      for (Index step = 1; step <= 5; ++step) log.on_step(at(step));
    }
    spill(path, slurp(path) + (json ? "{\"step\":6,\"lo" : "6,0.1"));   // killed while it wrote
    {
      TextLog log(path, format);
      log.on_score({.step = 3, .score = 0.75});
      log.on_step(at(4));
    }
    const std::string expected =
        json ? "{\"step\":1,\"loss\":0.5,\"last_loss\":1,\"learning_rate\":0.25,\"gradient_norm\":null,\"steps_per_second\":0,"
               "\"memory_bytes\":0,\"score\":null}\n"
             : "step,loss,last_loss,learning_rate,gradient_norm,steps_per_second,memory_bytes,score\n1,0.5,1,0.25,,0,0,\n";
    const std::string all = slurp(path);
    CHECK(all.starts_with(expected));
    CHECK(all.ends_with(json ? "\"score\":0.75}\n" : "4,0.125,1,0.25,,0,0,0.75\n"));
    CHECK(std::count(all.begin(), all.end(), '\n') == (json ? 4 : 5));
  }
  TextLog nowhere(folder.path / "no" / "log.csv", TextLogFormat::csv);
  CHECK_THROWS_AS(nowhere.on_step(at(1)), Error);
}

TEST_CASE("event files: records, checksums, one file for each run") {
  const TempFolder own;
  const char* wanted = std::getenv("CTSEG_EVENTS");   // tests/parity/check_tensorboard.py looks at them there
  const std::filesystem::path folder = wanted ? wanted : own.path;
  TensorBoardLog log(folder), second(own.path);
  CHECK(log.file().path() != second.file().path());
  log.on_step(at(1));
  log.on_score({.step = 1, .score = 0.5});
  const std::vector<float> values = {-1, 0, 1, 1, NAN};
  log.file().histogram("weights", values, 2, 0);
  io::RgbImage picture{.width = 2, .height = 1, .rgb = {255, 0, 0, 0, 0, 255}};
  log.file().image("overlay", picture, 2, 0);
  const auto all = messages(log.file().path());
  REQUIRE(all.size() == 1 + 1 + 4 + 1 + 2);
  CHECK(all[0].find("brain.Event:2") != std::string::npos);
  CHECK(all[2].find("loss/mean") != std::string::npos);
  CHECK(all[6].find("validation/score") != std::string::npos);
  CHECK(all[8].find("PNG") != std::string::npos);
}

TEST_CASE("the learning curve is a picture with both lines") {
  LearningCurve curve;
  CHECK(curve.svg().find("polyline") == std::string::npos);
  for (Index step = 1; step <= 9; ++step) curve.on_step(at(step));
  curve.on_score({.step = 9, .score = 0.5});
  const std::string svg = curve.svg();
  CHECK(svg.find("loss (running mean)") != std::string::npos);
  CHECK(svg.find("validation score") != std::string::npos);
  CHECK(svg.find(">0.5</text>") != std::string::npos);
  CHECK(svg.find("step, to 9") != std::string::npos);
}

TEST_CASE("the learning curve of a training that goes on begins with what its log has") {
  const TempFolder folder;
  {
    TextLog log(folder / "log.csv", TextLogFormat::csv);
    for (Index step = 1; step <= 9; ++step) {
      log.on_step(at(step));
      if (step == 4) log.on_score({.step = 4, .score = 0.5});
    }
  }
  LearningCurve finished(folder / "log.csv"), halfway(folder / "log.csv"), anew(folder / "log.csv");
  finished.on_plan({.first_step = 9, .steps = 9, .last_score = 0.75});   // nothing is left to do
  LearningCurve whole;
  for (Index step = 1; step <= 9; ++step) whole.on_step(at(step));
  whole.on_score({.step = 4, .score = 0.5});
  whole.on_score({.step = 9, .score = 0.75});
  CHECK(finished.svg() == whole.svg());

  halfway.on_plan({.first_step = 6, .steps = 9, .last_score = 0.5});
  for (Index step = 7; step <= 9; ++step) halfway.on_step(at(step));
  halfway.on_score({.step = 9, .score = 0.75});
  CHECK(halfway.svg() == whole.svg());

  anew.on_plan({.steps = 9});   // another training than the log's
  CHECK(anew.svg() == LearningCurve{}.svg());
}
