// LUNA16: tables as they are published and as they are damaged, spheres on grids of every kind, the manifest of a long run.
#include <doctest/doctest.h>
#include <ctseg/data/luna16.hpp>
#include <ctseg/data/processed_files.hpp>
#include <ctseg/image/resample.hpp>

#include <Eigen/Geometry>

#include "../io/temp_folder.hpp"

using namespace ctseg;

namespace {

const std::string kTable =
    "seriesuid,coordX,coordY,coordZ,diameter_mm\n"
    "1.3.6.1,-128.6994211,-175.3192718,-298.3875064,5.651470635\n"
    "1.3.6.2,103.7836509,-211.9251487,-227.12125,4.224708481\n"
    "1.3.6.1,69.63901724,-140.9445859,876.3744957,5.786347814\n";

Grid grid(Xyz<Index> shape, Xyz<double> spacing, double angle = 0) {
  Eigen::Matrix4d m = Eigen::Matrix4d::Identity();
  m.block<3, 3>(0, 0) = Eigen::AngleAxisd(angle, Eigen::Vector3d(1, 2, 3).normalized()).toRotationMatrix() *
                        Eigen::Vector3d(-spacing.x, -spacing.y, spacing.z).asDiagonal();
  m.block<3, 1>(0, 3) << 60, 50, -40;
  return {shape, Affine<Ras>(m)};
}
template <class T> Index count(const Volume<T>& v) {
  return v.grid().voxels() - std::count(v.voxels().begin(), v.voxels().end(), T(0));
}

TEST_CASE("annotations and candidates are read by column names and grouped by scan") {
  const TempFolder folder;
  spill(folder / "annotations.csv", kTable);
  const auto nodules = read_luna16_annotations(folder / "annotations.csv");
  REQUIRE(nodules.size() == 3);
  CHECK(nodules[0].centre.x == -128.6994211);
  CHECK(nodules[1].centre.z == -227.12125);
  CHECK(nodules[2].diameter_mm == 5.786347814);
  const auto groups = by_series(nodules);
  CHECK(groups.size() == 2);
  CHECK(groups.at("1.3.6.1").size() == 2);
  CHECK(groups.at("1.3.6.1")[1].centre.x == 69.63901724);
  spill(folder / "candidates.csv",
        "\xef\xbb\xbf"
        "class, coordZ,coordY,coordX,seriesuid\r\n1,3,2,1,a\r\n0,6,5,4,b\r\n\r\n");
  const auto candidates = read_luna16_candidates(folder / "candidates.csv");
  REQUIRE(candidates.size() == 2);
  CHECK(candidates[0].is_nodule);
  CHECK_FALSE(candidates[1].is_nodule);
  CHECK(candidates[1].centre.x == 4);
  CHECK(candidates[1].series_uid == "b");
}

TEST_CASE("a damaged table is refused with file, line and column") {
  const TempFolder folder;
  const auto refused = [&](const std::string& what, const std::string& by, const std::string& sentence) {
    std::string content = kTable;
    spill(folder / "a.csv", content.replace(content.find(what), what.size(), by));
    const std::string message = error_of([&] { read_luna16_annotations(folder / "a.csv"); });
    CHECK_MESSAGE(message == text((folder / "a.csv").string(), sentence), message);
  };
  refused("5.786347814", "", ", line 4: diameter_mm is empty.");
  refused("5.786347814", "-5", ", line 4: diameter_mm = -5; must be a number from 0.01 to 1000.");
  refused("5.786347814", "5mm", ", line 4: diameter_mm = 5mm; must be a number from 0.01 to 1000.");
  refused("103.7836509", "nan", ", line 3: coordX = nan; must be a number from -100000 to 100000.");
  refused("103.7836509,", "", ", line 3: 4 columns; the first line names 5.");
  refused("coordX", "x", ", line 2: the first line names no column coordX.");
  refused(kTable, "", ": is empty; the first line must name the columns.");
}

TEST_CASE("a sphere has its volume and its place on any grid, turned, fine or coarse") {
  const Nodule nodule{"a", to_lps(Point<Ras>{31, 22, -15}), 18};
  const double expected = 4.0 / 3 * 3.14159265 * 9 * 9 * 9;
  for (const auto& [g, tolerance] : {std::pair{grid({80, 80, 80}, {1, 1, 1}), 0.02},
                                     {grid({160, 80, 40}, {0.5, 1, 2}), 0.03},
                                     {grid({90, 90, 90}, {1, 0.9, 1.1}, 0.4), 0.03}}) {
    const auto mask = nodule_mask(g, {nodule});
    const double volume = static_cast<double>(count(mask)) * g.affine.voxel_mm3();
    CHECK(volume == doctest::Approx(expected).epsilon(tolerance));
    double sum[3] = {};
    for (Index z = 0; z < g.shape.z; ++z)
      for (Index y = 0; y < g.shape.y; ++y)
        for (Index x = 0; x < g.shape.x; ++x)
          if (mask(z, y, x) != 0) {
            const auto p = to_lps(g.affine(double(x), double(y), double(z)));
            sum[0] += p.x, sum[1] += p.y, sum[2] += p.z;
          }
    CHECK(sum[0] / double(count(mask)) == doctest::Approx(-31).epsilon(0.01));
    CHECK(sum[1] / double(count(mask)) == doctest::Approx(-22).epsilon(0.01));
    CHECK(sum[2] / double(count(mask)) == doctest::Approx(-15).epsilon(0.01));
  }
  const Grid fine = grid({80, 80, 80}, {1, 1, 1}), coarse = grid_with_spacing(fine, {3, 3, 3});   // what a resampled scan has
  CHECK(static_cast<double>(count(nodule_mask(coarse, {nodule}))) * 27 == doctest::Approx(expected).epsilon(0.1));
}

TEST_CASE("small nodules keep a voxel, nodules outside have none, ones at the rim are cut") {
  Volume<std::uint16_t> mask(grid({20, 20, 20}, {3, 3, 3}));
  const auto centre = [&](double x, double y, double z) { return to_lps(mask.affine()(x, y, z)); };
  CHECK(draw_nodule(mask, {"a", centre(4.4, 5.3, 6.6), 0.5}, std::uint16_t{300}) == 1);
  CHECK(mask(7, 5, 4) == 300);
  CHECK(draw_nodule(mask, {"a", centre(-3, 5, 5), 6}) == 0);
  CHECK(draw_nodule(mask, {"a", centre(1e6, 5, 5), 6}) == 0);
  CHECK(draw_nodule(mask, {"a", centre(0, 10, 10), 12}) == 23);   // half of the 33 voxels within two of one
  CHECK(count(mask) == 24);
}

TEST_CASE("the manifest remembers, also across a stop and by hand") {
  const TempFolder folder;
  const auto path = folder / "processed_files.txt";
  ProcessedFiles done(path);
  CHECK_FALSE(done.contains("a.mhd"));
  done.add("a.mhd");
  done.add("b c.mhd");
  done.add("a.mhd");
  CHECK(slurp(path) == "a.mhd\nb c.mhd\n");
  CHECK(ProcessedFiles(path).contains("b c.mhd"));
  spill(path, "a.mhd\r\n\nb.mhd\na.mhd\nlast");
  ProcessedFiles again(path);
  CHECK(again.size() == 3);
  CHECK(again.contains("last"));
  again.add("new");
  CHECK(slurp(path) == "a.mhd\nb.mhd\nlast\nnew\n");
  CHECK_THROWS_AS(again.add(""), Error);
  CHECK_THROWS_AS(again.add("a\nb"), Error);
  CHECK_THROWS_AS(ProcessedFiles(folder / "none" / "x").add("a"), Error);
  CHECK_THROWS_AS(ProcessedFiles(folder.path), Error);
}

}   // namespace
