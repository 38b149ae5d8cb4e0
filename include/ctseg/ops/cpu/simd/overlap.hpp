// Results over their own source. A convolution goes through its source from the first plane to the last, and what it has passed
// is memory that nobody needs: results may be written there, if they begin far enough in front.
//
//     memory   |--lag--|x0 x1 x2 x3 x4 x5 x6 ...          source
//              |y0 y1 y2 y3 ...                           results; y0 to y3 lie on x0 while x2 and later are read
//
// How far is a matter of tasks: those of one wave run in any order, waves one after the other. So no task may write where one
// of its wave, or of a later one, reads.
#pragma once
#include "winograd.hpp"

namespace ctseg::simd {

/// An executor that runs tasks in waves, in order.
class InWaves final : public Executor {
 public:
  InWaves(Executor& executor, Index wave) : executor_(executor), wave_(wave) {}
  int threads() const override { return executor_.threads(); }
  void run(Index count, void (*task)(void* data, Index i), void* data) override {
    struct Wave {
      void (*task)(void*, Index);
      void* data;
      Index first;
    };
    for (Wave w{task, data, 0}; w.first < count; w.first += wave_)
      executor_.run(
          std::min(wave_, count - w.first),
          [](void* wave, Index i) {
            const Wave& of = *static_cast<const Wave*>(wave);
            of.task(of.data, of.first + i);
          },
          &w);
  }

 private:
  Executor& executor_;
  Index wave_;
};

/// Tasks of a wave: as many as can run at a time, but a quarter of all at most, or there would be nothing to win.
inline Index wave(const WinogradCut& cut) { return cut.shared ? 1 : std::clamp<Index>(cut.chunks / 4, 1, cut.slots); }
inline Index wave(const GatherCut& cut) { return std::clamp<Index>(cut.tasks / 4, 1, 32); }

/// Rows that results are written at most ahead of the first row that is still to be read, rows of all images counted; 0:
/// results must not overlap the source.
inline Index rows_ahead(const WinogradPlan& plan) {
  const auto& extent = plan.conv.result_extent();
  if (plan.conv.source_extent() != extent) return 0;
  const WinogradCut cut(plan, tiles(plan.conv.isa, plan.conv.to));
  const Index tiles_of_wave = wave(cut) * cut.chunk, layer = plan.tiles(1) * plan.tiles(2);
  Index planes = 0;
  for (Index first = 0; first < plan.tiles(); first += tiles_of_wave) {
    const Index begin = first / layer, end = (std::min(plan.tiles(), first + tiles_of_wave) - 1) / layer;
    const Index read =
        begin / plan.tiles(0) * extent[0] + std::max<Index>(0, begin % plan.tiles(0) * plan.m(0) + plan.offset(0));
    const Index written = end / plan.tiles(0) * extent[0] + std::min(extent[0], (end % plan.tiles(0) + 1) * plan.m(0));
    planes = std::max(planes, written - read);
  }
  return planes * extent[1] * extent[2];
}
inline Index rows_ahead(const ConvPlan& plan) {
  const auto& extent = plan.result_extent();
  const GatherCut cut(plan, tiles(plan.isa, plan.to));
  if (scatters(plan)) return 0;
  if (plan.side != Side::output || plan.source_extent() != extent || cut.block_per_task) return 0;
  const Index rows_of_wave = wave(cut) * cut.slab;
  Index planes = 0;
  for (Index first = 0; first < cut.rows; first += rows_of_wave) {
    const Index begin = first / extent[1], end = (std::min(cut.rows, first + rows_of_wave) - 1) / extent[1];
    const Index z = std::max<Index>(0, begin % extent[0] - plan.window.padding[0]);
    planes = std::max(planes, end + 1 - (begin / extent[0] * extent[0] + z));
  }
  return planes * extent[1] * extent[2];
}

}   // namespace ctseg::simd
