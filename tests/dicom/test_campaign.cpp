// Damage at random: a series with one wrong byte, or one file cut short, gives the same geometry or a clean error.
#include <doctest/doctest.h>

#include <ctseg/core/random.hpp>

#include "dicom_bytes.hpp"

using namespace ctseg;
using namespace dicom_test;

namespace {

constexpr int kSlices = 4;   // one can be missed

/// Reads the series; true if that worked. A grid that came out must be the right one.
bool read_well(const std::filesystem::path& folder, const Grid& right) {
  try {
    const auto read = io::read_dicom_series<float>(folder);
    REQUIRE(same_grid(read.volume.grid(), right, 0.25));   // a digit of a position may pass as rounding
    return true;
  } catch (const Error& error) {
    REQUIRE(std::string_view(error.what()).starts_with(folder.string()));
    return false;
  }
}

void flip_bytes(const std::string& syntax, std::uint64_t seed, int flips) {
  const TempFolder folder;
  write_series(
      folder, kSlices, [](int, Elements&) {}, syntax);
  const auto read = io::read_dicom_series<float>(folder.path);
  int well = 0;
  RandomStream random({.seed = seed});
  for (int i = 0; i < flips; ++i) {
    const auto& path = read.series.files[static_cast<std::size_t>(i % kSlices)];
    const std::string good = slurp(path);
    std::string bad = good;
    const auto at = static_cast<std::size_t>(128 + random.below(static_cast<Index>(bad.size()) - 128));
    bad[at] ^= static_cast<char>(1 + random.below(255));
    spill(path, bad);
    INFO("byte " << at << " of " << path.filename().string());
    well += read_well(folder.path, read.volume.grid()) ? 1 : 0;
    spill(path, good);
  }
  INFO(well << " of " << flips << " read");
  CHECK(well > flips / 10);
  CHECK(well < flips * 9 / 10);
}

}   // namespace

TEST_CASE("dicom: 2000 wrong bytes") {
  flip_bytes("1.2.840.10008.1.2.1", 1, 1000);
  flip_bytes("1.2.840.10008.1.2", 2, 500);
  flip_bytes("1.2.840.10008.1.2.2", 3, 500);
}

TEST_CASE("dicom: cut at every byte") {
  for (const std::string syntax : {"1.2.840.10008.1.2.1", "1.2.840.10008.1.2"}) {
    const TempFolder folder;
    write_series(
        folder, kSlices, [](int, Elements&) {}, syntax);
    const auto read = io::read_dicom_series<float>(folder.path);
    const auto& path = read.series.files[1];
    const std::string good = slurp(path);
    for (std::size_t length = 0; length < good.size(); ++length) {
      spill(path, good.substr(0, length));
      INFO("cut at " << length);
      REQUIRE(!read_well(folder.path, read.volume.grid()));
    }
  }
}
