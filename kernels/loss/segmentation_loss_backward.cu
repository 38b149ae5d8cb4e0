// dlogits of a loss made of sums over voxels: softmax or sigmoid once more, then each channel's slope.
//
// With g[c] the loss's derivative by p[c]: dlogit[c] = p[c] * (g[c] - sum(p * g)) for the softmax, p * (1 - p) * g for the
// sigmoid. The slopes of the overlap term are two numbers per class and image, which a lane keeps in registers.
// Reads logits and labels, writes dlogits: 2 * C * sizeof(T) + 1 bytes per voxel. Not measured yet.
#include "overlap.cuh"

namespace ctseg::cuda {
namespace {

template <class T, int K> struct LossGradient {
  static constexpr int kThreads = kLossThreads;
  static constexpr bool kSyncs = true;
  static constexpr const char* kName = "segmentation_loss_backward";
  LossTiles tiles;
  Logits<const T> logits;
  Logits<T> gradient;
  LossLabels labels;
  Index overlap_on, overlap_sigmoid, squared;   // no bool: its padding would be an argument as well
  VoxelLoss voxel;
  double voxel_weight;
  const double *by_meet, *by_p, *count;
  const float* seed;

  CTSEG_DEVICE void operator()(const Block& b) const {
    const LossLane l = lane_of(b, tiles);
    Slopes of_overlap;
    if (kKept && overlap_on) {
      CTSEG_UNROLL for (int k = 0; k < kSlopes; ++k) of_overlap.at[k] = slopes(b, l.channel(k));
    }
    const float share = *count > 0 ? static_cast<float>(static_cast<double>(*seed) * voxel_weight / *count) : 0.f;
    for_voxels(b, tiles, [&](Index row, bool live) {
      float x[K], p[K] = {}, d[K] = {}, log_sum = 0;
      VoxelLabels q;
      logits.load(row, l, x);
      labels.read<K>(row, live, l, q);
      if (overlap_on) log_sum = add_overlap(b, l, q, x, of_overlap, p, d);
      if (voxel.on) {
        if (!voxel.sigmoid && (!overlap_on || overlap_sigmoid)) log_sum = softmax(b, l.lanes, x, p);
        voxel.add_derivatives(b, l, q, x, p, log_sum, share, d);
      }
      CTSEG_UNROLL for (int k = 0; k < K; ++k) d[k] = q.counts(k) ? d[k] : 0.f;
      if (live) gradient.store(row, l, d);
    });
  }

 private:
  struct Slope {
    float by_meet = 0, by_p = 0;
  };
  /// Those of few channels stay in registers.
  static constexpr bool kKept = K <= 4;
  static constexpr int kSlopes = kKept ? K : 1;
  struct Slopes {
    Slope at[kSlopes];
  };
  CTSEG_DEVICE Slope slopes(const Block& b, int channel) const {
    if (channel >= tiles.classes) return {};
    const Index at = b.row() * tiles.classes + channel;
    const double scale = static_cast<double>(*seed);
    return {static_cast<float>(scale * by_meet[at]), static_cast<float>(scale * by_p[at])};
  }
  CTSEG_DEVICE float add_overlap(const Block& b, const LossLane& l, const VoxelLabels& q, const float (&x)[K],
                                 const Slopes& of_overlap, float (&p)[K], float (&d)[K]) const {
    float log_sum = 0;
    if (overlap_sigmoid)
      CTSEG_UNROLL for (int k = 0; k < K; ++k) p[k] = logistic(x[k]);
    else
      log_sum = softmax(b, l.lanes, x, p);
    CTSEG_UNROLL for (int k = 0; k < K; ++k) {
      if (!q.counts(k)) continue;
      const Slope slope = kKept ? of_overlap.at[kKept ? k : 0] : slopes(b, l.channel(k));
      d[k] = slope.by_p * (squared ? 2 * p[k] : 1.f) + (q.one(k) ? slope.by_meet : 0.f);
    }
    if (overlap_sigmoid) {
      CTSEG_UNROLL for (int k = 0; k < K; ++k) d[k] *= p[k] * (1 - p[k]);
      return log_sum;
    }
    float mean = 0;
    CTSEG_UNROLL for (int k = 0; k < K; ++k) mean += p[k] * d[k];
    mean = voxel_sum(b, mean, l.lanes);
    CTSEG_UNROLL for (int k = 0; k < K; ++k) d[k] = p[k] * (d[k] - mean);
    return log_sum;
  }
};

}   // namespace

void segmentation_loss_backward(Stream stream, const SegmentationLossOptions& o, const LossValues& v, const float* seed,
                                const Array& dlogits) {
  const LossTiles tiles = loss_tiles(v.logits);
  const LossSaved saved(v.saved, v.logits);
  const VoxelLoss voxel = voxel_loss(o.voxel, tiles.classes, saved.positive, saved.negative);
  const OverlapLoss overlap = overlap_loss(o.overlap, tiles.classes, nullptr);
  with_storage(v.logits.dtype, [&](auto t) {
    using T = decltype(t);
    with_channels(tiles.classes, [&](auto k) {
      launch(stream, {tiles.chunks, tiles.images},
             LossGradient<T, k>{tiles, logits_of<const T>(v.logits), logits_of<T>(dlogits), labels_of(o, v), overlap.on,
                                overlap.sigmoid, overlap.squared, voxel, o.voxel.weight, saved.by_meet, saved.by_p, saved.count,
                                seed});
    });
  });
}

}   // namespace ctseg::cuda
