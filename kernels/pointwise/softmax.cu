// Softmax over channels, forward and backward.
// Idea     a voxel of few channels is one thread's, which reads it again from the first cache instead of keeping it; with more
//          channels 2 to 32 lanes share it, about eight channels each, and add up by shuffles.
// Bytes    of a value: forward 2 sizes, backward 3.
// Speed    not measured yet.
#include "ctseg/ops/cuda/softmax.hpp"

#include "rows.cuh"

namespace ctseg::cuda {
namespace {

/// kShared: lanes share a voxel.
template <class T, bool kShared> struct Softmax {
  static constexpr int kThreads = kRowThreads;
  static constexpr bool kSyncs = kShared;
  static constexpr const char* kName = "softmax";
  Rows<const T> x;
  Rows<T> y;
  Index rows, channels;
  int shared_by;

  CTSEG_DEVICE void operator()(const Block& b) const {
    const int lanes = kShared ? shared_by : 1, lane = b.lane() % lanes;
    for (Index first = group_first(b, lanes); first < rows; first += group_step(b, lanes)) {
      const Group g = group_of(b, first, rows, lanes);
      if (!kShared && !g.live) break;
      const T* from = x.at(g.row, 0);
      float top = to_float(from[lane < channels ? lane : 0]), sum = 0;
      for (Index c = lane; c < channels; c += lanes) top = larger(top, to_float(from[c]));
      if constexpr (kShared)
        for (int mask = lanes / 2; mask > 0; mask /= 2) top = larger(top, b.shuffle_xor(top, mask));
      for (Index c = lane; c < channels; c += lanes) sum += std::exp(to_float(from[c]) - top);
      if constexpr (kShared) sum = group_sum(b, sum, lanes);
      if (!g.live) continue;
      for (Index c = lane; c < channels; c += lanes) *y.at(g.row, c) = from_float<T>(std::exp(to_float(from[c]) - top) / sum);
    }
  }
  CTSEG_DEVICE static float larger(float a, float b) { return a < b ? b : a; }   // as std::max
};

template <class T, bool kShared> struct SoftmaxBackward {
  static constexpr int kThreads = kRowThreads;
  static constexpr bool kSyncs = kShared;
  static constexpr const char* kName = "softmax_backward";
  Rows<const T> y, dy;
  Rows<T> dx;
  Index rows, channels;
  int shared_by;

  CTSEG_DEVICE void operator()(const Block& b) const {
    const int lanes = kShared ? shared_by : 1, lane = b.lane() % lanes;
    for (Index first = group_first(b, lanes); first < rows; first += group_step(b, lanes)) {
      const Group g = group_of(b, first, rows, lanes);
      if (!kShared && !g.live) break;
      float dot = 0;
      for (Index c = lane; c < channels; c += lanes) dot += to_float(*y.at(g.row, c)) * to_float(*dy.at(g.row, c));
      if constexpr (kShared) dot = group_sum(b, dot, lanes);
      if (!g.live) continue;
      for (Index c = lane; c < channels; c += lanes)
        *dx.at(g.row, c) = from_float<T>(to_float(*y.at(g.row, c)) * (to_float(*dy.at(g.row, c)) - dot));
    }
  }
};

/// f(whether lanes share a voxel, how many do).
template <class F> void with_lanes(Index channels, F f) {
  const int lanes = lanes_for((channels + 7) / 8);
  lanes > 1 ? f(std::true_type{}, lanes) : f(std::false_type{}, 1);
}

}   // namespace

void softmax(Stream stream, const std::array<Array, 2>& x_y) {
  const Array x = x_y[0], y = x_y[1];
  with_storage(y.dtype, [&]<class T>(T) {
    with_lanes(y.c, [&](auto shared, int lanes) {
      launch(stream, group_grid(y.rows(), lanes),
             Softmax<T, decltype(shared)::value>{rows_of<const T>(x), rows_of<T>(y), y.rows(), y.c, lanes});
    });
  });
}

void softmax_backward(Stream stream, const std::array<Array, 3>& y_dy_dx) {
  const Array y = y_dy_dx[0], dy = y_dy_dx[1], dx = y_dy_dx[2];
  with_storage(dx.dtype, [&]<class T>(T) {
    with_lanes(dx.c, [&](auto shared, int lanes) {
      launch(stream, group_grid(dx.rows(), lanes),
             SoftmaxBackward<T, decltype(shared)::value>{rows_of<const T>(y), rows_of<const T>(dy), rows_of<T>(dx), dx.rows(),
                                                         dx.c, lanes});
    });
  });
}

}   // namespace ctseg::cuda
