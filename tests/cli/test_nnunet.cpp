// Folders that nnU-Net trained (tests/nnunet/models), on the command line: as they are, and as model files.
#include <doctest/doctest.h>

#include "run_ctseg.hpp"

using namespace ctseg;
using nlohmann::json;

namespace {

const std::string kData = std::string(CTSEG_SOURCE_DIR) + "/tests/nnunet/models/Dataset901_Even";
const std::string kScan = kData + "/case_0000.nii.gz";

double shared(const std::string& a, const std::string& b) {
  const auto one = io::read_volume<std::uint8_t>(a), other = io::read_volume<std::uint8_t>(b);
  REQUIRE(same_grid(one.grid(), other.grid()));
  double same = 0;
  for (std::size_t i = 0; i < one.voxels().size(); ++i) same += one.voxels()[i] == other.voxels()[i];
  return same / static_cast<double>(one.voxels().size());
}

}   // namespace

TEST_CASE("segment takes a folder of nnU-Net, convert makes model files of its folds") {
  const TempFolder out;
  const Ran several = run_ctseg({"segment", kScan, "--nnunet-model", kData, "-o", out / "mask.nii.gz"});
  CHECK(several.status == 2);
  CHECK(has(several.err, "Hint: name a configuration, or the folder of one model."));
  const Ran ran = run_ctseg({"segment", kScan, "--nnunet-model", kData, "--configuration", "3d_fullres", "-o", out / "results",
                             "--json", "--threads", "2"});
  INFO(ran.err);
  REQUIRE(ran.status == 0);
  const std::string mask = out / "results/mask.nii.gz";
  CHECK(shared(mask, kData + "/nnUNetTrainer__nnUNetPlans__3d_fullres/mask.nii.gz") > 0.999);
  const json run = json_of(ran);
  CHECK(has(run["model"]["path"], "fold_0/checkpoint_final.pth"));
  CHECK(has(run["model"]["path"], "fold_1/checkpoint_final.pth"));

  const Ran one = run_ctseg({"convert", kData, "--configuration", "3d_fullres", "-o", out / "all.safetensors"});
  CHECK(one.status == 2);
  CHECK(has(one.err, "is one file, the model has 2 folds. Hint: --folds 0 takes one, a folder as output all of them."));
  const Ran made = run_ctseg({"convert", kData, "--configuration", "3d_fullres", "-o", out / "folds", "--json"});
  INFO(made.err);
  REQUIRE(made.status == 0);
  CHECK(names_in(out / "folds") == std::vector<std::string>{"fold_0.safetensors", "fold_1.safetensors"});
  CHECK(json_of(made)["outputs"][1]["test_difference"] < 1e-6);
  REQUIRE(run_ctseg({"segment", kScan, "-m", out / "folds", "-o", out / "again.nii.gz"}).status == 0);
  CHECK(shared(mask, out / "again.nii.gz") == 1);

  const Ran plain = run_ctseg({"segment", kScan, "--nnunet-model", kData, "--configuration", "3d_fullres", "--folds", "1",
                               "--no-mirroring", "--step-size", "0.8", "--dry-run", "-o", out / "no.nii.gz"});
  INFO(plain.err);
  CHECK(plain.status == 0);
  CHECK(has(plain.out, "overlap 0.2\n"));   // no mirror images, no ensemble
}

TEST_CASE("the second network of a cascade needs the first one's folder, or its mask") {
  const TempFolder out;
  const std::string data = std::string(CTSEG_SOURCE_DIR) + "/tests/nnunet/models/Dataset904_Cascade";
  const std::string name = "/nnUNetTrainer__nnUNetPlans__3d_cascade_fullres", alone = out / "alone";
  std::filesystem::create_directories(alone);
  std::filesystem::copy(data + name, alone + name, std::filesystem::copy_options::recursive);
  const auto plan = [&](const std::vector<std::string>& more) {
    std::vector<std::string> all{"segment", data + "/case_0000.nii.gz", "--nnunet-model", alone, "--dry-run",
                                 "-o",      out / "no.nii.gz"};
    all.insert(all.end(), more.begin(), more.end());
    return run_ctseg(all);
  };
  CHECK(has(plan({}).err, "is the second network of a cascade; the first one, 3d_lowres, is not beside it: "));
  const Ran ran = plan({"--previous", data + "/nnUNetTrainer__nnUNetPlans__3d_lowres/mask.nii.gz"});
  INFO(ran.err);
  CHECK(ran.status == 0);
}

TEST_CASE("convert and segment: what does not go together") {
  const TempFolder out;
  for (const char* option : {"--configuration", "--folds", "--checkpoint", "--postprocessing"}) {   // of a folder of nnU-Net
    CAPTURE(option);
    CHECK(run_ctseg({"segment", kScan, "-m", kScan, option, "2d", "-o", out / "a.nii.gz"}).status == 2);
    const Ran ran = run_ctseg({"convert", kScan, option, "2d", "-o", out / "a.safetensors"});
    CHECK(ran.status == 2);
    CHECK(has(ran.err, "are for a folder of nnU-Net."));
  }
  CHECK(has(run_ctseg({"segment", kScan, "-o", out / "a.nii.gz"}).err,
            "segment: a model is needed, and one kind of them: -m FILE, or --nnunet-model FOLDER."));
  CHECK(has(run_ctseg({"segment", kScan, "-m", out.path.string(), "-o", out / "a.nii.gz"}).err,
            "is a folder without .safetensors or .onnx files."));
  CHECK(has(run_ctseg({"convert", kData, "--recipe", kScan, "-o", out / "a.safetensors"}).err,
            "--recipe: is for weights; a folder of nnU-Net says itself how its model is used."));
  const Ran none = run_ctseg({"convert", kScan, "-o", out / "a.safetensors"});
  CHECK(none.status == 3);
  CHECK(!std::filesystem::exists(out / "a.safetensors"));
}
