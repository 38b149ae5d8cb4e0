// MetaImage files that are wrong, one per kind of damage: each is refused in one sentence that names the field, none crashes.
#include <doctest/doctest.h>
#include <ctseg/core/random.hpp>
#include <ctseg/io/metaimage.hpp>

#include "temp_folder.hpp"

using namespace ctseg;

namespace {

const std::string kHead =
    "ObjectType = Image\nNDims = 3\nBinaryData = True\nBinaryDataByteOrderMSB = False\n"
    "TransformMatrix = 1 0 0 0 1 0 0 0 1\nOffset = -10 20 30\nElementSpacing = 0.5 0.75 2\n"
    "DimSize = 3 2 2\nElementType = MET_SHORT\n";
const std::string kVoxels(24, 'v');
std::string replaced(std::string header, const std::string& what, const std::string& by) {
  return header.replace(header.find(what), what.size(), by);
}
/// The message of reading x.mhd with this content, without the path in front.
std::string refusal(const TempFolder& folder, const std::string& content, const io::ReadOptions& options = {}) {
  spill(folder / "x.mhd", content);
  const std::string message = error_of([&] { io::read_metaimage<float>(folder / "x.mhd", options); });
  const std::size_t at = message.find(": ");
  if (message.empty()) return message;
  CHECK_MESSAGE(message.starts_with(folder.path.string()), message);
  return message.substr(at + 2);
}

TEST_CASE("every damaged field of a MetaImage header is refused in its own words") {
  const TempFolder folder;
  const std::string local = "ElementDataFile = LOCAL\n" + kVoxels;
  REQUIRE(refusal(folder, kHead + local).empty());
  int refused = 0;
  const auto bad = [&](const std::string& what, const std::string& by, const std::string& sentence) {
    CHECK(refusal(folder, replaced(kHead, what, by) + local) == sentence);
    ++refused;
  };
  const std::string rank = "; must be 3; 2 for one slice; up to 7 with extents of 1 from the fourth on.";
  for (const char* n : {"0", "1", "8", "9", "-3", "3.0", "three", ""})
    bad("NDims = 3", text("NDims = ", n), text("NDims = ", n, rank));
  bad("NDims = 3", "NDims = 2", "DimSize = 3 2 2; must be 2 numbers, as NDims says.");
  bad("NDims = 3", "NDims = 4", "DimSize = 3 2 2; must be 4 numbers, as NDims says.");
  bad("NDims = 3\n", "", "the header has no NDims.");
  bad("NDims = 3", "NDims = 3\nNDims = 3", "NDims = 3; contradicts or repeats NDims = 3.");
  bad("DimSize = 3 2 2\n", "", "the header has no DimSize.");
  for (const char* n : {"0 2 2", "3 -2 2"}) bad("3 2 2", n, text("DimSize = ", n, "; every extent must be 1 or more."));
  for (const char* n : {"3 2 2.5", "3 2 x", "3 2 99999999999999999999"})
    bad("3 2 2", n, text("DimSize = ", n, "; must be whole numbers."));
  bad("3 2 2", "4294967296 4294967296 1", "DimSize = 4294967296 4294967296 1; makes more voxels than can be counted.");
  bad("3 2 2", "300 200 200",
      "DimSize and ElementType need 24000000 bytes of voxels; the file has 24. Hint: the file is truncated or its header "
      "damaged.");
  bad("3 2 2", "3 2 1",
      "DimSize and ElementType need 12 bytes of voxels; the file has 24. Hint: the file is truncated or its header damaged.");
  bad("ElementType = MET_SHORT\n", "", "the header has no ElementType.");
  const std::string types = "; must be MET_ with CHAR, SHORT, INT, LONG, LONG_LONG, one of these behind a U, FLOAT or DOUBLE.";
  for (const char* t : {"MET_NONE", "MET_STRING", "MET_UCHAR_ARRAY", "SHORT", "met_short", "MET_SHORTX"})
    bad("MET_SHORT", t, text("ElementType = ", t, types));
  bad("MET_SHORT", "MET_FLOAT",
      "DimSize and ElementType need 48 bytes of voxels; the file has 24. Hint: the file is truncated or its header damaged.");
  bad("MET_SHORT", "MET_SHORT\nElementNumberOfChannels = 3",
      "ElementNumberOfChannels = 3; must be 1: colours and vectors are no volume.");
  bad("ElementSpacing", "Spacing",
      "the header has no ElementSpacing: the size of a voxel is not known. Hint: add it if you know it.");
  for (const char* v : {"0.5 0 2", "0.5 -0.75 2"})
    bad("0.5 0.75 2", v,
        text("ElementSpacing = ", v[4] == '-' ? "-0.75" : "0", "; the voxel size must be > 1e-6 and <= 100 mm."));
  for (const char* v : {"0.5 nan 2", "0.5 inf 2", "0.5 1e30 2", "101 1 1"})
    bad("0.5 0.75 2", v, text("ElementSpacing = ", v, "; must be finite and within 100."));
  for (const char* v : {"0.5 0.75", "1 1 1 1"})
    bad("0.5 0.75 2", v, text("ElementSpacing = ", v, "; must be 3 numbers for NDims = 3."));
  for (const char* v : {"0,5 0,75 2", "1 1 1mm", "0x1 1 1", "1e999 1 1"})
    bad("0.5 0.75 2", v, text("ElementSpacing = ", v, "; must be numbers."));
  bad("-10 20", "nan 20", "Offset = nan 20 30; must be finite and within 1e+06.");
  bad("-10 20", "-1e9 20", "Offset = -1e9 20 30; must be finite and within 1e+06.");
  bad("Offset = -10 20 30", "Offset = -10 20 30\nPosition = -10 20 31",
      "Position = -10 20 31; contradicts or repeats Offset = -10 20 30.");
  bad("1 0 0 0 1 0 0 0 1", "1 0 0 1", "TransformMatrix = 1 0 0 1; must be 9 numbers for NDims = 3.");
  bad("1 0 0 0 1 0 0 0 1", "1 0 0 0 1 0 0 0 nan", "TransformMatrix = 1 0 0 0 1 0 0 0 nan; must be finite and within 1.001.");
  bad("1 0 0 0 1 0 0 0 1", "1 0 0 0 0.5 0 0 0 1",
      "TransformMatrix = a direction of length 0.5; every line must have length 1.");
  bad("1 0 0 0 1 0 0 0 1", "1 0 0 1 0 0 0 0 1",
      "TransformMatrix = voxel axes 0 degrees apart; the placement is singular or sheared; its axes must be at least 60 "
      "degrees apart.");
  bad("1 0 0 0 1 0 0 0 1", "1 0 0 0.8 0.6 0 0 0 1",
      "TransformMatrix = voxel axes 36.8699 degrees apart; the placement is singular or sheared; its axes must be at least 60 "
      "degrees apart.");
  bad("BinaryData = True", "BinaryData = False", "BinaryData = False; voxels written as text are not read.");
  bad("BinaryData = True", "BinaryData = Yes", "BinaryData = Yes; must be True or False.");
  bad("MSB = False", "MSB = False\nElementByteOrderMSB = True",
      "ElementByteOrderMSB = True; contradicts or repeats BinaryDataByteOrderMSB = False.");
  bad("ObjectType = Image", "ObjectType = Mesh", "ObjectType = Mesh; must be Image.");
  bad("NDims", "DistanceUnits = cm\nNDims", "DistanceUnits = cm; must be mm.");
  bad("NDims", "ElementToIntensityFunctionSlope = 2\nNDims",
      "ElementToIntensityFunctionSlope = 2; must be 1: readers disagree on whether to apply it.");
  bad("NDims", "\xff\xffKey = 1\nNDims", "line 2 has a key with bytes that are no printable ASCII.");
  bad("NDims", std::string("Name = a\0b\nNDims", 16), "line 2 of the header has a NUL byte.");
  bad("NDims", "Name = " + std::string(70'000, 'x') + "\nNDims", "line 2 is longer than 65536 bytes.");
  bad("NDims", "Name = " + std::string(10'000'000, 'x') + "\nNDims", "line 2 is longer than 65536 bytes.");
  std::string lines;
  for (int i = 0; i < 20'000; ++i) lines += "Name = " + std::string(60, 'x') + "\n";
  bad("NDims", lines + "NDims", "the header has more than 1048576 bytes.");
  for (const char* n : {"5", "1"})
    bad("NDims", text("HeaderSize = ", n, "\nNDims"),
        text("HeaderSize = ", n, "; must be 0 or -1 where the voxels follow the header."));
  for (const char* n : {"-2", "x", "9e9", "99999999999999999"})
    bad("NDims", text("HeaderSize = ", n, "\nNDims"), text("HeaderSize = ", n, "; must be a number of bytes, or -1."));
  bad("MET_SHORT", "MET_UCHAR\nHeaderSize = -1\nBinaryDataByteOrderMSB = False",
      "BinaryDataByteOrderMSB = False; contradicts or repeats BinaryDataByteOrderMSB = False.");
  CHECK(refusal(folder, "") == "has neither NDims nor ElementDataFile: this is not a MetaImage header.");
  CHECK(refusal(folder, kHead) == "the header has no ElementDataFile, which must be its last line.");
  CHECK(refusal(folder, kHead + local, {.max_bytes = 47}) ==
        "DimSize = 3 x 2 x 2 takes 48 bytes; the limit is ReadOptions::max_bytes = 47.");
  CHECK(refused >= 60);
}

TEST_CASE("nothing outside the header's folder is opened, and no data file is guessed") {
  const TempFolder outside, folder;
  spill(outside / "a.raw", kVoxels);
  spill(folder / "s1.raw", kVoxels.substr(0, 12));
  std::filesystem::create_directory(folder / "sub");
  std::filesystem::create_symlink(outside / "a.raw", folder / "link.raw");
  std::filesystem::create_directory_symlink(outside.path, folder / "elsewhere");
  std::filesystem::create_symlink("loop.raw", folder / "loop.raw");
  const auto bad = [&](const std::string& file, const std::string& why) {
    const std::string message = refusal(folder, kHead + "ElementDataFile = " + file + "\n");
    CHECK(message == text("ElementDataFile = ", file.substr(0, file.find('\n')), "; ", why));
  };
  bad((outside / "a.raw").string(), "must not be an absolute path: only the header's folder is read.");
  bad("/etc/passwd", "must not be an absolute path: only the header's folder is read.");
  for (const char* name : {"../x.raw", "sub/../../x.raw", "sub/../x.raw", ".."})
    bad(name, "must not leave the header's folder.");
  for (const char* name : {"link.raw", "elsewhere/a.raw"})
    bad(name, "is a link that leaves the header's folder: not followed.");
  bad("none.raw", "cannot be opened: No such file or directory. Hint: it belongs beside the header.");
  bad("loop.raw", "cannot be opened: Too many levels of symbolic links. Hint: it belongs beside the header.");
  CHECK(refusal(folder, kHead + "ElementDataFile = a\x01.raw\n") ==
        "ElementDataFile = a?.raw; must have no control characters.");
  bad("", "must be a name, a pattern, LIST or LOCAL.");
  bad("LIST\ns1.raw", "names 1 files; DimSize asks for 2.");
  bad("LIST\ns1.raw\ns1.raw\ns1.raw", "names 3 files; DimSize asks for 2.");
  bad("LIST 3\ns1.raw", "several files must be one for each slice of a 3-D image.");
  for (const char* name : {"s%d.raw 1 3 1", "s%d.raw 2 1 1", "s%d.raw 1 2 0", "s%d.raw -1 0 1",
                           "s%d.raw 1 9223372036854775807 1", "s%d.raw 9223372036854775807"})
    bad(name, "the numbers (first, last, step) must make the 2 files of DimSize, at most 100000.");
  CHECK(refusal(folder, replaced(kHead, "3 2 2", "1 1 1099511627775") + "ElementDataFile = s%d.raw 1 1099511627775 1\n") ==
        "ElementDataFile = s%d.raw 1 1099511627775 1; the numbers (first, last, step) must make the 1099511627775 files of "
        "DimSize, at most 100000.");
  for (const char* name : {"s%s.raw 1 2", "s%d%d.raw 1 2", "s%n 1 2", "s%123d.raw 1 2", "100%", "s%*d 1 2"}) {
    const std::string first =
        std::string(name).substr(0, std::string(name).find(' ') == std::string::npos ? 99 : std::string(name).find(' '));
    CHECK(refusal(folder, kHead + "ElementDataFile = " + name + "\n") ==
          text("ElementDataFile = ", first, "; a pattern must have one %d, with up to two digits as in %03d."));
  }
  CHECK(refusal(folder, kHead + "ElementDataFile = LIST\ns1.raw\n../s2.raw\n") ==
        "ElementDataFile = ../s2.raw; must not leave the header's folder.");
  CHECK(refusal(folder, kHead + "ElementDataFile = s%d.raw 1 2 1\n").find("s2.raw; cannot be opened") != std::string::npos);
  for (const char* name : {"sub", "x.mhd"}) CHECK(!refusal(folder, kHead + "ElementDataFile = " + name + "\n").empty());
  std::filesystem::create_symlink("/dev/zero", folder / "zero.raw");
  bad("zero.raw", "is a link that leaves the header's folder: not followed.");
}

TEST_CASE("compressed voxels: sizes, damage, bombs") {
  const TempFolder folder;
  const auto bytes = io::metaimage::deflated(std::as_bytes(std::span(kVoxels)), 6);
  const std::string packed(reinterpret_cast<const char*>(bytes.data()), bytes.size()), yes = "CompressedData = True\n";
  const auto bad = [&](const std::string& head, const std::string& data) {
    return refusal(folder, kHead + head + "ElementDataFile = LOCAL\n" + data);
  };
  REQUIRE(bad(yes, packed).empty());
  const std::string n = text(packed.size());
  for (const std::string size : {"1", "39", "9999999"})
    CHECK(bad(yes + "CompressedDataSize = " + size + "\n", packed) ==
          text("CompressedDataSize = ", size, "; the file has ", n, " bytes of voxels."));
  for (const std::string size : {"0", "-5", "x"})
    CHECK(bad(yes + "CompressedDataSize = " + size + "\n", packed) ==
          text("CompressedDataSize = ", size, "; must be a number of bytes."));
  CHECK(bad(yes, "") == "the compressed voxels are missing.");
  CHECK(bad(yes + "HeaderSize = -1\n", packed) == "HeaderSize = -1; must be 0 or more for compressed voxels.");
  CHECK(bad(yes, packed + "x") == "the compressed voxels end before their last byte. Hint: copy the file again.");
  CHECK(bad(yes, kVoxels) == "the compressed voxels are damaged (incorrect header check). Hint: copy the file again.");
  for (std::size_t cut = 1; cut < packed.size(); ++cut) CHECK(!bad(yes, packed.substr(0, cut)).empty());
  std::string flipped = packed;
  flipped.back() = static_cast<char>(flipped.back() ^ 1);
  CHECK(bad(yes, flipped).find("are damaged (incorrect data check)") != std::string::npos);
  const std::vector<std::byte> zeros(30'000'000);
  const auto bomb = io::metaimage::deflated(zeros, 9);
  CHECK(bad(yes, {reinterpret_cast<const char*>(bomb.data()), bomb.size()}) ==
        "the compressed voxels hold more voxels than DimSize says. Hint: copy the file again.");
  CHECK(refusal(folder, replaced(kHead, "3 2 2", "3000 2000 200") + yes + "ElementDataFile = LOCAL\n" + packed) ==
        text("DimSize and ElementType need 2400000000 bytes of voxels; ", n, " compressed bytes cannot hold them."));
}

Volume<std::int16_t> scan() {
  Eigen::Matrix4d m = Eigen::Matrix4d::Identity();
  m.block<3, 3>(0, 0) = Eigen::Vector3d(-0.7421875, 0.7421875, 2.5).asDiagonal();
  m.block<3, 1>(0, 3) << 110.25, -220.5, 330.75;
  Volume<std::int16_t> v(Grid{{6, 5, 4}, Affine<Ras>(m)});
  for (std::size_t i = 0; i < v.voxels().size(); ++i) v.voxels()[i] = static_cast<std::int16_t>(i * 97);
  return v;
}

TEST_CASE("truncation at every byte is refused") {
  const TempFolder folder;
  for (const bool compressed : {false, true}) {
    io::write_metaimage(folder / "good.mha", scan(), {.compressed = compressed});
    io::write_metaimage(folder / "good.mhd", scan(), {.compressed = compressed});
    const std::string whole = slurp(folder / "good.mha"), header = slurp(folder / "good.mhd");
    for (std::size_t n = 0; n < whole.size(); ++n) CHECK(!refusal(folder, whole.substr(0, n)).empty());
    for (std::size_t n = 0; n + 1 < header.size(); ++n) CHECK(!refusal(folder, header.substr(0, n)).empty());
    CHECK(refusal(folder, header.substr(0, header.size() - 1)).empty());   // all but the last line's end
    const auto data = folder / (compressed ? "good.zraw" : "good.raw");
    const std::string voxels = slurp(data);
    for (std::size_t n = 0; n < voxels.size(); ++n) {
      spill(data, voxels.substr(0, n));
      CHECK(!refusal(folder, header).empty());
    }
  }
}

TEST_CASE("8000 flipped bits: the same geometry, a warning or a clean error") {
  const TempFolder folder;
  RandomStream random({.seed = 11});
  int silent = 0, accepted = 0, warned_of = 0;
  for (const bool compressed : {false, true})
    for (const char* ending : {".mha", ".mhd"}) {
      io::write_metaimage(folder / (std::string("good") + ending), scan(), {.compressed = compressed});
      const std::string good = slurp(folder / (std::string("good") + ending));
      for (int i = 0; i < 2000; ++i) {
        std::string bad = good;
        const auto at = static_cast<std::size_t>(random.below(static_cast<Index>(bad.size())));
        bad[at] = static_cast<char>(bad[at] ^ 1 << random.below(8));
        const auto path = folder / (std::string("bad") + ending);
        spill(path, bad);
        bool warned = false;
        const LogSink log{[](void* user, std::string_view) { *static_cast<bool*>(user) = true; }, &warned};
        try {
          const auto v = io::read_metaimage<float>(path, {.log = log});
          ++accepted;
          warned_of += warned;
          if (!warned && !same_grid(v.grid(), scan().grid(), 1e-9)) ++silent;
        } catch (const Error&) {}
      }
    }
  CHECK(silent == 0);
  CHECK(accepted > 1000);
  CHECK(warned_of > 500);
}

}   // namespace
