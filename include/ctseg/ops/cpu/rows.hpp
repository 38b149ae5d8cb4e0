// How CPU kernels walk over voxels: blocks of rows cut by shape, and sums over rows that have the same bits for any number of
// threads.
#pragma once
#include <cstring>
#include <optional>

#include "../../core/context.hpp"
#include "../activation.hpp"
#include "simd/row_isa.hpp"

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

/// The same, last block first: what was written last is still in the cache.
template <class F> void for_rows_backwards(Context<Cpu>& ctx, Index rows, F f) {
  const RowBlocks blocks(rows);
  parallel_for(ctx.executor(), blocks.count,
               [&](Index b) { f(blocks.first(blocks.count - 1 - b), blocks.last(blocks.count - 1 - b)); });
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

/// Rows [first, last) of a value, as the vector passes of float take them.
template <int Dim> simd::Rows rows_of(const View<const float, Dim>& x, Index first) {
  return {x ? x.data + first * x.pitch : nullptr, x.pitch};
}
template <int Dim> simd::RowsOut rows_of(const View<float, Dim>& y, Index first) {
  return {y ? y.data + first * y.pitch : nullptr, y.pitch};
}

/// The activations that the vector passes know; none for sigmoid and gelu. `a` must outlive the answer.
template <AnySpec S> std::optional<simd::Bend> bend_of(const Activation& a, const Weights<S>& slopes) {
  static constexpr float kNone = 0, kWhole = 1;
  switch (a.kind) {
    case ActivationKind::identity:
      return simd::Bend{&kWhole};
    case ActivationKind::relu:
      return simd::Bend{&kNone, 0, true};
    case ActivationKind::leaky_relu:
      return simd::Bend{&a.parameter};
    case ActivationKind::elu:
      return simd::Bend{&a.parameter, 0, false, true};
    case ActivationKind::prelu:
      return simd::Bend{slopes.data(), slopes.size() > 1 ? 1 : 0};
    default:
      return std::nullopt;
  }
}

}   // namespace ctseg::cpu
