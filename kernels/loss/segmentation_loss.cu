// Dice, Tversky, cross entropy, focal: one pass from logits and labels to the loss.
//
// Probabilities live in registers only. A thread adds its voxels' M, P, Q and voxel losses, lanes of a warp and warps of a block
// add theirs in a fixed order. Behind them one block adds the blocks' sums in double, closes the ratios and leaves their slopes:
// a launch of its own, for as the end of the other it took registers from the pass.
// Reads logits and labels once: C * sizeof(T) + 1 bytes per voxel. Not measured yet.
#include "overlap.cuh"

namespace ctseg::cuda {
namespace {

template <class T, int K> struct LossSums {
  static constexpr int kThreads = kLossThreads;
  static constexpr bool kSyncs = true;
  static constexpr const char* kName = "segmentation_loss";
  LossTiles tiles;
  Logits<const T> logits;
  LossLabels labels;
  OverlapLoss overlap;
  VoxelLoss voxel;
  LossPartials partials;

  struct Sums {
    float meet[K] = {}, predicted[K] = {}, labelled[K] = {}, loss = 0, count = 0;
    int bad = -1;
  };

  CTSEG_DEVICE void operator()(const Block& b) const {
    Sums s;
    const LossLane l = lane_of(b, tiles);
    for_voxels(b, tiles, [&](Index row, bool live) { add(b, l, row, live, s); });
    const int bad = largest(b, s.bad);
    if (b.thread() == 0) partials.bad[b.row() * tiles.chunks + b.index()] = bad;
    leave(b, l, s);
  }

 private:
  CTSEG_DEVICE void add(const Block& b, const LossLane& l, Index row, bool live, Sums& s) const {
    float x[K], p[K], log_sum = 0;
    VoxelLabels q;
    logits.load(row, l, x);
    const int bad = labels.read<K>(row, live, l, q);
    s.bad = bad > s.bad ? bad : s.bad;
    if (overlap.on) {
      if (overlap.sigmoid)
        CTSEG_UNROLL for (int k = 0; k < K; ++k) p[k] = logistic(x[k]);
      else
        log_sum = softmax(b, l.lanes, x, p);
      CTSEG_UNROLL for (int k = 0; k < K; ++k) {
        if (!q.counts(k)) continue;
        s.predicted[k] += overlap.squared ? p[k] * p[k] : p[k];
        if (q.one(k)) s.meet[k] += p[k], s.labelled[k] += 1;
      }
    }
    if (!voxel.on) return;
    if (!voxel.sigmoid && (!overlap.on || overlap.sigmoid)) log_sum = softmax(b, l.lanes, x, p);
    voxel.add_share(l, q, x, p, log_sum, s.loss, s.count);
  }

  CTSEG_DEVICE static float over_warp(const Block& b, float value, int lanes) {
    for (int mask = kWarp / 2; mask >= lanes; mask /= 2) value += b.shuffle_xor(value, mask);
    return value;
  }
  /// The block's sums: over the lanes that have the same channels, then over warps.
  CTSEG_DEVICE void leave(const Block& b, const LossLane& l, const Sums& s) const {
    const int width = tiles.width(), classes = tiles.classes;
    float* const shared = b.shared<float>();
    float* const of_warp = shared + b.warp() * width;
    CTSEG_UNROLL for (int k = 0; k < K; ++k) {
      const float meet = over_warp(b, s.meet[k], l.lanes), predicted = over_warp(b, s.predicted[k], l.lanes);
      const float labelled = over_warp(b, s.labelled[k], l.lanes);
      const int c = l.channel(k);
      if (b.lane() < l.lanes && c < classes)
        of_warp[c] = meet, of_warp[classes + c] = predicted, of_warp[2 * classes + c] = labelled;
    }
    const float loss = over_warp(b, s.loss, 1), count = over_warp(b, s.count, 1);
    if (b.lane() == 0) of_warp[3 * classes] = loss, of_warp[3 * classes + 1] = count;
    b.sync();
    float* const to = partials.sums + (b.row() * tiles.chunks + b.index()) * width;
    for (int i = b.thread(); i < width; i += kLossThreads) {
      float sum = 0;
      for (int w = 0; w < kLossWarps; ++w) sum += shared[w * width + i];
      to[i] = sum;
    }
  }
};

struct LossScratch {
  Bytes next;
  LossPartials partials;
  double* sums;
  LossScratch(std::byte* scratch, const LossTiles& t)
      : next{scratch},
        partials{take<float>(next, t.images * t.chunks * t.width()), take<int>(next, t.images * t.chunks)},
        sums(take<double>(next, t.images * t.width())) {}
};

}   // namespace

Index segmentation_loss_saved_bytes(const Array& logits) { return bytes_taken<LossSaved>(logits); }
Index segmentation_loss_scratch_bytes(const Array& logits) { return bytes_taken<LossScratch>(loss_tiles(logits)); }

void segmentation_loss_forward(Stream stream, const SegmentationLossOptions& o, const LossValues& v, float* loss,
                               std::byte* scratch) {
  const LossTiles tiles = loss_tiles(v.logits);
  const LossScratch m(scratch, tiles);
  const LossSaved saved(v.saved, v.logits);
  put_weights(stream, o.overlap.class_weights, tiles.classes, saved.class_weights);
  put_weights(stream, o.voxel.positive, tiles.classes, saved.positive);
  put_weights(stream, o.voxel.negative, tiles.classes, saved.negative);
  const OverlapLoss overlap = overlap_loss(o.overlap, tiles.classes, saved.class_weights);
  const VoxelLoss voxel = voxel_loss(o.voxel, tiles.classes, saved.positive, saved.negative);
  with_storage(v.logits.dtype, [&](auto t) {
    using T = decltype(t);
    with_channels(tiles.classes, [&](auto k) {
      launch(stream, {tiles.chunks, tiles.images, kLossWarps * tiles.width() * 4},
             LossSums<T, k>{tiles, logits_of<const T>(v.logits), labels_of(o, v), overlap, voxel, m.partials});
    });
  });
  close_loss(stream, {tiles, overlap, o.voxel.weight, m.partials, m.sums, saved.by_meet, saved.by_p, saved.count, loss});
}

}   // namespace ctseg::cuda
