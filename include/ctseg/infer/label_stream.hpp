// Labels on another grid from a stream of slices of scores: each target row is decided as soon as its source slices are there.
// At most one earlier slice is kept. Most voxels lie between neighbours that agree on the winner, so their channels are never
// interpolated (decision.hpp); the others compute what resample() computes of every channel, in the same order.
#pragma once
#include "../image/grid_path.hpp"
#include "decision.hpp"
#include "slab.hpp"

namespace ctseg::way_back {

using resampling::AxisTaps;

/// What becomes of the slices of one stream. `given` is what comes, `scores` what is interpolated and decided on.
struct StreamJob {
  path::Pass pass;
  Decision decision;
  Scores given = Scores::logits, scores = Scores::logits;
  std::optional<Index> probability_of{};

  /// The probability of the chosen channel, of a voxel whose scores are v; the buffer has a place for each channel.
  float probability(std::span<const float> v, float* buffer) const {
    const auto c = static_cast<std::size_t>(*probability_of);
    if (scores != Scores::logits) return v[c];
    if (decision.by_threshold()) return 1 / (1 + std::exp(-v[c]));
    to_scores(v, Scores::softmax, buffer);
    return buffer[c];
  }
};

/// Taps of the target along the source's axes, whose order the result has until it is complete.
struct StreamTaps {
  std::array<std::size_t, 3> axes{0, 1, 2};   // target axis j runs along source axis axes[j]
  std::array<AxisTaps, 3> taps;               // [0] along the source's x
  std::vector<std::vector<Index>> ready{};    // target slices that source slice z completes
  bool copies = false;                        // nearest on every axis

  Xyz<Index> shape() const { return {taps[0].count(), taps[1].count(), taps[2].count()}; }
  bool turned() const { return axes != std::array<std::size_t, 3>{0, 1, 2}; }
};

/// None if the two grids have no parallel axes.
template <class = void> std::optional<StreamTaps> stream_taps(const path::Pass& pass) {
  const Eigen::Matrix4d map = resampling::map_between(pass.from, pass.to);
  const auto axes = resampling::parallel_axes(map, pass.to.shape);
  if (!axes) return {};
  StreamTaps out;
  out.axes = *axes;
  const resampling::Manner manner = resampling::manner_of<float>(pass.options);
  out.copies = manner.nearest(0) && manner.nearest(1) && manner.nearest(2);
  out.ready.resize(static_cast<std::size_t>(pass.from.shape.z));
  if (pass.has_voxels()) {
    auto tables = resampling::tap_tables(map, *axes, pass.to.shape, pass.region, manner);
    for (std::size_t j = 0; j < 3; ++j) out.taps[(*axes)[j]] = std::move(tables[j]);
  } else {   // nothing was kept: no slice is ever read
    const auto count = resampling::listed(pass.to.shape);
    for (std::size_t j = 0; j < 3; ++j) {
      out.taps[(*axes)[j]] = AxisTaps(count[j]);
      out.taps[(*axes)[j]].inside.assign(static_cast<std::size_t>(count[j]), 0);
    }
  }
  const AxisTaps& z = out.taps[2];
  for (std::size_t i = 0; i < z.low.size(); ++i)
    if (z.inside[i]) out.ready[static_cast<std::size_t>(z.low[i] + (z.weight[i] > 0))].push_back(static_cast<Index>(i));
  return out;
}

/// A source slice: its scores, and its winners where they are certain.
struct Slice {
  const float* scores = nullptr;
  std::vector<float> own{};   // scores that had to be computed, or kept after their slab was gone
  std::vector<std::uint16_t> winners{};
};

/// The source rows that a target row lies between, and how far: [0] low z low y, [1] low z high y, [2] high z low y, [3] high z
/// high y.
struct RowPlace {
  std::array<const float*, 4> scores{};
  std::array<const std::uint16_t*, 4> winners{};
  double wy = 0, wz = 0;
};

/// The channels of one target row, interpolated where they are asked for: along z, then y, then x, as resample() does.
class RowMixer {
 public:
  explicit RowMixer(Index channels)
      : channels_(channels),
        upper_(static_cast<std::size_t>(channels)),
        columns_{upper_, upper_},
        values_(upper_.size(), 0.f) {}

  void start(const RowPlace& place) { place_ = place, held_ = {-1, -1}; }
  /// Between columns x and x + 1.
  const float* values(Index x, double weight) {
    const double* __restrict const a = column(x);
    float* __restrict const out = values_.data();
    if (weight > 0) {
      const double* __restrict const b = column(x + 1);
      for (Index c = 0; c < channels_; ++c) out[c] = static_cast<float>(a[c] + weight * (b[c] - a[c]));
    } else {
      for (Index c = 0; c < channels_; ++c) out[c] = static_cast<float>(a[c]);
    }
    return out;
  }

 private:
  const double* column(Index x) {
    const std::size_t slot = x & 1;
    double* __restrict const at = columns_[slot].data();
    if (std::exchange(held_[slot], x) == x) return at;
    along_z(0, x, at);
    if (place_.wy > 0) {
      double* __restrict const next = upper_.data();
      along_z(1, x, next);
      for (Index c = 0; c < channels_; ++c) at[c] += place_.wy * (next[c] - at[c]);
    }
    return at;
  }
  void along_z(std::size_t row, Index x, double* __restrict to) const {
    const float* __restrict const a = place_.scores[row] + x * channels_;
    for (Index c = 0; c < channels_; ++c) to[c] = static_cast<double>(a[c]);
    if (!(place_.wz > 0)) return;
    const float* __restrict const b = place_.scores[row + 2] + x * channels_;
    for (Index c = 0; c < channels_; ++c) to[c] += place_.wz * (static_cast<double>(b[c]) - to[c]);
  }

  Index channels_;
  RowPlace place_{};
  std::vector<double> upper_;
  std::array<std::vector<double>, 2> columns_;
  std::vector<float> values_;
  std::array<Index, 2> held_{-1, -1};
};

template <class Label> class LabelStream {
 public:
  LabelStream(StreamJob job, StreamTaps taps) : job_(std::move(job)), taps_(std::move(taps)) {
    names_ = job_.decision.template labels<Label>();
  }
  bool turned() const { return taps_.turned(); }
  /// Beside the result.
  Index slice_bytes() const {
    return 2 * plane() * (taps_.copies && job_.scores == job_.given ? 2 : 2 + channels() * Index{sizeof(float)});
  }

  void operator()(const LogitSlab& slab) {
    if (slab.first == 0) allocate();
    for (Index z = slab.first; z < slab.last(); ++z) {
      std::swap(low_, high_);
      if (used(z)) take(slab.row(z, 0, 0));
      const std::vector<Index>& slices = taps_.ready[static_cast<std::size_t>(z)];
      const Index rows = taps_.shape().y, blocks = (rows + kRows - 1) / kRows;
      mask::for_tasks(job_.pass.options.executor, std::ssize(slices) * blocks, [&](Index task) {
        const Index first = task % blocks * kRows;
        fill_rows(slices[static_cast<std::size_t>(task / blocks)], first, std::min(rows, first + kRows));
      });
    }
    if (needed_by_next(slab.last() - 1)) keep();
  }
  Volume<Label> take_labels() { return volume(std::move(labels_)); }
  Volume<float> take_probability() { return volume(std::move(probability_)); }

 private:
  static constexpr Index kRows = 16;   // of a task

  void allocate() {   // with the first slab, so that bytes() of a plan costs nothing
    const Xyz<Index> n = taps_.shape();
    labels_ = mask::zeros<Label>(n.x * n.y * n.z, job_.pass.options.executor);
    if (job_.probability_of) probability_ = mask::zeros<float>(n.x * n.y * n.z, job_.pass.options.executor);
  }
  /// True if a target slice lies between this source slice and the next one.
  bool needed_by_next(Index z) const {
    const auto next = static_cast<std::size_t>(z + 1);
    return next < taps_.ready.size() && std::any_of(taps_.ready[next].begin(), taps_.ready[next].end(), [&](Index i) {
             return taps_.taps[2].weight[static_cast<std::size_t>(i)] > 0;
           });
  }
  bool used(Index z) const { return !taps_.ready[static_cast<std::size_t>(z)].empty() || needed_by_next(z); }
  Index plane() const { return job_.pass.from.shape.x * job_.pass.from.shape.y; }
  Index channels() const { return job_.decision.channels(); }

  /// The slice becomes high_: its scores, where they are not given, and its winners.
  void take(const float* given) {
    const bool convert = job_.scores != job_.given;
    if (convert) high_.own.resize(static_cast<std::size_t>(plane() * channels()));
    high_.winners.resize(static_cast<std::size_t>(plane()));
    high_.scores = convert ? high_.own.data() : given;
    const Index columns = job_.pass.from.shape.x;
    mask::for_tasks(job_.pass.options.executor, job_.pass.from.shape.y, [&](Index y) {
      for (Index i = y * columns; i < (y + 1) * columns; ++i) {
        const auto logits = std::span(given + i * channels(), static_cast<std::size_t>(channels()));
        if (convert) to_scores(logits, job_.scores, high_.own.data() + i * channels());
        const float* const v = high_.scores + i * channels();
        high_.winners[static_cast<std::size_t>(i)] = taps_.copies ? job_.decision.winner(v) : job_.decision.certain_winner(v);
      }
    });
  }
  /// The slab goes; its last slice may be needed with the next one's first.
  void keep() {
    if (high_.scores == high_.own.data()) return;   // computed
    high_.own.assign(high_.scores, high_.scores + plane() * channels());
    high_.scores = high_.own.data();
  }

  RowPlace place(Index z, Index y) const {
    const auto at_y = static_cast<std::size_t>(y), at_z = static_cast<std::size_t>(z);
    const AxisTaps &ty = taps_.taps[1], &tz = taps_.taps[2];
    RowPlace p{.wy = ty.weight[at_y], .wz = tz.weight[at_z]};
    const Index columns = job_.pass.from.shape.x;
    for (std::size_t k = 0; k < 4; ++k) {
      const Slice& slice = k < 2 && p.wz > 0 ? low_ : high_;
      const Index row = (ty.low[at_y] + (k % 2 && p.wy > 0)) * columns;
      p.scores[k] = slice.scores + row * channels();
      p.winners[k] = slice.winners.data() + row;
    }
    return p;
  }
  void fill_rows(Index z, Index first, Index last) {
    RowMixer mixer(channels());
    const auto columns = static_cast<std::size_t>(job_.pass.from.shape.x);
    std::vector<std::uint16_t> agreed(columns);
    std::vector<float> buffer(static_cast<std::size_t>(channels()));
    for (Index y = first; y < last; ++y) {
      if (!taps_.taps[1].inside[static_cast<std::size_t>(y)]) continue;
      const RowPlace p = place(z, y);
      mixer.start(p);
      for (std::size_t x = 0; x < columns; ++x) {
        const std::uint16_t w = p.winners[0][x];
        agreed[x] = w == p.winners[1][x] && w == p.winners[2][x] && w == p.winners[3][x] ? w : Decision::kUncertain;
      }
      const Index to = (z * taps_.shape().y + y) * taps_.shape().x;
      fill_row(mixer, agreed.data(), buffer.data(), to);
    }
  }
  void fill_row(RowMixer& mixer, const std::uint16_t* agreed, float* buffer, Index to) {
    const AxisTaps& tx = taps_.taps[0];
    const bool wanted = job_.probability_of.has_value();
    for (std::size_t x = 0; x < tx.low.size(); ++x) {
      if (!tx.inside[x]) continue;
      const Index low = tx.low[x];
      std::uint16_t winner = agreed[low];
      if (winner != agreed[low + (tx.weight[x] > 0)]) winner = Decision::kUncertain;
      if (wanted || winner == Decision::kUncertain) {
        const std::span v(mixer.values(low, tx.weight[x]), static_cast<std::size_t>(channels()));
        if (winner == Decision::kUncertain) winner = job_.decision.winner(v.data());
        if (wanted) probability_[static_cast<std::size_t>(to) + x] = job_.probability(v, buffer);
      }
      labels_[static_cast<std::size_t>(to) + x] = names_[winner];
    }
  }

  template <class T> Volume<T> volume(std::vector<T> voxels) const {
    if (taps_.turned())
      voxels = resampling::move_axes(voxels.data(), taps_.shape(), taps_.axes, {}, job_.pass.options.executor);
    return Volume<T>(job_.pass.to, std::move(voxels));
  }

  StreamJob job_;
  StreamTaps taps_;
  std::vector<Label> names_, labels_;
  std::vector<float> probability_;
  Slice low_, high_;
};

}   // namespace ctseg::way_back
