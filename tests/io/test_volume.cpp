// One way in and one way out: formats told by content and name, .npy with a place given, readers for more formats.
#include <doctest/doctest.h>
#include <ctseg/io/volume.hpp>

#include "temp_folder.hpp"

using namespace ctseg;

namespace {

Volume<std::int16_t> scan() {
  Eigen::Matrix4d m = Eigen::Matrix4d::Identity();
  m.block<3, 3>(0, 0) = Eigen::Vector3d(-0.75, 0.75, 2.5).asDiagonal();
  m.block<3, 1>(0, 3) << 10, -20, 30;
  Volume<std::int16_t> v(Grid{{4, 3, 2}, Affine<Ras>(m)});
  for (std::size_t i = 0; i < v.voxels().size(); ++i) v.voxels()[i] = static_cast<std::int16_t>(i * 97 - 500);
  return v;
}

TEST_CASE("write_volume and read_volume agree for every name, and content goes before the name") {
  const TempFolder folder;
  for (const char* name : {"a.nii", "a.nii.gz", "a.mha", "a.mhd", "A.NII", "A.MHA"}) {
    io::write_volume(folder / name, scan());
    const auto back = io::read_volume<std::int16_t>(folder / name);
    CHECK(back.voxels() == scan().voxels());
    CHECK(same_grid(back.grid(), scan().grid(), 1e-6));
    const io::VolumeInfo info = io::inspect_volume(folder / name);
    CHECK(info.stored == Stored::i16);
    CHECK(same_grid(info.grid, back.grid(), 1e-9));
    CHECK(info.format ==
          (io::ends_with(name, ".mha") || io::ends_with(name, ".mhd") ? io::VolumeFormat::metaimage : io::VolumeFormat::nifti));
  }
  std::filesystem::copy(folder / "a.mha", folder / "download");
  std::filesystem::copy(folder / "a.nii", folder / "really nifti.mha");
  CHECK(io::read_volume<float>(folder / "download").shape() == scan().shape());
  CHECK(io::inspect_volume(folder / "really nifti.mha").format == io::VolumeFormat::nifti);
  CHECK_THROWS_AS(io::write_volume(folder / "a.dcm", scan()), Error);
  CHECK(error_of([&] { io::write_volume(folder / "a.npy", scan()); }).find("write_npy_volume") != std::string::npos);
}

TEST_CASE("what is no volume is refused with what would be") {
  const TempFolder folder;
  const auto refusal = [&](const std::string& name, const std::string& content) {
    spill(folder / name, content);
    return error_of([&] { io::read_volume<float>(folder / name); });
  };
  const std::string supported = "supported: NIfTI (.nii, .nii.gz, .hdr with .img), MetaImage (.mha, .mhd), .npy.";
  CHECK(refusal("scan.nrrd", "NRRD0004\n").find("is NRRD; " + supported) != std::string::npos);
  CHECK(refusal("x", std::string(128, '\0') + "DICM....").find("read_volume(path, dicom::reader())") != std::string::npos);
  CHECK(refusal("x.png", "PNG").find("neither content nor name") != std::string::npos);
  CHECK(refusal("x.nii", "").find("is empty, 0 bytes") != std::string::npos);
  CHECK(refusal("x.nii", std::string(400, 'x')).find("sizeof_hdr") != std::string::npos);
  CHECK(refusal("x.mhd", "what").find("not a MetaImage header") != std::string::npos);
  CHECK(error_of([&] { io::read_volume<float>(folder.path); }).find("is a folder. Hint: a DICOM series") != std::string::npos);
  CHECK(error_of([&] { io::read_volume<float>(folder / "none.mha"); }).find("cannot open") != std::string::npos);
  io::write_volume(folder / "a.nii", scan());
  CHECK(error_of([&] { io::read_volume<float>(folder / "a.nii", {.affine = scan().affine()}); }).find("is for .npy files") !=
        std::string::npos);
}

struct Twos {   // a reader of one more format
  bool reads(const std::filesystem::path& path) const { return path.extension() == ".two"; }
  template <class T> Volume<T> read(const std::filesystem::path&, const io::ReadOptions&) const {
    return Volume<T>(scan().grid(), T(2));
  }
};

TEST_CASE("a reader that is handed over goes first where it knows the path") {
  const TempFolder folder;
  io::write_volume(folder / "a.mha", scan());
  CHECK(io::read_volume<float>(folder / "none.two", Twos{})(0, 0, 0) == 2);
  CHECK(io::read_volume<float>(folder / "a.mha", Twos{})(0, 0, 0) == -500);
  CHECK_THROWS_AS(io::read_volume<float>(folder / "a.mha", Twos{}, {.max_bytes = 3}), Error);
}

std::string npy(std::string header, const std::string& values) {
  header.resize((header.size() + 11 + 63) / 64 * 64 - 11, ' ');
  header += '\n';
  return std::string("\x93NUMPY\x01\x00", 8) + static_cast<char>(header.size()) + '\0' + header + values;
}

TEST_CASE(".npy arrays are volumes where the caller says") {
  const TempFolder folder;
  const io::ReadOptions place{.affine = scan().affine()};
  io::write_npy_volume(folder / "a.npy", scan());
  CHECK(slurp(folder / "a.npy").size() == 128 + 48);
  const auto back = io::read_volume<std::int16_t>(folder / "a.npy", place);
  CHECK(back.voxels() == scan().voxels());
  CHECK(back.affine() == scan().affine());
  CHECK(io::inspect_volume(folder / "a.npy", place).stored == Stored::i16);
  CHECK(error_of([&] { io::read_volume<float>(folder / "a.npy"); }).find("Hint: set ReadOptions::affine") != std::string::npos);
  const auto read = [&](const std::string& header, const std::string& values) {
    spill(folder / "x.npy", npy(header, values));
    return io::read_npy_volume<float>(folder / "x.npy", place);
  };
  const auto fortran = read("{'descr': '|u1', 'fortran_order': True, 'shape': (3, 2, 2), }", "\1\2\3\4\5\6\7\10\11\12\13\14");
  CHECK(fortran.shape() == Xyz<Index>{2, 2, 3});
  CHECK(fortran.voxels() == std::vector<float>{1, 7, 4, 10, 2, 8, 5, 11, 3, 9, 6, 12});
  CHECK(read("{'descr': '>i2', 'fortran_order': False, 'shape': (1, 1, 2, 1, 1), }", std::string("\1\0\0\2", 4)).voxels() ==
        std::vector<float>{256, 2});
  CHECK(read("{'descr': '|b1', 'fortran_order': False, 'shape': (1, 2), }", std::string("\1\0", 2)).shape() ==
        Xyz<Index>{2, 1, 1});
  const auto refused = [&](const std::string& header, const std::string& values) {
    return error_of([&] { read(header, values); });
  };
  CHECK(refused("{'descr': '<f2', 'fortran_order': False, 'shape': (1, 1, 2), }", "1234").find("descr = <f2") !=
        std::string::npos);
  CHECK(refused("{'descr': '<c8', 'fortran_order': False, 'shape': (1, 1, 2), }", "1234").find("descr = <c8") !=
        std::string::npos);
  CHECK(refused("{'descr': '|u1', 'fortran_order': False, 'shape': (2, 1, 1, 2), }", "1234").find("shape = (2, 1, 1, 2)") !=
        std::string::npos);
  CHECK(refused("{'descr': '|u1', 'fortran_order': False, 'shape': (4,), }", "1234").find("shape = (4)") != std::string::npos);
  CHECK(refused("{'descr': '|u1', 'fortran_order': False, 'shape': (0, 1, 1), }", "").find("none of them 0") !=
        std::string::npos);
  CHECK(refused("{'descr': '|u1', 'fortran_order': False, 'shape': (1, 1, 5), }", "1234").find("needs 5 bytes") !=
        std::string::npos);
  spill(folder / "x.npy",
        npy("{'descr': '|u1', 'fortran_order': False, 'shape': (999999999999, 999999999999, 999999999999), }", "1234"));
  CHECK(error_of([&] { io::inspect_volume(folder / "x.npy", place); }).find("cannot be counted") != std::string::npos);
}

TEST_CASE("an affine from a spacing, which must be one") {
  CHECK(io::affine_of_spacing({1, 2, 3.5})(1, 1, 1).z == 3.5);
  for (const double v : {0.0, -1.0, 101.0, 1e-300, std::numeric_limits<double>::quiet_NaN()})
    CHECK_THROWS_AS(io::affine_of_spacing({1, v, 1}), Error);
}

TEST_CASE("a placement that readers refuse is not written, and the file there before stays") {
  const TempFolder folder;
  const auto written = [&](const std::filesystem::path& path, int row, double value) {
    Eigen::Matrix4d m = Eigen::Matrix4d::Identity();
    m(row, 1) = value;
    return error_of([&] { io::write_volume(path, Volume<float>(Grid{{2, 2, 2}, Affine<Ras>(m)})); });
  };
  for (const char* name : {"a.nii", "a.nii.gz", "a.mha", "a.mhd"}) {
    io::write_volume(folder / name, scan());
    CHECK(written(folder / name, 1, 101).find("the grid's voxel size = 101; must be > 0 and <= 100 mm") != std::string::npos);
    CHECK(written(folder / name, 0, 2).find("sheared") != std::string::npos);
    CHECK(io::read_volume<std::int16_t>(folder / name).voxels() == scan().voxels());
    CHECK(written(folder / name, 1, 100).empty());
    CHECK(io::read_volume<float>(folder / name).shape() == Xyz<Index>{2, 2, 2});
  }
}

}   // namespace
