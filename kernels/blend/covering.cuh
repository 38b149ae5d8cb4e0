// Which windows cover a voxel, and what they weigh: the sums of infer/stitcher.hpp, voxel by voxel.
#pragma once
#include "../common/exact.cuh"
#include "ctseg/infer/cuda/launchers.hpp"

namespace ctseg::cuda {

/// A voxel of the volume: windows [low, high) of each axis cover it.
struct Covered {
  int at[3], low[3], high[3];

  CTSEG_DEVICE Covered(const WindowTables& t, int z, int y, int x) : at{z, y, x} {
    for (int a = 0; a < 3; ++a) low[a] = t.cover[a][2 * at[a]], high[a] = t.cover[a][2 * at[a] + 1];
  }
  CTSEG_DEVICE int first(const WindowTables& t) const { return (low[0] * t.count[1] + low[1]) * t.count[2] + low[2]; }
  CTSEG_DEVICE int last(const WindowTables& t) const {
    return ((high[0] - 1) * t.count[1] + high[1] - 1) * t.count[2] + high[2] - 1;
  }
};

CTSEG_DEVICE int larger(int a, int b) { return a > b ? a : b; }
CTSEG_DEVICE int smaller(int a, int b) { return a < b ? a : b; }

/// f(number, voxel in the window, weight) for the windows of [first, last) that cover a voxel, in their order.
template <class F> CTSEG_DEVICE void for_covering(const WindowTables& t, const Covered& v, int first, int last, const F& f) {
  const int layer = t.count[1] * t.count[2];
  const int z_end = smaller(v.high[0], (last - 1) / layer + 1);
  for (int iz = larger(v.low[0], first / layer); iz < z_end; ++iz) {
    const int from = larger(first - iz * layer, 0), to = smaller(last - iz * layer, layer);   // numbers in this layer
    const int wz = v.at[0] - t.start[0][iz];
    const int y_end = smaller(v.high[1], (to - 1) / t.count[2] + 1);
    for (int iy = larger(v.low[1], from / t.count[2]); iy < y_end; ++iy) {
      const int wy = v.at[1] - t.start[1][iy], row = (wz * t.window[1] + wy) * t.window[2];
      const float scale = product(t.profile[0][wz], t.profile[1][wy]);
      const int x_end = smaller(v.high[2], to - iy * t.count[2]);
      for (int ix = larger(v.low[2], from - iy * t.count[2]); ix < x_end; ++ix) {
        const int wx = v.at[2] - t.start[2][ix];
        const float w = product(t.profile[2][wx], scale);
        f(iz * layer + iy * t.count[2] + ix, row + wx, w < t.least ? t.least : w);
      }
    }
  }
}

/// Sum of the weights of all windows that cover a voxel.
CTSEG_DEVICE float total_weight(const WindowTables& t, const Covered& v) {
  float total = 0;
  for_covering(t, v, v.first(t), v.last(t) + 1, [&](int, int, float w) { total += w; });
  return total;
}

/// The winner among so many scores, which value(c) gives: the first of the largest, or the last one above the threshold.
template <class V> CTSEG_DEVICE int winner_of(const LabelRule& rule, int channels, const V& value) {
  int winner = 0;
  if (rule.by_threshold) {
    for (int c = 0; c < channels; ++c)
      if (value(c) > rule.threshold) winner = c + 1;
    return winner;
  }
  float best = value(0);
  for (int c = 1; c < channels; ++c)
    if (const float v = value(c); best < v) best = v, winner = c;
  return winner;
}
CTSEG_DEVICE void write_label(const LabelRule& rule, Index at, int winner) {
  if (rule.wide)
    static_cast<std::uint16_t*>(rule.labels)[at] = rule.names[winner];
  else
    static_cast<std::uint8_t*>(rule.labels)[at] = static_cast<std::uint8_t>(rule.names[winner]);
}

/// to_scores of infer/scores.hpp.
CTSEG_DEVICE void scores_in_place(float* v, int channels, Scores scores) {
  if (scores == Scores::sigmoid)
    for (int c = 0; c < channels; ++c) v[c] = 1 / (1 + std::exp(-v[c]));
  if (scores != Scores::softmax) return;
  float top = v[0], sum = 0;
  for (int c = 1; c < channels; ++c) top = top < v[c] ? v[c] : top;
  for (int c = 0; c < channels; ++c) sum += v[c] = std::exp(v[c] - top);
  for (int c = 0; c < channels; ++c) v[c] /= sum;
}

}   // namespace ctseg::cuda
