// The seeds of the fuzzer, one sound file of each kind: with wrong bytes or cut short they give a volume or an error.
#include <doctest/doctest.h>

#include <ctseg/core/finite.hpp>
#include <ctseg/core/random.hpp>
#include <ctseg/io/dicom_mask.hpp>

#include "dicom_bytes.hpp"

using namespace ctseg;
using namespace dicom_test;

namespace {

struct Counts {
  int read = 0, refused = 0;
};

/// Reads a file as what it is; anything but a sound volume or an error that names the file fails the test.
void read(const std::filesystem::path& path, bool mask, Counts& counts) {
  try {
    if (mask) {
      Eigen::Matrix4d m = Eigen::Matrix4d::Identity();
      m(2, 2) = 2;
      const auto read = io::read_dicom_seg(path, {{kColumns, kRows, 3}, to_ras(Affine<Lps>(m))});
      REQUIRE(read.mask.shape() == Xyz<Index>{kColumns, kRows, 3});
    } else {
      const auto v = io::read_dicom_series<float>(path, {.single_file = true}).volume;
      REQUIRE(static_cast<Index>(v.voxels().size()) == v.grid().voxels());
      REQUIRE(v.affine().voxel_mm3() > 0);
      for (float hu : v.voxels()) REQUIRE(is_finite(hu));
    }
    ++counts.read;
  } catch (const Error& error) {
    REQUIRE(std::string_view(error.what()).starts_with(path.string()));
    ++counts.refused;
  }
}

}   // namespace

TEST_CASE("dicom: seeds of the fuzzer, 3000 wrong bytes in them, and all their beginnings") {
  const TempFolder folder;
  const auto path = folder / "image";
  RandomStream random({.seed = 11});
  Counts flipped, cut;
  int seeds = 0;
  for (const auto& entry : std::filesystem::directory_iterator(std::string(CTSEG_SOURCE_DIR) + "/tests/fuzz/seeds/dicom")) {
    const std::string name = entry.path().filename().string(), good = slurp(entry.path());
    INFO(name);
    const bool mask = name.starts_with("seg");
    Counts whole;
    spill(path, good);
    read(path, mask, whole);
    if (name.starts_with("found_")) continue;   // what the fuzzer found is not sound
    CHECK(whole.read == 1);
    ++seeds;
    for (int i = 0; i < 200; ++i) {
      std::string bad = good;
      const auto at = static_cast<std::size_t>(random.below(static_cast<Index>(bad.size())));
      bad[at] ^= static_cast<char>(1 + random.below(255));
      spill(path, bad);
      read(path, mask, flipped);
    }
    for (std::size_t length = 0; length < good.size(); ++length) {
      spill(path, good.substr(0, length));
      read(path, mask, cut);
    }
  }
  CHECK(seeds >= 15);
  CHECK(flipped.read + flipped.refused >= 3000);
  CHECK(flipped.read > 800);
  CHECK(flipped.refused > 800);
  CHECK(cut.refused > 8000);
  CHECK(cut.read == 0);
}
