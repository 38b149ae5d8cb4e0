// Scans by other ways than a NIfTI file: DICOM folders, and a program of one's own that holds the voxels already.
#include <thread>

#include <ctseg/recipe/model_file.hpp>
#include <ctseg/recipe/segment.hpp>

#include "dicom_series.hpp"
#include "tiny.hpp"

using namespace ctseg;

namespace {

/// Trained so that a part of a patient is liver.
struct Liver : Tiny {
  Liver()
      : Tiny("liver", R"({
          "recipe": {"network": {"features": [4, 4, 8, 8, 8]}, "sliding_window": {"window": [32, 32, 32]}},
          "phantom": {"shape": [40, 40, 40], "spacing_mm": [10, 10, 10], "train": 2, "val": 0, "test": 1},
          "training": {"patch": [32, 32, 32], "batch": 1, "steps": 12, "validate_every": 0, "warm_up": 0, "learning_rate": 0.02}})") {
    run({"train"});
  }
  Volume<float> patient() const { return io::read_volume<float>(*this / "data/test/ct_scans/phantom_2.nii.gz"); }
  /// Of the scan with this name, as the program wrote it.
  Volume<std::uint8_t> mask(const std::string& name) const {
    return io::read_volume<std::uint8_t>(*this / (name + "/mask.nii.gz"));
  }
};
const Liver& liver() {
  static const Liver once;
  return once;
}

/// Else any two masks would be equal.
bool has_both(const Volume<std::uint8_t>& mask) {
  const auto marked = std::count(mask.voxels().begin(), mask.voxels().end(), 1);
  return marked > 0 && marked < mask.grid().voxels();
}

TEST_CASE("DICOM folders, named by UIDs, with and without the slash of a shell: results apart, masks as of the same NIfTI") {
  const Volume<float> scan = write_dicom(liver() / "dicom/1.2.840.1", liver().patient());
  write_dicom(liver() / "dicom/1.2.840.2", liver().patient());
  const std::string record = slurp(liver() / "run.json"), plain = liver() / "dicom/1.2.840.1";
  const Ran first = liver().start({"segment", plain});
  CHECK(slurp(liver() / "run.json") == record);   // of the training
  if (has(first.err, "without DICOM")) return;
  INFO(first.err);
  REQUIRE(first.status == 0);
  liver().run({"segment", (liver() / "dicom/1.2.840.2").string() + "/"});
  CHECK(slurp(liver() / "run.json") == record);
  CHECK(!std::filesystem::exists(liver() / "mask.nii.gz"));

  const std::string file = liver() / "same.nii.gz";
  io::write_nifti(file, scan);
  liver().run({"segment", file});
  const auto same = liver().mask("same");
  CHECK(has_both(same));
  for (const char* uid : {"1.2.840.1", "1.2.840.2"}) {
    CAPTURE(uid);
    const auto mask = reorient(liver().mask(uid), "LPS");
    CHECK(mask.shape() == same.shape());
    CHECK((mask.voxels() == same.voxels()));
  }
}

/// The patient as NAME/ct.nii.gz, below the program's output.
std::string ct_in(const std::string& name) {
  const std::filesystem::path file = liver() / (name + "/ct.nii.gz");
  std::filesystem::create_directories(file.parent_path());
  io::write_nifti(file, liver().patient());
  return file.string();
}

TEST_CASE("scans of one name: another patient's results are not replaced, and that is said before the work; one's own are") {
  const std::string first = ct_in("from/a"), second = ct_in("from/b"), record = liver() / "ct/run.json";
  const auto folder_of = [](const std::string& file) { return std::filesystem::path(file).parent_path().string(); };
  liver().run({"segment", first});
  const auto refused = [&](const std::string& scan, const RunOptions& options = {}) {
    const std::string before = slurp(record);
    const Ran ran = liver().start({"segment", scan, "-m", "no_model"}, options);
    INFO(ran.err);
    CHECK(ran.status == 2);
    CHECK(has(ran.err, "out/ct: holds results of "));
    CHECK(has(ran.err, "Hint: another --output; or, if these are the same scan, delete that folder."));
    CHECK(slurp(record) == before);
    return ran.err;
  };
  CHECK(has(refused(second), first));
  CHECK(has(refused("ct.nii.gz", {.folder = folder_of(second)}), second));
  liver().run({"segment", first});
  liver().run({"segment", "ct.nii.gz"}, {.folder = folder_of(first)});
  std::filesystem::create_directory_symlink("a", liver() / "from/link");
  liver().run({"segment", (liver() / "from/link/ct.nii.gz").string()});
  liver().run({"measure", second});   // writes nothing
  std::filesystem::rename(folder_of(first), liver() / "from/moved");
  refused((liver() / "from/moved/ct.nii.gz").string());   // nobody knows that it is the same
  spill(record, "{}");
  refused(second);
  std::filesystem::remove_all(liver() / "ct");
  liver().run({"segment", second});
  CHECK(has(slurp(record), second));
  const std::string as_data = folder_of(second) + "/data.nii.gz";   // OUTPUT/data are the phantoms
  std::filesystem::copy_file(second, as_data);
  const Ran taken = liver().start({"segment", as_data});
  CHECK(taken.status == 2);
  CHECK(has(taken.err, "out/data: is a folder of the training"));
}

TEST_CASE("scans of one name segmented at once: one has its results, the other is refused") {
  const std::string scans[] = {ct_in("at_once/a"), ct_in("at_once/b")};
  std::filesystem::remove_all(liver() / "ct");
  Ran ran[2];
  {
    const std::jthread other([&] { ran[1] = liver().start({"segment", scans[1]}); });
    ran[0] = liver().start({"segment", scans[0]});
  }
  const int won = ran[0].status == 0 ? 0 : 1;
  CHECK(ran[won].status == 0);
  CHECK(ran[1 - won].status == 2);
  CHECK(has(ran[1 - won].err, "holds results of " + scans[won]));
  CHECK(has(slurp(liver() / "ct/run.json"), scans[won]));
  CHECK(names_in(liver() / "ct") == std::vector<std::string>{"mask.nii.gz", "preview.png", "result.json", "run.json"});
}

TEST_CASE("scans whose names are not UTF-8 are segmented, and JSON stays JSON") {
  const std::string name = "M\xfcller", file = liver() / (name + ".nii.gz");
  io::write_nifti(file, liver().patient());
  const auto said = nlohmann::json::parse(liver().run({"segment", file}));
  CHECK(has(said["outputs"][0].get<std::string>(), "M\xef\xbf\xbdller/mask.nii.gz"));
  CHECK(has_both(liver().mask(name)));
  CHECK(nlohmann::json::accept(slurp(liver() / (name + "/result.json"))));
  CHECK(has(liver().start({"segment", file}).err, "delete that folder"));   // the record's name may stand for several
}

TEST_CASE("a model of other labels is another system's; one of other names is worth a warning") {
  const auto changed = [](const char* labels, const char* name) {
    const std::string file = liver() / name;
    const LoadedModel model = load_model(liver() / "model.safetensors");
    ModelRecipe recipe = model.recipe;
    recipe.labels.back().name = labels;
    if (name == std::string("ids.safetensors"))
      recipe.labels.back().id = 2, recipe.decision.regions_order = {2}, recipe.postprocess.clear();
    save_model(file, model.model, recipe);
    return file;
  };
  const std::string scan = liver() / "data/test/ct_scans/phantom_2.nii.gz";
  const Ran other = liver().start({"segment", scan, "-m", changed("C2", "ids.safetensors")});
  INFO(other.err);
  CHECK(other.status == 3);
  CHECK(has(other.err, "has the labels 2 C2; the configuration has 1 liver. Hint: is it another system's?"));
  const Ran named = liver().start({"segment", scan, "-m", changed("spleen", "names.safetensors")});
  CHECK(named.status == 0);
  CHECK(has(named.err, "has the labels 1 spleen; the configuration has 1 liver."));
  CHECK(has(slurp(liver() / "phantom_2/run.json"), "has the labels 1 spleen"));
}

TEST_CASE("a training that could not begin is not in the way of the next") {
  const Tiny system("liver", R"({
      "recipe": {"network": {"features": [4, 8]}, "sliding_window": {"window": [16, 16, 16]}},
      "phantom": {"shape": [1, 1, 1], "train": 2, "val": 0, "test": 0},
      "training": {"patch": [16, 16, 16], "batch": 1, "steps": 2, "validate_every": 0, "warm_up": 0, "augment": "light"}})");
  for (int k = 0; k < 2; ++k) {
    const Ran ran = system.start({"train"});
    CHECK(ran.status == 3);
    CHECK(has(ran.err, "needs two voxels"));
    CHECK(std::filesystem::exists(system / "checkpoints"));
  }
}

TEST_CASE("an array [D, H, W] in HU with its spacing becomes the mask that the liver's program writes, voxel for voxel") {
  const Volume<float> patient = liver().patient();

  const Index depth = 30, height = 36, width = 40;
  const double z_mm = 11, y_mm = 10, x_mm = 9;
  std::vector<float> array(static_cast<std::size_t>(depth * height * width));
  for (Index z = 0; z < depth; ++z)
    for (Index y = 0; y < height; ++y)
      for (Index x = 0; x < width; ++x) array[static_cast<std::size_t>((z * height + y) * width + x)] = patient(z, y, x);

  Eigen::Matrix4d to_mm = Eigen::Matrix4d::Identity();
  to_mm.diagonal() << x_mm, y_mm, z_mm, 1;
  const Volume<float> scan({{.x = width, .y = height, .z = depth}, Affine<Ras>(to_mm)}, std::move(array));
  Context<Cpu> ctx{{.threads = 1}};
  const LoadedModel model = load_model(liver() / "model.safetensors");
  const Segmentation made = segment(ctx, model, scan);

  const std::string file = liver() / "held.nii.gz";
  io::write_nifti(file, scan);
  liver().run({"segment", file});
  const auto mask = liver().mask("held");
  CHECK(made.labels->shape() == mask.shape());
  CHECK((made.labels->voxels() == mask.voxels()));
  CHECK(has_both(mask));
}

}   // namespace
