// Every form of NIfTI: both versions, both byte orders, all datatypes, one file or a pair, plain or gzip.
#include <doctest/doctest.h>
#include <ctseg/io/volume.hpp>

#include "temp_folder.hpp"

using namespace ctseg;

namespace {

Grid grid() {
  Eigen::Matrix4d m = Eigen::Matrix4d::Identity();
  m.block<3, 3>(0, 0) = Eigen::Vector3d(-0.75, 0.75, 2.5).asDiagonal();
  m.block<3, 1>(0, 3) << 10, -20, 30;
  return {{3, 2, 2}, Affine<Ras>(m)};
}

/// Turns every number of a header round, field by field.
template <class Raw> void swap_fields(Raw& raw) {
  const auto turn = [](auto&... fields) {
    const auto one = [](auto& f) {
      if constexpr (std::is_array_v<std::remove_reference_t<decltype(f)>>)
        for (auto& v : f) v = io::byte_swapped(v);
      else
        f = io::byte_swapped(f);
    };
    (one(fields), ...);
  };
  turn(raw.sizeof_hdr, raw.dim, raw.datatype, raw.bitpix, raw.pixdim, raw.vox_offset, raw.scl_slope, raw.scl_inter,
       raw.qform_code, raw.sform_code, raw.quatern_b, raw.quatern_c, raw.quatern_d, raw.qoffset_x, raw.qoffset_y, raw.qoffset_z,
       raw.srow_x, raw.srow_y, raw.srow_z);
  if constexpr (std::is_same_v<Raw, nifti_2_header>) turn(raw.xyzt_units);
}

struct Form {
  int datatype;
  bool swapped, pair;
  Index rank = 3, offset = 0;   // `offset`: bytes before the voxels of an .img
};
/// The bytes of header and voxels.
template <class Raw, class From> std::pair<std::string, std::string> encode(const Form& form, std::vector<From> values) {
  Raw raw = io::nifti::encode<Raw>(grid(), io::nifti::placement_of(grid()), form.datatype);
  raw.dim[0] = static_cast<std::remove_reference_t<decltype(raw.dim[0])>>(form.rank);
  constexpr bool kFirst = std::is_same_v<Raw, nifti_1_header>;
  if (form.pair) {
    raw.magic[1] = 'i';
    raw.vox_offset = static_cast<decltype(raw.vox_offset)>(form.offset);
  }
  CHECK(std::string(raw.magic) == (form.pair ? (kFirst ? "ni1" : "ni2") : (kFirst ? "n+1" : "n+2")));
  if (form.swapped) {
    swap_fields(raw);
    for (From& v : values) v = io::byte_swapped(v);
  }
  std::string header(reinterpret_cast<const char*>(&raw), sizeof raw), voxels(static_cast<std::size_t>(form.offset), 'o');
  voxels.append(reinterpret_cast<const char*>(values.data()), values.size() * sizeof(From));
  return {form.pair ? header : header + std::string(4, '\0'), voxels};
}

template <class From> void check_type(const TempFolder& folder, int datatype, From low, From high) {
  std::vector<From> values(12, From(1));
  values[0] = low;
  values[11] = high;
  const auto check = [&](const std::filesystem::path& path) {
    const auto v = io::read_volume<double>(path);
    CHECK(v.voxels()[0] == static_cast<double>(low));
    CHECK(v.voxels()[1] == 1);
    CHECK(v.voxels()[11] == static_cast<double>(high));
    CHECK(same_grid(v.grid(), grid(), 1e-6));
    CHECK(io::inspect_volume(path).stored == *io::nifti::stored_as(datatype));
  };
  const auto both = [&](const auto& raw) {
    using Raw = std::remove_cvref_t<decltype(raw)>;
    for (const bool swapped : {false, true}) {
      const auto [header, voxels] = encode<Raw>({datatype, swapped, false}, values);
      spill(folder / "a.nii", header + voxels);
      check(folder / "a.nii");
      const auto [half, other] = encode<Raw>({datatype, swapped, true, 5, 16}, values);
      spill(folder / "p.hdr", half);
      spill(folder / "p.img", other);
      check(folder / "p.hdr");
      check(folder / "p.img");
    }
  };
  both(nifti_1_header{});
  both(nifti_2_header{});
}

TEST_CASE("all datatypes in both byte orders and versions, as one file and as a pair") {
  const TempFolder folder;
  check_type<std::uint8_t>(folder, DT_UINT8, 0, 255);
  check_type<std::int8_t>(folder, DT_INT8, -128, 127);
  check_type<std::uint16_t>(folder, DT_UINT16, 0, 65535);
  check_type<std::int16_t>(folder, DT_INT16, -32768, 32767);
  check_type<std::uint32_t>(folder, DT_UINT32, 0, 4294967295u);
  check_type<std::int32_t>(folder, DT_INT32, -2147483647, 2147483647);
  check_type<std::uint64_t>(folder, DT_UINT64, 0, std::uint64_t{1} << 63);
  check_type<std::int64_t>(folder, DT_INT64, -(std::int64_t{1} << 62), std::int64_t{1} << 62);
  check_type<float>(folder, DT_FLOAT32, -1e-30f, 3e38f);
  check_type<double>(folder, DT_FLOAT64, -1e-300, 1e300);
}

TEST_CASE("pairs, each half plain or gzip, whatever the case of the letters; wrong halves are named") {
  const TempFolder folder;
  const auto halves = encode<nifti_1_header>({DT_INT16, false, true}, std::vector<std::int16_t>(12, 7));
  const std::string &header = halves.first, &voxels = halves.second;
  const auto write = [&](const std::string& name, const std::string& bytes) {
    io::write_file(folder / name, std::as_bytes(std::span(bytes)), {.gzip = name.ends_with("z")});
  };
  const auto good = [&](const std::string& half, const std::string& other) {
    write(half, header);
    write(other, voxels);
    for (const auto& name : {half, other}) CHECK(io::read_volume<std::int16_t>(folder / name).voxels()[11] == 7);
    std::filesystem::remove(folder / half);
    std::filesystem::remove(folder / other);
  };
  good("a.hdr", "a.img");
  good("b.hdr.gz", "b.img.gz");
  good("c.hdr", "c.img.gz");
  good("d.hdr.gz", "d.img");
  good("e f.HDR", "e f.IMG");
  const auto refusal = [&](const char* name) { return error_of([&] { io::read_volume<float>(folder / name); }); };
  write("x.hdr", header);
  CHECK(refusal("x.hdr").find("no .img file beside it") != std::string::npos);
  write("x.img", voxels + "!");
  CHECK(refusal("x.hdr").find("x.img: has trailing bytes after the voxels") != std::string::npos);
  write("x.img", voxels.substr(1));
  CHECK(refusal("x.img").find("x.img: dim = 3 x 2 x 2") != std::string::npos);
  write("y.img", voxels);
  CHECK(refusal("y.img").find("no .hdr file beside it") != std::string::npos);
}

}   // namespace
