// MetaImage: the input as .mha, and as .mhd whose ElementDataFile may be a.raw, a.zraw or a1.raw and a2.raw.
#include <ctseg/io/metaimage.hpp>

#include "fuzz.hpp"

using namespace ctseg;

extern "C" int LLVMFuzzerInitialize(int*, char***) {
  const std::string voxels(24, 'v');
  fuzz::as_file("a.raw", voxels.data(), 24);
  fuzz::as_file("a1.raw", voxels.data(), 12);
  fuzz::as_file("a2.raw", voxels.data(), 12);
  const auto packed = io::metaimage::deflated(std::as_bytes(std::span(voxels)), 6);
  fuzz::as_file("a.zraw", packed.data(), packed.size());
  return 0;
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto path = fuzz::as_file("x.mha", data, size);
  fuzz::run([&] {
    const auto v = io::read_metaimage<float>(path, {.max_bytes = Index{1} << 22});
    fuzz::require(static_cast<Index>(v.voxels().size()) == v.grid().voxels() && v.grid().voxels() > 0);
    fuzz::require(all_finite(std::span(v.affine().matrix.data(), 16)) && v.affine().voxel_mm3() > 0);
  });
  fuzz::run([&] { io::read_metaimage<std::int16_t>(path, {.max_bytes = Index{1} << 22}); });
  return 0;
}
