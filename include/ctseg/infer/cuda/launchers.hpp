// Sliding windows on the card: what kernels/blend does, as plain functions on device memory. Extents are in the order z, y, x;
// an image of slices (two dimensions) is a volume whose windows are one slice thick.
#pragma once
#include <limits>

#include "../../ops/cuda/array.hpp"
#include "../../ops/cuda/runtime.hpp"
#include "../scores.hpp"
#include "../windows.hpp"

namespace ctseg::cuda {

// Members are ordered so that no padding of four bytes or more lies between or behind them: the emulated card looks at every word
// of a kernel's arguments for addresses of the host, and what a stack leaves in padding often is one.

/// A step of preprocessing that changes values alone, in double and rounded to float:
/// clamp((clamp(v, in_low, in_high) - subtract) * scale + add, low, high). NaN becomes of_nan.
struct ValueStep {
  static constexpr double kInfinity = std::numeric_limits<double>::infinity();
  double in_low = -kInfinity, in_high = kInfinity, subtract = 0, scale = 1, add = 0, low = -kInfinity, high = kInfinity;
  double of_nan = std::numeric_limits<double>::quiet_NaN();
};
struct ValueSteps {
  static constexpr int kMost = 4;
  Index count = 0;
  ValueStep at[kMost] = {};
};
/// to[i * step] = the steps of from[i].
struct ScanJob {
  const void* from = nullptr;
  Index count = 0, step = 1;
  ValueSteps steps{};
  float* to = nullptr;
};
void prepare_scan(Stream, const ScanJob&, Dtype from);   // i16 or f32

/// detail::WindowGrid in device memory.
struct WindowTables {
  int image[3] = {1, 1, 1}, window[3] = {1, 1, 1}, count[3] = {1, 1, 1};
  float least = 0;
  const int* start[3] = {};       // first voxels of the windows
  const int* cover[3] = {};       // voxel v lies in the windows [cover[2 v], cover[2 v + 1])
  const float* profile[3] = {};   // weights, of a voxel max(z * y * x, least)

  int windows() const { return count[0] * count[1] * count[2]; }
};

/// What windows see: a volume of float, channels last, and a rule for what lies around it.
struct WindowSource {
  const float* values = nullptr;
  Index channels = 1;
  WindowTables tables{};
  WindowPadding padding = WindowPadding::constant;
  float outside = 0;
};
/// Windows of a batch by their numbers.
struct WindowNumbers {
  static constexpr int kMost = 63;
  int count = 0;
  int at[kMost] = {};
};
/// Place n of `to` [batch, channels, window] becomes window numbers.at[n].
void gather_windows(Stream, const WindowSource&, const WindowNumbers& numbers, const Array& to);
/// occupied[w] = 1 for every window with a value, rounded to `dtype`, that is not at most the threshold; `occupied` is 0 before.
struct AirTest {
  Dtype dtype = Dtype::f32;
  float threshold = 0;
  std::uint8_t* occupied = nullptr;
};
void find_occupied(Stream, const WindowSource&, const AirTest&);

/// From the scores of a voxel to its label, as Decision says; names[winner].
struct LabelRule {
  bool by_threshold = false;
  bool wide = false;   // labels are u16, not u8
  float threshold = 0;
  const std::uint16_t* names = nullptr;
  void* labels = nullptr;
};

/// Sums of logits that are not finished, and means that nobody took yet: slice z of the volume lies in place z % slices.
struct SliceRing {
  float* values = nullptr;
  int slices = 1, rows = 1, columns = 1, channels = 1;
};

/// Adds the windows [first, last) to the ring, in their order; voxels whose last window is among them become means, or, with
/// `labels`, labels. Slot place[w] of the logits [batch, channels, window] is window w; -1: it was not run, it is `background`.
struct BlendJob {
  WindowTables tables{};
  int first = 0, last = 0;
  int low[3] = {}, high[3] = {};   // a box of voxels that these windows do not reach beyond
  const int* place = nullptr;
  const float* background = nullptr;
  SliceRing ring{};
  LabelRule labels{};   // labels.labels null: means
};
/// Labels come in the same pass if there are so few channels.
inline constexpr int kMostFusedChannels = 4;
void blend_windows(Stream, const BlendJob&, const Array& logits);

/// Slices [first, last) of the ring.
struct SliceJob {
  SliceRing ring{};
  int first = 0, last = 0;
};
void decide_slices(Stream, const SliceJob&, const LabelRule&);   // labels of the whole volume, z, y, x
void score_slices(Stream, const SliceJob&, Scores);              // in place

/// For each voxel of a target axis the source voxel at or below it, how much of the next one, and whether it is written. `stride`
/// is the target's, in voxels.
struct GridAxis {
  const int* low = nullptr;
  const double* weight = nullptr;
  const std::uint8_t* inside = nullptr;
  Index count = 0, stride = 0;
};
/// Some slices of the target, all of whose neighbours are in the ring: every voxel's channels are interpolated along z, then y,
/// then x, and decided.
struct ToGridJob {
  SliceRing ring{};
  const int* slices = nullptr;
  int count = 0;
  Scores scores = Scores::logits;
  LabelRule labels{};
  Index probability_of = -1;   // a channel
  float* probability = nullptr;
  GridAxis axis[3] = {};       // of the source's z, y, x; last: before a member with padding, g++ 12 would clear bytes of it
};
void slices_to_grid(Stream, const ToGridJob&);

/// Axes that are turned round: bit 0 is z, bit 2 x.
struct Flips {
  Index axes = 0;
};
/// to = from, turned; both [batch, channels, window].
void turn_windows(Stream, const Array& from, const Array& to, const Flips&);
/// sum = before + weight * scores of the turned logits.
struct ScoreSum {
  Flips flips{};
  Scores scores = Scores::logits;
  float weight = 1;
  const float* before = nullptr;   // the sum, or null: 0
  float* sum = nullptr;            // dense
};
void add_scores(Stream, const ScoreSum&, const Array& logits);
/// mean = sum / total; dense, and of float it may be the sum itself.
void divide_scores(Stream, const float* sum, float total, const Array& mean);

}   // namespace ctseg::cuda
