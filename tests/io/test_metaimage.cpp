// MetaImage: what is written comes back; headers by hand in every legal form; the place in LPS and RAS.
#include <doctest/doctest.h>
#include <ctseg/io/metaimage.hpp>

#include <cerrno>
#include <clocale>

#include "temp_folder.hpp"
#include "volumes.hpp"

using namespace ctseg;

namespace {

template <class T> std::string bytes_of_values(const std::vector<T>& values) {
  return {reinterpret_cast<const char*>(values.data()), values.size() * sizeof(T)};
}
const std::string kHead =
    "ObjectType = Image\nNDims = 3\nBinaryDataByteOrderMSB = False\nTransformMatrix = 1 0 0 0 1 0 0 0 1\n"
    "Offset = -10 20 30\nElementSpacing = 0.5 0.75 2\nDimSize = 3 2 2\nElementType = MET_SHORT\n";
const std::vector<std::int16_t> kVoxels = {1, -2, 3, 4, 5, 6, 7, 8, 9, 10, 11, -12};
const std::string kBytes = bytes_of_values(kVoxels);
std::string replaced(std::string header, const std::string& what, const std::string& by) {
  return header.replace(header.find(what), what.size(), by);
}
template <class T = std::int16_t>
Volume<T> read(const TempFolder& folder, const std::string& content, io::ReadOptions options = {}) {
  spill(folder / "x.mha", content);
  return io::read_metaimage<T>(folder / "x.mha", options);
}

TEST_CASE_TEMPLATE("volumes survive .mha and .mhd, plain and compressed", T, std::uint8_t, std::uint16_t, std::int16_t,
                   std::int32_t, std::int64_t, float, double) {
  const TempFolder folder;
  const Volume<T> v = ramp<T>({7, 5, 3});
  for (const bool compressed : {false, true})
    for (const char* name : {"a.mha", "a b (1,3).mhd"}) {
      io::write_metaimage(folder / name, v, {.compressed = compressed});
      Log log;
      const Volume<T> back = io::read_metaimage<T>(folder / name, {.log = log.sink()});
      CHECK(back.voxels() == v.voxels());
      CHECK(same_grid(back.grid(), v.grid(), 1e-12));
      CHECK(log.lines.empty());
      CHECK(io::read_metaimage<double>(folder / name)(2, 4, 6) == static_cast<double>(v(2, 4, 6)));
    }
  CHECK(std::filesystem::exists(folder / "a b (1,3).raw"));
  CHECK(std::filesystem::exists(folder / "a b (1,3).zraw"));
  CHECK(slurp(folder / "a b (1,3).raw") == bytes_of_values(v.voxels()));
}

TEST_CASE("equal volumes give equal files, also on top of others") {
  const TempFolder folder;
  io::write_metaimage(folder / "a.mhd", ramp<float>({3, 4, 5}), {.compressed = true});
  io::write_metaimage(folder / "a.mha", ramp<std::uint8_t>({3, 4, 5}), {.compressed = true});
  io::write_metaimage(folder / "a.mha", ramp<float>({3, 4, 5}), {.compressed = true});
  const std::string header = slurp(folder / "a.mhd"), voxels = slurp(folder / "a.zraw"), both = slurp(folder / "a.mha");
  CHECK(both == replaced(header, "a.zraw", "LOCAL") + voxels);
  io::write_metaimage(folder / "a.mhd", ramp<float>({3, 4, 5}), {.compressed = true});
  CHECK(slurp(folder / "a.mhd") == header);
  CHECK(slurp(folder / "a.zraw") == voxels);
}

TEST_CASE("the offset has the same bits after a round trip, also where numbers are written with a comma") {
  const TempFolder folder;
  std::setlocale(LC_NUMERIC, "de_DE.UTF-8");   // without effect where it is not installed
  io::write_metaimage(folder / "a.mha", ramp<float>({2, 2, 2}, 1.0 / 3));
  const Affine<Ras> back = io::read_metaimage<float>(folder / "a.mha").affine();
  std::setlocale(LC_NUMERIC, "C");
  CHECK(slurp(folder / "a.mha").find(',') == std::string::npos);
  for (int i = 0; i < 3; ++i) CHECK(back.matrix(i, 3) == oblique(1.0 / 3).matrix(i, 3));
}

TEST_CASE("MetaImage is LPS, line i of the matrix is the direction of voxel axis i") {
  const TempFolder folder;
  const auto plain = read(folder, kHead + "ElementDataFile = LOCAL\n" + kBytes);
  CHECK(plain.voxels() == kVoxels);
  const Point<Ras> first = plain.affine()(0, 0, 0), next = plain.affine()(1, 1, 1);
  CHECK(first.x == 10);
  CHECK(first.y == -20);
  CHECK(first.z == 30);
  CHECK(next.x == 9.5);
  CHECK(next.y == -20.75);
  CHECK(next.z == 32);
  const auto turned =
      read(folder, replaced(kHead, "1 0 0 0 1 0 0 0 1", "0 1 0 0 0 -1 1 0 0") + "ElementDataFile = LOCAL\n" + kBytes);
  const Point<Lps> x = to_lps(turned.affine()(1, 0, 0)), y = to_lps(turned.affine()(0, 1, 0)),
                   z = to_lps(turned.affine()(0, 0, 1));
  CHECK(x.y == doctest::Approx(20.5));
  CHECK(y.z == doctest::Approx(29.25));
  CHECK(z.x == doctest::Approx(-8));
}

TEST_CASE("every ElementType in both byte orders") {
  const TempFolder folder;
  const auto check = [&](const char* type, auto value) {
    using From = decltype(value);
    for (const bool swapped : {false, true}) {
      std::vector<From> values(12, value);
      values[1] = From(7);
      for (From& v : values) v = swapped ? io::byte_swapped(v) : v;
      const std::string head =
          replaced(replaced(kHead, "MET_SHORT", type), "MSB = False", swapped ? "MSB = True" : "MSB = False");
      const auto v = read<double>(folder, head + "ElementDataFile = LOCAL\n" + bytes_of_values(values));
      CHECK_MESSAGE(v.voxels()[0] == static_cast<double>(value), type);
      CHECK(v.voxels()[1] == 7);
    }
  };
  check("MET_CHAR", std::int8_t{-100});
  check("MET_ASCII_CHAR", std::int8_t{-100});
  check("MET_UCHAR", std::uint8_t{200});
  check("MET_SHORT", std::int16_t{-1024});
  check("MET_USHORT", std::uint16_t{40000});
  check("MET_INT", std::int32_t{-70000});
  check("MET_UINT", std::uint32_t{4000000000u});
  check("MET_LONG", std::int32_t{-70000});
  check("MET_ULONG", std::uint32_t{4000000000u});
  check("MET_LONG_LONG", std::int64_t{-1} << 40);
  check("MET_ULONG_LONG", std::uint64_t{1} << 60);
  check("MET_FLOAT", -0.25f);
  check("MET_DOUBLE", 0.1);
}

TEST_CASE("synonyms, CRLF, comments, missing places and slices are read, and said where something was assumed") {
  const TempFolder folder;
  const auto expected = read(folder, kHead + "ElementDataFile = LOCAL\n" + kBytes);
  const auto warning = [&](const std::string& head, bool same_place = true) {
    Log log;
    const auto v = read(folder, head + "ElementDataFile = LOCAL\n" + kBytes, {.log = log.sink()});
    CHECK(v.voxels() == kVoxels);
    if (same_place) CHECK(same_grid(v.grid(), expected.grid(), 1e-12));
    return log.lines;
  };
  CHECK(warning(kHead).empty());
  CHECK(warning(kHead + "# a remark\n\nName = \xff\xfe\nt0=12.5\n").empty());
  CHECK(warning(replaced(kHead, "Offset", "Position") + "Origin = -10 20 30\n").empty());
  CHECK(warning(replaced(replaced(kHead, "Offset", "Origin"), "TransformMatrix", "Rotation")).empty());
  CHECK(warning(replaced(replaced(kHead, "ElementSpacing", "ElementSize"), "TransformMatrix", "Orientation")).empty());
  CHECK(warning(kHead + "ElementSize = 1 2 3\n").empty());   // the extent of a detector element, not the spacing
  CHECK(warning(replaced(kHead, "BinaryDataByteOrderMSB", "ElementByteOrderMSB")).empty());
  CHECK(warning(replaced(kHead, "-10 20 30", "-1.0e+001   +20\t30")).empty());
  CHECK(warning(kHead + "HeaderSize = -1\nElementNumberOfChannels = 1\nDistanceUnits = mm\n").empty());
  CHECK(warning(replaced(kHead, "BinaryDataByteOrderMSB = False\n", "")).find("little-endian") != std::string::npos);
  CHECK(warning("odd words\n" + kHead).find("line 1 has no \"=\"") != std::string::npos);
  CHECK(warning(replaced(kHead, "Offset", "Where"), false).find("Offset is missing") != std::string::npos);
  CHECK(warning(replaced(kHead, "TransformMatrix", "M")).find("TransformMatrix is missing") != std::string::npos);
  CHECK(warning(replaced(kHead, "1 0 0 0 1 0 0 0 1", "1 0 0 0 1 0 0 0.3162278 0.9486833"), false).find("sheared") !=
        std::string::npos);
  std::string crlf = kHead;
  for (std::size_t at = 0; (at = crlf.find('\n', at)) != std::string::npos; at += 2) crlf.insert(at, "\r");
  CHECK(warning(crlf).empty());
  const std::string four =
      replaced(replaced(kHead, "NDims = 3", "NDims = 4"), "1 0 0 0 1 0 0 0 1", "1 0 0 0 0 1 0 0 0 0 1 0 0 0 0 1");
  CHECK(
      warning(replaced(replaced(replaced(four, "-10 20 30", "-10 20 30 0"), "0.5 0.75 2", "0.5 0.75 2 1"), "3 2 2", "3 2 2 1"))
          .empty());
}

TEST_CASE("a 2-D image is one slice") {
  const TempFolder folder;
  const std::string two =
      "NDims = 2\nElementByteOrderMSB = False\nTransformMatrix = 0 1 -1 0\nOffset = 5 6\nElementSpacing = 2 3\n"
      "DimSize = 4 3\nElementType = MET_SHORT\n";
  Log log;
  const auto v = read(folder, two + "ElementDataFile = LOCAL\n" + kBytes, {.log = log.sink()});
  CHECK(v.shape() == Xyz<Index>{4, 3, 1});
  CHECK(v.spacing_mm() == Xyz<double>{2, 3, 1});
  CHECK(to_lps(v.affine()(1, 0, 0)).y == 8);
  CHECK(to_lps(v.affine()(0, 1, 0)).x == 2);
  CHECK(log.lines.find("1 mm is assumed") != std::string::npos);
  Log quiet;   // a third number is the thickness
  CHECK(read(folder, replaced(two, "= 2 3", "= 2 3 4.5") + "ElementDataFile = LOCAL\n" + kBytes, {.log = quiet.sink()})
            .spacing_mm() == Xyz<double>{2, 3, 4.5});
  CHECK(quiet.lines.empty());
}

TEST_CASE("voxels beside the header: HeaderSize, patterns, lists, a link that stays inside") {
  const TempFolder folder;
  const auto voxels = [&](const std::string& ending) {
    spill(folder / "x.mhd", kHead + ending);
    return io::read_metaimage<std::int16_t>(folder / "x.mhd").voxels();
  };
  std::filesystem::create_directory(folder / "sub");
  spill(folder / "sub/a.raw", kBytes);
  spill(folder / "head.raw", "12345" + kBytes);
  spill(folder / "s 1.raw", "#" + kBytes.substr(0, 12));
  spill(folder / "s 5.raw", "#" + kBytes.substr(12));
  spill(folder / "s008.raw", kBytes.substr(0, 12));
  spill(folder / "s009.raw", kBytes.substr(12));
  std::filesystem::create_symlink("sub/a.raw", folder / "link.raw");
  CHECK(voxels("ElementDataFile = sub/a.raw\nPatientID = 5\n") == kVoxels);
  CHECK(voxels("ElementDataFile = link.raw") == kVoxels);
  CHECK(voxels("HeaderSize = 5\nElementDataFile = head.raw\n") == kVoxels);
  CHECK(voxels("HeaderSize = -1\nElementDataFile = head.raw\n") == kVoxels);
  CHECK(voxels("HeaderSize = 1\nElementDataFile = s %d.raw 1 5 4\n") == kVoxels);
  CHECK(voxels("ElementDataFile = s%03d.raw 8 9 1\n") == kVoxels);
  CHECK(voxels("ElementDataFile = s%03d.raw 8 9\n") == kVoxels);
  CHECK(voxels("ElementDataFile = s%03d.raw 8\n") == kVoxels);
  CHECK(voxels("ElementDataFile = LIST\ns008.raw\n\ns009.raw\n") == kVoxels);
  CHECK(voxels("HeaderSize = 1\nElementDataFile = LIST 2\ns 1.raw\r\ns 5.raw") == kVoxels);
  const auto packed = io::metaimage::deflated(std::as_bytes(std::span(kVoxels)), 9);
  io::write_file(folder / "a.zraw", packed);
  CHECK(voxels(text("CompressedData = True\nCompressedDataSize = ", packed.size(), "\nElementDataFile = a.zraw\n")) == kVoxels);
  CHECK(voxels("CompressedData = True\nElementDataFile = a.zraw\n") == kVoxels);
  io::write_file(folder / "g.zraw", std::as_bytes(std::span(kVoxels)), {.gzip = true});
  CHECK(voxels("CompressedData = True\nElementDataFile = g.zraw\n") == kVoxels);
}

TEST_CASE("writing fails whole: names, folders, and an old pair stays together") {
  const TempFolder folder;
  const auto v = ramp<std::int16_t>({3, 2, 2});
  for (const char* name : {"a.raw", "mha", "LIST.mhd", "50%.mhd", " a.mhd", "a\n.mhd"})
    CHECK_THROWS_AS(io::write_metaimage(folder / name, v), Error);
  CHECK_THROWS_AS(io::write_metaimage(folder / "none" / "a.mha", v), Error);
  CHECK_THROWS_AS(io::write_metaimage(folder / "a.mha", v, {.compressed = true, .level = 11}), Error);
  CHECK(std::filesystem::is_empty(folder.path));
  io::write_metaimage(folder / "a.mhd", v);
  std::filesystem::create_directories(folder / "b.mhd" / "full");
  CHECK_THROWS_AS(io::write_metaimage(folder / "b.mhd", v), Error);   // the header's place is taken: no voxels are left behind
  CHECK_FALSE(std::filesystem::exists(folder / "b.raw"));
  std::error_code ignored;
  CHECK(std::distance(std::filesystem::directory_iterator(folder.path), {}) == 3);
}

}   // namespace
