// Boundary and Hausdorff losses: masks, exact distances to the other side of each, and a mean of errors times distances.
//
// A pass along one axis looks from every voxel to both sides, a step at a time, and ends where steps alone are farther than the
// nearest that it knows, or at the first voxel of the other side. So a voxel costs as many reads as its distance in voxels, and
// never more than the line has: beside a boundary few, in the middle of a large organ some dozens, from L1 and L2, for the
// neighbours read the same. Linear time by lower envelopes, as the host does it, would make one thread of each line. Numbers are
// the host's: double within a line, float between passes.
//   bytes      per class and transform 3 passes of 9, masks 2, fields 4 to 8; backward e C + 4 C. Not measured yet.
#include "ctseg/loss/cuda/distance.hpp"

#include "../common/exact.cuh"
#include "../common/finish.cuh"
#include "voxel.cuh"

namespace ctseg::cuda {
namespace {

inline constexpr float kFarAway = 3.402823466e+38f;   // no voxel of the other side was met yet

/// Which values have a distance: planes of voxels, one for every image and class that counts.
struct Planes {
  Index voxels;
  int first, counted;

  CTSEG_DEVICE Index at(Index row, int c) const { return (row / voxels * counted + (c - first)) * voxels + row % voxels; }
};

struct DistanceBody {
  static constexpr int kThreads = kLossThreads;
  static constexpr bool kSyncs = true;
  static constexpr int kResident = 2;   // with 128 registers to a thread none of the K = 16 spills
};

/// p of a voxel's channels.
template <int K>
CTSEG_DEVICE void probabilities(const Block& b, const LossLane& l, bool sigmoid, const float (&x)[K], float (&p)[K]) {
  if (sigmoid) {
    CTSEG_UNROLL for (int k = 0; k < K; ++k) p[k] = logistic(x[k]);
  } else {
    softmax(b, l.lanes, x, p);
  }
}

/// 1 and 0 by the labels, and by the network.
template <class T, int K> struct DistanceMasks : DistanceBody {
  static constexpr const char* kName = "distance_masks";
  LossTiles tiles;
  Planes planes;
  Logits<const T> logits;
  LossLabels labels;
  Index sigmoid;
  std::uint8_t *truth, *guess;
  int* bad;

  CTSEG_DEVICE void operator()(const Block& b) const {
    const LossLane l = lane_of(b, tiles);
    int worst = -1;
    for_voxels(b, tiles, [&](Index row, bool live) {
      float x[K], p[K] = {};
      VoxelLabels q;
      logits.load(row, l, x);
      const int label = labels.read<K>(row, live, l, q);
      worst = label > worst ? label : worst;
      probabilities(b, l, sigmoid, x, p);
      CTSEG_UNROLL for (int k = 0; k < K; ++k) {
        const int c = l.channel(k);
        if (!live || c < planes.first || c >= tiles.classes) continue;
        truth[planes.at(row, c)] = q.one(k);
        guess[planes.at(row, c)] = p[k] > 0.5f;
      }
    });
    worst = largest(b, worst);
    if (b.thread() == 0) bad[b.row() * tiles.chunks + b.index()] = worst;
  }
};

/// One axis: squared distances within the axes so far, from those of the axes before (null: the first).
struct DistancePass {
  static constexpr const char* kName = "distance_pass";
  const std::uint8_t* mask;
  const float* from;
  float* to;
  Index stride, length;
  double squared;

  CTSEG_DEVICE void operator()(Index i) const {
    const Index at = i / stride % length;
    const std::uint8_t side = mask[i];
    double best = static_cast<double>(from ? from[i] : kFarAway);
    bool open[2] = {true, true};
    for (Index d = 1; open[0] || open[1]; ++d) {
      const double steps = product(static_cast<double>(d * d), squared);
      if (!(steps < best)) break;
      for (int way = 0; way < 2; ++way) {
        const Index there = way == 0 ? at - d : at + d;
        open[way] = open[way] && there >= 0 && there < length;
        if (!open[way]) continue;
        const Index j = i + (there - at) * stride;
        open[way] = mask[j] == side;   // nothing behind the first of the other side is nearer
        const float height = !open[way] ? 0.f : from ? from[j] : kFarAway;
        const double whole = static_cast<double>(height) + steps;
        if (height < kFarAway && whole < best) best = whole;
      }
    }
    to[i] = static_cast<float>(best);
  }
};

/// What a distance weighs, on top of what is there. No boundary, no distance: 0.
struct DistanceWeight {
  static constexpr const char* kName = "distance_weight";
  const std::uint8_t* mask;
  const float* squared;
  float* field;
  Index adds, boundary;
  float alpha;

  CTSEG_DEVICE void operator()(Index i) const {
    const float d = std::sqrt(squared[i]);
    float weight = 0;
    if (squared[i] < kFarAway) weight = !boundary ? power(d, alpha) : mask[i] ? 1 - d : d;
    field[i] = adds ? field[i] + weight : weight;
  }
};

template <class T, int K> struct DistanceSum : DistanceBody {
  static constexpr const char* kName = "distance_loss";
  LossTiles tiles;
  Planes planes;
  Logits<const T> logits;
  Index sigmoid, boundary, logarithm, bad_count;
  const float* fields;
  const std::uint8_t* truth;
  const int* bad;
  double* partials;   // of every block
  unsigned* arrived;
  double* slope;
  float* loss;

  CTSEG_DEVICE void operator()(const Block& b) const {
    const LossLane l = lane_of(b, tiles);
    double sum = 0;
    for_voxels(b, tiles, [&](Index row, bool live) {
      float x[K], p[K] = {};
      logits.load(row, l, x);
      probabilities(b, l, sigmoid, x, p);
      CTSEG_UNROLL for (int k = 0; k < K; ++k) {
        const int c = l.channel(k);
        if (!live || c < planes.first || c >= tiles.classes) continue;
        const Index i = planes.at(row, c);
        const double wrong = static_cast<double>(p[k]) - truth[i];
        sum += static_cast<double>(fields[i]) * (boundary ? static_cast<double>(p[k]) : wrong * wrong);
      }
    });
    sum = warp_sum(b, sum);
    double* const shared = b.shared<double>();
    if (b.lane() == 0) shared[b.warp()] = sum;
    b.sync();
    if (b.thread() == 0) {
      double total = 0;
      for (int w = 0; w < kLossWarps; ++w) total += shared[w];
      partials[b.row() * tiles.chunks + b.index()] = total;
    }
    if (comes_last(b, arrived, tiles.images * tiles.chunks)) finish(b);
  }

 private:
  CTSEG_DEVICE void finish(const Block& b) const {
    int label = -1;
    for (Index i = b.thread(); i < bad_count; i += kThreads) label = bad[i] > label ? bad[i] : label;
    label = largest(b, label);
    sum_parts<kThreads, 1>(
        b, 1, tiles.images * tiles.chunks,
        [&](Index, Index part, Index step, double* total) {
          for (Index k = part; k < tiles.images * tiles.chunks; k += step) total[0] += partials[k];
        },
        [&](Index, const double* total) {
          const double mean = total[0] / static_cast<double>(tiles.images * planes.counted * planes.voxels);
          *slope = logarithm ? 1 / (1 + mean) : 1;
          *loss = label >= 0 ? spoilt_by(label) : static_cast<float>(logarithm ? std::log1p(mean) : mean);
        });
  }
};

template <class T, int K> struct DistanceGradient : DistanceBody {
  static constexpr const char* kName = "distance_loss_backward";
  LossTiles tiles;
  Planes planes;
  Logits<const T> logits;
  Logits<T> gradient;
  LossLabels labels;
  Index sigmoid, boundary;
  const float *fields, *seed;
  const double* slope;

  CTSEG_DEVICE void operator()(const Block& b) const {
    const LossLane l = lane_of(b, tiles);
    const float scale = static_cast<float>(static_cast<double>(*seed) * *slope /
                                           static_cast<double>(tiles.images * planes.counted * planes.voxels));
    for_voxels(b, tiles, [&](Index row, bool live) {
      float x[K], p[K] = {}, d[K] = {}, mean = 0;
      VoxelLabels q;
      logits.load(row, l, x);
      labels.read<K>(row, live, l, q);
      probabilities(b, l, sigmoid, x, p);
      CTSEG_UNROLL for (int k = 0; k < K; ++k) {
        const int c = l.channel(k);
        if (!live || c < planes.first || c >= tiles.classes) continue;
        d[k] = scale * fields[planes.at(row, c)] * (boundary ? 1.f : 2 * (p[k] - static_cast<float>(q.one(k))));
        mean += p[k] * d[k];
      }
      if (!sigmoid) mean = voxel_sum(b, mean, l.lanes);
      CTSEG_UNROLL for (int k = 0; k < K; ++k) d[k] = p[k] * (sigmoid ? (1 - p[k]) * d[k] : d[k] - mean);
      if (live) gradient.store(row, l, d);
    });
  }
};

struct DistanceSaved {
  Bytes next;
  float* fields;
  double* slope;
  DistanceSaved(std::byte* saved, const Array& x)
      : next{saved}, fields(take<float>(next, x.elements())), slope(take<double>(next, 1)) {}
};
struct DistanceScratch {
  Bytes next;
  float *here, *there;
  std::uint8_t *truth, *guess;
  double* partials;
  int* bad;
  unsigned* arrived;
  DistanceScratch(std::byte* scratch, const Array& x)
      : next{scratch},
        here(take<float>(next, x.elements())),
        there(take<float>(next, x.elements())),
        truth(take<std::uint8_t>(next, x.elements())),
        guess(take<std::uint8_t>(next, x.elements())),
        partials(take<double>(next, blocks(x))),
        bad(take<int>(next, blocks(x))),
        arrived(take<unsigned>(next, 1)) {}
  static Index blocks(const Array& x) {
    const LossTiles t = loss_tiles(x);
    return t.images * t.chunks;
  }
};
Planes planes_of(const DistanceTerms& o, const Array& x) { return {x.voxels(), o.first, static_cast<int>(x.c) - o.first}; }

struct MaskAndField {
  const std::uint8_t* mask;
  float* field;
  bool adds;
};
void add_distances(Stream stream, const DistanceTerms& o, const Array& x, const DistanceScratch& m, const MaskAndField& of) {
  const Index count = x.n * planes_of(o, x).counted * x.voxels();
  const float* from = nullptr;
  Index stride = 1;
  for (std::size_t k = 0; k < 3; ++k) {   // x, y, z; an axis of one voxel has nothing to say, but for the first
    const std::size_t d = 2 - k;
    if (k == 0 || x.space[d] > 1) {
      float* const to = from == m.here ? m.there : m.here;
      for_each(stream, count, DistancePass{of.mask, from, to, stride, x.space[d], o.squared[d]});
      from = to;
    }
    stride *= x.space[d];
  }
  for_each(stream, count, DistanceWeight{of.mask, from, of.field, of.adds, o.boundary, o.alpha});
}

}   // namespace

Index distance_loss_saved_bytes(const Array& logits) { return bytes_taken<DistanceSaved>(logits); }
Index distance_loss_scratch_bytes(const Array& logits) { return bytes_taken<DistanceScratch>(logits); }

void distance_loss_forward(Stream stream, const DistanceTerms& o, const LossValues& v, float* loss, std::byte* scratch) {
  const LossTiles tiles = loss_tiles(v.logits);
  const Planes planes = planes_of(o, v.logits);
  const DistanceSaved saved(v.saved, v.logits);
  const DistanceScratch m(scratch, v.logits);
  clear(stream, m.arrived, bytes_of<unsigned>(1));
  with_storage(v.logits.dtype, [&](auto t) {
    using T = decltype(t);
    const Logits<const T> logits = logits_of<const T>(v.logits);
    with_channels(tiles.classes, [&](auto k) {
      launch(stream, {tiles.chunks, tiles.images, kLossWarps * 8},
             DistanceMasks<T, k>{{}, tiles, planes, logits, labels_of({}, v), o.sigmoid, m.truth, m.guess, m.bad});
      add_distances(stream, o, v.logits, m, {m.truth, saved.fields, false});
      if (!o.boundary) add_distances(stream, o, v.logits, m, {m.guess, saved.fields, true});
      launch(stream, {tiles.chunks, tiles.images, kLossThreads * 8},
             DistanceSum<T, k>{{},
                               tiles,
                               planes,
                               logits,
                               o.sigmoid,
                               o.boundary,
                               o.logarithm,
                               DistanceScratch::blocks(v.logits),
                               saved.fields,
                               m.truth,
                               m.bad,
                               m.partials,
                               m.arrived,
                               saved.slope,
                               loss});
    });
  });
}

void distance_loss_backward(Stream stream, const DistanceTerms& o, const LossValues& v, const float* seed,
                            const Array& dlogits) {
  const LossTiles tiles = loss_tiles(v.logits);
  const DistanceSaved saved(v.saved, v.logits);
  with_storage(v.logits.dtype, [&](auto t) {
    using T = decltype(t);
    with_channels(tiles.classes, [&](auto k) {
      launch(stream, {tiles.chunks, tiles.images},
             DistanceGradient<T, k>{{},
                                    tiles,
                                    planes_of(o, v.logits),
                                    logits_of<const T>(v.logits),
                                    logits_of<T>(dlogits),
                                    labels_of({}, v),
                                    o.sigmoid,
                                    o.boundary,
                                    saved.fields,
                                    seed,
                                    saved.slope});
    });
  });
}

}   // namespace ctseg::cuda
