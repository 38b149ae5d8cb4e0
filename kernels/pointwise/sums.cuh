// Sums over all rows, per channel, without atomics: a block sums some rows, in an order that only the shape decides; a second
// launch sums the blocks' results in double.
#pragma once
#include "rows.cuh"

namespace ctseg::cuda {

inline constexpr Index kSumBlocks = 132 * 4;   // partial results of a channel; enough loads in flight for any card of today

/// The share of a thread where its block keeps rows together: pack `pack` of rows row, row + step, ... `lane` counts the
/// threads of the block that have this pack. Grid::rows walks over tiles of packs.
struct BlockShare {
  Index row, step, pack;
  int lane, lanes, column, columns;   // column: of the tile's packs
};
CTSEG_DEVICE BlockShare block_share(const Block& b, Index rows, Index packs) {
  const Index first = b.row() * kRowThreads, left = packs - first;
  const int columns = static_cast<int>(left < kRowThreads ? left : kRowThreads), lanes = kRowThreads / columns;
  const int lane = b.thread() / columns, column = b.thread() - lane * columns;
  return {lane < lanes ? b.index() * lanes + lane : rows, b.blocks() * lanes, first + column, lane, lanes, column, columns};
}
inline Grid sum_grid(Index rows, Index packs, int width) {
  const Index columns = std::min<Index>(packs, kRowThreads), lanes = kRowThreads / columns, per_block = lanes * 8;
  return {.blocks = std::min(kSumBlocks, (rows + per_block - 1) / per_block),
          .rows = (packs + kRowThreads - 1) / kRowThreads,
          .shared_bytes = static_cast<int>(sizeof(float)) * kRowThreads * width};
}

/// partials[block * channels + c] = the sum over the block of the threads' sums, in pairs. All threads call it.
template <int N> CTSEG_DEVICE void block_sums(const Block& b, const BlockShare& s, const float (&sum)[N], float* partials) {
  float* all = b.shared<float>();
  const int width = s.columns * N;
  const bool live = s.lane < s.lanes;
  if (live)
    for (int e = 0; e < N; ++e) all[s.lane * width + s.column * N + e] = sum[e];
  b.sync();
  for (int count = s.lanes; count > 1;) {
    const int half = (count + 1) / 2;
    if (live && s.lane + half < count)
      for (int e = 0; e < N; ++e) {
        const int at = s.lane * width + s.column * N + e;
        all[at] += all[at + half * width];
      }
    b.sync();
    count = half;
  }
  if (live && s.lane == 0)
    for (int e = 0; e < N; ++e) partials[s.pack * N + e] = all[s.column * N + e];
}

/// to[k] += the sum of `count` partial results, `stride` apart, each of `width` neighbours; block k makes one. All in double.
struct FinalSum {
  static constexpr int kThreads = 256;
  static constexpr bool kSyncs = true;
  static constexpr const char* kName = "final_sum";
  const float* partials;
  Index count, stride, width;
  float* to;

  CTSEG_DEVICE void operator()(const Block& b) const {
    double* all = b.shared<double>();
    const Index values = count * width;
    double sum = 0;
    for (Index i = b.thread(); i < values; i += kThreads) sum += partials[i / width * stride + b.index() * width + i % width];
    all[b.thread()] = sum;
    for (int half = kThreads / 2; half > 0; half /= 2) {
      b.sync();
      if (b.thread() < half) all[b.thread()] += all[b.thread() + half];
    }
    if (b.thread() == 0) to[b.index()] = static_cast<float>(static_cast<double>(to[b.index()]) + all[0]);
  }
};
inline void final_sum(Stream stream, Index outputs, const FinalSum& body) {
  launch(stream, {.blocks = outputs, .shared_bytes = FinalSum::kThreads * static_cast<int>(sizeof(double))}, body);
}

}   // namespace ctseg::cuda
