// Cross entropy of the hardest voxels.
//
// Losses are never below 0, so their bits sort as they do. Eight launches find the bits of the smallest one that counts, four at
// a time: blocks count digits, the last block chooses. Two more number the voxels that have exactly this loss, in the order of
// memory, and drop those that are too many. No atomics, no sorting: 11 launches that read 4 bytes per voxel, most of them from
// the L2. Not measured yet.
#include "ctseg/loss/cuda/top_k.hpp"

#include "../common/finish.cuh"
#include "voxel.cuh"

namespace ctseg::cuda {
namespace {

inline constexpr int kDigits = 16, kRounds = 8;   // 8 times 4 bits

struct TopKBody {
  static constexpr int kThreads = kLossThreads;
  static constexpr bool kSyncs = true;
};

/// Of several channels the softmax, of one the sigmoid, and nothing but weights: known while the kernel is compiled.
template <int K> CTSEG_DEVICE VoxelLoss plain(VoxelLoss v) {
  v.sigmoid = K == 1;
  v.gamma = v.smoothing = v.rest = 0;
  return v;
}

/// Losses [images * voxels], one after the other, and blocks that each have a part of them.
struct LossList {
  float* each;
  Index rows, chunk, chunks;

  CTSEG_DEVICE Index begin(const Block& b) const { return b.index() * chunk; }
  CTSEG_DEVICE Index end(const Block& b) const { return (b.index() + 1) * chunk < rows ? (b.index() + 1) * chunk : rows; }
};
struct Threshold {
  std::uint32_t bits;   // of the smallest loss that counts; first its upper digits alone
  std::uint32_t unused;
  Index left;   // of those that have them so many count
};

/// Every voxel's loss; what is no number counts as infinite.
template <class T, int K> struct VoxelLosses : TopKBody {
  static constexpr const char* kName = "top_k_losses";
  LossTiles tiles;
  Logits<const T> logits;
  LossLabels labels;
  VoxelLoss voxel;
  float* each;
  int* bad;

  CTSEG_DEVICE void operator()(const Block& b) const {
    const LossLane l = lane_of(b, tiles);
    const VoxelLoss of_voxel = plain<K>(voxel);
    int worst = -1;
    for_voxels(b, tiles, [&](Index row, bool live) {
      float x[K], p[K] = {}, log_sum = 0, loss = 0, count = 0;
      VoxelLabels q;
      logits.load(row, l, x);
      const int label = labels.read<K>(row, live, l, q);
      worst = label > worst ? label : worst;
      if (K > 1) log_sum = softmax(b, l.lanes, x, p);
      of_voxel.add_share(l, q, x, p, log_sum, loss, count);
      loss = voxel_sum(b, loss, l.lanes);
      if (live && l.lane == 0) each[row] = loss > 0 ? loss : loss <= 0 ? 0.f : HUGE_VALF;
    });
    worst = largest(b, worst);
    if (b.thread() == 0) bad[b.row() * tiles.chunks + b.index()] = worst;
  }
};

struct ChooseDigit : TopKBody {
  static constexpr const char* kName = "top_k_digit";
  LossList list;
  int shift;
  unsigned* partials;   // [chunks, kDigits]
  unsigned* arrived;
  Threshold* threshold;

  CTSEG_DEVICE void operator()(const Block& b) const {
    unsigned counts[kDigits] = {};
    const std::uint32_t above = shift + 4 < 32 ? threshold->bits : 0;
    for (Index r = list.begin(b) + b.thread(); r < list.end(b); r += kThreads) {
      const std::uint32_t bits = std::bit_cast<std::uint32_t>(list.each[r]);
      const bool counts_here = shift + 4 >= 32 || bits >> (shift + 4) == above;
      CTSEG_UNROLL for (int d = 0; d < kDigits; ++d) counts[d] +=
          counts_here && (bits >> shift & 15) == static_cast<std::uint32_t>(d);
    }
    unsigned* const shared = b.shared<unsigned>();
    CTSEG_UNROLL for (int d = 0; d < kDigits; ++d) {
      const unsigned sum = warp_sum(b, counts[d]);
      if (b.lane() == 0) shared[b.warp() * kDigits + d] = sum;
    }
    b.sync();
    if (b.thread() < kDigits) {
      unsigned sum = 0;
      for (int w = 0; w < kThreads / kWarp; ++w) sum += shared[w * kDigits + b.thread()];
      partials[b.index() * kDigits + b.thread()] = sum;
    }
    if (comes_last(b, arrived, list.chunks)) choose(b);
  }

 private:
  CTSEG_DEVICE void choose(const Block& b) const {
    double* const totals = b.shared<double>(kThreads * 8);
    sum_parts<kThreads, 1>(
        b, kDigits, list.chunks,
        [&](Index digit, Index part, Index step, double* total) {
          for (Index k = part; k < list.chunks; k += step) total[0] += partials[k * kDigits + digit];
        },
        [&](Index digit, const double* total) { totals[digit] = total[0]; });
    b.sync();
    if (b.thread() != 0) return;
    Index left = threshold->left;
    int digit = kDigits - 1;
    for (; digit > 0 && static_cast<double>(left) > totals[digit]; --digit) left -= static_cast<Index>(totals[digit]);
    threshold->bits = (shift + 4 < 32 ? threshold->bits << 4 : 0) | static_cast<std::uint32_t>(digit);
    threshold->left = left;
  }
};

/// How many of each block's losses are the threshold itself, and before each block.
struct CountEquals : TopKBody {
  static constexpr const char* kName = "top_k_equals";
  LossList list;
  unsigned* before;   // [chunks]
  unsigned* arrived;
  const Threshold* threshold;

  CTSEG_DEVICE void operator()(const Block& b) const {
    unsigned count = 0;
    for (Index r = list.begin(b) + b.thread(); r < list.end(b); r += kThreads)
      count += std::bit_cast<std::uint32_t>(list.each[r]) == threshold->bits;
    count = warp_sum(b, count);
    unsigned* const shared = b.shared<unsigned>();
    if (b.lane() == 0) shared[b.warp()] = count;
    b.sync();
    if (b.thread() == 0) {
      unsigned sum = 0;
      for (int w = 0; w < kThreads / kWarp; ++w) sum += shared[w];
      before[b.index()] = sum;
    }
    if (!comes_last(b, arrived, list.chunks)) return;
    for (Index k = b.thread(); k < list.chunks; k += kThreads) shared[k] = before[k];
    b.sync();
    if (b.thread() != 0) return;
    unsigned sum = 0;
    for (Index k = 0; k < list.chunks; ++k) {
      before[k] = sum;
      sum += shared[k];
    }
  }
};

/// Losses that are not chosen become -1; the others are added.
struct DropOthers : TopKBody {
  static constexpr const char* kName = "top_k_drop";
  LossList list;
  const unsigned* before;
  const Threshold* threshold;
  Index count, bad_count;
  const int* bad;
  float* partials;   // [chunks]
  unsigned* arrived;
  float* loss;

  CTSEG_DEVICE void operator()(const Block& b) const {
    const std::uint32_t least = threshold->bits;
    Index seen = before[b.index()];
    float sum = 0;
    for (Index first = list.begin(b); first < list.end(b); first += kThreads) {
      const Index r = first + b.thread();
      const std::uint32_t bits = r < list.end(b) ? std::bit_cast<std::uint32_t>(list.each[r]) : 0u;
      const bool equal = r < list.end(b) && bits == least;
      unsigned all;
      const unsigned mine = earlier(b, equal, all);
      const bool chosen = r < list.end(b) && (bits > least || (equal && seen + mine < threshold->left));
      seen += all;
      if (chosen)
        sum += list.each[r];
      else if (r < list.end(b))
        list.each[r] = -1;
    }
    leave(b, sum);
  }

 private:
  /// Threads before this one whose flag is up, and of all.
  CTSEG_DEVICE static unsigned earlier(const Block& b, bool flag, unsigned& all) {
    unsigned upto = flag;
    for (int d = 1; d < kWarp; d *= 2) {
      const unsigned other = b.shuffle(upto, b.lane() >= d ? b.lane() - d : b.lane());
      upto += b.lane() >= d ? other : 0u;
    }
    unsigned* const shared = b.shared<unsigned>();
    if (b.lane() == kWarp - 1) shared[b.warp()] = upto;
    b.sync();
    unsigned mine = upto - flag;
    all = 0;
    for (int w = 0; w < kThreads / kWarp; ++w) {
      mine += w < b.warp() ? shared[w] : 0u;
      all += shared[w];
    }
    b.sync();
    return mine;
  }
  CTSEG_DEVICE void leave(const Block& b, float sum) const {
    sum = warp_sum(b, sum);
    float* const shared = b.shared<float>();
    if (b.lane() == 0) shared[b.warp()] = sum;
    b.sync();
    if (b.thread() == 0) {
      float total = 0;
      for (int w = 0; w < kThreads / kWarp; ++w) total += shared[w];
      partials[b.index()] = total;
    }
    if (!comes_last(b, arrived, list.chunks)) return;
    int label = -1;
    for (Index i = b.thread(); i < bad_count; i += kThreads) label = bad[i] > label ? bad[i] : label;
    label = largest(b, label);
    sum_parts<kThreads, 1>(
        b, 1, list.chunks,
        [&](Index, Index part, Index step, double* total) {
          for (Index k = part; k < list.chunks; k += step) total[0] += static_cast<double>(partials[k]);
        },
        [&](Index, const double* total) {
          *loss = label < 0 ? static_cast<float>(total[0] / static_cast<double>(count)) : spoilt_by(label);
        });
  }
};

struct StartThreshold {
  static constexpr const char* kName = "top_k_start";
  Threshold* threshold;
  Index count;
  CTSEG_DEVICE void operator()(Index) const { *threshold = {0, 0, count}; }
};

template <class T, int K> struct TopKGradient : TopKBody {
  static constexpr const char* kName = "top_k_backward";
  LossTiles tiles;
  Logits<const T> logits;
  Logits<T> gradient;
  LossLabels labels;
  VoxelLoss voxel;
  const float *each, *seed;
  float share;

  CTSEG_DEVICE void operator()(const Block& b) const {
    const LossLane l = lane_of(b, tiles);
    const VoxelLoss of_voxel = plain<K>(voxel);
    for_voxels(b, tiles, [&](Index row, bool live) {
      float x[K], p[K] = {}, d[K] = {}, log_sum = 0;
      VoxelLabels q;
      logits.load(row, l, x);
      labels.read<K>(row, live && each[row] >= 0, l, q);
      if (K > 1) log_sum = softmax(b, l.lanes, x, p);
      of_voxel.add_derivatives(b, l, q, x, p, log_sum, *seed * share, d);
      CTSEG_UNROLL for (int k = 0; k < K; ++k) d[k] = q.counts(k) ? d[k] : 0.f;
      if (live) gradient.store(row, l, d);
    });
  }
};

LossList list_of(float* each, Index rows) {
  const Index chunk = std::max<Index>((rows + kLossBlocks - 1) / kLossBlocks, kLossThreads);
  return {each, rows, chunk, (rows + chunk - 1) / chunk};
}
struct TopKSaved {
  Bytes next;
  float *each, *positive;
  TopKSaved(std::byte* saved, const Array& x)
      : next{saved}, each(take<float>(next, x.rows())), positive(take<float>(next, x.c)) {}
};
struct TopKScratch {
  Bytes next;
  unsigned *digits, *before, *arrived;
  float* partials;
  int* bad;
  Threshold* threshold;
  TopKScratch(std::byte* scratch, const Array& x)
      : next{scratch},
        digits(take<unsigned>(next, kLossBlocks * kDigits)),
        before(take<unsigned>(next, kLossBlocks)),
        arrived(take<unsigned>(next, kRounds + 2)),
        partials(take<float>(next, kLossBlocks)),
        bad(take<int>(next, bad_count(loss_tiles(x)))),
        threshold(take<Threshold>(next, 1)) {}
  static Index bad_count(const LossTiles& t) { return t.images * t.chunks; }
};

}   // namespace

Index top_k_saved_bytes(const Array& logits) { return bytes_taken<TopKSaved>(logits); }
Index top_k_scratch_bytes(const Array& logits) { return bytes_taken<TopKScratch>(logits); }

void top_k_forward(Stream stream, const SegmentationLossOptions& o, Index count, const LossValues& v, float* loss,
                   std::byte* scratch) {
  const LossTiles tiles = loss_tiles(v.logits);
  const TopKSaved saved(v.saved, v.logits);
  const TopKScratch m(scratch, v.logits);
  put_weights(stream, o.voxel.positive, tiles.classes, saved.positive);
  clear(stream, m.arrived, bytes_of<unsigned>(kRounds + 2));
  for_each(stream, 1, StartThreshold{m.threshold, count});
  const VoxelLoss voxel = voxel_loss(o.voxel, tiles.classes, saved.positive, nullptr);
  with_storage(v.logits.dtype, [&](auto t) {
    using T = decltype(t);
    with_channels(tiles.classes, [&](auto k) {
      launch(stream, {tiles.chunks, tiles.images, kLossThreads},
             VoxelLosses<T, k>{{}, tiles, logits_of<const T>(v.logits), labels_of(o, v), voxel, saved.each, m.bad});
    });
  });
  const LossList list = list_of(saved.each, v.logits.rows());
  const int shared = kLossThreads * 8;
  for (int round = 0; round < kRounds; ++round)
    launch(stream, {list.chunks, 1, shared + kDigits * 8},
           ChooseDigit{{}, list, 28 - 4 * round, m.digits, m.arrived + round, m.threshold});
  launch(stream, {list.chunks, 1, static_cast<int>(kLossBlocks) * 4},
         CountEquals{{}, list, m.before, m.arrived + kRounds, m.threshold});
  launch(stream, {list.chunks, 1, shared},
         DropOthers{{},
                    list,
                    m.before,
                    m.threshold,
                    count,
                    TopKScratch::bad_count(tiles),
                    m.bad,
                    m.partials,
                    m.arrived + kRounds + 1,
                    loss});
}

void top_k_backward(Stream stream, const SegmentationLossOptions& o, Index count, const LossValues& v, const float* seed,
                    const Array& dlogits) {
  const LossTiles tiles = loss_tiles(v.logits);
  const TopKSaved saved(v.saved, v.logits);
  const VoxelLoss voxel = voxel_loss(o.voxel, tiles.classes, saved.positive, nullptr);
  with_storage(v.logits.dtype, [&](auto t) {
    using T = decltype(t);
    with_channels(tiles.classes, [&](auto k) {
      launch(stream, {tiles.chunks, tiles.images},
             TopKGradient<T, k>{{},
                                tiles,
                                logits_of<const T>(v.logits),
                                logits_of<T>(dlogits),
                                labels_of(o, v),
                                voxel,
                                saved.each,
                                seed,
                                1 / static_cast<float>(count)});
    });
  });
}

}   // namespace ctseg::cuda
