// How CPU kernels walk over voxels: blocks of rows cut by shape, and sums over rows that have the same bits for any number of
// threads.
#pragma once
#include <cstring>

#include "../../core/context.hpp"

namespace ctseg::cpu {

/// Rows per block: enough work for a task, few enough blocks for their partial sums.
struct RowBlocks {
  Index rows, grain, count;
  explicit RowBlocks(Index r) : rows(r), grain(std::max<Index>(256, (r + 63) / 64)), count((r + grain - 1) / grain) {}
  Index first(Index block) const { return block * grain; }
  Index last(Index block) const { return std::min(rows, (block + 1) * grain); }
};

/// f(first, last) on blocks of rows.
template <class F> void for_rows(Context<Cpu>& ctx, Index rows, F f) {
  const RowBlocks blocks(rows);
  parallel_for(ctx.executor(), blocks.count, [&](Index b) { f(blocks.first(b), blocks.last(b)); });
}

/// Bytes that sum_rows needs for sums of `width` numbers.
template <class Sum> Index partial_bytes(Index rows, Index width) { return bytes_of<Sum>(RowBlocks(rows).count * width); }

/// total[0..width) += the sum over blocks of what f(first, last, partial) adds to its own zeroed partial, in block order.
template <class Sum, class Total, class F>
void sum_rows(Context<Cpu>& ctx, Index rows, Index width, Sum* partials, Total* total, F f) {
  const RowBlocks blocks(rows);
  parallel_for(ctx.executor(), blocks.count, [&](Index b) {
    std::fill_n(partials + b * width, width, Sum(0));
    f(blocks.first(b), blocks.last(b), partials + b * width);
  });
  for (Index i = 0; i < width; ++i) {
    double sum = 0;
    for (Index b = 0; b < blocks.count; ++b) sum += static_cast<double>(partials[b * width + i]);
    total[i] = static_cast<Total>(static_cast<double>(total[i]) + sum);
  }
}

/// f(channels 0..8, then the rest) of a row in pieces of 8: inner loops of a known length, which every compiler turns into
/// vectors. The piece is read into locals before anything is stored, so source and target may be the same memory.
inline constexpr Index kPiece = 8;
template <class F> void for_pieces(Index channels, F f) {
  Index c = 0;
  for (; c + kPiece <= channels; c += kPiece) f(c, std::integral_constant<Index, kPiece>{});
  if (c < channels) f(c, channels - c);
}

}   // namespace ctseg::cpu
