// Lung nodules and liver slices, from phantoms to everything they write, with networks of a few channels and a threshold under
// which all of a scan is a finding: then names, numbers and geometry can be told in advance.
#include <cstring>
#include <ctseg/image/orientation.hpp>
#include <set>

#include "dicom_series.hpp"
#include "tiny.hpp"

namespace fs = std::filesystem;
using nlohmann::json;

namespace {

std::set<std::string> keys_of(const json& j) {
  std::set<std::string> keys;
  for (const auto& [key, value] : j.items()) keys.insert(key);
  return keys;
}
std::vector<std::string> lines_of(const fs::path& file) {
  std::vector<std::string> lines;
  std::ifstream in(file);
  for (std::string line; std::getline(in, line);) lines.push_back(line);
  return lines;
}

/// What a model file says of its preprocessing.
json recipe_in(const fs::path& model) {
  const std::string bytes = slurp(model);
  std::uint64_t head = 0;
  std::memcpy(&head, bytes.data(), sizeof head);
  return json::parse(json::parse(bytes.substr(8, head))["__metadata__"]["ctseg"].get<std::string>());
}

TEST_CASE("lung nodules: LUNA16's folders to findings in millimetres of the patient") {
  const Tiny system("lung_nodules", R"({
    "recipe": {"network": {"channels": [4, 8], "strides": [2], "num_res_units": 1}, "decision": {"threshold": 1e-6},
      "preprocess": [{"step": "Reorient", "codes": "RAS"}, {"step": "Spacing", "spacing_mm": {"x": 8, "y": 8, "z": 8}},
                     {"step": "ScaleIntensityRange", "a_min": -1000, "a_max": 400, "b_min": 0, "b_max": 1, "clip": true}],
      "sliding_window": {"window": [32, 32, 32]}, "skip_air": null},
    "training": {"epochs": 1, "steps_per_epoch": 3, "patch": [16, 16, 16], "batch": 1, "workers": 0},
    "phantom": {"shape": [56, 56, 40], "spacing_mm": [8, 8, 8], "train": 4, "val": 1, "test": 0}})");
  system.run({"preprocess"});
  const fs::path data = system / "data", prepared = system / "prepared";
  CHECK(fs::exists(data / "subset0" / "phantom_0.mhd"));
  CHECK(fs::exists(data / "seg-lungs-LUNA16" / "phantom_4.mhd"));
  CHECK(lines_of(prepared / "processed_files.txt").size() == 5);
  const auto rows = lines_of(data / "annotations.csv");
  CHECK(rows[0] == "seriesuid,coordX,coordY,coordZ,diameter_mm");
  std::size_t nodules = 0;
  for (int i = 0; i < 5; ++i) {
    const json about = system.read(ctseg::text("prepared/metadata/phantom_", i, ".json"));
    CHECK(keys_of(about) ==
          std::set<std::string>{"seriesuid", "source", "shape", "spacing_mm", "origin_world", "orientation", "nodules"});
    CHECK(about["spacing_mm"] == json{8, 8, 8});
    const auto label = ctseg::io::read_volume<std::uint8_t>(prepared / "labels" / ctseg::text("phantom_", i, ".mha"));
    CHECK(about["shape"] == json{label.shape().z, label.shape().y, label.shape().x});
    for (const json& n : about["nodules"]) {   // the mask is where the metadata say, and that is where the annotation is
      const auto voxel = n["center_voxel"].get<std::vector<double>>(), world = n["center_world"].get<std::vector<double>>();
      CHECK(label(std::lround(voxel[0]), std::lround(voxel[1]), std::lround(voxel[2])) == 1);
      const auto lps = ctseg::to_lps(label.affine()(voxel[2], voxel[1], voxel[0]));
      CHECK(lps.x == doctest::Approx(world[0]));
      CHECK(lps.z == doctest::Approx(world[2]));
      ++nodules;
    }
  }
  CHECK(nodules + 1 == rows.size());
  CHECK(nodules > 0);
  const auto before = fs::last_write_time(prepared / "images" / "phantom_0.mha");
  system.run({"preprocess"});   // all of it is in the manifest
  CHECK(fs::last_write_time(prepared / "images" / "phantom_0.mha") == before);

  // Corrected annotations, or a scan that was replaced, are prepared again, and no other.
  const std::string annotations = slurp(data / "annotations.csv"), first = rows[1].substr(0, rows[1].find(','));
  const std::string second = first == "phantom_0" ? "phantom_1" : "phantom_0";
  const auto of = [&](const std::string& name) { return fs::last_write_time(prepared / "images" / (name + ".mha")); };
  const auto then = of(first), there = of(second);
  std::string corrected = annotations;
  const std::size_t comma = rows[1].rfind(',') + 1;   // the diameter stands behind it
  spill(data / "annotations.csv", corrected.replace(corrected.find(rows[1]) + comma, rows[1].size() - comma, "9"));
  system.run({"preprocess"});
  CHECK(of(first) != then);
  CHECK(of(second) == there);
  spill(data / "annotations.csv", annotations);
  fs::last_write_time(data / "subset0" / (second + ".mhd"), fs::file_time_type::clock::now());
  const Ran early = system.start({"train"});   // on scans that are not those of DATA any more
  CHECK(early.status == 2);
  CHECK_MESSAGE(has(early.err, "lacks 2 of 5 scans"), early.err);   // the replaced one, and that with its old diameter again
  CHECK(has(early.err, "Hint: preprocess, with the same --data and --output."));
  system.run({"preprocess"});
  CHECK(of(second) != there);

  const Ran within = run_ctseg({"preprocess", "-c" + system.config(), "-d" + data.string(), "-o" + (data / "run").string()},
                               {.program = "ctseg_lung_nodules"});
  CHECK(within.status == 2);   // else the scans of data/run/prepared would be in the data set
  CHECK(!fs::exists(data / "run"));

  const Ran other = run_ctseg({"train", "-cwhole_scan", "-d" + data.string(), "-o" + (data / "..").string()},
                              {.program = "ctseg_lung_nodules"});
  CHECK(other.status == 2);
  CHECK(has(other.err, "prepared in another way"));
  for (const char* folder : {"images", "labels"})   // of a scan that has left DATA, or of another data set
    fs::copy_file(prepared / folder / "phantom_0.mha", prepared / folder / "left.mha");
  system.run({"train"});
  CHECK(!has(slurp(system / "trained_on.txt"), "left"));
  for (const char* file : {"model.safetensors", "log.csv", "curve.svg", "run.json", "checkpoints/best.safetensors"})
    CHECK(fs::exists(system / file));
  // The checkpoint knows how patches were drawn: beside what is sought, then turned and mirrored.
  const std::string checkpoint = slurp(system / "checkpoints/step_000000003.safetensors");
  CHECK(has(checkpoint, "augment\":\"0:0.5 1:0.5"));
  CHECK(has(checkpoint, "sampler off_centre\":\"16\""));
  CHECK(system.start({"validate", "--mirror", "left"}).status == 2);
  CHECK(system.start({"validate", "--scales", "1,half"}).status == 2);
  const std::string told = system.run({"validate", "--mirror", "x", "--scales", "1"});
  for (const char* word : {"dice  ", "sensitivity  ", "precision  ", "recall  ", " +- ", "CPM  "}) CHECK(has(told, word));
  const auto patients = lines_of(system / "validation.csv");
  REQUIRE(patients.size() == 2);   // 20 % of 5
  CHECK(patients[0] == "patient,dice,sensitivity,precision,recall");
  for (const char* file : {"distribution.svg", "findings.csv", "froc.csv"}) CHECK(fs::file_size(system / file) > 0);
  const json scores = system.read("validation.json");
  CHECK(keys_of(scores) == std::set<std::string>{"dice", "sensitivity", "precision", "recall", "cpm", "sensitivity_at", "scans",
                                                 "nodules", "found"});
  CHECK(scores["sensitivity_at"].size() == 7);
  CHECK(scores["recall"] == scores["sensitivity"]);

  fs::create_directory(system / "phantom_4");
  std::ofstream(system / "phantom_4/nodule_7.png") << "of an earlier run that found more";
  const fs::path odd = system / "one,two.safetensors";   // a file, and no list of two
  fs::copy_file(system / "model.safetensors", odd);
  const json found = json::parse(system.run({"infer", "-m" + odd.string()}));
  CHECK(!fs::exists(system / "phantom_4/nodule_7.png"));
  REQUIRE(found["nodules"].size() == 1);   // all of the scan
  const json& nodule = found["nodules"][0];
  CHECK(keys_of(nodule) ==
        std::set<std::string>{"center_world", "center_voxel", "diameter_mm", "volume_voxels", "bbox", "probability"});
  CHECK(nodule["bbox"] == json{0, 39, 0, 55, 0, 55});
  CHECK(nodule["volume_voxels"] == 56 * 56 * 40);
  CHECK(nodule["center_voxel"] == json{19.5, 27.5, 27.5});
  CHECK(nodule["diameter_mm"].get<double>() == doctest::Approx(std::cbrt(6 * 56 * 56 * 40 * 512 / 3.14159265358979)));
  const auto scan = ctseg::io::read_volume<float>(data / "subset0" / "phantom_4.mhd");
  const auto middle = ctseg::to_lps(scan.affine()(27.5, 27.5, 19.5));
  CHECK(nodule["center_world"][0].get<double>() == doctest::Approx(middle.x));
  CHECK(nodule["center_world"][1].get<double>() == doctest::Approx(middle.y));
  CHECK(slurp(system / "phantom_4/mask.npy").size() == 128 + 56 * 56 * 40);
  for (const char* file : {"mask.nii.gz", "overlay.png", "nodules.json", "nodule_1.png"})
    CHECK(fs::exists(system / ("phantom_4/" + std::string(file))));
  CHECK(system.read("phantom_4/run.json")["figures"]["nodules"] == 1);

  write_dicom(system / "dicom/1.2.840.1", scan);
  const std::string record = slurp(system / "run.json");
  if (const Ran series = system.start({"infer", (system / "dicom/1.2.840.1").string() + "/", "-q"});
      !has(series.err, "without DICOM")) {
    CAPTURE(series.err);
    CHECK(series.status == 0);
    CHECK(fs::exists(system / "1.2.840.1/nodules.json"));
  }
  CHECK(!fs::exists(system / "nodules.json"));
  CHECK(slurp(system / "run.json") == record);   // of the training
}

TEST_CASE("liver slices: a split by patient, statistics of its training part, PNGs and STL") {
  const Tiny system("liver_slices", R"({
    "recipe": {"network": {"features": [2, 4]}, "sliding_window": {"window": [32, 32]}, "decision": {"threshold": 1e-6}},
    "training": {"epochs": 1, "steps_per_epoch": 3, "patch": [32, 32], "validate_every": 0},
    "phantom": {"shape": [40, 40, 12], "spacing_mm": [10, 10, 25], "train": 3, "val": 1, "test": 0}})");
  system.run({"prepare"});
  const json statistics = system.read("statistics.json");
  CHECK(statistics["train"].size() == 3);   // 70 % of 4
  CHECK(statistics["validation"].size() == 1);
  double voxels = 0, sum = 0, squares = 0;
  for (const json& name : statistics["train"]) {
    CHECK(name != statistics["validation"][0]);
    const auto scan = ctseg::io::read_volume<float>(system / ("data/ct_scans/" + name.get<std::string>() + ".nii.gz"));
    for (const float v : scan.voxels()) {
      const double hu = std::clamp(double{v}, -1024.0, 1024.0);
      voxels += 1, sum += hu, squares += hu * hu;
    }
  }
  CHECK(statistics["mean"].get<double>() == doctest::Approx(sum / voxels));
  CHECK(statistics["deviation"].get<double>() == doctest::Approx(std::sqrt(squares / voxels - sum / voxels * sum / voxels)));

  // A voxel that is no number is left out of them.
  const fs::path odd = system / "odd";
  fs::create_directories(odd / "masks"), fs::create_directories(odd / "ct_scans");
  for (const json& given : {statistics["train"][0], statistics["validation"][0]}) {
    const std::string file = given.get<std::string>() + ".nii.gz";
    auto scan = ctseg::io::read_volume<float>(system / ("data/ct_scans/" + file));
    scan.voxels()[7] = std::numeric_limits<float>::quiet_NaN();
    ctseg::io::write_nifti(odd / "ct_scans" / file, scan);
    fs::copy_file(system / ("data/masks/" + file), odd / "masks" / file);
  }
  const Ran prepared = run_ctseg({"prepare", "-c" + system.config(), "-d" + odd.string(), "-o" + (odd / "out").string()},
                                 {.program = "ctseg_liver_slices"});
  CHECK(prepared.status == 0);
  CHECK(json::parse(slurp(odd / "out/statistics.json"))["deviation"].is_number());

  system.run({"train"});
  const json seen = recipe_in(system / "model.safetensors")["preprocess"][1];
  CHECK(seen["mean"] == statistics["mean"]);
  CHECK(seen["deviation"] == statistics["deviation"]);
  const json judged = json::parse(system.run({"evaluate"}));
  CHECK(judged["patients"] == 1);
  CHECK(judged["slices"] == 12);
  CHECK(judged["dice"]["mean"].is_number());
  CHECK(judged["seconds_per_slice"].get<double>() > 0);
  for (const char* file : {"cases.csv", "distribution.svg"}) CHECK(fs::exists(system / ("evaluation/" + std::string(file))));

  const Ran other = system.start({"train", "--resume", "--seed", "1"});   // another split than that of the statistics
  CHECK(other.status == 2);
  CHECK(has(other.err, "prepare again"));
  CHECK(has(system.start({"evaluate", "--seed", "1"}).err, "1 of 1 cases have names of those that the model was trained on"));

  // Stored from left to right: the slices are those across the patient all the same.
  const auto scan = ctseg::io::read_volume<float>(system / "data/ct_scans/phantom_3.nii.gz");
  const std::string name = system / "phantom_3.nii.gz";
  ctseg::io::write_nifti(name, ctseg::reorient(scan, "SPL"));
  fs::create_directories(system / "phantom_3/slices");
  for (const char* file : {"slices/slice_012.png", "slices/mine.png"})   // the first is of an earlier run
    std::ofstream(system / ("phantom_3/" + std::string(file))) << "picture";
  CHECK(has(system.run({"segment", name}), " s a slice"));
  CHECK(!fs::exists(system / "phantom_3/slices/slice_012.png"));
  CHECK(fs::exists(system / "phantom_3/slices/mine.png"));
  for (const char* file :
       {"mask.nii.gz", "preview.png", "run.json", "liver.stl", "slices/slice_000.png", "slices/slice_011.png"})
    CHECK(fs::exists(system / ("phantom_3/" + std::string(file))));
  CHECK(slurp(system / "phantom_3/liver.stl").size() > 84);
  const json run = system.read("phantom_3/run.json");
  CHECK(run["figures"]["liver_ml"].get<double>() == doctest::Approx(40 * 40 * 12 * 2.5));
  CHECK(run["figures"]["slices"] == 12);
}

}   // namespace
