// Mirrored windows by index: a voxel reads where it lies after turning. One thread has all channels of a voxel.
// Bytes     turning reads and writes a window once; the mean reads logits once for each look, and reads and writes a float.
//           Not measured yet.
#include "../common/launch.cuh"
#include "../common/values.cuh"
#include "covering.cuh"

namespace ctseg::cuda {
namespace {

/// The row of [batch, window] that lies where this one does after turning.
CTSEG_DEVICE Index turned_row(const Array& a, Index row, const Flips& flips) {
  int i = static_cast<int>(row % a.voxels());
  const int size[3] = {static_cast<int>(a.space[0]), static_cast<int>(a.space[1]), static_cast<int>(a.space[2])};
  int turned = 0, scale = 1;
  for (int d = 2; d >= 0; --d) {
    const int at = i % size[d];
    turned += scale * (flips.axes >> d & 1 ? size[d] - 1 - at : at);
    scale *= size[d], i /= size[d];
  }
  return row - row % a.voxels() + turned;
}

template <class T> struct Turn {
  static constexpr const char* kName = "turn_windows";
  Array from, to;
  Flips flips;
  CTSEG_DEVICE void operator()(Index row) const {
    const T* const in = from.as<const T>() + turned_row(from, row, flips) * from.pitch;
    T* const out = to.as<T>() + row * to.pitch;
    for (int c = 0; c < static_cast<int>(from.c); ++c) out[c] = in[c];
  }
};

template <class T> struct Add {
  static constexpr const char* kName = "add_scores";
  ScoreSum job;
  CTSEG_DEVICE void operator()(Index row) const {
    const int channels = static_cast<int>(job.logits.c);
    const T* const v = job.logits.as<const T>() + turned_row(job.logits, row, job.flips) * job.logits.pitch;
    float* const sum = job.sum + row * channels;
    float top = 0, all = 0;
    if (job.scores == Scores::softmax) {
      top = to_float(v[0]);
      for (int c = 1; c < channels; ++c) top = top < to_float(v[c]) ? to_float(v[c]) : top;
      for (int c = 0; c < channels; ++c) all += std::exp(to_float(v[c]) - top);
    }
    for (int c = 0; c < channels; ++c) {
      float score = to_float(v[c]);
      if (job.scores == Scores::softmax) score = std::exp(score - top) / all;
      if (job.scores == Scores::sigmoid) score = 1 / (1 + std::exp(-score));
      sum[c] = (job.before ? sum[c] : 0) + product(job.weight, score);
    }
  }
};

template <class T> struct Divide {
  static constexpr const char* kName = "divide_scores";
  const float* sum;
  T* mean;
  double total;   // a float; eight bytes leave no padding
  CTSEG_DEVICE void operator()(Index i) const { mean[i] = from_float<T>(sum[i] / static_cast<float>(total)); }
};

}   // namespace

void turn_windows(Stream stream, const Array& from, const Array& to, const Flips& flips) {
  with_storage(from.dtype, [&](auto t) { for_each(stream, from.rows(), Turn<decltype(t)>{from, to, flips}); });
}
void add_scores(Stream stream, const ScoreSum& job) {
  with_storage(job.logits.dtype, [&](auto t) { for_each(stream, job.logits.rows(), Add<decltype(t)>{job}); });
}
void divide_scores(Stream stream, const float* sum, float total, const Array& mean) {
  with_storage(mean.dtype, [&](auto t) {
    using T = decltype(t);
    for_each(stream, mean.elements(), Divide<T>{sum, mean.as<T>(), double{total}});
  });
}

}   // namespace ctseg::cuda
