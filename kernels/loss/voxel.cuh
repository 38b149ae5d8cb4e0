// What losses do with the logits and labels of one voxel on the card: the twin of ops/cpu/loss_row.hpp, in float.
//
// A voxel belongs to 1, 2, ... 32 neighbouring lanes of a warp, and each of these has K of its channels in registers: channel
// lane, lane + lanes, ... So up to 4 classes need no shuffle, hundreds of classes no memory, and loads of a warp meet.
#pragma once
#include "../common/launch.cuh"
#include "../common/values.cuh"
#include "ctseg/ops/cuda/segmentation_loss.hpp"

#if !defined(CTSEG_UNROLL)
#if defined(__CUDACC__)
#define CTSEG_UNROLL _Pragma("unroll")
#else
#define CTSEG_UNROLL
#endif
#endif
#if defined(__CUDACC__)
#define CTSEG_KEEP_LOOP _Pragma("unroll 1")   // of much in few rounds: unrolled it would take registers
#else
#define CTSEG_KEEP_LOOP
#endif

namespace ctseg::cuda {

inline constexpr int kLossThreads = 256;
inline constexpr Index kLossBlocks = 132 * 4;

/// Images cut into chunks of voxels, by shape alone.
struct LossTiles {
  Index images, voxels, chunk, chunks;
  int classes, lanes;

  constexpr int width() const { return 3 * classes + 2; }   // sums of a block: see segmentation_loss.cu
};
inline LossTiles loss_tiles(const Array& logits) {
  LossTiles t{logits.n, logits.voxels(), 0, 0, static_cast<int>(logits.c), 1};
  if (t.classes > 128) t.lanes = kWarp;
  while (t.classes <= 128 && 4 * t.lanes < t.classes) t.lanes *= 2;
  const Index most = std::max<Index>(1, kLossBlocks / t.images), at_once = kLossThreads / t.lanes;
  t.chunk = std::max((t.voxels + most - 1) / most, 4 * at_once);
  t.chunks = (t.voxels + t.chunk - 1) / t.chunk;
  return t;
}
/// f(integral_constant of the channels that a lane has).
template <class F> void with_channels(int classes, F f) {
  if (classes == 1) return f(std::integral_constant<int, 1>{});
  if (classes == 2) return f(std::integral_constant<int, 2>{});
  if (classes <= 128) return f(std::integral_constant<int, 4>{});
  f(std::integral_constant<int, 16>{});
}

/// A lane among those of its voxel. All lanes of a warp go through the same rounds; `live` says whether the voxel is one.
struct LossLane {
  int lane, lanes;
  CTSEG_DEVICE int channel(int k) const { return lane + k * lanes; }
};
CTSEG_DEVICE LossLane lane_of(const Block& b, const LossTiles& t) { return {b.lane() % t.lanes, t.lanes}; }
/// visit(row, live) for the voxels of this block's chunk, in the order of memory.
template <class Visit> CTSEG_DEVICE void for_voxels(const Block& b, const LossTiles& t, Visit visit) {
  const Index image = b.row() * t.voxels, begin = b.index() * t.chunk;
  const Index end = begin + t.chunk < t.voxels ? begin + t.chunk : t.voxels;
  const Index per_warp = kWarp / t.lanes, step = kLossThreads / t.lanes;
  for (Index first = begin + b.warp() * per_warp; first < end; first += step) {
    const Index voxel = first + b.lane() / t.lanes;
    visit(image + (voxel < end ? voxel : end - 1), voxel < end);
  }
}
template <class X> CTSEG_DEVICE X voxel_sum(const Block& b, X value, int lanes) {
  for (int mask = lanes / 2; mask > 0; mask /= 2) value += b.shuffle_xor(value, mask);
  return value;
}

inline constexpr int kLossWarps = kLossThreads / kWarp;
/// The largest of a block, in every thread of it. Needs shared memory of a number per warp.
CTSEG_DEVICE int largest(const Block& b, int value) {
  for (int mask = kWarp / 2; mask > 0; mask /= 2) {
    const int other = b.shuffle_xor(value, mask);
    value = other > value ? other : value;
  }
  int* const shared = b.shared<int>();
  b.sync();
  if (b.lane() == 0) shared[b.warp()] = value;
  b.sync();
  for (int w = 0; w < b.threads() / kWarp; ++w) value = shared[w] > value ? shared[w] : value;
  b.sync();
  return value;
}
/// What a loss becomes where a label is no class.
CTSEG_DEVICE float spoilt_by(int label) { return std::bit_cast<float>(kBadLabel | static_cast<std::uint32_t>(label)); }

template <class T> struct Logits {
  T* data;
  Index pitch;
  int classes;
  bool packed;   // the K channels of a voxel in one access

  template <int K> CTSEG_DEVICE void load(Index row, const LossLane& l, float (&x)[K]) const {
    const T* const from = data + row * pitch;
    if constexpr (K == 2 || K == 4)
      if (packed) {
        const auto pack = *reinterpret_cast<const Pack<std::remove_const_t<T>, K>*>(from);
        CTSEG_UNROLL for (int k = 0; k < K; ++k) x[k] = to_float(pack.at[k]);
        return;
      }
    CTSEG_UNROLL for (int k = 0; k < K; ++k) x[k] = l.channel(k) < classes ? to_float(from[l.channel(k)]) : -HUGE_VALF;
  }
  template <int K> CTSEG_DEVICE void store(Index row, const LossLane& l, const float (&d)[K]) const {
    T* const to = data + row * pitch;
    if constexpr (K == 2 || K == 4)
      if (packed) {
        Pack<T, K> pack;
        CTSEG_UNROLL for (int k = 0; k < K; ++k) pack.at[k] = from_float<T>(d[k]);
        *reinterpret_cast<Pack<T, K>*>(to) = pack;
        return;
      }
    CTSEG_UNROLL for (int k = 0; k < K; ++k) if (l.channel(k) < classes) to[l.channel(k)] = from_float<T>(d[k]);
  }
};
template <class T> Logits<T> logits_of(const Array& a) {
  const auto bytes = static_cast<std::uintptr_t>(a.c * size_of(a.dtype));
  const bool packed = (a.c == 2 || a.c == 4) && a.pitch % a.c == 0 && reinterpret_cast<std::uintptr_t>(a.data) % bytes == 0;
  return {a.as<T>(), a.pitch, static_cast<int>(a.c), packed};
}

/// The labels of a lane's channels: whether they count, and whether they are 1. A bit each.
struct VoxelLabels {
  std::uint32_t counted = 0, ones = 0;

  CTSEG_DEVICE bool counts(int k) const { return counted >> k & 1; }
  CTSEG_DEVICE bool one(int k) const { return ones >> k & 1; }
  CTSEG_DEVICE void set(int k, bool one) { counted |= 1u << k, ones |= static_cast<std::uint32_t>(one) << k; }
};

/// Labels in either form.
struct LossLabels {
  const std::byte* data;
  Index pitch, ignored;
  int classes;
  bool wide, u16;

  CTSEG_DEVICE int at(Index row, Index c) const {
    const Index place = row * pitch + c;
    return u16 ? reinterpret_cast<const std::uint16_t*>(data)[place] : reinterpret_cast<const std::uint8_t*>(data)[place];
  }
  /// Returns a label that is no class, or -1.
  template <int K> CTSEG_DEVICE int read(Index row, bool live, const LossLane& l, VoxelLabels& q) const {
    int bad = -1;
    if (!live) return bad;
    if (!wide) {
      const int label = at(row, 0);
      if (label == ignored) return bad;
      if (label >= (classes > 2 ? classes : 2)) return label;
      CTSEG_UNROLL for (int k = 0; k < K; ++k) {
        if (l.channel(k) < classes) q.set(k, classes == 1 ? label == 1 : l.channel(k) == label);
      }
      return bad;
    }
    CTSEG_UNROLL for (int k = 0; k < K; ++k) {
      if (l.channel(k) >= classes) continue;
      const int label = at(row, l.channel(k));
      if (label == ignored) continue;
      if (label > 1)
        bad = label;
      else
        q.set(k, label == 1);
    }
    return bad;
  }
};
inline LossLabels labels_of(const SegmentationLossOptions& o, const LossValues& v) {
  return {v.labels.data,
          v.labels.pitch,
          o.ignore_label.value_or(-1),
          static_cast<int>(v.logits.c),
          v.labels.c > 1,
          v.labels.dtype == Dtype::u16};
}

CTSEG_DEVICE float softplus(float x) { return (x > 0 ? x : 0.f) + std::log1p(std::exp(-std::fabs(x))); }
CTSEG_DEVICE float logistic(float x) {
  const float e = std::exp(-std::fabs(x));
  return (x >= 0 ? 1.f : e) / (1 + e);
}
CTSEG_DEVICE float power(float base, float exponent) {
  return exponent == 0 ? 1.f : exponent == 1 ? base : exponent == 2 ? base * base : std::exp2(exponent * std::log2(base));
}
/// p = softmax(x) over the lanes of a voxel; returns log(sum(exp(x))). Channels that are not there have p = 0.
template <int K> CTSEG_DEVICE float softmax(const Block& b, int lanes, const float (&x)[K], float (&p)[K]) {
  float top = x[0], sum = 0;
  CTSEG_UNROLL for (int k = 1; k < K; ++k) top = x[k] > top ? x[k] : top;
  for (int mask = lanes / 2; mask > 0; mask /= 2) {
    const float other = b.shuffle_xor(top, mask);
    top = other > top ? other : top;
  }
  CTSEG_UNROLL for (int k = 0; k < K; ++k) sum += p[k] = std::exp(x[k] - top);
  sum = voxel_sum(b, sum, lanes);
  CTSEG_UNROLL for (int k = 0; k < K; ++k) p[k] /= sum;
  return top + std::log(sum);
}

/// The voxel term: its value, its share of the mean, its derivatives.
struct VoxelLoss {
  bool on, sigmoid, weighted_mean;
  int first, classes;   // channels that count
  float gamma, smoothing, rest;
  const float *positive, *negative;   // [classes], or none

  CTSEG_DEVICE float weight(const float* weights, int c) const { return weights ? weights[c] : 1.f; }
  CTSEG_DEVICE float target(bool one) const { return (one ? 1 - smoothing : 0.f) + rest; }
  /// Whether the channel costs something in a softmax.
  CTSEG_DEVICE bool costs(int c, bool one) const { return c >= first && (one || smoothing != 0); }
  /// -p^gamma * log(1 - p) of a logit v, and its derivative.
  CTSEG_DEVICE float hard(float v) const { return (gamma > 0 ? power(logistic(v), gamma) : 1.f) * softplus(v); }
  CTSEG_DEVICE float slope(float v) const {
    const float p = logistic(v);
    return gamma == 0 ? p : power(p, gamma) * (gamma * logistic(-v) * softplus(v) + p);
  }

  template <int K> CTSEG_DEVICE void add_share(const LossLane& l, const VoxelLabels& q, const float (&x)[K],
                                               const float (&p)[K], float log_sum, float& loss, float& count) const {
    CTSEG_UNROLL for (int k = 0; k < K; ++k) {
      const int c = l.channel(k);
      if (!q.counts(k)) continue;
      if (sigmoid) {
        if (c < first) continue;
        const float t = target(q.one(k));
        loss += weight(positive, c) * t * hard(-x[k]) + weight(negative, c) * (1 - t) * hard(x[k]);
        count += 1;
        continue;
      }
      if (costs(c, q.one(k))) loss += weight(positive, c) * target(q.one(k)) * power(1 - p[k], gamma) * (log_sum - x[k]);
      if (weighted_mean)
        count += q.one(k) && c >= first ? weight(positive, c) : 0.f;
      else if (c == 0)
        count += static_cast<float>(classes - first);
    }
  }
  /// d[k] += scale * d(loss)/d(x[k]).
  template <int K> CTSEG_DEVICE void add_derivatives(const Block& b, const LossLane& l, const VoxelLabels& q,
                                                     const float (&x)[K], const float (&p)[K], float log_sum, float scale,
                                                     float (&d)[K]) const {
    float sum = 0;   // of p d(loss)/d(p)
    CTSEG_UNROLL for (int k = 0; k < K; ++k) {
      const int c = l.channel(k);
      if (!q.counts(k)) continue;
      const float t = target(q.one(k));
      if (sigmoid) {
        if (c >= first) d[k] += scale * (weight(negative, c) * (1 - t) * slope(x[k]) - weight(positive, c) * t * slope(-x[k]));
        continue;
      }
      if (!costs(c, q.one(k))) continue;
      const float wrong = 1 - p[k];
      float by_p = power(wrong, gamma);
      if (gamma > 0 && wrong > 0) by_p += gamma * p[k] * power(wrong, gamma - 1) * (log_sum - x[k]);
      by_p *= scale * weight(positive, c) * t;
      d[k] -= by_p, sum += by_p;
    }
    if (sigmoid) return;
    sum = voxel_sum(b, sum, l.lanes);
    CTSEG_UNROLL for (int k = 0; k < K; ++k) d[k] += p[k] * sum;
  }
};
inline VoxelLoss voxel_loss(const VoxelTermOptions& o, int classes, const float* positive, const float* negative) {
  const bool sigmoid = o.sigmoid || classes == 1;
  return {o.weight > 0,
          sigmoid,
          o.weighted_mean,
          classes > 1 && !o.include_background ? 1 : 0,
          classes,
          static_cast<float>(o.gamma),
          static_cast<float>(o.label_smoothing),
          static_cast<float>(o.label_smoothing / (sigmoid ? 2 : classes)),
          o.positive.empty() ? nullptr : positive,
          o.negative.empty() ? nullptr : negative};
}

/// Numbers of the host into device memory, carried by the launch itself: nothing to wait for, and it may be recorded.
struct PutNumbers {
  static constexpr int kThreads = 128;
  static constexpr bool kSyncs = false;
  static constexpr const char* kName = "put_numbers";
  float* to;
  int count;
  float numbers[kThreads];
  CTSEG_DEVICE void operator()(const Block& b) const {
    for (int i = 0; i < kThreads; ++i)   // not numbers[thread]: that would put all of them on the stack
      if (i == b.thread() && i < count) to[i] = numbers[i];
  }
};
/// One weight per class: of none, one for all, or a list.
inline void put_weights(Stream stream, const std::vector<double>& weights, int classes, float* to) {
  for (int first = 0; !weights.empty() && first < classes; first += PutNumbers::kThreads) {
    PutNumbers body{to + first, std::min(classes - first, PutNumbers::kThreads), {}};
    for (int i = 0; i < body.count; ++i)
      body.numbers[i] = static_cast<float>(weights[weights.size() == 1 ? 0 : static_cast<std::size_t>(first + i)]);
    launch(stream, {}, body);
  }
}

/// What forward leaves for backward: the overlap term's slopes by M and by P, [images, classes] each, and the divisor of the
/// voxel term; then the three lists of weights.
struct LossSaved {
  Bytes next;
  double *by_meet, *by_p, *count;
  float *class_weights, *positive, *negative;
  LossSaved(std::byte* saved, const Array& logits) : next{saved} {
    const Index pairs = logits.n * logits.c;
    by_meet = take<double>(next, 2 * pairs + 1);
    by_p = by_meet + pairs, count = by_p + pairs;
    class_weights = take<float>(next, 3 * logits.c);
    positive = class_weights + logits.c, negative = positive + logits.c;
  }
};

}   // namespace ctseg::cuda
