// .npy: the header, and the array as a volume.
#include <ctseg/io/npy.hpp>

#include "fuzz.hpp"

using namespace ctseg;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto path = fuzz::as_file("x.npy", data, size);
  const io::ReadOptions options{.max_bytes = Index{1} << 22, .affine = io::affine_of_spacing({1, 1, 2})};
  fuzz::run([&] {
    const auto v = io::read_npy_volume<float>(path, options);
    fuzz::require(static_cast<Index>(v.voxels().size()) == v.grid().voxels() && v.grid().voxels() > 0);
  });
  fuzz::run([&] { io::read_npy_volume<std::uint8_t>(path, options); });
  return 0;
}
