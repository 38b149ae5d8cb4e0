// Facts about one convolution, and its phases: which taps a result meets, and where.
#pragma once
#include <algorithm>
#include <numeric>

#include "../../window.hpp"
#include "isa.hpp"

namespace ctseg::simd {

/// One convolution-like sum over a window, from images of `from` channels to images of `to` channels.
/// gather: `side` is where the result lives. weight_gradient: `side` is where dy, with `to` channels, lives.
struct ConvPlan {
  ConvWindow window{};
  Side side = Side::output;
  Index images = 1, from = 1, to = 1;
  Isa isa = Isa::scalar;

  const std::array<Index, 3>& result_extent() const { return side == Side::output ? window.output : window.input; }
  const std::array<Index, 3>& source_extent() const { return side == Side::output ? window.input : window.output; }
  double results() const { return double(images * result_extent()[0] * result_extent()[1] * result_extent()[2]); }
};

inline Index ceil_div(Index a, Index b) { return (a + b - 1) / b; }

/// Results r = first + q * step along one axis (0 <= q < count) that meet the same taps: tap(j) at q * pace + offset +
/// j * spread. On the output side there is one phase. On the input side there are `stride` of them, each with the taps whose
/// distance t * dilation has the right remainder: where stride and dilation have the common factor c that is every
/// (stride / c)-th tap, or none. They come in falling order, so that for both sides the source rises with j.
struct AxisPhase {
  Index count, first, step, taps, pace, offset, spread, first_tap, tap_step;

  Index tap(Index j) const { return first_tap + j * tap_step; }
  /// Taps [begin, end) of result q that exist in a source of `extent` voxels.
  Index begin(Index q) const { return std::max<Index>(0, ceil_div(-(q * pace + offset), spread)); }
  Index end(Index q, Index extent) const { return std::min(taps, ceil_div(extent - (q * pace + offset), spread)); }
  /// Source voxels from the first tap to the last, both included.
  Index span() const { return (taps - 1) * spread + 1; }
};

inline Index phases(const ConvPlan& plan, std::size_t axis) { return plan.side == Side::output ? 1 : plan.window.stride[axis]; }

inline AxisPhase axis_phase(const ConvPlan& plan, std::size_t axis, Index phase) {
  const Index stride = plan.window.stride[axis], kernel = plan.window.kernel[axis], padding = plan.window.padding[axis];
  const Index dilation = plan.window.dilation[axis];
  if (plan.side == Side::output) return {plan.window.output[axis], 0, 1, kernel, stride, -padding, dilation, 0, 1};
  const Index common = std::gcd(stride, dilation), tap_step = stride / common, spread = dilation / common;
  Index lowest = 0;   // the taps of this phase: lowest, lowest + tap_step, ...
  while (lowest < std::min(tap_step, kernel) && (phase + padding - lowest * dilation) % stride != 0) ++lowest;
  const Index taps = lowest < std::min(tap_step, kernel) ? (kernel - 1 - lowest) / tap_step + 1 : 0;
  const Index count = std::max<Index>(0, (plan.window.input[axis] - phase + stride - 1) / stride);
  const Index offset = (phase + padding - lowest * dilation) / stride - (taps - 1) * spread;
  return {count, phase, stride, taps, 1, offset, spread, lowest + tap_step * (taps - 1), -tap_step};
}

/// The phases of the three axes together.
struct Phase {
  AxisPhase z, y, x;
  Index taps() const { return z.taps * y.taps * x.taps; }
};

inline Index phases(const ConvPlan& plan) { return phases(plan, 0) * phases(plan, 1) * phases(plan, 2); }

inline Phase phase(const ConvPlan& plan, Index i) {
  const Index y = phases(plan, 1), x = phases(plan, 2);
  return {axis_phase(plan, 0, i / x / y), axis_phase(plan, 1, i / x % y), axis_phase(plan, 2, i % x)};
}

}   // namespace ctseg::simd
