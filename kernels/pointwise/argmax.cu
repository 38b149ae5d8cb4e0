// The class of the largest value of every voxel, of values or of the 1x1x1 convolution in front of them.
// Idea     one thread a voxel. With the head, the weights of eight classes at a time lie in shared memory, where all threads
//          read the same word at once; logits live in registers, are rounded as they would be stored, compared and forgotten.
// Bytes    of a voxel: its channels (with a head of more than eight classes, again from the caches for every eight) and one.
// Speed    not measured yet.
#include "ctseg/ops/cuda/argmax.hpp"

#include "rows.cuh"

namespace ctseg::cuda {
namespace {

/// The first of the largest; a NaN counts as the largest.
struct Best {
  float value = 0;
  int at = 0;
  bool empty = true;
  CTSEG_DEVICE void see(float v, int c) {
    if (!empty && !((v > value || v != v) && value == value)) return;
    value = v, at = c, empty = false;
  }
};

template <class T> struct Argmax {
  static constexpr int kThreads = kRowThreads;
  static constexpr bool kSyncs = false;
  static constexpr const char* kName = "argmax";
  Rows<const T> x;
  Rows<std::uint8_t> labels;
  Index rows;
  int channels;

  CTSEG_DEVICE void operator()(const Block& b) const {
    for (Index row = b.index() * kThreads + b.thread(); row < rows; row += b.blocks() * kThreads) {
      Best best;
      for (int c = 0; c < channels; ++c) best.see(to_float(*x.at(row, c)), c);
      *labels.at(row, 0) = static_cast<std::uint8_t>(best.at);
    }
  }
};

inline constexpr int kClasses = 8;

template <class T, int N> struct HeadArgmax {
  static constexpr int kThreads = kRowThreads;
  static constexpr bool kSyncs = true;
  static constexpr const char* kName = "head_argmax";
  Rows<const T> x;
  Rows<std::uint8_t> labels;
  const float *weights, *bias;
  Index rows;
  int channels, classes;

  CTSEG_DEVICE void operator()(const Block& b) const {
    float* w = b.shared<float>();   // [channels, kClasses]
    for (Index first = b.index() * kThreads; first < rows; first += b.blocks() * kThreads) {
      const Index mine = first + b.thread(), row = mine < rows ? mine : rows - 1;
      Best best;
      for (int k0 = 0; k0 < classes; k0 += kClasses) {
        b.sync();   // all have read the last ones
        for (int i = b.thread(); i < channels * kClasses; i += kThreads) {
          const int k = k0 + i % kClasses;
          w[i] = k < classes ? weights[Index{i / kClasses} * classes + k] : 0.f;
        }
        b.sync();
        float sum[kClasses] = {};
        for (int c = 0; c < channels; c += N) {
          const Pack<T, N> v = load<N>(x.at(row, c));
          CTSEG_UNROLL for (int e = 0; e < N; ++e)
            CTSEG_UNROLL for (int k = 0; k < kClasses; ++k) sum[k] += to_float(v.at[e]) * w[(c + e) * kClasses + k];
        }
        CTSEG_UNROLL for (int k = 0; k < kClasses; ++k)
          if (k0 + k < classes) best.see(to_float(from_float<T>(sum[k] + (bias ? bias[k0 + k] : 0.f))), k0 + k);
      }
      if (mine < rows) *labels.at(mine, 0) = static_cast<std::uint8_t>(best.at);
    }
  }
};

}   // namespace

void argmax(Stream stream, const Head& head, const std::array<Array, 2>& x_labels) {
  const Array x = x_labels[0], labels = x_labels[1];
  const int channels = static_cast<int>(x.c);
  const Grid grid = group_grid(x.rows(), 1);
  with_storage(x.dtype, [&]<class T>(T) {
    const auto from = rows_of<const T>(x);
    const auto to = rows_of<std::uint8_t>(labels);
    if (!head.weights) return launch(stream, grid, Argmax<T>{from, to, x.rows(), channels});
    with_width<T>(packs_fit(x), [&](auto n) {
      launch(stream, {.blocks = grid.blocks, .shared_bytes = channels * kClasses * static_cast<int>(sizeof(float))},
             HeadArgmax<T, decltype(n)::value>{from, to, head.weights, head.bias, x.rows(), channels,
                                               static_cast<int>(head.classes)});
    });
  });
}

}   // namespace ctseg::cuda
