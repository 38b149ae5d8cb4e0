// ctseg plan and train --plan, on a small data set in nnU-Net's raw layout.
#include <doctest/doctest.h>

#include "run_ctseg.hpp"

using namespace ctseg;
using nlohmann::json;

namespace {

/// Six scans of 20 x 18 x 16 voxels with a bright block, or as many as asked for.
void write_dataset(const std::filesystem::path& folder, int cases) {
  std::filesystem::create_directories(folder / "imagesTr");
  std::filesystem::create_directories(folder / "labelsTr");
  const Eigen::Matrix4d millimetres = Eigen::Vector4d(1, 1, 1.5, 1).asDiagonal();
  const Grid grid{{20, 18, 16}, Affine<Ras>(millimetres)};
  for (int k = 0; k < cases; ++k) {
    Volume<float> ct(grid, -100.f);
    Volume<std::uint8_t> label(grid);
    for (Index z = 4; z < 11; ++z)
      for (Index y = 5; y < 12; ++y)
        for (Index x = 5 + k % 3; x < 13; ++x)
          label(z, y, x) = 1, ct(z, y, x) = 100.f + static_cast<float>((x + y + z + k) % 5);
    io::write_nifti(folder / "imagesTr" / text("case", k, "_0000.nii.gz"), ct);
    io::write_nifti(folder / "labelsTr" / text("case", k, ".nii.gz"), label);
  }
  spill(folder / "dataset.json",
        text(R"({"channel_names": {"0": "CT"}, "labels": {"background": 0, "block": 1}, "numTraining": )", cases,
             R"(, "file_ending": ".nii.gz"})"));
}
bool holds(const std::string& all, std::string_view part) { return all.find(part) != std::string::npos; }

}   // namespace

TEST_CASE("plan: files for nnU-Net, a table for people, JSON for programs; inputs stay") {
  const TempFolder folder;
  const std::string data = folder / "Dataset007_Blocks", out = folder / "plan";
  write_dataset(data, 5);
  const Ran ran = run_ctseg({"plan", data, "-o", out});
  INFO(ran.err);
  REQUIRE(ran.status == 0);
  for (const char* words : {"Dataset007_Blocks: 5 cases, 2 labels; planned as ExperimentPlanner", "CTNormalization",
                            "3d_fullres", "patch         20 x 20", "16 x 18 x 20", "nnUNetPlans.json\n"})
    CHECK_MESSAGE(holds(ran.out, words), words << "\n" << ran.out);
  const json plan = json::parse(slurp(folder / "plan" / "nnUNetPlans.json"));
  CHECK(plan["configurations"]["3d_fullres"]["spacing"] == json({1.5, 1.0, 1.0}));
  CHECK(plan["dataset_name"] == "Dataset007_Blocks");
  const Ran again = run_ctseg({"plan", data, "-o", folder / "b", "--fingerprint", out + "/dataset_fingerprint.json", "--preset",
                               "resenc_m", "--name", "mine", "--spacing", "2,2,3", "--json"});
  INFO(again.err);
  REQUIRE(again.status == 0);
  const json said = json::parse(again.out);
  CHECK(said["plans"]["plans_name"] == "mine");
  CHECK(said["plans"]["configurations"]["3d_fullres"]["spacing"] == json({3.0, 2.0, 2.0}));
  CHECK(slurp(folder / "b" / "dataset_fingerprint.json") == slurp(folder / "plan" / "dataset_fingerprint.json"));
  for (const char* name : {"dataset", "../mine"})
    CHECK(has(run_ctseg({"plan", data, "-o", folder / "d", "--name", name}).err, "another name is needed."));
  CHECK(run_ctseg({"plan", data, "-o", data}).status == 2);    // dataset.json would be written over
  const std::string named = folder / "Dataset008_M\xfcller";   // not UTF-8
  write_dataset(named, 5);
  const Ran odd = run_ctseg({"plan", named, "-o", folder / "\xfc", "--json"});
  INFO(odd.err);
  CHECK(odd.status == 0);
  CHECK(json_of(odd)["plans"]["dataset_name"] == "Dataset008_M\xef\xbf\xbdller");
  const Ran nowhere = run_ctseg({"plan", folder / "none", "-o", folder / "c"});
  CHECK(nowhere.status == 3);
  CHECK(
      has(nowhere.err, "none: has no dataset.json; a data set in nnU-Net's raw layout is a folder of dataset.json, imagesTr"));
  const Ran none = run_ctseg({"plan", out, "-o", folder / "c"});
  CHECK(none.status == 3);
  CHECK(holds(none.err, "imagesTr: cannot be listed"));
  CHECK_FALSE(std::filesystem::exists(folder / "c"));
}

TEST_CASE("train --plan: nnU-Net's preset, a fold kept for validation, and a model that segments") {
  const TempFolder folder;
  const std::string data = folder / "Dataset007_Blocks", plans = folder / "plan/nnUNetPlans.json";
  write_dataset(data, 5);
  REQUIRE(run_ctseg({"plan", data, "-o", folder / "plan", "--quiet"}).status == 0);
  const std::vector<std::string> train{"train", "--plan", plans, "--data", data, "--epochs", "2", "--steps-per-epoch", "1"};
  const auto with = [&](std::vector<std::string> more) {
    more.insert(more.begin(), train.begin(), train.end());
    return run_ctseg(more);
  };
  const Ran ran = with({"--configuration", "2d", "-o", folder / "run", "--json"});
  INFO(ran.err);
  REQUIRE(ran.status == 0);
  CHECK(json::parse(ran.out)["figures"]["steps"] == 2);
  CHECK(holds(ran.err, "PlainConvUNet, 2-D, 1 -> 2 channels"));
  CHECK(holds(ran.err, "4 cases to train on, 1 to validate"));
  CHECK(run_ctseg({"segment", data + "/imagesTr/case0_0000.nii.gz", "-m", folder / "run/model.safetensors", "-o",
                   folder / "mask.nii.gz"})
            .status == 0);
  std::vector<std::string> words = train;   // nnU-Net's optimizer and loss of several heads on a card
  words.insert(words.end(), {"--configuration", "2d", "-o", folder / "card", "--device", "cuda", "--json"});
  const Ran card = run_ctseg(words, {.program = "ctseg_emulated"});
  INFO(card.err);
  REQUIRE(card.status == 0);
  CHECK(json::parse(card.out)["device"] == "cuda:0, emulated card");
  CHECK(json::parse(card.out)["figures"]["loss"].get<double>() ==
        doctest::Approx(json::parse(ran.out)["figures"]["loss"].get<double>()).epsilon(1e-3));
  CHECK(holds(with({"--configuration", "3d_lowres", "-o", folder / "x"}).err, "has no configuration \"3d_lowres\""));
  CHECK(holds(run_ctseg({"train", "--plan", plans, "-o", folder / "x"}).err, "--plan with --data"));
  CHECK(run_ctseg({"train", "-o", folder / "x"}).status == 2);
}
