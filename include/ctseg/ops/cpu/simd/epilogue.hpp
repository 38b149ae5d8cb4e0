// What a convolution does to results that it has just written, while they are in the cache: it takes their statistics for the
// norm behind it, or normalises, adds and activates them at once. Both engines call take() for every box of results; the
// passes are those of row_passes.hpp, so that a separate norm would do the same to a whole tensor.
#pragma once
#include <algorithm>

#include "row_isa.hpp"

namespace ctseg::simd {

/// Results of one image: `voxels` along x, lines of them along y, planes along z. Steps count rows, as voxels do.
struct Box {
  Index image, row;   // of the first voxel, counted over all images
  Index voxels, step, lines, line_step, planes, plane_step;
};

/// Statistics are kept in parts, one per task of the engine and image, so that threads cannot change a bit. Part `unit + image`
/// holds the count, the mean and the squared deviations from it, each [channels]; empty parts are zeros.
struct Epilogue {
  const RowTable* passes = nullptr;
  Index channels = 0;
  double* moments = nullptr;        // none: no statistics
  const NormPass* norm = nullptr;   // none: results stay; of it residual, mean, scale, shift and act
  RowsOut y{};

  void take(const Box& box, Index unit, Index first, Index count) const {
    if (moments) merge(box, unit, first, count);
    if (!norm) return;
    NormPass p = *norm;
    p.channels = count, p.rows = box.voxels;
    p.mean += first, p.scale += first, p.shift += first, p.act.slope += p.act.step * first;
    p.x.pitch = p.y.pitch = box.step * y.pitch, p.residual.pitch *= box.step;
    for (Index z = 0; z < box.planes; ++z)
      for (Index l = 0; l < box.lines; ++l) {
        const Index row = box.row + z * box.plane_step + l * box.line_step;
        p.x.data = p.y.data = y.data + row * y.pitch + first;
        if (norm->residual.data) p.residual.data = norm->residual.data + row * norm->residual.pitch + first;
        passes->norm(p, 0);
      }
  }

 private:
  static constexpr Index kMost = 32;   // channels of a block

  /// Two sets of statistics merge without cancelling: Chan et al., 1979. A box is read once, around the mean of the part so
  /// far, or of its first line: what digits that may cost where the two differ are none of the deviations of both together.
  void merge(const Box& box, Index unit, Index first, Index count) const {
    float mean[kMost], deviation[kMost], around[kMost];
    double* counts = moments + (unit + box.image) * 3 * channels + first;
    double *means = counts + channels, *deviations = means + channels;
    MomentsPass pass{{y.data + box.row * y.pitch + first, box.step * y.pitch}, box.voxels, count, mean, deviation};
    const double n = static_cast<double>(box.voxels * box.lines * box.planes), before = *counts, total = before + n;
    if (before > 0) {
      for (Index c = 0; c < count; ++c) around[c] = static_cast<float>(means[c]);
    } else {
      passes->moments(pass, 0);
      std::copy_n(mean, count, around);
    }
    pass.lines = box.lines, pass.planes = box.planes, pass.around = around;
    pass.line_step = box.line_step * y.pitch, pass.plane_step = box.plane_step * y.pitch;
    passes->moments(pass, 0);
    const double weight = n / total, both = before * weight;
    for (Index c = 0; c < count; ++c) {
      const double delta = double{mean[c]} - means[c];
      means[c] += delta * weight;
      deviations[c] += double{deviation[c]} + delta * delta * both;
      counts[c] = total;
    }
  }
};

}   // namespace ctseg::simd
