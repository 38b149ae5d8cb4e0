// Dice, Tversky, cross entropy, focal: one pass from logits and labels to the loss.
//
// Probabilities live in registers only. A thread adds its voxels' M, P, Q and voxel losses, lanes of a warp and warps of a block
// add theirs in a fixed order. Behind them one block adds the blocks' sums in double, closes the ratios and leaves their slopes:
// a launch of its own, for as the end of the other it took registers from the pass.
// Reads logits and labels once: C * sizeof(T) + 1 bytes per voxel. Not measured yet.
#include "overlap.cuh"

namespace ctseg::cuda {
namespace {

/// Sums of blocks [images, chunks, width]: M, P, Q of every class, then the voxel term's loss and divisor; and a label that is
/// no class, or -1.
struct LossPartials {
  float* sums;
  int* bad;
};

struct CloseLoss {
  static constexpr int kThreads = 128;
  static constexpr bool kSyncs = true;
  static constexpr const char* kName = "segmentation_loss_close";
  LossTiles tiles;
  OverlapLoss overlap;
  double voxel_weight;
  LossPartials partials;
  double* sums;   // [images, width]
  double *by_meet, *by_p, *count;
  float* loss;

  CTSEG_DEVICE void operator()(const Block& b) const {
    const Index width = tiles.width();
    sum_parts<kThreads, 1>(
        b, tiles.images * width, tiles.chunks,
        [&](Index item, Index part, Index step, double* total) {
          const float* const from = partials.sums + item / width * tiles.chunks * width + item % width;
          for (Index k = part; k < tiles.chunks; k += step) total[0] += static_cast<double>(from[k * width]);
        },
        [&](Index item, const double* total) { sums[item] = total[0]; });
    b.sync();
    if (overlap.on && overlap.batch) add_images(b);
    close(b, spoilt(b));
  }

 private:
  CTSEG_DEVICE void add_images(const Block& b) const {
    for (int i = b.thread(); i < 3 * tiles.classes; i += kThreads)
      for (Index n = 1; n < tiles.images; ++n) sums[i] += sums[n * tiles.width() + i];
    b.sync();
  }
  /// A label that is no class, of all that were met; the same in every thread.
  CTSEG_DEVICE int spoilt(const Block& b) const {
    int label = -1;
    for (Index i = b.thread(); i < tiles.images * tiles.chunks; i += kThreads)
      label = partials.bad[i] > label ? partials.bad[i] : label;
    return largest(b, label);
  }
  CTSEG_DEVICE void close(const Block& b, int label) const {
    double voxel = 0, divisor = 0;
    CTSEG_KEEP_LOOP for (Index n = 0; n < tiles.images; ++n) voxel += sums[(n + 1) * tiles.width() - 2],
        divisor += sums[(n + 1) * tiles.width() - 1];
    const OverlapClose closing(overlap);
    const Index rounds = overlap.batch ? 1 : tiles.images, terms = overlap.on ? rounds * closing.terms() : 0;
    const double scale = terms > 0 ? overlap.weight / static_cast<double>(terms) : 0;
    for (Index i = b.thread(); i < tiles.images * overlap.first; i += kThreads)   // background that does not count
      by_meet[i * tiles.classes] = by_p[i * tiles.classes] = 0;
    sum_parts<kThreads, 1>(
        b, 1, terms > 0 ? terms : Index{1},
        [&](Index, Index part, Index step, double* total) {
          CTSEG_KEEP_LOOP for (Index k = part; k < terms; k += step) {
            const Index n = k / closing.terms();
            const OverlapSums of_image{sums + n * tiles.width(), by_meet + n * tiles.classes, by_p + n * tiles.classes};
            total[0] += closing.term(k % closing.terms(), of_image, overlap.batch ? tiles.images : 1, scale);
          }
        },
        [&](Index, const double* total) {
          *count = divisor;
          const double value = (divisor > 0 ? voxel_weight * voxel / divisor : 0) + scale * total[0];
          *loss = label < 0 ? static_cast<float>(value) : spoilt_by(label);
        });
  }
};

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
  launch(stream, {1, 1, CloseLoss::kThreads * 8},
         CloseLoss{tiles, overlap, o.voxel.weight, m.partials, m.sums, saved.by_meet, saved.by_p, saved.count, loss});
}

}   // namespace ctseg::cuda
