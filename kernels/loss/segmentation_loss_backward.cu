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
    float meet[K] = {}, predicted[K] = {};
    for (int k = 0; overlap_on != 0 && k < K; ++k)
      if (const int c = l.channel(k); c < tiles.classes) {
        meet[k] = static_cast<float>(static_cast<double>(*seed) * by_meet[b.row() * tiles.classes + c]);
        predicted[k] = static_cast<float>(static_cast<double>(*seed) * by_p[b.row() * tiles.classes + c]);
      }
    const float share = *count > 0 ? static_cast<float>(static_cast<double>(*seed) * voxel_weight / *count) : 0.f;
    for_voxels(b, tiles, [&](Index row, bool live) {
      float x[K], p[K] = {}, d[K] = {}, log_sum = 0;
      int q[K];
      logits.load(row, l, x);
      labels.read(row, live, l, q);
      if (overlap_on) log_sum = add_overlap(b, l, q, x, meet, predicted, p, d);
      if (voxel.on) {
        if (!voxel.sigmoid && (!overlap_on || overlap_sigmoid)) log_sum = softmax(b, l.lanes, x, p);
        voxel.add_derivatives(b, l, q, x, p, log_sum, share, d);
      }
      for (int k = 0; k < K; ++k) d[k] = q[k] < 0 ? 0.f : d[k];
      if (live) gradient.store(row, l, d);
    });
  }

 private:
  CTSEG_DEVICE float add_overlap(const Block& b, const LossLane& l, const int (&q)[K], const float (&x)[K],
                                 const float (&meet)[K], const float (&predicted)[K], float (&p)[K], float (&d)[K]) const {
    float log_sum = 0;
    if (overlap_sigmoid)
      for (int k = 0; k < K; ++k) p[k] = logistic(x[k]);
    else
      log_sum = softmax(b, l.lanes, x, p);
    for (int k = 0; k < K; ++k)
      d[k] = q[k] < 0 ? 0.f : predicted[k] * (squared ? 2 * p[k] : 1.f) + (q[k] > 0 ? meet[k] : 0.f);
    if (overlap_sigmoid) {
      for (int k = 0; k < K; ++k) d[k] *= p[k] * (1 - p[k]);
      return log_sum;
    }
    float mean = 0;
    for (int k = 0; k < K; ++k) mean += p[k] * d[k];
    mean = voxel_sum(b, mean, l.lanes);
    for (int k = 0; k < K; ++k) d[k] = p[k] * (d[k] - mean);
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
