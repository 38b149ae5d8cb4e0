// Mirrored windows by index: a voxel reads where it lies after turning. One thread has all channels of a voxel.
// Bytes     turning reads and writes a window once; the mean reads logits once for each look, and reads and writes a float.
//           Not measured yet.
#include "../common/launch.cuh"
#include "../common/values.cuh"
#include "covering.cuh"

namespace ctseg::cuda {
namespace {

/// Rows of [batch, window]; a row is the channels of a voxel.
struct Rows {
  int size[3], channels;
  Index pitch;

  explicit Rows(const Array& a)
      : size{static_cast<int>(a.space[0]), static_cast<int>(a.space[1]), static_cast<int>(a.space[2])},
        channels(static_cast<int>(a.c)),
        pitch(a.pitch) {}
  /// The row that lies where this one does after turning.
  CTSEG_DEVICE Index turned(Index row, const Flips& flips) const {
    const Index window = row / (Index{size[0]} * size[1] * size[2]);
    int i = static_cast<int>(row - window * size[0] * size[1] * size[2]), turned = 0, scale = 1;
    for (int d = 2; d >= 0; --d) {
      const int at = i % size[d];
      turned += scale * (flips.axes >> d & 1 ? size[d] - 1 - at : at);
      scale *= size[d], i /= size[d];
    }
    return window * scale + turned;
  }
};

template <class T> struct Turn {
  static constexpr const char* kName = "turn_windows";
  const T* from;
  T* to;
  Rows rows;
  Flips flips;
  Index to_pitch;
  CTSEG_DEVICE void operator()(Index row) const {
    const T* const in = from + rows.turned(row, flips) * rows.pitch;
    T* const out = to + row * to_pitch;
    for (int c = 0; c < rows.channels; ++c) out[c] = in[c];
  }
};

template <class T> struct Add {
  static constexpr const char* kName = "add_scores";
  ScoreSum job;
  const T* logits;
  Rows rows;
  CTSEG_DEVICE void operator()(Index row) const {
    const int channels = rows.channels;
    const T* const v = logits + rows.turned(row, job.flips) * rows.pitch;
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
      const Index at = row * channels + c;
      job.sum[at] = (job.before ? job.before[at] : 0) + product(job.weight, score);
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
  with_storage(from.dtype, [&](auto t) {
    using T = decltype(t);
    for_each(stream, from.rows(), Turn<T>{from.as<const T>(), to.as<T>(), Rows(from), flips, to.pitch});
  });
}
void add_scores(Stream stream, const ScoreSum& job, const Array& logits) {
  with_storage(logits.dtype, [&](auto t) {
    using T = decltype(t);
    for_each(stream, logits.rows(), Add<T>{job, logits.as<const T>(), Rows(logits)});
  });
}
void divide_scores(Stream stream, const float* sum, float total, const Array& mean) {
  with_storage(mean.dtype, [&](auto t) {
    using T = decltype(t);
    for_each(stream, mean.elements(), Divide<T>{sum, mean.as<T>(), double{total}});
  });
}

}   // namespace ctseg::cuda
