// DICOM: the input as a file by itself, read as a series and as a mask.
#include <ctseg/io/dicom_mask.hpp>

#include "fuzz.hpp"

using namespace ctseg;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto path = fuzz::as_file("x.dcm", data, size);
  fuzz::run([&] {
    const auto v = io::read_dicom_series<float>(path, {.single_file = true, .max_bytes = Index{1} << 22}).volume;
    fuzz::require(static_cast<Index>(v.voxels().size()) == v.grid().voxels() && v.grid().voxels() > 0);
    fuzz::require(all_finite(std::span(v.affine().matrix.data(), 16)) && v.affine().voxel_mm3() > 0);
    fuzz::require(all_finite(std::span(v.voxels())));
  });
  fuzz::run([&] {   // the grid of the mask in the seeds
    Eigen::Matrix4d m = Eigen::Matrix4d::Identity();
    m(2, 2) = 2;
    io::read_dicom_seg(path, {{6, 5, 3}, to_ras(Affine<Lps>(m))});
  });
  return 0;
}
