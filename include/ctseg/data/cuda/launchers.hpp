// Augmentation on the card: what kernels/augment does, as plain functions on device memory. Images are channels one after the
// other, each in order z, y, x, as in ctseg::Patch. Extents are z, y, x.
#pragma once
#include "../../ops/cuda/array.hpp"
#include "../../ops/cuda/runtime.hpp"

namespace ctseg::cuda {

// Members are ordered so that no padding of four bytes or more lies between or behind them (see infer/cuda/launchers.hpp).

/// A step that changes values one by one.
///   linear   clamp(x * scale + shift, low, high)           {scale, shift, low, high}
///   power    max(x * scale + shift, 0)^gamma * range + low  {scale, shift, gamma, range, low}
///   normal, uniform   x + mean + std * n                    {mean, std}; n of the value's place in the image, and the key
struct ValueOp {
  enum class Kind { linear, power, normal, uniform };
  static constexpr int kNumbers = 5;
  Index first = 0, last = 0;        // values it changes
  const float* numbers = nullptr;   // in device memory, where the image's statistics decide; null: `at`
  Kind kind = Kind::linear;
  float at[kNumbers] = {};
  std::uint32_t key[4] = {};
};
/// Steps of one pass, in their order.
struct ValueProgram {
  static constexpr int kMost = 4;
  Index count = 0;
  ValueOp ops[kMost] = {};
};
struct ValuesJob {
  float* values = nullptr;
  Index count = 0;
  ValueProgram program{};
};
void change_values(Stream, const ValuesJob&);

/// A patch and what it is made of. The label may be null.
struct PatchFrom {
  const float* image = nullptr;
  const std::uint8_t* label = nullptr;
  int size[3] = {1, 1, 1};
  int channels = 1;
  double outside = 0;   // a float
};
struct PatchTo {
  float* image = nullptr;
  std::uint8_t* label = nullptr;
  int size[3] = {1, 1, 1};
  int channels = 1;
  ValueProgram program{};   // of the image, on its way out
};

/// The box at `corner`; beyond the source `outside`, and label 0.
struct CutJob {
  PatchFrom from{};
  PatchTo to{};
  Index corner[3] = {};
};
void cut_patch(Stream, const CutJob&);

/// Target voxel (z, y, x) is source voxel first + z * step[0] + y * step[1] + x * step[2]: flips and quarter turns.
struct PermuteJob {
  PatchFrom from{};
  PatchTo to{};
  Index first = 0, step[3] = {};
};
void permute_patch(Stream, const PermuteJob&);

/// Target voxel v is the source at map * v + before * offset(v): image trilinear, label nearest or by vote.
struct WarpJob {
  enum class Border { border, reflection, zeros };   // ctseg::Border
  PatchFrom from{};
  PatchTo to{};
  double map[3][4] = {};
  double before[3][3] = {};
  const float* offsets = nullptr;   // z, then y, then x, each a patch
  Border border = Border::zeros;
  enum class Labels { nearest, vote } labels = Labels::nearest;
};
void warp_patch(Stream, const WarpJob&);

/// Along one axis: to[i] = sum over k of weight[i * taps + k] * from[index[i * taps + k]]; an index below 0 stands for zero.
struct FilterJob {
  const float* from = nullptr;
  float* to = nullptr;
  int size[3] = {1, 1, 1};
  int axis = 0;
  Index taps = 1;
  const int* index = nullptr;
  const float* weight = nullptr;
};
void filter_axis(Stream, const FilterJob&);

/// to(z, y, x) = from(table z, table y, table x); tables one after the other.
struct PickJob {
  const std::uint8_t* from = nullptr;
  std::uint8_t* to = nullptr;
  Index size[3] = {1, 1, 1};
  const int* table = nullptr;
};
void pick_labels(Stream, const PickJob&);

/// Statistics of values, and the numbers of the step that they decide.
///   contrast  {factor, keeps the range}          numbers of linear
///   gamma     {gamma, inverted}                  numbers of power, then those of linear that turn the sign back; state is kept
///   retain    {inverted}, after the power        numbers of linear that give back mean and deviation; reads the state
struct StatisticsJob {
  enum class What { contrast, gamma, retain };
  static constexpr Index kScratch = 16 << 10;   // bytes, zero at first: partial sums, a counter, the state
  What what = What::contrast;
  int flag = 0;
  const float* values = nullptr;
  Index count = 0;
  double parameter = 1;
  void* scratch = nullptr;
  float* numbers = nullptr;   // 2 * ValueOp::kNumbers
};
void decide_numbers(Stream, const StatisticsJob&);

/// The patch's values as the storage of a batch; `to` is one image of one channel.
void store_patch(Stream, const float* from, const Array& to);

}   // namespace ctseg::cuda
