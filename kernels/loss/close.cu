// From the sums of all blocks to the loss and the slopes that backward needs: one block, in double.
#include "overlap.cuh"

namespace ctseg::cuda {
namespace {

template <bool kVolumes> struct CloseLoss {
  static constexpr int kThreads = 128;
  static constexpr bool kSyncs = true;
  static constexpr const char* kName = "segmentation_loss_close";
  LossToClose l;

  CTSEG_DEVICE void operator()(const Block& b) const {
    const Index width = l.tiles.width();
    sum_parts<kThreads, 1>(
        b, l.tiles.images * width, l.tiles.chunks,
        [&](Index item, Index part, Index step, double* total) {
          const float* const from = l.partials.sums + item / width * l.tiles.chunks * width + item % width;
          for (Index k = part; k < l.tiles.chunks; k += step) total[0] += static_cast<double>(from[k * width]);
        },
        [&](Index item, const double* total) { l.sums[item] = total[0]; });
    b.sync();
    if (l.overlap.on && l.overlap.batch) add_images(b);
    close(b, spoilt(b));
  }

 private:
  CTSEG_DEVICE void add_images(const Block& b) const {
    for (int i = b.thread(); i < 3 * l.tiles.classes; i += kThreads)
      for (Index n = 1; n < l.tiles.images; ++n) l.sums[i] += l.sums[n * l.tiles.width() + i];
    b.sync();
  }
  /// A label that is no class, of all that were met; the same in every thread.
  CTSEG_DEVICE int spoilt(const Block& b) const {
    int label = -1;
    for (Index i = b.thread(); i < l.tiles.images * l.tiles.chunks; i += kThreads)
      label = l.partials.bad[i] > label ? l.partials.bad[i] : label;
    return largest(b, label);
  }
  CTSEG_DEVICE void close(const Block& b, int label) const {
    double voxel = 0, divisor = 0;
    CTSEG_KEEP_LOOP for (Index n = 1; n <= l.tiles.images; ++n) {
      voxel += l.sums[n * l.tiles.width() - 2];
      divisor += l.sums[n * l.tiles.width() - 1];
    }
    const OverlapClose<kVolumes> closing(l.overlap);
    const Index rounds = l.overlap.batch ? 1 : l.tiles.images, terms = l.overlap.on ? rounds * closing.terms() : 0;
    const double scale = terms > 0 ? l.overlap.weight / static_cast<double>(terms) : 0;
    for (Index i = b.thread(); i < l.tiles.images * l.overlap.first; i += kThreads)   // background that does not count
      l.by_meet[i * l.tiles.classes] = l.by_p[i * l.tiles.classes] = 0;
    sum_parts<kThreads, 1>(
        b, 1, terms > 0 ? terms : Index{1},
        [&](Index, Index part, Index step, double* total) {
          CTSEG_KEEP_LOOP for (Index k = part; k < terms; k += step) {
            const Index n = k / closing.terms();
            const OverlapSums of_image{l.sums + n * l.tiles.width(), l.by_meet + n * l.tiles.classes,
                                       l.by_p + n * l.tiles.classes};
            total[0] += closing.term(k % closing.terms(), of_image, l.overlap.batch ? l.tiles.images : 1, scale);
          }
        },
        [&](Index, const double* total) {
          *l.count = divisor;
          const double value = (divisor > 0 ? l.voxel_weight * voxel / divisor : 0) + scale * total[0];
          *l.loss = label < 0 ? static_cast<float>(value) : spoilt_by(label);
        });
  }
};

}   // namespace

void close_loss(Stream stream, const LossToClose& l) {
  const Grid grid{1, 1, CloseLoss<false>::kThreads * 8};
  if (l.overlap.volume_weight == VolumeWeight::none)
    launch(stream, grid, CloseLoss<false>{l});
  else
    launch(stream, grid, CloseLoss<true>{l});
}

}   // namespace ctseg::cuda
