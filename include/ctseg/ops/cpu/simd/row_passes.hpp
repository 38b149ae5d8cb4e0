// Passes over rows of channels that wait for memory and should not wait for anything else: norms and activations of float.
// What a pass is told, and every pass in plain loops: for the channels that fill no vector.
#pragma once
#include <cstddef>
#include <cstdint>

#include "../../../core/view.hpp"

namespace ctseg::simd {

/// u > 0 ? u : slope * u, one slope for all channels (step 0) or one each (step 1): identity, leaky_relu and prelu.
/// zero: relu, where minus infinity times nothing is nothing. elu: u > 0 ? u : slope * (e^u - 1).
struct Bend {
  const float* slope = nullptr;
  Index step = 0;
  bool zero = false, elu = false;
};

/// A block of rows; a row is at data + row * pitch.
struct Rows {
  const float* data = nullptr;
  Index pitch = 0;
};
struct RowsOut {
  float* data = nullptr;
  Index pitch = 0;
};

/// forward: y = act(u) with u = (x - mean) * scale + shift (+ residual).
/// sums:    with du = dy * act'(u): sums += du, du * xhat and, where u <= 0, dy * u, each [channels]; xhat = (x - mean) * rstd.
/// assign:  dresidual = du; dx = rstd * (gamma * du - du_mean - xhat * dot_mean). Either may lie on dy; what has no data
///          is left out.
struct NormPass {
  Rows x{}, residual{}, dy{};
  RowsOut y{}, dresidual{};   // y: of forward, dx of assign
  Index rows = 0, channels = 0;
  const float *mean = nullptr, *scale = nullptr, *shift = nullptr;   // [channels]; scale is gamma * rstd
  const float *rstd = nullptr, *gamma = nullptr, *du_mean = nullptr, *dot_mean = nullptr;
  float* sums = nullptr;   // [3 * channels]
  Bend act{};
};

/// forward: y = act(x); backward: y = dy * act'(x).
struct BendPass {
  Rows x{}, dy{};
  RowsOut y{};
  Index rows = 0, channels = 0;
  Bend act{};
};

/// mean = sum of rows / their number; deviation = sum of (row - mean)^2, each [channels]. Rows lie in lines, lines in planes.
/// Numerics  deviations lose the digits of ((mean - around) / sigma)^2.
struct MomentsPass {
  Rows x{};
  Index rows = 0, channels = 0;   // rows: of one line
  float *mean = nullptr, *deviation = nullptr;
  Index lines = 1, line_step = 0, planes = 1, plane_step = 0;   // steps count floats
  const float* around = nullptr;   // [channels]: something near the mean, which saves a pass; none: the rows are summed first
};

/// y += scale * x.
struct AddPass {
  Rows x{};
  RowsOut y{};
  Index rows = 0, channels = 0;
  float scale = 1;
};

/// Row r of y is the largest of the rows at x + r * step + offset[t], the first of equals and the first NaN; winner, if asked
/// for, is its t.
struct MaxPass {
  const float* x = nullptr;
  const Index* offset = nullptr;
  Index step = 0, taps = 0, rows = 0, channels = 0;
  RowsOut y{};
  std::uint8_t* winner = nullptr;   // [rows * channels]
};

/// y += dy where winner is tap: one row.
struct MaxBackPass {
  const float* dy = nullptr;
  const std::uint8_t* winner = nullptr;
  float* y = nullptr;
  Index tap = 0, channels = 0;
};

/// The passes of one instruction set; each does the channels from `first` on.
struct RowTable {
  void (*norm)(const NormPass&, Index first);
  void (*norm_sums)(const NormPass&, Index first);
  void (*norm_assign)(const NormPass&, Index first);
  void (*bend)(const BendPass&, Index first);
  void (*bend_back)(const BendPass&, Index first);
  void (*moments)(const MomentsPass&, Index first);
  void (*add)(const AddPass&, Index first);
  void (*max)(const MaxPass&, Index first);
  void (*max_back)(const MaxBackPass&, Index first);
};

}   // namespace ctseg::simd
