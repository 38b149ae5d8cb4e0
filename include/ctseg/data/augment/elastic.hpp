// Elastic deformation: a smooth random field of offsets, and an affine map behind it.
#pragma once
#include "filter.hpp"
#include "spatial.hpp"

namespace ctseg {

/// MONAI's Rand3DElastic: offsets uniform in [-1, 1), blurred by sigma (cut off at three of them), times the magnitude, on each
/// target voxel; then its affine map. Of a 2-D patch the offsets stay in the plane.
struct Rand3DElastic {
  static constexpr std::uint32_t kStream = 7;
  double probability = 0.1;
  Range sigma_voxels = {5, 7}, magnitude_voxels = {50, 150};
  RandAffine affine{.border = Border::reflection};   // its probability has no meaning here
};

namespace augment {

struct ElasticStep {
  double sigma_voxels = 0, magnitude_voxels = 0;
  NoiseKey key{};
  AffineStep affine{};   // applied to the displaced coordinates
};

/// The key of the voxels of a step; what the step itself draws comes from the stream of the same RandomKey.
inline NoiseKey noise_key(RandomKey key) {
  key.op ^= 0x80000000;
  return key.words(0);
}

inline std::vector<ElasticStep> draw(const Rand3DElastic& o, RandomKey key, const Extent& size) {
  RandomStream random(key);
  if (!fires(random, o.probability)) return {};
  ElasticStep step{within(random, o.sigma_voxels), within(random, o.magnitude_voxels), noise_key(key)};
  step.affine = {"Rand3DElastic", affine_matrix(draw_affine(o.affine, random, size)), o.affine.border, o.affine.labels};
  return {step};
}

/// Offsets in voxels along z, then y, then x, each a patch.
inline void make_offsets(const ElasticStep& step, Patch& patch) {
  const Index n = patch.voxels();
  patch.offsets.resize(static_cast<std::size_t>(4 * n));   // the fourth is scratch
  float* scratch = patch.offsets.data() + 3 * n;
  std::fill_n(patch.offsets.data(), n, 0.f);
  const std::vector<float> kernel = erf_kernel(step.sigma_voxels, 3);
  std::array<AxisTaps, 3> taps;
  for (std::size_t d = 0; d < 3; ++d)
    taps[d] = d == 0 && flat(patch.size) ? identity_taps(1) : kernel_taps(kernel, patch.size[d], false);
  SeparableFilter blur(patch.size, std::move(taps), patch.isa);
  for (Index d = flat(patch.size) ? 1 : 0; d < 3; ++d) {
    std::fill_n(scratch, n, 0.f);
    NoiseJob job{.key = step.key, .std = static_cast<float>(step.magnitude_voxels), .normal = false};
    job.key[3] ^= static_cast<std::uint32_t>(d);
    kernels(patch.isa).add_noise(job, scratch, n);
    blur.run(scratch, patch.offsets.data() + d * n);
  }
}

}   // namespace augment
}   // namespace ctseg
