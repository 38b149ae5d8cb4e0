// Activations that no norm has taken in, forward and backward, with the gradients of prelu's slopes.
// Idea     map.cuh; prelu's backward makes dx and the sums for its slopes in one pass over x and dy.
// Bytes    of a value: forward 2 sizes, backward 3 (prelu too).
// Speed    not measured yet.
#include "ctseg/ops/cuda/activation.hpp"

#include "../common/activation.cuh"
#include "map.cuh"
#include "sums.cuh"

namespace ctseg::cuda {
namespace {

template <class A> struct Value {
  static constexpr const char* kName = "activation";
  A act;
  CTSEG_DEVICE float operator()(const float* x, Index, Index c) const { return act.value(x[0], c); }
};
template <class A> struct Derivative {
  static constexpr const char* kName = "activation_backward";
  A act;
  CTSEG_DEVICE float operator()(const float* x_dy, Index, Index c) const { return x_dy[1] * act.derivative(x_dy[0], c); }
};

/// dx = dy * derivative, and per channel the sum of dy * x where x is not positive.
template <class T, int N> struct PReluBackward {
  static constexpr int kThreads = kRowThreads, kAhead = 2;
  static constexpr bool kSyncs = true;
  static constexpr const char* kName = "prelu_backward";
  DevicePRelu act;
  Rows<const T> x, dy;
  Rows<T> dx;
  float* partials;
  Index rows, packs;

  CTSEG_DEVICE void operator()(const Block& b) const {
    const BlockShare s = block_share(b, rows, packs);
    float sum[N] = {};
    for (Index first = s.row; first < rows; first += kAhead * s.step) {
      Pack<T, N> xs[kAhead], dys[kAhead];
      CTSEG_UNROLL for (int k = 0; k < kAhead; ++k) {
        const Index row = first + k * s.step < rows ? first + k * s.step : first;
        xs[k] = load<N>(x.at(row, s.pack * N));
        dys[k] = load<N>(dy.at(row, s.pack * N));
      }
      CTSEG_UNROLL for (int k = 0; k < kAhead; ++k) {
        const Index row = first + k * s.step;
        if (row >= rows) break;
        Pack<T, N> to;
        CTSEG_UNROLL for (int e = 0; e < N; ++e) {
          const float v = to_float(xs[k].at[e]), d = to_float(dys[k].at[e]);
          sum[e] += v > 0 ? 0.f : v * d;
          to.at[e] = from_float<T>(d * act.derivative(v, s.pack * N + e));
        }
        if (dx) store(dx.at(row, s.pack * N), to);
      }
    }
    block_sums(b, s, sum, partials + b.index() * packs * N);
  }
};

void prelu_backward(Stream stream, const DevicePRelu& act, const ActivationBackward& a) {
  with_storage(a.x.dtype, [&]<class T>(T) {
    const bool wide = packs_fit(a.x, a.dy) && (!a.dx || packs_fit(a.dx));
    with_width<T>(wide, [&](auto n) {
      constexpr int kWidth = decltype(n)::value;
      const Index rows = a.x.rows(), packs = a.x.c / kWidth;
      const Grid grid = sum_grid(rows, packs, kWidth);
      float* partials = static_cast<float*>(a.scratch);
      launch(stream, grid,
             PReluBackward<T, kWidth>{act, rows_of<const T>(a.x), rows_of<const T>(a.dy), rows_of<T>(a.dx), partials, rows, packs});
      const bool one = act.step == 0;   // its channels add up
      final_sum(stream, one ? 1 : a.x.c, {partials, grid.blocks, a.x.c, one ? a.x.c : 1, a.dslopes});
    });
  });
}

Index step_of(const Slopes& s) { return s.count > 1 ? 1 : 0; }
bool asks_for_channel(const Activating& a) { return a.activation.kind == ActivationKind::prelu && step_of(a.slopes) > 0; }
template <class F> void with_functor(const Activating& a, F f) {
  with_activation(a.activation.kind, a.activation.parameter, a.slopes.values, step_of(a.slopes), f);
}

}   // namespace

Index slope_scratch(Index channels) { return bytes_of<float>(kSumBlocks * channels); }

void activate(Stream stream, const Activating& a, const std::array<Array, 2>& x_y) {
  const auto& [x, y] = x_y;
  with_storage(y.dtype, [&, x = x, y = y]<class T>(T) {
    with_functor(a, [&](auto act) { map<T>(stream, Value<decltype(act)>{act}, asks_for_channel(a), y, x); });
  });
}

void activate_backward(Stream stream, const Activating& a, const ActivationBackward& b) {
  if (b.dslopes) return prelu_backward(stream, {a.slopes.values, step_of(a.slopes)}, b);
  if (!b.dx) return;
  with_storage(b.dx.dtype, [&]<class T>(T) {
    with_functor(a, [&](auto act) { map<T>(stream, Derivative<decltype(act)>{act}, asks_for_channel(a), b.dx, b.x, b.dy); });
  });
}

}   // namespace ctseg::cuda
