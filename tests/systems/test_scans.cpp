// Scans by other ways than a NIfTI file: DICOM folders, and a program of one's own that holds the voxels already.
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
