// How deep a network for a patch can be, and how much memory it takes: the two questions nnU-Net's planner asks over and over.
#pragma once
#include <algorithm>
#include <cmath>
#include <vector>

#include "../core/error.hpp"

namespace ctseg::nnunet {

/// Poolings and kernels of a network, finest stage first, and the patch that they divide. Two axes or three, coarsest first.
struct NetworkTopology {
  std::vector<std::vector<Index>> strides{}, kernel_sizes{};
  std::vector<Index> patch_size{}, divisible_by{};

  Index stages() const { return std::ssize(strides); }
};

/// Halves a patch until its edges are short: each time the axes that are long enough and whose voxels are less than twice as
/// long as the finest such axis. A kernel is 1 along an axis until its voxels are less than twice as long as the finest. The
/// patch is then padded to what its halvings divide.
/// Source    Isensee et al., nnU-Net, Nature Methods 2021, supplementary note 2.
template <class = void>
NetworkTopology topology_of(const std::vector<double>& spacing_mm, const std::vector<double>& patch_voxels) {
  constexpr double kLeastEdge = 4;   // of the deepest feature map
  const std::size_t dim = spacing_mm.size();
  std::vector<double> mm = spacing_mm, size = patch_voxels;
  NetworkTopology out{.strides = {std::vector<Index>(dim, 1)}, .divisible_by = std::vector<Index>(dim, 1)};
  std::vector<Index> kernel(dim, 1);
  for (;;) {
    double finest = 0;
    for (std::size_t d = 0; d < dim; ++d)
      if (size[d] >= 2 * kLeastEdge && (finest == 0 || mm[d] < finest)) finest = mm[d];
    std::vector<std::size_t> halved;
    for (std::size_t d = 0; d < dim; ++d)
      if (size[d] >= 2 * kLeastEdge && mm[d] / finest < 2) halved.push_back(d);
    if (halved.empty() || (halved.size() == 1 && size[halved[0]] < 3 * kLeastEdge)) break;
    const double least = *std::min_element(mm.begin(), mm.end());
    for (std::size_t d = 0; d < dim; ++d)
      if (mm[d] / least < 2) kernel[d] = 3;
    out.kernel_sizes.push_back(kernel);
    out.strides.emplace_back(dim, 1);
    for (const std::size_t d : halved) {
      out.strides.back()[d] = 2;
      out.divisible_by[d] *= 2;
      mm[d] *= 2;
      size[d] = std::ceil(size[d] / 2);
    }
  }
  out.kernel_sizes.emplace_back(dim, 3);   // the bottleneck looks everywhere
  for (std::size_t d = 0; d < dim; ++d) {
    const Index k = out.divisible_by[d];
    out.patch_size.push_back(static_cast<Index>(std::ceil(patch_voxels[d] / static_cast<double>(k))) * k);
  }
  return out;
}

/// Features of each stage: 32, doubled by every stage, up to 320 (in 2-D 512).
inline std::vector<Index> features_of(const NetworkTopology& t) {
  std::vector<Index> out;
  const Index most = t.patch_size.size() == 2 ? 512 : 320;
  for (Index s = 0; s < t.stages(); ++s) out.push_back(s < 5 ? std::min(Index{32} << s, most) : most);
  return out;
}

/// Convolutions (plain) or residual blocks of an encoder's stages, and convolutions of a decoder's.
struct StageBlocks {
  bool residual = false;
  Index encoder(Index stage) const { return !residual ? 2 : stage == 0 ? 1 : stage == 1 ? 3 : stage == 2 ? 4 : 6; }
  Index decoder() const { return residual ? 1 : 2; }
};

/// Numbers that all convolutions of a network write for one patch: nnU-Net's measure of memory. One head, the finest.
template <class = void> double feature_map_elements(const NetworkTopology& t, const StageBlocks& blocks, Index classes) {
  const std::vector<Index> features = features_of(t);
  std::vector<Index> size = t.patch_size;
  std::vector<Index> voxels;   // of each stage
  Index sum = 0;
  const auto volume = [&] {
    Index v = 1;
    for (const Index n : size) v *= n;
    return v;
  };
  if (blocks.residual) sum += features[0] * volume();   // the stem
  for (std::size_t s = 0; s < features.size(); ++s) {
    bool smaller = false;
    for (std::size_t d = 0; d < size.size(); ++d) {
      smaller = smaller || t.strides[s][d] > 1;
      size[d] /= t.strides[s][d];
    }
    voxels.push_back(volume());
    const Index n = blocks.encoder(static_cast<Index>(s)), each = features[s] * voxels[s];
    const bool shortcut = smaller || (s > 0 && features[s] != features[s - 1]);   // of the first block: one convolution more
    sum += blocks.residual ? (2 * n + (shortcut ? 1 : 0)) * each : n * each;
  }
  for (std::size_t s = 0; s + 1 < features.size(); ++s)   // a decoder stage: its convolutions and the transposed one
    sum += (blocks.decoder() + 1) * features[s] * voxels[s];
  if (features.size() > 1) sum += classes * voxels[0];
  return static_cast<double>(sum);
}

}   // namespace ctseg::nnunet
