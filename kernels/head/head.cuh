// The end of a segmentation network in one pass each way: logits = x w + b, softmax, sums of the overlap term per image and
// class, cross entropy; and the gradients of x, w and b. Three launches: two passes over the voxels, and the small end of the
// loss between them; the sums of dw and db are two more small ones.
//
// Why so: apart, logits, probabilities and one-hot labels of the largest volume pass through memory some ten times; all of it
// follows from a voxel's 32 features, which are read once forward and once backward. Backward computes the logits again: 32 x 3
// multiplications cost less than reading them. A thread has a voxel.
//   forward    e C + 1 bytes per voxel: 32 channels of bf16 on 128^3 136 MB, 0.032 ms at 4.3 TB/s
//   backward   2 e C + 1 bytes: 0.063 ms; through shared memory, so that rows come and go in packs, and for the gradient of
//              w, a product over voxels: a thread sums 4 channels x all classes over some of each tile's voxels
// Sums: per thread in float, then warps, then blocks in scratch, then in double, always in the same order. No atomics.
// Speed: not measured yet.
#pragma once
#include <bit>

#include "../common/launch.cuh"
#include "../conv/taps.cuh"
#include "ctseg/ops/cuda/context.hpp"

namespace ctseg::cuda {

/// The largest over the 32 lanes, in each of them.
CTSEG_DEVICE float warp_most(const Block& b, float value) {
  for (int mask = kWarp / 2; mask > 0; mask /= 2) {
    const float other = b.shuffle_xor(value, mask);
    value = other > value ? other : value;
  }
  return value;
}

inline constexpr int kMostHeadClasses = 8, kMostHeadChannels = 64;

/// SegmentationLossOptions as a kernel takes them.
struct HeadOptions {
  double overlap_weight, voxel_weight;
  double numerator, meet, predicted, labelled, smooth_numerator, smooth_denominator, least_denominator;
  double class_weights[kMostHeadClasses];
  float positive[kMostHeadClasses];
  int first_class, first_voxel_class, ignored;   // classes that count start here
  bool batch, squared, negative, weighted_mean;
};

/// What both passes do with a voxel. K: classes, rounded up to 2, 4 or 8; logits of those that do not exist are -infinity.
template <class T, int K> struct HeadInput {
  static constexpr int kWidth = kPack<T>;
  Lattice x;
  const std::byte* labels;
  const float *w, *bias;
  int classes, voxels;   // of an image
  Index wide_labels;     // u16

  /// [padded channels][K], then K biases; every thread of the block helps.
  constexpr int padded() const { return (x.channels + kWidth - 1) / kWidth * kWidth; }
  CTSEG_DEVICE void load_weights(const Block& b, float* to) const {
    for (int e = b.thread(); e < (padded() + 1) * K; e += b.threads()) {
      const int c = e / K, k = e % K;
      if (c == padded())
        to[e] = k >= classes ? -INFINITY : bias ? bias[k] : 0.f;
      else
        to[e] = c < x.channels && k < classes ? w[c * classes + k] : 0.f;
    }
  }
  CTSEG_DEVICE const T* row(Index r) const { return reinterpret_cast<const T*>(x.data) + r * x.pitch; }
  CTSEG_DEVICE int label(Index r) const {
    return wide_labels ? reinterpret_cast<const std::uint16_t*>(labels)[r] : reinterpret_cast<const std::uint8_t*>(labels)[r];
  }
  CTSEG_DEVICE static void add(const Pack<T, kWidth>& values, const float* weights, float (&z)[K]) {
    CTSEG_UNROLL
    for (int i = 0; i < kWidth; ++i) {
      CTSEG_UNROLL
      for (int k = 0; k < K; ++k) z[k] += to_float(values.at[i]) * weights[i * K + k];
    }
  }
  /// Turns logits into probabilities; returns log(sum(exp)).
  CTSEG_DEVICE static float softmax(float (&z)[K]) {
    float most = z[0], sum = 0;
    CTSEG_UNROLL
    for (int k = 1; k < K; ++k) most = z[k] > most ? z[k] : most;
    CTSEG_UNROLL
    for (int k = 0; k < K; ++k) sum += z[k] = std::exp(z[k] - most);
    CTSEG_UNROLL
    for (int k = 0; k < K; ++k) z[k] /= sum;
    return most + std::log(sum);
  }
};

/// partials[image][part]: M, P and Q of K classes, the voxel term's loss and divisor, and the largest label that is no class
/// (or -1). b.row() is the image.
template <class T, int K> struct HeadSums {
  static constexpr int kThreads = 256, kValues = 3 * K + 3, kBad = 3 * K + 2;
  static constexpr bool kSyncs = true;
  static constexpr const char* kName = "head_sums";
  HeadInput<T, K> in;
  HeadOptions o;
  float* partials;
  Index voxels_each;

  static int bytes(int padded) { return ((padded + 1) * K + kThreads / kWarp * kValues) * static_cast<int>(sizeof(float)); }

  CTSEG_DEVICE void operator()(const Block& b) const {
    float* const weights = b.shared<float>();
    in.load_weights(b, weights);
    b.sync();
    float sums[kValues] = {};
    sums[kBad] = -1;
    const int each = static_cast<int>(voxels_each), first = static_cast<int>(b.index()) * each;
    const int last = first + each < in.voxels ? first + each : in.voxels;
    for (int v = first + b.thread(); v < last; v += kThreads) add_voxel(b.row() * in.voxels + v, weights, sums);
    float* const all = weights + (in.padded() + 1) * K;
    CTSEG_UNROLL
    for (int i = 0; i < kValues; ++i) {
      const float sum = i == kBad ? warp_most(b, sums[i]) : warp_sum(b, sums[i]);
      if (b.lane() == 0) all[b.warp() * kValues + i] = sum;
    }
    b.sync();
    if (b.thread() >= kValues) return;
    float total = all[b.thread()];
    for (int warp = 1; warp < kThreads / kWarp; ++warp) {
      const float more = all[warp * kValues + b.thread()];
      total = b.thread() == kBad ? (more > total ? more : total) : total + more;
    }
    partials[(b.row() * b.blocks() + b.index()) * kValues + b.thread()] = total;
  }

 private:
  CTSEG_DEVICE void add_voxel(Index r, const float* weights, float (&sums)[kValues]) const {
    constexpr int kWidth = HeadInput<T, K>::kWidth;
    const T* const row = in.row(r);
    const int label = in.label(r), padded = in.padded();
    float z[K];
    CTSEG_UNROLL
    for (int k = 0; k < K; ++k) z[k] = weights[padded * K + k];
    for (int c = 0; c < padded; c += 4 * kWidth) {
      Pack<T, kWidth> values[4];   // on their way together
      CTSEG_UNROLL
      for (int i = 0; i < 4; ++i) values[i] = in.x.template load<T, kWidth>(row, c + i * kWidth);
      CTSEG_UNROLL
      for (int i = 0; i < 4; ++i)
        if (c + i * kWidth < padded) HeadInput<T, K>::add(values[i], weights + (c + i * kWidth) * K, z);
    }
    if (label == o.ignored) return;
    if (label >= in.classes) {
      sums[kBad] = static_cast<float>(label) > sums[kBad] ? static_cast<float>(label) : sums[kBad];
      return;
    }
    float of_label = 0, weight = 0;
    CTSEG_UNROLL
    for (int k = 0; k < K; ++k)
      if (label == k) of_label = z[k], weight = k < o.first_voxel_class ? 0.f : o.positive[k];
    const float log_sum = HeadInput<T, K>::softmax(z);
    CTSEG_UNROLL
    for (int k = 0; k < K; ++k) {
      sums[K + k] += o.squared ? z[k] * z[k] : z[k];
      if (label == k) sums[k] += z[k], sums[2 * K + k] += 1;
    }
    sums[3 * K] += weight * (log_sum - of_label);
    sums[3 * K + 1] += o.weighted_mean ? weight : static_cast<float>(in.classes - o.first_voxel_class);
  }
};

/// The loss, and for backward slopes by M, slopes by P, [N, classes] each, and the voxel term's divisor. One block.
template <int K> struct HeadLossEnd {
  static constexpr int kThreads = 256, kValues = 3 * K + 3, kBad = 3 * K + 2, kWarps = kThreads / kWarp;
  static constexpr bool kSyncs = true;
  static constexpr const char* kName = "head_loss_end";
  static constexpr int kBytes = (kWarps + 1) * 32 * static_cast<int>(sizeof(double));
  static_assert(kValues <= 32);
  HeadOptions o;
  const float* partials;
  float* loss;
  double* saved;
  Index parts;
  int images, classes;

  CTSEG_DEVICE void operator()(const Block& b) const {
    double* const of_warp = b.shared<double>();
    double* const sums = of_warp + kWarps * 32;
    const int lane = b.lane(), pairs = images * classes;
    double overlap = 0, voxel = 0, divisor = 0, bad = -1;
    const double none = lane == kBad ? -1 : 0;
    const auto more = [&](double a, double c) { return lane == kBad ? (c > a ? c : a) : a + c; };
    double total = none;   // of this lane's value, over images where the overlap is of the batch
    for (int n = 0; n < images; ++n) {
      double sum = none;
      if (lane < kValues)
        for (int p = b.warp(); p < parts; p += kWarps)
          sum = more(sum, static_cast<double>(partials[(n * parts + p) * kValues + lane]));
      of_warp[b.thread()] = sum;
      b.sync();
      if (b.warp() == 0) {
        for (int warp = 1; warp < kWarps; ++warp) sum = more(sum, of_warp[warp * 32 + lane]);
        total = more(total, sum);
        sums[lane] = o.batch ? total : sum;
      }
      b.sync();
      if (b.thread() == 0) {
        bad = sums[kBad] > bad ? sums[kBad] : bad;
        if (!o.batch || n + 1 == images) overlap += close(sums, saved + n * classes, saved + pairs + n * classes);
        if (!o.batch || n + 1 == images) voxel += sums[3 * K], divisor += sums[3 * K + 1];
      }
    }
    if (b.thread() != 0) return;
    for (int i = 0; i < 2 * pairs; ++i) {
      if (o.batch) saved[i] = saved[i / pairs * pairs + pairs - classes + i % classes];
    }
    const double terms = (o.batch ? 1 : images) * (classes - o.first_class);
    for (int i = 0; i < 2 * pairs; ++i) saved[i] *= o.overlap_weight / terms;
    saved[2 * pairs] = divisor;
    loss[0] = static_cast<float>(o.overlap_weight * overlap / terms + (divisor > 0 ? o.voxel_weight * voxel / divisor : 0));
    if (bad >= 0) loss[0] = std::bit_cast<float>(kBadLabel | static_cast<std::uint32_t>(bad));
  }

 private:
  /// Sum over classes of 1 - ratio, and its slopes.
  CTSEG_DEVICE double close(const double* sums, double* by_meet, double* by_p) const {
    double loss_of_all = 0;
    for (int c = 0; c < classes; ++c) {
      by_meet[c] = by_p[c] = 0;
      if (c < o.first_class || o.overlap_weight == 0) continue;
      const double weight = classes - o.first_class > 1 ? o.class_weights[c] : 1;
      const double below = o.meet * sums[c] + o.predicted * sums[K + c] + o.labelled * sums[2 * K + c] + o.smooth_denominator;
      const bool clipped = below < o.least_denominator;
      const double denominator = clipped ? o.least_denominator : below;
      const double ratio = (o.numerator * sums[c] + o.smooth_numerator) / denominator;
      loss_of_all += weight * ((o.negative ? 0 : 1) - ratio);
      by_meet[c] = weight * ((clipped ? 0 : o.meet * ratio) - o.numerator) / denominator;
      by_p[c] = weight * (clipped ? 0 : o.predicted * ratio) / denominator;
    }
    return loss_of_all;
  }
};

/// dx, and of every block partials[channels][classes] of dw and [classes] of db. Blocks walk over tiles of 256 voxels.
template <class T, int K> struct HeadGradient {
  static constexpr int kThreads = 256, kWidth = kPack<T>;
  static constexpr bool kSyncs = true;
  static constexpr const char* kName = "head_gradient";
  HeadInput<T, K> in;
  HeadOptions o;
  const float* seed;
  const double* saved;
  Lattice dx;
  float *weight_partials, *bias_partials;   // null: nobody wants dw, db
  int images, voxels_each;                  // a multiple of kThreads

  constexpr int pitch() const { return in.padded() + kWidth; }
  constexpr int slopes_at() const { return ((in.padded() + 1) * K + 3) / 4 * 4 * static_cast<int>(sizeof(float)); }
  constexpr int rows_at() const { return slopes_at() + kThreads * K * static_cast<int>(sizeof(float)); }
  int bytes() const {
    return std::max(rows_at() + kThreads * pitch() * static_cast<int>(sizeof(T)),
                    kThreads * 4 * K * static_cast<int>(sizeof(float)));
  }

  CTSEG_DEVICE void operator()(const Block& b) const {
    float* const weights = b.shared<float>();
    in.load_weights(b, weights);
    float by_meet[K], by_p[K], bias_sum[K] = {}, sums[4][K] = {};
    const int pairs = images * in.classes;
    CTSEG_UNROLL
    for (int k = 0; k < K; ++k) {
      const Index at = b.row() * in.classes + k;
      by_meet[k] = k < in.classes ? seed[0] * static_cast<float>(saved[at]) : 0.f;
      by_p[k] = k < in.classes ? seed[0] * static_cast<float>(saved[pairs + at]) : 0.f;
    }
    const double count = saved[2 * pairs];
    const float share = count > 0 ? static_cast<float>(static_cast<double>(seed[0]) * o.voxel_weight / count) : 0.f;
    const int first = static_cast<int>(b.index()) * voxels_each;
    const int last = first + voxels_each < in.voxels ? first + voxels_each : in.voxels;
    for (int v = first; v < last; v += kThreads) {
      float slopes[K];
      b.sync();
      move<true>(b, v, last);
      b.sync();
      by_logits(b, {v + b.thread(), last, share}, by_meet, by_p, slopes);
      CTSEG_UNROLL
      for (int k = 0; k < K; ++k) bias_sum[k] += slopes[k];
      b.sync();
      if (weight_partials) add_weights(b, sums);
      b.sync();
      if (!dx.data) continue;
      by_features(b, slopes);
      b.sync();
      move<false>(b, v, last);
    }
    b.sync();
    if (weight_partials) finish_weights(b, sums);
    b.sync();
    if (bias_partials) finish_bias(b, bias_sum);
  }

 private:
  struct Voxel {
    int v, last;
    float share;
  };
  CTSEG_DEVICE T* rows(const Block& b) const { return b.shared<T>(rows_at()); }

  /// A tile's features into shared memory, or what lies there out to dx.
  template <bool In> CTSEG_DEVICE void move(const Block& b, int first, int last) const {
    const int packs = in.padded() / kWidth;
    for (int e = b.thread(); e < kThreads * packs; e += kThreads) {
      const int row = e / packs, c = e % packs * kWidth;
      const Index r = b.row() * in.voxels + first + row;
      auto* const tile = reinterpret_cast<Pack<T, kWidth>*>(rows(b) + row * pitch() + c);
      if constexpr (In)
        *tile = in.x.template load<T, kWidth>(first + row < last ? in.row(r) : nullptr, c);
      else if (first + row < last)
        dx.store<T, kWidth>(reinterpret_cast<T*>(dx.data) + r * dx.pitch, c, *tile);
    }
  }
  /// The loss's derivative by this thread's logits; zeros where there is no voxel.
  CTSEG_DEVICE void by_logits(const Block& b, const Voxel& at, const float (&by_meet)[K], const float (&by_p)[K],
                              float (&slopes)[K]) const {
    const float* const weights = b.shared<float>();
    const T* const row = rows(b) + b.thread() * pitch();
    float p[K];
    CTSEG_UNROLL
    for (int k = 0; k < K; ++k) p[k] = weights[in.padded() * K + k];
    for (int c = 0; c < in.padded(); c += kWidth)
      HeadInput<T, K>::add(*reinterpret_cast<const Pack<T, kWidth>*>(row + c), weights + c * K, p);
    HeadInput<T, K>::softmax(p);
    const int label = at.v < at.last ? in.label(b.row() * in.voxels + at.v) : o.ignored;
    const bool counts = at.v < at.last && label != o.ignored && label < in.classes;
    float mean = 0, weight = 0;
    CTSEG_UNROLL
    for (int k = 0; k < K; ++k) {
      slopes[k] = by_p[k] * (o.squared ? 2 * p[k] : 1) + (label == k ? by_meet[k] : 0.f);
      mean += p[k] * slopes[k];
      if (label == k && k >= o.first_voxel_class) weight = at.share * o.positive[k];
    }
    CTSEG_UNROLL
    for (int k = 0; k < K; ++k) {
      slopes[k] = counts ? p[k] * (slopes[k] - mean) + weight * (p[k] - (label == k ? 1.f : 0.f)) : 0.f;
      b.shared<float>(slopes_at())[b.thread() * K + k] = slopes[k];
    }
  }
  /// Threads take 4 channels and every so many-th voxel.
  CTSEG_DEVICE void add_weights(const Block& b, float (&sums)[4][K]) const {
    const int groups = in.padded() / 4, each = kThreads / groups, c = b.thread() % groups * 4;
    const float* const slopes = b.shared<float>(slopes_at());
    if (b.thread() >= groups * each) return;
    for (int row = b.thread() / groups; row < kThreads; row += each) {
      const auto values = *reinterpret_cast<const Pack<T, 4>*>(rows(b) + row * pitch() + c);
      CTSEG_UNROLL
      for (int i = 0; i < 4; ++i) {
        CTSEG_UNROLL
        for (int k = 0; k < K; ++k) sums[i][k] += to_float(values.at[i]) * slopes[row * K + k];
      }
    }
  }
  CTSEG_DEVICE void by_features(const Block& b, const float (&slopes)[K]) const {
    const float* const weights = b.shared<float>();
    T* const row = rows(b) + b.thread() * pitch();
    for (int c = 0; c < in.padded(); c += kWidth) {
      Pack<T, kWidth> out;
      CTSEG_UNROLL
      for (int i = 0; i < kWidth; ++i) {
        float sum = 0;
        CTSEG_UNROLL
        for (int k = 0; k < K; ++k) sum += slopes[k] * weights[(c + i) * K + k];
        out.at[i] = from_float<T>(sum);
      }
      *reinterpret_cast<Pack<T, kWidth>*>(row + c) = out;
    }
  }
  CTSEG_DEVICE void finish_weights(const Block& b, const float (&sums)[4][K]) const {
    float* const all = b.shared<float>();
    const int groups = in.padded() / 4, each = kThreads / groups, size = in.padded() * K;
    CTSEG_UNROLL
    for (int i = 0; i < 4; ++i) {
      CTSEG_UNROLL
      for (int k = 0; k < K; ++k)
        if (b.thread() < groups * each) all[b.thread() / groups * size + (b.thread() % groups * 4 + i) * K + k] = sums[i][k];
    }
    b.sync();
    float* const out = weight_partials + (b.row() * b.blocks() + b.index()) * in.x.channels * in.classes;
    for (int e = b.thread(); e < in.x.channels * K; e += kThreads) {
      if (e % K >= in.classes) continue;
      float sum = 0;
      for (int s = 0; s < each; ++s) sum += all[s * size + e];
      out[e / K * in.classes + e % K] = sum;
    }
  }
  CTSEG_DEVICE void finish_bias(const Block& b, const float (&bias_sum)[K]) const {
    float* const all = b.shared<float>();
    CTSEG_UNROLL
    for (int k = 0; k < K; ++k) {
      const float sum = warp_sum(b, bias_sum[k]);
      if (b.lane() == 0) all[b.warp() * K + k] = sum;
    }
    b.sync();
    if (b.thread() >= in.classes) return;
    float total = 0;
    for (int warp = 0; warp < kThreads / kWarp; ++warp) total += all[warp * K + b.thread()];
    bias_partials[(b.row() * b.blocks() + b.index()) * in.classes + b.thread()] = total;
  }
};

}   // namespace ctseg::cuda
