// Convolution of any window as a product of matrices, Y[places, Cout] = sum over taps of X_tap[places, Cin] W_tap[Cin, Cout],
// where a row of X_tap is the voxel that a place meets through the tap, or zeros: nothing is unfolded in memory.
//
// Why so: transposed convolutions and 1x1x1 heads wait for memory (k2s2 64 -> 32 in bf16: 51 FLOP per byte), so what counts is
// that x is read and y written once. A block takes 128 places and computes all their results: the 8 classes of a k2s2 or k3s2
// transposed convolution one after the other, whose reads of x hit the L1 cache after the first, and writes them where they
// belong, with bias, into a channel range of a wider array if need be. No shuffled copy of y, no copy into a concatenation.
//   forward    e (Cin + 8 Cout) bytes and 16 Cin Cout FLOP per input voxel for k2s2, e = bytes of a value; ceiling 4.3 TB/s:
//              64 -> 32 onto 128^3 in bf16 0.17 GB, 0.039 ms. float: 25 FLOP per byte, more than the card has without TF32.
//   gradient   of weights: e (Cin + Cout) bytes per meeting pair, of which the repeats hit L2. Voxels are split over blocks,
//              each leaves a partial sum; these are added in order.
// Speed: not measured yet.
#pragma once
#include "../common/launch.cuh"
#include "../common/mma.cuh"
#include "ctseg/ops/conv.hpp"
#include "taps.cuh"

namespace ctseg::cuda {

/// Throws what gather_supports refuses.
void require_gather(const ConvProblem&);

/// y = X W (+ bias) for one relation. Flipped: weights are read as [tap][to][from], which is the data gradient.
/// 4 warps; a tile of 128 places x Columns channels, the k of a step being 64 bytes of x's channels. While one step is
/// multiplied the next one's values are on their way to registers.
template <class P, int Columns, bool Flipped> struct GatherProduct {
  using T = typename P::Value;
  static constexpr int kThreads = 128, kRows = 128, kStep = 64 / static_cast<int>(sizeof(T));
  static constexpr bool kSyncs = true;
  static constexpr const char* kName = Flipped ? "gather_product_flipped" : "gather_product";
  static constexpr int kWidth = kPack<T>, kPacks = kStep / kWidth, kRounds = kRows * kPacks / kThreads;
  static constexpr int kWeights = (kStep * Columns + kThreads - 1) / kThreads;
  static constexpr int kFromPitch = kStep + kRowGap<P>;
  static constexpr int kWeightPitch = Flipped ? kStep + kRowGap<P> : Columns + kAcrossGap<P>;
  static constexpr int kToPitch = Columns + kWidth;
  static constexpr int kFromBytes = kRows * kFromPitch * static_cast<int>(sizeof(T));
  static constexpr int kTileBytes = kFromBytes + (Flipped ? Columns : kStep) * kWeightPitch * static_cast<int>(sizeof(T));
  static constexpr int kToBytes = kRows * kToPitch * static_cast<int>(sizeof(T));
  static constexpr int kBytes = kTileBytes > kToBytes ? kTileBytes : kToBytes;   // y's tile lies over the other two

  Lattice from, to;
  const float *w, *bias;
  Sites places;
  Index tiles_per_block;   // of Columns channels and one class each; all of them, where there are places enough
  Relation relation;

  struct Fetched {
    Words x[kRounds];
    float w[kWeights];
  };

  CTSEG_DEVICE void operator()(const Block& b) const {
    const int first_row = static_cast<int>(b.index()) * kRows;
    Site at[kRounds];
    for (int i = 0; i < kRounds; ++i) at[i] = place(first_row + row_of(b, i));
    const int tiles = (to.channels + Columns - 1) / Columns, last = tiles * static_cast<int>(relation.class_count);
    const int each = static_cast<int>(tiles_per_block), first = static_cast<int>(b.row()) * each;
    for (int tile = first; tile < first + each && tile < last; ++tile) {
      const TapClass group = relation.classes[tile / tiles];
      const int column = tile % tiles * Columns;
      Sums sums[2][Columns / 8];
      const int steps_per_tap = (from.channels + kStep - 1) / kStep, steps = group.taps * steps_per_tap;
      Fetched next;
      if (steps > 0) fetch(b, at, relation.taps[group.first], 0, column, next);
      for (int step = 0, tap = 0, k = 0; step < steps; ++step) {
        b.sync();   // all have read the tiles of before
        leave(b, next);
        b.sync();
        k += kStep;
        if (k >= from.channels) k = 0, ++tap;
        if (step + 1 < steps) fetch(b, at, relation.taps[group.first + tap], k, column, next);
        multiply(b, sums);
      }
      b.sync();
      finish(b, sums, first_row, group, column);
    }
  }

 private:
  CTSEG_DEVICE Site place(int row) const { return row < places.count ? places.at(row) : Site{-1, 0, 0, 0}; }
  CTSEG_DEVICE static int row_of(const Block& b, int round) { return b.thread() / kPacks + round * (kThreads / kPacks); }

  CTSEG_DEVICE void fetch(const Block& b, const Site (&at)[kRounds], Tap tap, int k, int column, Fetched& out) const {
    for (int i = 0; i < kRounds; ++i)
      out.x[i] = from.load_words(from.find<const T>(at[i], tap), k + b.thread() % kPacks * kWidth);
    const float* const weights = w + Index{tap.weights} * from.channels * to.channels;
    for (int i = 0; i < kWeights; ++i) {
      const int e = b.thread() + i * kThreads, at_k = k + (Flipped ? e % kStep : e / Columns);
      const int at_column = column + (Flipped ? e / kStep : e % Columns);
      out.w[i] = (kStep * Columns % kThreads == 0 || e < kStep * Columns) && at_k < from.channels && at_column < to.channels
                     ? weights[Flipped ? at_column * from.channels + at_k : at_k * to.channels + at_column]
                     : 0.f;
    }
  }
  CTSEG_DEVICE void leave(const Block& b, const Fetched& f) const {
    T* const x = b.shared<T>();
    T* const weights = b.shared<T>(kFromBytes);
    for (int i = 0; i < kRounds; ++i)
      *reinterpret_cast<Words*>(x + row_of(b, i) * kFromPitch + b.thread() % kPacks * kWidth) = f.x[i];
    for (int i = 0; i < kWeights; ++i) {
      const int e = b.thread() + i * kThreads;
      const int row = e / (Flipped ? kStep : Columns), column = e % (Flipped ? kStep : Columns);
      if (e < kStep * Columns) weights[row * kWeightPitch + column] = from_float<T>(f.w[i]);
    }
  }
  CTSEG_DEVICE static void multiply(const Block& b, Sums (&sums)[2][Columns / 8]) {
    const T* const x = b.shared<T>() + b.warp() * 32 * kFromPitch;
    const T* const weights = b.shared<T>(kFromBytes);
    for (int k = 0; k < kStep; k += P::kDepth) {
      const typename P::A a[2] = {P::load_a(b, x + k, kFromPitch), P::load_a(b, x + 16 * kFromPitch + k, kFromPitch)};
      for (int j = 0; j < Columns / 8; ++j) {
        typename P::B c;
        if constexpr (Flipped)
          c = P::load_b(b, weights + j * 8 * kWeightPitch + k, kWeightPitch);
        else
          c = P::load_b_across(b, weights + k * kWeightPitch + j * 8, kWeightPitch);
        for (int i = 0; i < 2; ++i) P::multiply(b, sums[i][j], a[i], c);
      }
    }
  }
  /// Through shared memory, so that a row leaves in packs.
  CTSEG_DEVICE void finish(const Block& b, const Sums (&sums)[2][Columns / 8], int first_row, TapClass group,
                           int column) const {
    T* const tile = b.shared<T>();
    for (int j = 0; j < Columns / 8; ++j)
      for (int e = 0; e < 4; ++e) {
        const int c = j * 8 + Sums::column(b, e);
        const float start = bias && column + c < to.channels ? bias[column + c] : 0.f;
        for (int i = 0; i < 2; ++i)
          tile[(b.warp() * 32 + i * 16 + Sums::row(b, e)) * kToPitch + c] = from_float<T>(start + sums[i][j].at[e]);
      }
    b.sync();
    constexpr int kPerRow = Columns / kWidth;
    const Tap target{group.z, group.y, group.x, 0};
    for (int e = b.thread(); e < kRows * kPerRow; e += kThreads) {
      const int row = e / kPerRow, c = e % kPerRow * kWidth;
      T* const out = to.find<T>(place(first_row + row), target);
      if (out) to.store<T, kWidth>(out, column + c, *reinterpret_cast<const Pack<T, kWidth>*>(tile + row * kToPitch + c));
    }
  }
};

/// partial[split][tap][from][to] = sum over a split's places of from[voxel through the tap] * to[place], or, Swapped, with the
/// sides exchanged. 4 warps share each step of 64 places (float: 32), a warp multiplying a quarter of them into a tile of
/// 32 x Columns of its own; the four are added at the end.
template <class P, int Columns, bool Swapped> struct GatherGradient {
  using T = typename P::Value;
  static constexpr int kThreads = 128, kRows = 128 / static_cast<int>(sizeof(T)), kChannels = 32, kOwn = kRows / 4;
  static constexpr bool kSyncs = true;
  static constexpr const char* kName = "gather_gradient";
  static constexpr int kWidth = kPack<T>;
  static constexpr int kFromPacks = kChannels / kWidth, kToPacks = Columns / kWidth;
  static constexpr int kFromRounds = kRows * kFromPacks / kThreads, kToRounds = (kRows * kToPacks + kThreads - 1) / kThreads;
  static constexpr int kFromPitch = kChannels + kAcrossGap<P>, kToPitch = Columns + kAcrossGap<P>;
  static constexpr int kFromBytes = kRows * kFromPitch * static_cast<int>(sizeof(T));
  static constexpr int kTileBytes = kFromBytes + kRows * kToPitch * static_cast<int>(sizeof(T));
  static constexpr int kSumBytes = 4 * kChannels * Columns * static_cast<int>(sizeof(float));
  static constexpr int kBytes = kTileBytes > kSumBytes ? kTileBytes : kSumBytes;

  Lattice from, to;   // x and dy
  float* partials;
  Sites places;
  Index places_per_split;   // a multiple of kRows
  Relation relation;        // one class

  struct Fetched {
    Words from[kFromRounds], to[kToRounds];
  };

  CTSEG_DEVICE void operator()(const Block& b) const {
    const int from_tiles = (from.channels + kChannels - 1) / kChannels, to_tiles = (to.channels + Columns - 1) / Columns;
    const int tile = static_cast<int>(b.index()), tap = tile / (from_tiles * to_tiles);
    const int from_first = tile / to_tiles % from_tiles * kChannels, to_first = tile % to_tiles * Columns;
    const int each = static_cast<int>(places_per_split), first = static_cast<int>(b.row()) * each;
    const int last = first + each < places.count ? first + each : places.count;
    Sums sums[2][Columns / 8];
    Fetched next;
    if (first < last) fetch(b, {first, last, from_first, to_first}, relation.taps[tap], next);
    for (int row = first; row < last; row += kRows) {
      b.sync();
      leave(b, next);
      b.sync();
      if (row + kRows < last) fetch(b, {row + kRows, last, from_first, to_first}, relation.taps[tap], next);
      multiply(b, sums);
    }
    b.sync();
    float* const out =
        partials + (b.row() * relation.classes[0].taps + relation.taps[tap].weights) * from.channels * to.channels;
    finish(b, sums, from_first, to_first, out);
  }

 private:
  struct Piece {
    int first, last, from, to;
  };
  CTSEG_DEVICE void fetch(const Block& b, const Piece& piece, const Tap& tap, Fetched& out) const {
    const Tap still{0, 0, 0, 0};
    const auto find = [&](const Lattice& side, int row, bool moves) {
      return side.find<const T>(row < piece.last ? places.at(row) : Site{-1, 0, 0, 0}, moves ? tap : still);
    };
    for (int i = 0; i < kFromRounds; ++i) {
      const int e = b.thread() + i * kThreads;
      out.from[i] = from.load_words(find(from, piece.first + e / kFromPacks, !Swapped), piece.from + e % kFromPacks * kWidth);
    }
    for (int i = 0; i < kToRounds; ++i) {
      const int e = b.thread() + i * kThreads;
      if (e < kRows * kToPacks)
        out.to[i] = to.load_words(find(to, piece.first + e / kToPacks, Swapped), piece.to + e % kToPacks * kWidth);
    }
  }
  CTSEG_DEVICE static void leave(const Block& b, const Fetched& f) {
    T* const x = b.shared<T>();
    T* const dy = b.shared<T>(kFromBytes);
    for (int i = 0; i < kFromRounds; ++i) {
      const int e = b.thread() + i * kThreads;
      *reinterpret_cast<Words*>(x + e / kFromPacks * kFromPitch + e % kFromPacks * kWidth) = f.from[i];
    }
    for (int i = 0; i < kToRounds; ++i) {
      const int e = b.thread() + i * kThreads;
      if (e < kRows * kToPacks) *reinterpret_cast<Words*>(dy + e / kToPacks * kToPitch + e % kToPacks * kWidth) = f.to[i];
    }
  }
  CTSEG_DEVICE static void multiply(const Block& b, Sums (&sums)[2][Columns / 8]) {
    const T* const x = b.shared<T>() + b.warp() * kOwn * kFromPitch;
    const T* const dy = b.shared<T>(kFromBytes) + b.warp() * kOwn * kToPitch;
    for (int k = 0; k < kOwn; k += P::kDepth) {
      const typename P::A a[2] = {P::load_a_across(b, x + k * kFromPitch, kFromPitch),
                                  P::load_a_across(b, x + k * kFromPitch + 16, kFromPitch)};
      for (int j = 0; j < Columns / 8; ++j) {
        const typename P::B c = P::load_b_across(b, dy + k * kToPitch + j * 8, kToPitch);
        for (int i = 0; i < 2; ++i) P::multiply(b, sums[i][j], a[i], c);
      }
    }
  }
  CTSEG_DEVICE void finish(const Block& b, const Sums (&sums)[2][Columns / 8], int from_first, int to_first, float* out) const {
    float* const all = b.shared<float>();
    constexpr int kSums = kChannels * Columns;
    for (int i = 0; i < 2; ++i)
      for (int j = 0; j < Columns / 8; ++j)
        for (int e = 0; e < 4; ++e)
          all[b.warp() * kSums + (i * 16 + Sums::row(b, e)) * Columns + j * 8 + Sums::column(b, e)] = sums[i][j].at[e];
    b.sync();
    for (int e = b.thread(); e < kSums; e += kThreads) {
      const int i = from_first + e / Columns, o = to_first + e % Columns;
      if (i < from.channels && o < to.channels)
        out[Index{i} * to.channels + o] = (all[e] + all[kSums + e]) + (all[2 * kSums + e] + all[3 * kSums + e]);
    }
  }
};

}   // namespace ctseg::cuda
