// Linear and nearest resampling between parallel grids, and the vote of labels. A target row is made from at most four source
// rows: two slices are mixed, then two rows, both along memory and in double, and the row is stretched last. Mixed rows are
// kept for the next target row, so that a source row is mixed about once per target slice.
#pragma once
#include <bit>
#include <type_traits>

#include "sampling_rules.hpp"
#include "taps.hpp"

namespace ctseg::resampling {

/// Halves to even. Added to 1.5 * 2^52 a number has no room for a fraction, and the rounded one is in its low bits: without
/// SSE4.1 nearbyint is a call for every voxel, and the difference of two sums would not survive -ffast-math.
template <class T> T rounded(double value) {
  if constexpr (std::is_integral_v<T> && sizeof(T) < 8)
    return static_cast<T>(static_cast<std::uint32_t>(std::bit_cast<std::uint64_t>(value + 0x1.8p52)));
  else if constexpr (std::is_integral_v<T>)
    return static_cast<T>(std::nearbyint(value));
  else
    return static_cast<T>(value);
}

/// What overshoots an integer type becomes its limit.
template <class T> double within(double value) {
  if constexpr (std::is_integral_v<T>) {
    constexpr double kMost = double(std::numeric_limits<T>::max()), kHigh = sizeof(T) < 8 ? kMost : kMost * (1 - 0x1p-53);
    return std::clamp(value, double(std::numeric_limits<T>::lowest()), kHigh);   // 2^63 itself would be too large
  } else {
    return value;
  }
}

/// What all tasks of one resampling share. The taps are those of the target's x, y and z axes along the source's.
template <class T> struct RowJob {
  const T* source;
  Xyz<Index> from;
  T* target;
  Xyz<Index> to;
  const std::array<AxisTaps, 3>& taps;
  T outside;
  bool copies;   // nearest on every axis

  const T* source_row(Index y, Index z) const { return source + (z * from.y + y) * from.x; }
  T* target_row(Index y, Index z) const { return target + (z * to.y + y) * to.x; }
};

/// The rows that target slice z needs, mixed along z; the two that were asked for last are kept.
template <class T> class MixedRows {
 public:
  MixedRows(const RowJob<T>& job, Index z)
      : job_(job),
        low_(job.taps[2].low[static_cast<std::size_t>(z)]),
        weight_(job.taps[2].weight[static_cast<std::size_t>(z)]) {
    for (auto& row : rows_) row.resize(static_cast<std::size_t>(job.from.x) + 1);   // one more to read, never to use
  }
  const double* row(Index y) {
    const std::size_t slot = y & 1;
    if (std::exchange(held_[slot], y) != y) mix(y, rows_[slot].data());
    return rows_[slot].data();
  }

 private:
  void mix(Index y, double* __restrict to) const {
    const T* __restrict const a = job_.source_row(y, low_);
    const Index n = job_.from.x;
    if (weight_ > 0) {
      const T* __restrict const b = job_.source_row(y, low_ + 1);
      for (Index x = 0; x < n; ++x)
        to[x] = static_cast<double>(a[x]) + weight_ * (static_cast<double>(b[x]) - static_cast<double>(a[x]));
    } else {
      for (Index x = 0; x < n; ++x) to[x] = static_cast<double>(a[x]);
    }
  }

  const RowJob<T>& job_;
  Index low_;
  double weight_;
  std::array<std::vector<double>, 2> rows_;
  std::array<Index, 2> held_{-1, -1};
};

/// Sets what lies outside along x; the middle of a row is always inside.
template <class T> void fill_row_ends(const RowJob<T>& job, T* to) {
  const auto& inside = job.taps[0].inside;
  for (std::size_t x = 0; x < inside.size(); ++x)
    if (!inside[x]) to[x] = job.outside;
}

template <class T> void linear_slice(const RowJob<T>& job, Index z) {
  MixedRows<T> mixed(job, z);
  std::vector<double> buffer(static_cast<std::size_t>(job.from.x) + 1);
  const Index* __restrict const low = job.taps[0].low.data();
  const double* __restrict const weight = job.taps[0].weight.data();
  for (Index y = 0; y < job.to.y; ++y) {
    T* __restrict const to = job.target_row(y, z);
    const auto at = static_cast<std::size_t>(y);
    if (!job.taps[1].inside[at] || !job.taps[2].inside[static_cast<std::size_t>(z)]) {
      std::fill(to, to + job.to.x, job.outside);
      continue;
    }
    const double* row = mixed.row(job.taps[1].low[at]);
    if (const double w = job.taps[1].weight[at]; w > 0) {
      const double* __restrict const next = mixed.row(job.taps[1].low[at] + 1);
      double* __restrict const sum = buffer.data();
      for (Index x = 0; x < job.from.x; ++x) sum[x] = row[x] + w * (next[x] - row[x]);
      row = sum;
    }
    for (Index x = 0; x < job.to.x; ++x) {
      const double a = row[low[x]], b = a + weight[x] * (row[low[x] + 1] - a);
      to[x] = rounded<T>(weight[x] > 0 ? b : a);
    }
    fill_row_ends(job, to);
  }
}

template <class T> void nearest_slice(const RowJob<T>& job, Index z) {
  const Index* __restrict const low = job.taps[0].low.data();
  bool run = true;   // a stretch of the row as it is: crops, pads and their way back
  for (Index x = 1; x < job.to.x; ++x) run = run && low[x] - low[x - 1] == 1;
  for (Index y = 0; y < job.to.y; ++y) {
    T* __restrict const to = job.target_row(y, z);
    const auto at = static_cast<std::size_t>(y);
    if (!job.taps[1].inside[at] || !job.taps[2].inside[static_cast<std::size_t>(z)]) {
      std::fill(to, to + job.to.x, job.outside);
      continue;
    }
    const T* __restrict const row = job.source_row(job.taps[1].low[at], job.taps[2].low[static_cast<std::size_t>(z)]);
    if (run)
      std::copy_n(row + low[0], job.to.x, to);
    else
      for (Index x = 0; x < job.to.x; ++x) to[x] = row[low[x]];
    fill_row_ends(job, to);
  }
}

/// Four source rows that a target voxel reads, and the weights of the upper ones: [0] low y low z, [1] high y, [2] high z.
template <class T> struct Corners {
  std::array<const T*, 4> row;
  double wy, wz;
};
/// The label of one voxel from its eight neighbours, those at low and low + 1 of four rows.
template <class T> T vote(const Corners<T>& c, Index low, double wx, bool most) {
  const Index high = low + (wx > 0);
  const T first = c.row[0][low];
  if (c.row[1][low] == first && c.row[2][low] == first && c.row[3][low] == first && c.row[0][high] == first &&
      c.row[1][high] == first && c.row[2][high] == first && c.row[3][high] == first)
    return first;
  sampling::Tally<T, double> tally;
  for (std::size_t k = 0; k < 8; ++k)
    tally.add(c.row[k / 2][k % 2 ? high : low], (k % 2 ? wx : 1 - wx) * (k & 2 ? c.wy : 1 - c.wy) * (k & 4 ? c.wz : 1 - c.wz));
  constexpr double kSame = 0x1p-30;
  if (!most) return tally.with_at_least(0.5 - kSame);
  return tally.heaviest(c.row[std::size_t{c.wy >= 0.5} + 2 * std::size_t{c.wz >= 0.5}][wx >= 0.5 ? high : low], kSame);
}

template <class T> void vote_slice(const RowJob<T>& job, Index z, bool most) {
  const auto zt = static_cast<std::size_t>(z);
  const AxisTaps &tx = job.taps[0], &ty = job.taps[1], &tz = job.taps[2];
  const Index z0 = tz.low[zt], z1 = z0 + (tz.weight[zt] > 0);
  for (Index y = 0; y < job.to.y; ++y) {
    T* const to = job.target_row(y, z);
    const auto yt = static_cast<std::size_t>(y);
    if (!ty.inside[yt] || !tz.inside[zt]) {
      std::fill(to, to + job.to.x, job.outside);
      continue;
    }
    const Index y0 = ty.low[yt], y1 = y0 + (ty.weight[yt] > 0);
    const Corners<T> corners{{job.source_row(y0, z0), job.source_row(y1, z0), job.source_row(y0, z1), job.source_row(y1, z1)},
                             ty.weight[yt],
                             tz.weight[zt]};
    for (Index x = 0; x < job.to.x; ++x) {
      const auto xt = static_cast<std::size_t>(x);
      to[x] = vote(corners, tx.low[xt], tx.weight[xt], most);
    }
    fill_row_ends(job, to);
  }
}

template <class T> void fill_slice(const RowJob<T>& job, Index z, Interpolation interpolation) {
  if (votes(interpolation))
    vote_slice(job, z, interpolation == Interpolation::label_most);
  else if (job.copies)
    nearest_slice(job, z);
  else
    linear_slice(job, z);
}

}   // namespace ctseg::resampling
