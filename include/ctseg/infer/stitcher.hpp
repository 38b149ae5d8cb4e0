// Adds windows to the frontier in their order and hands over what no later window touches, divided by its weights.
#pragma once
#include <span>
#include <type_traits>

#include "blend.hpp"
#include "frontier.hpp"
#include "slab.hpp"

namespace ctseg {

/// A finished box of logits, for receivers to whom the order of boxes does not matter. Rows along x, counted in the volume;
/// a voxel's channels lie next to each other. Valid until the receiver returns.
struct LogitBlock {
  std::array<Index, 3> first{}, size{};   // z, y, x
  Index channels = 0;
  const float* values = nullptr;

  const float* row(Index z, Index y) const { return values + ((z - first[0]) * size[1] + y - first[1]) * size[2] * channels; }
};

namespace detail {

/// Logits of one window in float; the rows of a window that was not run are all the same one.
struct WindowLogits {
  const float* values = nullptr;
  Index row_step = 0;
};

/// Receives blocks rather than slabs.
template <class Sink> constexpr bool kTakesBlocks = std::is_invocable_v<Sink&, const LogitBlock&>;

class Stitcher {
 public:
  Frontier frontier;
  double sink_seconds = 0;

  Stitcher(Context<Cpu>& ctx, const WindowGrid& grid, const FrontierOptions& o)
      : frontier(grid, o), ctx_(&ctx), grid_(&grid), table_(blend_table(ctx.traits().isa)), options_(o) {
    if (o.dry) return;
    for (const float w : grid.profile[2]) x_weights_.insert(x_weights_.end(), static_cast<std::size_t>(o.channels), w);
    ones_.assign(static_cast<std::size_t>(grid.window[2]), 1.f);
  }

  /// Slices that are handed over at once.
  static Index slab_slices(const WindowGrid& grid, Index channels) {
    const Index most = std::min(grid.image[0], grid.window[0]);   // those of a cell
    return std::clamp<Index>(kSlab / (grid.image[1] * grid.image[2] * channels), 1, most);
  }

  /// Adds window w, the next one, and hands over what it finished.
  template <class Sink> void add(Index w, const WindowLogits& logits, Sink& sink) {
    const std::array<Index, 3> start = grid_->start(w);
    std::array<Index, 3> low{}, high{};   // cells
    for (std::size_t a = 0; a < 3; ++a) {
      const auto& cuts = frontier.axis(a).cuts;
      low[a] = std::upper_bound(cuts.begin(), cuts.end(), std::max<Index>(start[a], 0)) - cuts.begin() - 1;
      high[a] = std::lower_bound(cuts.begin(), cuts.end() - 1, start[a] + grid_->window[a]) - cuts.begin();
    }
    for (Index z = low[0]; z < high[0]; ++z)
      for (Index y = low[1]; y < high[1]; ++y)
        for (Index x = low[2]; x < high[2]; ++x) {
          const Index c = frontier.cell(z, y, x);
          float* sums = frontier.touch(c, w);
          if (!options_.dry) add_to(frontier.box(c), sums, start, logits);
          if (!options_.slabs && frontier.finished_by(c, w)) hand_over_block(c, sums, sink);
        }
    const Index layer = grid_->count(1) * grid_->count(2);
    for (Index z = 0; options_.slabs && (w + 1) % layer == 0 && z < frontier.axis(0).count(); ++z)
      if (frontier.axis(0).to[static_cast<std::size_t>(z)] == (w + 1) / layer) hand_over_slices(z, sink);
  }

 private:
  static constexpr Index kSlab = Index{16} << 20;   // values of a slab
  static constexpr Index kTask = 32768;             // values of a task

  /// f(z, y) for all rows of a box, in tasks.
  template <class F> void rows(const CellBox& box, F f) const {
    const Index grain = kTask / (box.size[2] * options_.channels) + 1;
    parallel_blocks(ctx_->executor(), box.size[0] * box.size[1], grain, [&](Index from, Index to) {
      for (Index r = from; r < to; ++r) f(box.first[0] + r / box.size[1], box.first[1] + r % box.size[1]);
    });
  }
  float* row_of(const CellBox& box, float* values, Index z, Index y) const {
    return values + ((z - box.first[0]) * box.size[1] + y - box.first[1]) * box.size[2] * options_.channels;
  }

  void add_to(const CellBox& box, float* sums, const std::array<Index, 3>& start, const WindowLogits& logits) const {
    CellBox both;   // of cell and window
    for (std::size_t a = 0; a < 3; ++a) {
      both.first[a] = std::max(box.first[a], start[a]);
      both.size[a] = std::min(box.first[a] + box.size[a], start[a] + grid_->window[a]) - both.first[a];
    }
    const Index channels = options_.channels, column = (both.first[2] - start[2]) * channels;
    rows(both, [&](Index z, Index y) {
      const Index wz = z - start[0], wy = y - start[1];
      table_.add({.to = row_of(box, sums, z, y) + (both.first[2] - box.first[2]) * channels,
                  .from = logits.values + (wz * grid_->window[1] + wy) * logits.row_step + column,
                  .weights = x_weights_.data() + column,
                  .scale = scale(wz, wy),
                  .least = grid_->least,
                  .count = both.size[2] * channels});
    });
  }
  float scale(Index wz, Index wy) const {
    return grid_->profile[0][static_cast<std::size_t>(wz)] * grid_->profile[1][static_cast<std::size_t>(wy)];
  }

  /// Sums become means: over the sums of the weights, added up in the order of the windows.
  void divide(const CellBox& box, float* sums) const {
    rows(box, [&](Index z, Index y) {
      std::vector<float> totals(static_cast<std::size_t>(box.size[2]), 0.f);
      for (const Index sz : covering(0, z))
        for (const Index sy : covering(1, y))
          for (const Index sx : grid_->starts[2]) {
            const Index from = std::max(sx, box.first[2]), to = std::min(sx + grid_->window[2], box.first[2] + box.size[2]);
            if (from < to)
              table_.add({.to = totals.data() + (from - box.first[2]),
                          .from = ones_.data(),
                          .weights = grid_->profile[2].data() + (from - sx),
                          .scale = scale(z - sz, y - sy),
                          .least = grid_->least,
                          .count = to - from});
          }
      table_.divide({row_of(box, sums, z, y), totals.data(), box.size[2], options_.channels});
    });
  }
  /// Starts of the windows that cover a voxel of an axis.
  std::span<const Index> covering(std::size_t axis, Index voxel) const {
    const auto& starts = grid_->starts[axis];
    const auto first = std::upper_bound(starts.begin(), starts.end(), voxel - grid_->window[axis]);
    return {first, std::upper_bound(first, starts.end(), voxel)};
  }

  template <class Sink> void hand_over_block(Index c, float* sums, Sink& sink) {
    if constexpr (kTakesBlocks<Sink>) {
      if (options_.dry) return frontier.release(c);
      const CellBox box = frontier.box(c);
      divide(box, sums);
      timed([&] { sink(LogitBlock{box.first, box.size, options_.channels, sums}); });
    }
    frontier.release(c);
  }
  /// The slices of the cells (z, all, all), some at a time.
  template <class Sink> void hand_over_slices(Index z, Sink& sink) {
    const CutAxis& ys = frontier.axis(1);
    const CutAxis& xs = frontier.axis(2);
    const CellBox layer = frontier.box(frontier.cell(z, 0, 0));
    if constexpr (!kTakesBlocks<Sink>) {
      const Index channels = options_.channels, rows = grid_->image[1], columns = grid_->image[2];
      const Index step = std::min(layer.size[0], slab_slices(*grid_, channels));
      std::vector<float> scratch;
      slab_.resize(static_cast<std::size_t>(step * rows * columns * channels));
      for (Index skip = 0; !options_.dry && skip < layer.size[0]; skip += step) {
        const Index count = std::min(step, layer.size[0] - skip);
        for (Index c = frontier.cell(z, 0, 0); c < frontier.cell(z, ys.count() - 1, xs.count()); ++c) {
          CellBox box = frontier.box(c);
          float* values = frontier.slices(c, {skip, count}, scratch);
          box.first[0] += skip, box.size[0] = count;
          divide(box, values);
          this->rows(box, [&](Index at_z, Index y) {
            const float* from = row_of(box, values, at_z, y);
            const Index to = ((at_z - box.first[0]) * rows + y) * columns + box.first[2];
            std::copy_n(from, box.size[2] * channels, slab_.data() + to * channels);
          });
        }
        timed([&] { sink(LogitSlab{layer.first[0] + skip, count, rows, columns, channels, slab_.data()}); });
      }
    }
    for (Index c = frontier.cell(z, 0, 0); c < frontier.cell(z, ys.count() - 1, xs.count()); ++c) frontier.release(c);
  }
  template <class F> void timed(F f) {
    const auto start = std::chrono::steady_clock::now();
    f();
    sink_seconds += std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  }

  Context<Cpu>* ctx_;
  const WindowGrid* grid_;
  BlendTable table_;
  FrontierOptions options_;
  std::vector<float> x_weights_, ones_, slab_;   // x_weights_: each voxel's as often as there are channels
};

}   // namespace detail

}   // namespace ctseg
