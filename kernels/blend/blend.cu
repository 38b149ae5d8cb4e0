// Overlapping windows become one volume. Every voxel is owned by one thread (of a few channels), which adds what the windows of
// one network call say of it, in the windows' order: no atomics, and bit for bit the sums of the CPU's stitcher, however windows
// are batched. The sums live in a ring of as many slices as a window is thick, so memory does not grow with the volume; the
// thread that adds a voxel's last window divides by the weights, which it sums itself, and decides the label.
// Versions  1. this one. Keeping whole windows instead of sums (each logit read once, no sums) was not built: it needs two or
//           three layers of windows, 53 GB for 100 classes of bf16 on 512 x 512 slices where the sums take 10 GB.
// Bytes     a window's logit read once, its voxel's sum read and written once for each network call that covers it:
//           sizeof(T) + 8, for two classes of 128^3 in bf16 42 MB a window. Not measured yet.
#include "../common/launch.cuh"
#include "../common/values.cuh"
#include "covering.cuh"

namespace ctseg::cuda {
namespace {

/// K neighbouring values, at most `count` of them; in one access if they are aligned for it.
template <class T, int K> CTSEG_DEVICE void load(const T* from, int count, bool packed, float (&to)[K]) {
  if constexpr (K == 2 || K == 4)
    if (packed) {
      const Pack<T, K> p = *reinterpret_cast<const Pack<T, K>*>(from);
      for (int k = 0; k < K; ++k) to[k] = to_float(p.at[k]);
      return;
    }
  for (int k = 0; k < K; ++k) to[k] = k < count ? to_float(from[k]) : 0;
}
template <int K> CTSEG_DEVICE void store(float* to, int count, bool packed, const float (&from)[K]) {
  if constexpr (K == 2 || K == 4)
    if (packed) {
      Pack<float, K> p;
      for (int k = 0; k < K; ++k) p.at[k] = from[k];
      *reinterpret_cast<Pack<float, K>*>(to) = p;
      return;
    }
  for (int k = 0; k < K; ++k)
    if (k < count) to[k] = from[k];
}

template <class T, int K> struct Blend {
  static constexpr int kThreads = 256;
  static constexpr bool kSyncs = false;
  static constexpr const char* kName = "blend_windows";
  BlendJob job;
  const T* logits;
  Index pitch;
  int parts;   // threads of a voxel
  bool packed_logits, packed_ring;

  CTSEG_DEVICE void operator()(const Block& b) const {
    const int i = static_cast<int>(b.index()) * kThreads + b.thread(), columns = job.high[2] - job.low[2];
    if (i >= (job.high[1] - job.low[1]) * columns * parts) return;
    const int pixel = i / parts, c = (i - pixel * parts) * K, y = pixel / columns;
    const Covered v(job.tables, job.low[0] + static_cast<int>(b.row()), job.low[1] + y, job.low[2] + pixel - y * columns);
    add(v, c);
  }
  CTSEG_DEVICE void add(const Covered& v, int c) const {
    const SliceRing& ring = job.ring;
    const int count = ring.channels - c;
    float* const at =
        ring.values + ((Index{v.at[0] % ring.slices} * ring.rows + v.at[1]) * ring.columns + v.at[2]) * ring.channels + c;
    float sum[K];
    if (v.first(job.tables) < job.first)
      load(at, count, packed_ring, sum);
    else
      for (int k = 0; k < K; ++k) sum[k] = 0;
    bool any = false;
    const int voxels = job.tables.window[0] * job.tables.window[1] * job.tables.window[2];
    for_covering(job.tables, v, job.first, job.last, [&](int window, int voxel, float w) {
      const int place = job.place[window];
      float logit[K];
      if (place < 0)
        load(job.background + c, count, false, logit);
      else
        load(logits + (Index{place} * voxels + voxel) * pitch + c, count, packed_logits, logit);
      for (int k = 0; k < K; ++k) sum[k] += product(w, logit[k]);
      any = true;
    });
    if (!any) return;
    if (v.last(job.tables) < job.last) {
      const float total = total_weight(job.tables, v);
      for (int k = 0; k < K; ++k) sum[k] /= total;
      if (job.labels.labels) return decide(v, sum);
    }
    store(at, count, packed_ring, sum);
  }
  /// With labels a thread has all channels: K of them.
  CTSEG_DEVICE void decide(const Covered& v, const float (&mean)[K]) const {
    int winner = 0;
    float best = mean[0];
    for (int k = 0; k < K; ++k) {
      if (job.labels.by_threshold && mean[k] > job.labels.threshold) winner = k + 1;
      if (!job.labels.by_threshold && best < mean[k]) best = mean[k], winner = k;
    }
    const WindowTables& t = job.tables;
    write_label(job.labels, (Index{v.at[0]} * t.image[1] + v.at[1]) * t.image[2] + v.at[2], winner);
  }
};

struct DecideSlices {
  static constexpr int kThreads = 256;
  static constexpr bool kSyncs = false;
  static constexpr const char* kName = "decide_slices";
  SliceJob job;
  LabelRule rule;

  CTSEG_DEVICE void operator()(const Block& b) const {
    const SliceRing& r = job.ring;
    const Index plane = Index{r.rows} * r.columns, i = b.index() * kThreads + b.thread(), z = job.first + b.row();
    if (i >= plane) return;
    const float* const v = r.values + (z % r.slices * plane + i) * r.channels;
    write_label(rule, z * plane + i, winner_of(rule, r.channels, [&](int c) { return v[c]; }));
  }
};

struct ScoreSlices {
  static constexpr int kThreads = 256;
  static constexpr bool kSyncs = false;
  static constexpr const char* kName = "score_slices";
  SliceJob job;
  Scores scores;
  int plane;   // voxels of a slice

  CTSEG_DEVICE void operator()(const Block& b) const {
    const SliceRing& r = job.ring;
    const Index i = b.index() * kThreads + b.thread();
    if (i >= plane) return;
    scores_in_place(r.values + ((job.first + b.row()) % r.slices * plane + i) * r.channels, r.channels, scores);
  }
};

template <class T, int K> void run(Stream stream, const BlendJob& job, const Array& logits) {
  const auto aligned = [](const void* p, Index bytes) {
    return reinterpret_cast<std::uintptr_t>(p) % static_cast<std::uintptr_t>(bytes) == 0;
  };
  const int channels = job.ring.channels;
  const Blend<T, K> body{job,
                         logits.as<const T>(),
                         logits.pitch,
                         (channels + K - 1) / K,
                         channels % K == 0 && logits.pitch % K == 0 && aligned(logits.data, K * Index{sizeof(T)}),
                         channels % K == 0 && aligned(job.ring.values, K * Index{sizeof(float)})};
  const Index threads = Index{job.high[1] - job.low[1]} * (job.high[2] - job.low[2]) * body.parts;
  launch(stream, {.blocks = (threads + body.kThreads - 1) / body.kThreads, .rows = job.high[0] - job.low[0]}, body);
}
template <class Body> void run_slices(Stream stream, const SliceJob& job, const Body& body) {
  const Index pixels = Index{job.ring.rows} * job.ring.columns;
  launch(stream, {.blocks = (pixels + Body::kThreads - 1) / Body::kThreads, .rows = job.last - job.first}, body);
}

}   // namespace

void blend_windows(Stream stream, const BlendJob& job, const Array& logits) {
  if (job.labels.labels && job.ring.channels > kMostFusedChannels)
    throw Error(
        Code::unsupported, "blend_windows",
        ctseg::text("labels of ", job.ring.channels, " channels in the blending pass; at most ", kMostFusedChannels, "."));
  with_storage(logits.dtype, [&](auto t) {
    using T = decltype(t);
    switch (job.ring.channels) {
      case 1:
        return run<T, 1>(stream, job, logits);
      case 2:
        return run<T, 2>(stream, job, logits);
      case 3:
        return run<T, 3>(stream, job, logits);
      default:
        return run<T, 4>(stream, job, logits);
    }
  });
}
void decide_slices(Stream stream, const SliceJob& job, const LabelRule& rule) {
  run_slices(stream, job, DecideSlices{job, rule});
}
void score_slices(Stream stream, const SliceJob& job, Scores scores) {
  if (scores != Scores::logits) run_slices(stream, job, ScoreSlices{job, scores, job.ring.rows * job.ring.columns});
}

}   // namespace ctseg::cuda
