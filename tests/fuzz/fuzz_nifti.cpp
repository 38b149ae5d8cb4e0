// NIfTI: the input as .nii, as .nii.gz, and cut in two as a pair.
#include <ctseg/io/nifti.hpp>

#include "fuzz.hpp"

using namespace ctseg;

template <class T> void read(const std::filesystem::path& path) {
  fuzz::run([&] {
    const auto v = io::read_nifti<T>(path, {.max_bytes = Index{1} << 22});
    fuzz::require(static_cast<Index>(v.voxels().size()) == v.grid().voxels() && v.grid().voxels() > 0);
    fuzz::require(all_finite(std::span(v.affine().matrix.data(), 16)) && v.affine().voxel_mm3() > 0);
  });
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const bool gzip = size > 1 && data[0] == 0x1f && data[1] == 0x8b;
  const auto path = fuzz::as_file(gzip ? "x.nii.gz" : "x.nii", data, size);
  read<float>(path);
  read<std::uint8_t>(path);
  const std::size_t header = size > 0 && data[0] == 0x1c ? 540 : 348;
  if (gzip || size < header) return 0;
  fuzz::as_file("p.img", data + header, size - header);
  read<std::int16_t>(fuzz::as_file("p.hdr", data, header));
  return 0;
}
