// Every command does what it says, and --json puts one document on stdout.
#include <doctest/doctest.h>
#include <ctseg/io/png.hpp>

#include "run_ctseg.hpp"

using namespace ctseg;
using nlohmann::json;

TEST_CASE("info says what a scan is") {
  const TempFolder folder;
  io::write_nifti(folder / "ct.nii.gz", scan_of(blocks()));
  const Ran ran = run_ctseg({"info", folder / "ct.nii.gz", "--json"});
  CHECK(ran.status == 0);
  CHECK(ran.err.empty());
  const json j = json_of(ran);
  CHECK(j["shape"] == json({20, 20, 20}));
  CHECK(j["spacing_mm"] == json({1, 1, 2}));
  CHECK(j["orientation"] == "LAS");
  CHECK(j["affine"] == json({{-1, 0, 0, 30}, {0, 1, 0, -40}, {0, 0, 2, 5}, {0, 0, 0, 1}}));
  CHECK(j["dtype"] == "int16");
  CHECK(j["hu_min"] == -1000);
  CHECK(j["hu_max"] == 60);
  CHECK(j["warnings"] == json::array());

  io::write_metaimage(folder / "mask.mha", blocks());
  const Ran text = run_ctseg({"info", folder / "mask.mha"});
  CHECK(text.status == 0);
  for (const char* words : {"20 x 20 x 20", "1 x 1 x 2 mm", "LAS", "MetaImage, uint8", "0 to 2", "is this a mask"})
    CHECK_MESSAGE(has(text.out, words), words, " in ", text.out);

  io::write_npy_volume(folder / "array.npy", scan_of(blocks()));
  CHECK(json_of(run_ctseg({"info", folder / "array.npy", "--spacing", "0.5,0.6,0.7", "--json"}))["spacing_mm"] ==
        json({0.5, 0.6, 0.7}));
  const Ran without = run_ctseg({"info", folder / "array.npy"});
  CHECK(without.status == 2);
  CHECK(has(without.err, "--spacing X,Y,Z"));
}

TEST_CASE("info passes on what the reader found odd") {
  const TempFolder folder;
  Volume<float> ct(blocks().grid(), -1000);
  ct(1, 2, 3) = std::numeric_limits<float>::quiet_NaN(), ct(4, 4, 4) = 100;
  io::write_nifti(folder / "nan.nii", ct);
  const json j = json_of(run_ctseg({"info", folder / "nan.nii", "--json", "--quiet"}));
  CHECK(j["not_finite"] == 1);
  CHECK(j["warnings"] == json({"1 voxels are not finite numbers"}));
  CHECK(j["hu_min"] == -1000);
}

TEST_CASE("evaluate: one pair") {
  const TempFolder folder;
  io::write_nifti(folder / "truth.nii.gz", blocks());
  io::write_nifti(folder / "shifted.nii.gz", blocks(1));
  const Ran ran =
      run_ctseg({"evaluate", "-p", folder / "shifted.nii.gz", "-g", folder / "truth.nii.gz", "--json", "--threads", "2"});
  CHECK(ran.status == 0);
  const json j = json_of(ran);
  REQUIRE(j["labels"].size() == 2);
  for (const json& label : {j["labels"][0], j["cases"][0]["labels"][1]}) {   // 4 of 5 planes agree
    CHECK(label["dice"].get<double>() == doctest::Approx(0.8));
    CHECK(label["iou"].get<double>() == doctest::Approx(4.0 / 6));
    CHECK(label["hd95_mm"] == 1);
    CHECK(label["assd_mm"].get<double>() > 0.1);
    CHECK(label["assd_mm"].get<double>() < 1);
    CHECK(label["nsd"] == 1);
  }
  CHECK(j["definitions"]["empty"] == "nan");
  CHECK(has(j["empty_rule"], "false alarms are not counted"));
  const Ran table = run_ctseg({"evaluate", "-p", folder / "shifted.nii.gz", "-g", folder / "truth.nii.gz", "-q"});
  CHECK(table.err.empty());
  CHECK(has(table.out, "0.800"));
  CHECK(has(table.out, "empty"));
}

TEST_CASE("evaluate: a table for names of any length") {
  const TempFolder folder;
  const std::string name(200, 'n');
  io::write_nifti(folder / (name + ".nii.gz"), blocks());
  const Ran ran = run_ctseg({"evaluate", "-p", folder / (name + ".nii.gz"), "-g", folder / (name + ".nii.gz"), "--names",
                             "background," + name, "--no-surfaces"});
  CHECK(ran.status == 0);
  CHECK(has(ran.out, "\n" + name + " " + name + "   1.000   1.000 "));
  CHECK(std::count(ran.out.begin(), ran.out.end(), '\n') == 4);
}

TEST_CASE("evaluate: folders, with reports") {
  const TempFolder folder;
  for (const char* name : {"p", "g", "i"}) std::filesystem::create_directory(folder / name);
  for (const int k : {0, 1, 2, 3, 4, 5, 10}) {
    const std::string name = text("case", k, ".nii.gz");
    io::write_nifti(folder / "g" / name, blocks());
    io::write_nifti(folder / "i" / name, scan_of(blocks()));
    io::write_nifti(folder / "p" / name, blocks(k % 5));
  }
  const Ran ran = run_ctseg({"evaluate", "-p", folder / "p", "-g", folder / "g", "-i", folder / "i", "-o", folder / "out",
                             "--names", "background,<liver>,tumour", "--json"});
  CHECK(ran.status == 0);
  const json j = json_of(ran);
  REQUIRE(j["cases"].size() == 7);
  CHECK(j["cases"][6]["case"] == "case10");   // numbers in names count as numbers
  CHECK(names_in(folder / "out") ==
        std::vector<std::string>{"cases.csv", "distribution.svg", "report.html", "run.json", "summary.json"});
  const std::string csv = slurp(folder / "out" / "cases.csv");
  CHECK(std::count(csv.begin(), csv.end(), '\n') == 15);
  const json summary = json::parse(slurp(folder / "out" / "summary.json"));
  const json& dice = summary["labels"][0]["dice"];
  for (const char* key : {"mean", "sd", "median", "q1", "q3", "iqr", "ci95", "used", "skipped"}) CHECK(dice.contains(key));
  CHECK(dice["used"] == 7);
  CHECK(dice["mean"] == j["labels"][0]["dice"]);
  CHECK(dice["ci95"][0] < dice["mean"]);
  CHECK(dice["ci95"][1] > dice["mean"]);
  CHECK(summary["worst"] == json({"case4", "case3", "case2", "case1", "case0"}));
  const std::string html = slurp(folder / "out" / "report.html");
  for (const char* words : {"<svg", "data:image/png;base64,", "&lt;liver&gt;", "Worst cases", "case4, mean Dice"})
    CHECK_MESSAGE(has(html, words), words);
  CHECK(!has(html, "<liver>"));
  CHECK(!has(html, "src=\"http"));
  CHECK(!has(html, "<script"));
  const json run = json::parse(slurp(folder / "out" / "run.json"));
  CHECK(run["tool"] == "ctseg");
  CHECK(run["outputs"].size() == 5);
  CHECK(run["stages_s"].contains("score"));
}

TEST_CASE("evaluate: scans for the pictures that are not there are told before the work") {
  const TempFolder folder;
  for (const char* name : {"p", "i"}) std::filesystem::create_directory(folder / name);
  for (const char* name : {"a", "b"}) io::write_nifti(folder / "p" / (std::string(name) + ".nii.gz"), blocks());
  io::write_nifti(folder / "i/a.nii.gz", scan_of(blocks()));
  const std::string mask = folder / "p/a.nii.gz";
  const Ran none = run_ctseg({"evaluate", "-p", mask, "-g", mask, "-i", folder / "none.nii", "-o", folder / "out"});
  CHECK(none.status == 3);
  CHECK(none.err ==
        "ctseg: error: " + (folder / "none.nii").string() + ": is not there; --images names the scan of the masks.\n");
  CHECK(!std::filesystem::exists(folder / "out"));
  const Ran some = run_ctseg({"evaluate", "-p", folder / "p", "-g", folder / "p", "-i", folder / "i", "-o", folder / "out"});
  CHECK(some.status == 0);
  CHECK(has(some.err, "i: has no scan of the same name for 1 of 2 cases;"));
}

TEST_CASE("evaluate: cases must have partners and lie on one grid") {
  const TempFolder folder;
  for (const char* name : {"p", "g"}) std::filesystem::create_directory(folder / name);
  io::write_nifti(folder / "p/a.nii.gz", blocks());
  io::write_nifti(folder / "g/a.mha.nii.gz", blocks());
  io::write_nifti(folder / "g/b.nii.gz", blocks());
  std::filesystem::rename(folder / "g/a.mha.nii.gz", folder / "g/a.nii.gz");
  const Ran missing = run_ctseg({"evaluate", "-p", folder / "p", "-g", folder / "g"});
  CHECK(missing.status == 3);
  CHECK(has(missing.err, "b.nii.gz: has no partner"));
  CHECK(run_ctseg({"evaluate", "-p", folder / "p", "-g", folder / "g", "--common-only"}).status == 0);

  Volume<std::uint8_t> moved = blocks();
  Eigen::Matrix4d m = moved.affine().matrix;
  m(2, 3) += 0.5;
  io::write_nifti(folder / "moved.nii.gz", Volume<std::uint8_t>(Grid{moved.shape(), Affine<Ras>(m)}, moved.voxels()));
  const Ran grid = run_ctseg({"evaluate", "-p", folder / "moved.nii.gz", "-g", folder / "g/a.nii.gz", "-o", folder / "out"});
  CHECK(grid.status == 3);
  CHECK(has(grid.err, "moved.nii.gz: does not lie on the grid of"));
  CHECK(has(grid.err, "Try: ctseg info"));
  CHECK(!std::filesystem::exists(folder / "out"));
}

TEST_CASE("export: surfaces, volumes and numbers") {
  const TempFolder folder;
  io::write_nifti(folder / "mask.nii.gz", blocks());
  const json one = json_of(
      run_ctseg({"export", folder / "mask.nii.gz", "-o", folder / "one.stl", "--labels", "2", "--smooth", "0", "--json"}));
  CHECK(one["outputs"][0]["triangles"] == 2 * 6 * 25);
  CHECK(one["outputs"][0]["volume_ml"].get<double>() == doctest::Approx(0.25));
  CHECK(std::filesystem::file_size(folder / "one.stl") == 84 + 50 * 300);
  const Ran all =
      run_ctseg({"export", folder / "mask.nii.gz", "-o", folder / "surfaces", "--format", "ply", "--names", "none,liver"});
  CHECK(all.status == 0);
  CHECK(names_in(folder / "surfaces") == std::vector<std::string>{"label_2.ply", "liver.ply"});
  CHECK(run_ctseg({"export", folder / "mask.nii.gz", "-o", folder / "both.obj"}).status == 2);
  for (const char* names : {"none,liver,liver", "none,left/right", "none,..,x", "none,label_2"}) {   // of files
    const Ran ran = run_ctseg({"export", folder / "mask.nii.gz", "-o", folder / "odd", "--format", "ply", "--names", names});
    CHECK_MESSAGE(ran.status == 2, names);
    CHECK(has(ran.err, "--names"));
    CHECK(!std::filesystem::exists(folder / "odd"));
  }
  const Ran absent = run_ctseg({"export", folder / "mask.nii.gz", "-o", folder / "x.obj", "--labels", "9"});
  CHECK(absent.status == 3);
  CHECK(has(absent.err, "no voxel of label 9"));

  io::write_nifti(folder / "ct.nii.gz", scan_of(blocks()));
  CHECK(run_ctseg({"export", folder / "ct.nii.gz", "-o", folder / "ct.mha"}).status == 0);
  CHECK(io::inspect_volume(folder / "ct.mha").stored == Stored::i16);
  CHECK(io::read_volume<float>(folder / "ct.mha").voxels() == io::read_volume<float>(folder / "ct.nii.gz").voxels());
  CHECK(run_ctseg({"export", folder / "mask.nii.gz", "-o", folder / "mask.npy"}).status == 0);
  CHECK(io::inspect_volume(folder / "mask.npy", {.affine = io::affine_of_spacing({1, 1, 2})}).stored == Stored::u8);
  CHECK(run_ctseg({"export", folder / "mask.nii.gz", "-o", folder / "mask.what"}).status == 2);
  const Ran smooth = run_ctseg({"export", folder / "mask.nii.gz", "-o", folder / "smooth.mha", "--keep", "0.5"});
  CHECK(smooth.status == 2);
  CHECK(has(smooth.err, "--smooth, --keep and --ras are for surfaces."));
}

TEST_CASE("preview draws") {
  const TempFolder folder;
  io::write_nifti(folder / "ct.nii.gz", scan_of(blocks()));
  io::write_nifti(folder / "mask.nii.gz", blocks());
  const json j =
      json_of(run_ctseg({"preview", folder / "ct.nii.gz", "-m", folder / "mask.nii.gz", "-o", folder / "p.png", "--json"}));
  CHECK(j["width"].get<int>() > 500);
  CHECK(slurp(folder / "p.png").starts_with("\x89PNG"));
  CHECK(run_ctseg({"preview", folder / "ct.nii.gz", "-o", folder / "p.jpg"}).status == 2);
  io::write_nifti(folder / "turned.nii.gz", reorient(blocks(), "SPL"));   // the same voxels in another order
  CHECK(run_ctseg({"preview", folder / "ct.nii.gz", "-m", folder / "turned.nii.gz", "-o", folder / "t.png"}).status == 0);
  CHECK(slurp(folder / "t.png") == slurp(folder / "p.png"));
  io::write_nifti(folder / "small.nii.gz", blocks(0, 16));
  const Ran other = run_ctseg({"preview", folder / "ct.nii.gz", "-m", folder / "small.nii.gz", "-o", folder / "s.png"});
  CHECK(other.status == 3);
  CHECK(has(other.err, "small.nii.gz: is on another grid than the scan: 16 x 16 x 16"));
  const Ran window = run_ctseg({"preview", folder / "ct.nii.gz", "-o", folder / "q.png", "--window-hu", "100,-100"});
  CHECK(window.status == 2);
  CHECK(has(window.err, "low must be below high"));
}

TEST_CASE("phantom makes a patient, or a data set") {
  const TempFolder folder;
  CHECK(run_ctseg({"phantom", "abdomen", "-o", folder / "one", "--shape", "24,24,20"}).status == 0);
  CHECK(names_in(folder / "one") == std::vector<std::string>{"coronaries.nii.gz", "ct.nii.gz", "lesions.nii.gz", "nodules.csv",
                                                             "nodules.nii.gz", "organs.nii.gz", "vertebrae.nii.gz"});
  CHECK(io::inspect_volume(folder / "one/ct.nii.gz").stored == Stored::i16);
  CHECK(run_ctseg(
            {"phantom", "thorax", "-o", folder / "set", "--shape", "24,24,20", "--count", "2", "--mask", "lung", "--seed", "7"})
            .status == 0);
  CHECK(names_in(folder / "set/ct_scans") == std::vector<std::string>{"phantom_7.nii.gz", "phantom_8.nii.gz"});
  CHECK(names_in(folder / "set/masks") == names_in(folder / "set/ct_scans"));
  const Ran last = run_ctseg({"phantom", "thorax", "-o", folder / "last", "--shape", "24,24,20", "--count", "1", "--seed",
                              "18446744073709551615", "--json"});
  CHECK(json_of(last)["seed"] == std::numeric_limits<std::uint64_t>::max());
  CHECK(names_in(folder / "last/masks") == std::vector<std::string>{"phantom_18446744073709551615.nii.gz"});
  const Ran organ =
      run_ctseg({"phantom", "thorax", "-o", folder / "bad", "--count", "1", "--mask", "wing", "--shape", "24,24,20"});
  CHECK(organ.status == 2);
  CHECK(has(organ.err, "must be one of lung, liver"));
  CHECK(!std::filesystem::exists(folder / "bad"));
}
