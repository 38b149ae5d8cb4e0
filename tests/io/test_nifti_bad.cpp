// NIfTI files that are wrong, one per kind of damage: each is refused with the name of the field, none crashes.
#include <doctest/doctest.h>
#include <ctseg/core/random.hpp>
#include <ctseg/io/nifti.hpp>

#include "temp_folder.hpp"

using namespace ctseg;

namespace {

constexpr float kNan = std::numeric_limits<float>::quiet_NaN(), kInf = std::numeric_limits<float>::infinity();

Volume<std::int16_t> small_scan() {
  Eigen::Matrix4d m = Eigen::Matrix4d::Identity();
  m.block<3, 3>(0, 0) = Eigen::Vector3d(-0.75, 0.75, 2.5).asDiagonal();
  m.block<3, 1>(0, 3) << 10, -20, 30;
  Volume<std::int16_t> v(Grid{{6, 5, 4}, Affine<Ras>(m)});
  for (std::size_t i = 0; i < v.voxels().size(); ++i) v.voxels()[i] = static_cast<std::int16_t>(i * 97);
  return v;
}
std::string good_bytes(const TempFolder& folder) {
  io::write_nifti(folder / "good.nii", small_scan());
  return slurp(folder / "good.nii");
}
template <class T> std::string with(std::string bytes, std::size_t at, T value) {
  return bytes.replace(at, sizeof value, reinterpret_cast<const char*>(&value), sizeof value);
}
std::string read_error(const TempFolder& folder, const std::string& bytes, const char* name = "bad.nii") {
  spill(folder / name, bytes);
  return error_of([&] { io::read_nifti<float>(folder / name); });
}

/// The same field in both versions of the header.
struct Field {
  std::size_t v1, v2;
};
constexpr Field kDim{40, 16}, kDatatype{70, 12}, kBitpix{72, 14}, kPixdim{76, 104}, kOffset{108, 168}, kSlope{112, 176},
    kInter{116, 184}, kQform{252, 344}, kSform{254, 348}, kQuaternion{256, 352}, kQoffset{268, 376}, kRows{280, 400},
    kUnits{123, 500};

/// Every class for one version: Real, Extent and Short are the types its header uses.
template <class Real, class Extent, class Short>
void check_fields(const std::string& good, bool second, const TempFolder& folder) {
  int refused = 0;
  const auto expect = [&](const std::string& bytes, const std::string& field) {
    const std::string message = read_error(folder, bytes);
    INFO(field << " -> " << message);
    CHECK(message.find("bad.nii: ") != std::string::npos);
    CHECK(message.find(field) != std::string::npos);
    ++refused;
  };
  const auto at = [&](Field f, std::size_t i, std::size_t size) { return (second ? f.v2 : f.v1) + i * size; };
  const auto real = [&](Field f, std::size_t i, double v) { return with(good, at(f, i, sizeof(Real)), static_cast<Real>(v)); };
  const auto dim = [&](std::size_t i, Index v) { return with(good, at(kDim, i, sizeof(Extent)), static_cast<Extent>(v)); };
  const auto code = [&](Field f, int v) { return with(good, at(f, 0, 0), static_cast<Short>(v)); };
  const auto type = [&](Field f, int v) { return with(good, at(f, 0, 0), static_cast<std::int16_t>(v)); };
  REQUIRE(read_error(folder, good).empty());

  for (const Index v : {0, -1, 8, -9, 200, 2}) expect(dim(0, v), text("dim[0] = ", v));
  for (const Index v : {0, -3}) expect(dim(2, v), text("dim[2] = ", v));
  expect(dim(3, 30000), "dim");
  expect(dim(1, 7), "dim");
  expect(dim(1, 5), "trailing bytes after the voxels");
  expect(with(dim(0, 4), at(kDim, 4, sizeof(Extent)), Extent{3}), "dim[4] = 3");
  if (second) expect(with(dim(1, Index{1} << 40), at(kDim, 2, 8), std::int64_t{1} << 40), "more voxels than can be counted");
  for (const double v : {0.0, -1.0, 1e-30, double(kNan), double(kInf), 1e30}) expect(real(kPixdim, 3, v), "pixdim[3]");
  if (!second)
    for (const double v : {double(kNan), double(kInf), 352.5}) expect(real(kOffset, 0, v), "vox_offset");
  for (const double v : {-352.0, 0.0, 348.0, 1e9, 3e15})
    expect(second ? with(good, 168, static_cast<std::int64_t>(v)) : real(kOffset, 0, v), "vox_offset");
  for (const int v : {0, 1, 32, 128, 1536, 1792, 2048, 2304, 77, -4}) expect(type(kDatatype, v), text("datatype = ", v));
  for (const int v : {0, 8, 32, -16}) expect(type(kBitpix, v), text("bitpix = ", v));
  for (const double v : {kNan, kInf}) {
    expect(real(kSlope, 0, v), "scl_slope");
    expect(real(kInter, 0, v), "scl_inter");
    expect(real(kQuaternion, 1, v), "quatern_c");
    expect(real(kQoffset, 2, v), "qoffset_z");
    for (std::size_t i : {0u, 7u, 11u}) expect(real(kRows, i, v), i == 0 ? "srow_x[0]" : i == 7 ? "srow_y[3]" : "srow_z[3]");
  }
  expect(real(kQuaternion, 0, 1.5), "quatern");
  expect(real(kPixdim, 0, kNan), "pixdim[0]");
  expect(real(kRows, 0, 0), "srow");                                                 // singular
  expect(with(real(kRows, 1, 0.75), at(kRows, 5, sizeof(Real)), Real{0}), "srow");   // two axes along one line
  expect(real(kRows, 1, 1.5), "sheared");
  for (const int v : {-1, 6, 300}) {
    expect(code(kQform, v), "qform_code");
    expect(code(kSform, v), "sform_code");
  }
  expect(with(good, at(kUnits, 0, 0), char{6}), "xyzt_units");
  expect(with(good, 0, std::int32_t{349}), "sizeof_hdr = 349");
  expect(with(good, second ? 4 : 344, 'x'), "magic");
  expect(with(good, second ? 6 : 346, '3'), "magic");
  expect(good + "x", "trailing bytes");
  CHECK(refused >= 60);
}

TEST_CASE("every damaged field of NIfTI-1 is named") {
  const TempFolder folder;
  check_fields<float, std::int16_t, std::int16_t>(good_bytes(folder), false, folder);
}

TEST_CASE("every damaged field of NIfTI-2 is named") {
  const TempFolder folder;
  const Volume<std::int16_t> v = small_scan();
  const auto raw = io::nifti::encode<nifti_2_header>(v.grid(), io::nifti::placement_of(v.grid()), DT_INT16);
  std::string good(reinterpret_cast<const char*>(&raw), sizeof raw);
  good += std::string(4, '\0') + std::string(reinterpret_cast<const char*>(v.data()), v.voxels().size() * 2);
  check_fields<double, std::int64_t, std::int32_t>(good, true, folder);
}

TEST_CASE("extensions must have a length that fits") {
  const TempFolder folder;
  const std::string good = good_bytes(folder), head = with(with(good.substr(0, 352), 348, char{1}), 108, 384.f);
  const auto extended = [&](std::int32_t size) { return with(head + std::string(32, 'e'), 352, size) + good.substr(352); };
  CHECK(read_error(folder, extended(32)).empty());
  for (const std::int32_t size : {0, -32, 8, 31, 48, 0x7fffffff, 16})
    CHECK(read_error(folder, extended(size)).find("esize = ") != std::string::npos);
}

TEST_CASE("odd but legal headers read, with a warning where something was assumed") {
  const TempFolder folder;
  const std::string good = good_bytes(folder);
  const auto warning = [&](const std::string& bytes) {
    spill(folder / "odd.nii", bytes);
    std::string lines;
    const LogSink log{[](void* user, std::string_view line) { static_cast<std::string*>(user)->append(line); }, &lines};
    CHECK(io::read_nifti<float>(folder / "odd.nii", {.log = log}).shape() == Xyz<Index>{6, 5, 4});
    return lines;
  };
  CHECK(warning(good).empty());
  CHECK(warning(with(good, 112, 0.f)).empty());              // slope 0: none
  CHECK(warning(with(good, 40, std::int16_t{4})).empty());   // 4-D of one volume
  CHECK(warning(with(with(good, 252, 0), 254, std::int16_t{0})).find("qform_code = 0") != std::string::npos);
  CHECK(warning(with(good, 268, 55.f)).find("apart") != std::string::npos);
  CHECK(warning(with(good, 123, char{3})).find("xyzt_units = 3") != std::string::npos);
}

TEST_CASE("gzip and names that do not match, half pairs, empty and foreign files") {
  const TempFolder folder;
  const std::string good = good_bytes(folder);
  io::write_nifti(folder / "good.nii.gz", small_scan());
  CHECK(read_error(folder, good, "bad.nii.gz").find("not gzip") != std::string::npos);
  CHECK(read_error(folder, slurp(folder / "good.nii.gz")).find("does not end in .gz") != std::string::npos);
  CHECK(read_error(folder, slurp(folder / "good.nii.gz") + "x", "bad.nii.gz").find("gzip") != std::string::npos);
  CHECK(read_error(folder, "").find("sizeof_hdr") != std::string::npos);
  CHECK(read_error(folder, good.substr(0, 347)).find("the header") != std::string::npos);
  CHECK(read_error(folder, with(good, 344, std::array<char, 4>{'n', 'i', '1', 0})).find("no .img file") != std::string::npos);
  CHECK(error_of([&] { io::read_nifti<float>(folder / "none.nii"); }).find("cannot open") != std::string::npos);
  std::vector<std::byte> bomb(20'000'000);
  std::memcpy(bomb.data(), good.data(), good.size());
  io::write_file(folder / "bomb.nii.gz", bomb, {.gzip = true});
  CHECK(error_of([&] { io::read_nifti<float>(folder / "bomb.nii.gz"); }).find("trailing bytes") != std::string::npos);
  CHECK(error_of([&] { io::read_nifti<float>(folder / "good.nii", {.max_bytes = 100}); }).find("max_bytes = 100") !=
        std::string::npos);
}

TEST_CASE("truncation at every byte is refused") {
  const TempFolder folder;
  io::write_nifti(folder / "good.nii.gz", small_scan());
  const std::string plain = good_bytes(folder), packed = slurp(folder / "good.nii.gz");
  for (std::size_t n = 0; n < plain.size(); ++n) CHECK(!read_error(folder, plain.substr(0, n)).empty());
  for (std::size_t n = 0; n < packed.size(); ++n) CHECK(!read_error(folder, packed.substr(0, n), "bad.nii.gz").empty());
}

TEST_CASE("4000 flipped bits: the same geometry, a warning or a clean error") {
  const TempFolder folder;
  io::write_nifti(folder / "good.nii.gz", small_scan());
  RandomStream random({.seed = 7});
  int silent = 0, accepted = 0;
  for (const char* name : {"bad.nii", "bad.nii.gz"}) {
    const std::string good = name == std::string("bad.nii") ? good_bytes(folder) : slurp(folder / "good.nii.gz");
    for (int i = 0; i < 2000; ++i) {
      std::string bad = good;
      const auto at = static_cast<std::size_t>(random.below(static_cast<Index>(bad.size())));
      bad[at] = static_cast<char>(bad[at] ^ 1 << random.below(8));
      spill(folder / name, bad);
      bool warned = false;
      const LogSink log{[](void* user, std::string_view) { *static_cast<bool*>(user) = true; }, &warned};
      try {
        const auto v = io::read_nifti<float>(folder / name, {.log = log});
        ++accepted;
        if (!warned && !same_grid(v.grid(), small_scan().grid(), 2e-3)) ++silent;
      } catch (const Error&) {}
    }
  }
  CHECK(silent == 0);
  CHECK(accepted > 1000);
}

}   // namespace
