// Dice, Tversky, cross entropy, focal: one launch from logits and labels to the loss.
//
// Probabilities live in registers only. A thread adds its voxels' M, P, Q and voxel losses, lanes of a warp and warps of a block
// add theirs in a fixed order, and the last block adds the blocks' sums in double, closes the ratios and leaves their slopes.
// Reads logits and labels once: C * sizeof(T) + 1 bytes per voxel. Not measured yet.
#include "overlap.cuh"

namespace ctseg::cuda {
namespace {

struct LossFinish {
  LossTiles tiles;
  OverlapLoss overlap;
  double voxel_weight;
  float* partials;   // [images, chunks, width]: M, P, Q of every class, then the voxel term's loss and divisor
  int* bad;          // [images, chunks]: a label that is no class, or -1
  double* sums;      // [images, width]
  unsigned* arrived;
  double *by_meet, *by_p, *count;
  float* loss;

  CTSEG_DEVICE int width() const { return 3 * tiles.classes + 2; }

  CTSEG_DEVICE void operator()(const Block& b) const {
    if (!comes_last(b, arrived, tiles.images * tiles.chunks)) return;
    sum_parts<kLossThreads, 1>(
        b, tiles.images * width(), tiles.chunks,
        [&](Index item, Index part, Index step, double* total) {
          const float* const from = partials + item / width() * tiles.chunks * width() + item % width();
          for (Index k = part; k < tiles.chunks; k += step) total[0] += static_cast<double>(from[k * width()]);
        },
        [&](Index item, const double* total) { sums[item] = total[0]; });
    b.sync();
    if (overlap.on && overlap.batch) add_images(b);
    close(b, spoilt(b));
  }

 private:
  CTSEG_DEVICE void add_images(const Block& b) const {
    for (int i = b.thread(); i < 3 * tiles.classes; i += kLossThreads)
      for (Index n = 1; n < tiles.images; ++n) sums[i] += sums[n * width() + i];
    b.sync();
  }
  /// A label that is no class, of all that were met; the same in every thread.
  CTSEG_DEVICE int spoilt(const Block& b) const {
    int label = -1;
    for (Index i = b.thread(); i < tiles.images * tiles.chunks; i += kLossThreads) label = bad[i] > label ? bad[i] : label;
    return largest(b, label);
  }
  CTSEG_DEVICE void close(const Block& b, int label) const {
    double voxel = 0, divisor = 0;
    for (Index n = 0; n < tiles.images; ++n)
      voxel += sums[n * width() + 3 * tiles.classes], divisor += sums[n * width() + 3 * tiles.classes + 1];
    const OverlapClose closing(overlap);
    const Index rounds = overlap.batch ? 1 : tiles.images, terms = overlap.on ? rounds * closing.terms() : 0;
    const double scale = terms > 0 ? overlap.weight / static_cast<double>(terms) : 0;
    for (Index i = b.thread(); i < tiles.images * overlap.first; i += kLossThreads)   // background that does not count
      by_meet[i * tiles.classes] = by_p[i * tiles.classes] = 0;
    sum_parts<kLossThreads, 1>(
        b, 1, terms > 0 ? terms : Index{1},
        [&](Index, Index part, Index step, double* total) {
          for (Index k = part; k < terms; k += step) {
            const Index n = k / closing.terms();
            const OverlapSums of_image{sums + n * width(), by_meet + n * tiles.classes, by_p + n * tiles.classes};
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
  VoxelLoss voxel;
  LossFinish finish;

  struct Sums {
    float meet[K] = {}, predicted[K] = {}, labelled[K] = {}, loss = 0, count = 0;
    int bad = -1;
  };

  CTSEG_DEVICE void operator()(const Block& b) const {
    Sums s;
    const LossLane l = lane_of(b, tiles);
    for_voxels(b, tiles, [&](Index row, bool live) { add(b, l, row, live, s); });
    const int bad = largest(b, s.bad);
    if (b.thread() == 0) finish.bad[b.row() * tiles.chunks + b.index()] = bad;
    leave(b, l, s);
    finish(b);
  }

 private:
  CTSEG_DEVICE void add(const Block& b, const LossLane& l, Index row, bool live, Sums& s) const {
    float x[K], p[K], log_sum = 0;
    int q[K];
    logits.load(row, l, x);
    const int bad = labels.read(row, live, l, q);
    s.bad = bad > s.bad ? bad : s.bad;
    const OverlapLoss& overlap = finish.overlap;
    if (overlap.on) {
      if (overlap.sigmoid)
        for (int k = 0; k < K; ++k) p[k] = logistic(x[k]);
      else
        log_sum = softmax(b, l.lanes, x, p);
      for (int k = 0; k < K; ++k) {
        if (q[k] < 0) continue;
        s.predicted[k] += overlap.squared ? p[k] * p[k] : p[k];
        if (q[k] > 0) s.meet[k] += p[k], s.labelled[k] += 1;
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
    const int width = finish.width(), classes = tiles.classes;
    float* const shared = b.shared<float>();
    float* const of_warp = shared + b.warp() * width;
    for (int k = 0; k < K; ++k) {
      const float meet = over_warp(b, s.meet[k], l.lanes), predicted = over_warp(b, s.predicted[k], l.lanes);
      const float labelled = over_warp(b, s.labelled[k], l.lanes);
      const int c = l.channel(k);
      if (b.lane() < l.lanes && c < classes)
        of_warp[c] = meet, of_warp[classes + c] = predicted, of_warp[2 * classes + c] = labelled;
    }
    const float loss = over_warp(b, s.loss, 1), count = over_warp(b, s.count, 1);
    if (b.lane() == 0) of_warp[3 * classes] = loss, of_warp[3 * classes + 1] = count;
    b.sync();
    float* const to = finish.partials + (b.row() * tiles.chunks + b.index()) * width;
    for (int i = b.thread(); i < width; i += kLossThreads) {
      float sum = 0;
      for (int w = 0; w < kLossWarps; ++w) sum += shared[w * width + i];
      to[i] = sum;
    }
  }
};

struct LossScratch {
  Bytes next;
  float* partials;
  int* bad;
  double* sums;
  unsigned* arrived;
  LossScratch(std::byte* scratch, const LossTiles& t)
      : next{scratch},
        partials(take<float>(next, t.images * t.chunks * (3 * t.classes + 2))),
        bad(take<int>(next, t.images * t.chunks)),
        sums(take<double>(next, t.images * (3 * t.classes + 2))),
        arrived(take<unsigned>(next, 1)) {}
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
  clear(stream, m.arrived, bytes_of<unsigned>(1));
  const LossFinish finish{tiles,     overlap_loss(o.overlap, tiles.classes, saved.class_weights),
                          o.voxel.weight,
                          m.partials, m.bad,       m.sums,
                          m.arrived,  saved.by_meet, saved.by_p, saved.count, loss};
  const VoxelLoss voxel = voxel_loss(o.voxel, tiles.classes, saved.positive, saved.negative);
  const int shared = std::max(kLossWarps * finish.width() * 4, kLossThreads * 8);
  with_storage(v.logits.dtype, [&](auto t) {
    using T = decltype(t);
    with_channels(tiles.classes, [&](auto k) {
      launch(stream, {tiles.chunks, tiles.images, shared},
             LossSums<T, k>{tiles, logits_of<const T>(v.logits), labels_of(o, v), voxel, finish});
    });
  });
}

}   // namespace ctseg::cuda
