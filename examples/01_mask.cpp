// Lesson 1: a mask in 20 lines. A scan becomes a mask of its bones, on its own grid, with its volume and a picture. No network
// yet: what is denser than soft tissue is bone, or nearly so. That is also what every network has to beat.
//
//   01_mask [SCAN]     a .nii.gz, .mha ... of yours; without one a patient is made up
#include <cstdio>

#include <ctseg/ctseg.hpp>
#include <ctseg/data/phantom.hpp>
#include <ctseg/image/cleanup.hpp>
namespace cs = ctseg;

int main(int count, char** words) try {
  // A volume is its voxels, here in Hounsfield units (water 0, air -1000), and its place in the patient.
  const cs::Volume<float> ct =
      count > 1 ? cs::io::read_volume<float>(words[1]) : cs::make_phantom({.seed = 3, .shape = {96, 96, 96}}).ct;

  cs::Volume<std::uint8_t> mask(ct.grid());   // the same place: it will lie on the scan in any viewer
  for (std::size_t i = 0; i < ct.voxels().size(); ++i) mask.voxels()[i] = ct.voxels()[i] > 180;
  mask = cs::fill_holes(cs::keep_largest(std::move(mask)));   // the skeleton, without the table; marrow is bone as well

  cs::io::write_nifti("01_mask.nii.gz", mask);
  cs::io::write_png("01_mask.png", cs::io::preview(ct, mask, {.window_hu = {-160, 240}}));
  std::printf("%s voxels of %s mm, %.0f ml of bone: 01_mask.nii.gz, 01_mask.png\n", text(ct.shape()).c_str(),
              text(ct.grid().spacing_mm()).c_str(), cs::volume_ml(mask));
  return cs::volume_ml(mask) > 0 ? 0 : 1;
} catch (const cs::Error& e) {   // one sentence: what was wrong, with numbers, and a hint
  std::fprintf(stderr, "%s\n", e.what());
  return 1;
}
