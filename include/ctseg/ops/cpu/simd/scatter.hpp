// Results of one to four channels, by scattering. The direct engine keeps vectors of result channels in registers, which would
// be mostly empty here. So taps become channels:
//
//     products   row of the source [voxels x from] times a matrix [from x taps * to]     vectors are full: 27 taps of 2 are 54
//     results    += the products of every tap, each shifted to where the tap leads       one addition a tap and channel
//
// One row's products stay in the first caches. A task owns a box of results and goes through the rows of the source that reach
// it, in their order; those at its border are multiplied by two tasks. No memory beside the stack.
#pragma once
#include <vector>

#include "../../../core/parallel.hpp"
#include "buffers.hpp"
#include "plan.hpp"

namespace ctseg::simd {

/// How results are cut into boxes, one for each task: by shape alone.
struct ScatterCut {
  static constexpr Index kProducts = 20480, kMostColumns = 512;   // floats of products; columns of the matrix

  Index columns, padded;                    // taps * to; with whole vectors
  Index size_z, size_y, boxes_z, boxes_y;   // in results of the first phase, which has the most
  Index voxels;                             // of a row that are multiplied at a time

  ScatterCut(const ConvPlan& plan, const TileTable& table) {
    columns = plan.window.taps() * plan.to;
    padded = ceil_div(columns, table.lanes) * table.lanes;
    constexpr Index kTasks = 16;
    const Index count_z = axis_phase(plan, 0, 0).count, count_y = axis_phase(plan, 1, 0).count;
    Index least = 0;
    for (Index z = 1; z <= kTasks; z *= 2) {   // the cut with the fewest rows at borders
      const Index size = ceil_div(count_z, std::min(z, count_z));
      const Index boxes = ceil_div(count_z, size);
      const Index height = ceil_div(count_y, std::min(count_y, ceil_div(kTasks, boxes * plan.images)));
      const Index rows = boxes * (size + reach(plan, 0)) * ceil_div(count_y, height) * (height + reach(plan, 1));
      if (z > 1 && rows >= least) continue;
      least = rows, size_z = size, boxes_z = boxes, size_y = height, boxes_y = ceil_div(count_y, height);
    }
    const Index row = axis_phase(plan, 2, 0).count, most = kProducts / padded - reach(plan, 2);
    voxels = ceil_div(row, ceil_div(row, std::max<Index>(1, most)));
  }
  Index boxes() const { return boxes_z * boxes_y; }   // of an image

  /// Where the sources of result q of any phase begin, seen from q, and how far behind it they end.
  static Index begin(const ConvPlan& plan, std::size_t axis) {
    Index least = 0;
    for (Index p = 0, none = true; p < phases(plan, axis); ++p)
      if (const AxisPhase a = axis_phase(plan, axis, p); a.taps > 0)
        least = none ? a.offset : std::min(least, a.offset), none = false;
    return least;
  }
  static Index end(const ConvPlan& plan, std::size_t axis) {
    Index most = begin(plan, axis);
    for (Index p = 0; p < phases(plan, axis); ++p)
      if (const AxisPhase a = axis_phase(plan, axis, p); a.taps > 0) most = std::max(most, a.offset + a.span() - 1);
    return most;
  }
  static Index reach(const ConvPlan& plan, std::size_t axis) { return end(plan, axis) - begin(plan, axis); }
};

inline const TileTable& scatter_tiles(const ConvPlan& plan) { return tiles(plan.isa, plan.window.taps() * plan.to); }

/// True where scattering is faster than gathering: in vectors, a tap's addition counted as five of them.
inline bool scatters(const ConvPlan& plan) {
  for (std::size_t d = 0; d < 3; ++d)
    if (plan.side == Side::output && plan.window.stride[d] > 1) return false;   // most products would lead nowhere
  const Index columns = plan.window.taps() * plan.to, lanes = tiles(plan.isa, plan.to).lanes;
  if (plan.to > 4 || columns > ScatterCut::kMostColumns) return false;
  if (ScatterCut::reach(plan, 2) > 16) return false;
  const Index direct = plan.window.taps() * plan.from;
  return ceil_div(columns, lanes) * plan.from + 2 * plan.window.taps() < direct;
}

inline Index scatter_packed_bytes(const ConvPlan& plan) {
  const Index lanes = scatter_tiles(plan).lanes;
  return plan.from * ceil_div(plan.window.taps() * plan.to, lanes) * lanes * Index{sizeof(float)};
}

/// Weights into [block of columns][from][column in block], columns [tap][to], with zeros in those that do not exist.
inline void scatter_pack(Executor& executor, const ConvPlan& plan, const PackBuffers& b) {
  const Index from = plan.from, to = plan.to, columns = plan.window.taps() * to;
  const TileTable& table = scatter_tiles(plan);
  parallel_for(executor, ceil_div(columns, table.block()), [&](Index block) {
    const Index first = block * table.block(),
                width = ceil_div(std::min(table.block(), columns - first), table.lanes) * table.lanes;
    float* out = b.packed + first * from;
    for (Index i = 0; i < from; ++i)
      for (Index c = first; c < first + width; ++c) {
        const Index tap = c / to;
        *out++ = c >= columns ? 0.0f : b.w[tap * from * to + (b.flipped ? c % to * from + i : i * to + c % to)];
      }
  });
}

/// One convolution under way: what its tasks share.
class Scatter {
 public:
  Scatter(const ConvPlan& plan, const GatherBuffers& buffers)
      : plan_(plan), buffers_(buffers), table_(scatter_tiles(plan)), cut_(plan, table_) {
    for (std::size_t d = 0; d < 3; ++d)
      for (Index p = 0; p < phases(plan, d); ++p) phases_[d].push_back(axis_phase(plan, d, p));
  }

  void run(Executor& executor) const {
    parallel_for(executor, plan_.images * cut_.boxes(), [&](Index task) { box(task); });
  }

 private:
  static constexpr Index kMostTaps = 32;

  /// A range of q, which counts the results of each phase.
  struct Range {
    Index first, last;
  };

  void box(Index task) const {
    const Index image = task / cut_.boxes(), box = task % cut_.boxes();
    const Index z = box / cut_.boxes_y * cut_.size_z, y = box % cut_.boxes_y * cut_.size_y;
    const Range of_z{z, std::min(z + cut_.size_z, phases_[0][0].count)},
        of_y{y, std::min(y + cut_.size_y, phases_[1][0].count)};
    const Index begin_z = ScatterCut::begin(plan_, 0), end_z = ScatterCut::end(plan_, 0);
    const Range planes = sources(of_z, 0), lines = sources(of_y, 1);
    alignas(64) float products[ScatterCut::kProducts];
    Index begun = of_z.first, done = of_z.first;   // planes of results
    for (Index u = planes.first; u < planes.last; ++u) {
      for (; begun < of_z.last && begun + begin_z <= u; ++begun) begin(image, begun, of_y);
      for (Index v = lines.first; v < lines.last; ++v) scatter(image, {u, v}, of_z, of_y, products);
      for (; done < begun && done + end_z <= u; ++done) finish(image, done, of_y, task);
    }
    for (; begun < of_z.last; ++begun) begin(image, begun, of_y);
    for (; done < of_z.last; ++done) finish(image, done, of_y, task);
  }
  /// The sources that exist of results q.
  Range sources(const Range& q, std::size_t axis) const {
    return {std::max<Index>(0, q.first + ScatterCut::begin(plan_, axis)),
            std::min(plan_.source_extent()[axis], q.last + ScatterCut::end(plan_, axis))};
  }

  /// f(row) for every row of results in plane q of all phases.
  template <class F> void for_rows(Index image, Index q, const Range& of_y, F f) const {
    const auto& extent = plan_.result_extent();
    for (const AxisPhase& z : phases_[0])
      if (q < z.count)
        for (const AxisPhase& y : phases_[1])
          for (Index i = of_y.first; i < std::min(of_y.last, y.count); ++i)
            f(((image * extent[0] + z.first + q * z.step) * extent[1] + y.first + i * y.step) * extent[2]);
  }
  void begin(Index image, Index q, const Range& of_y) const {
    const Index width = plan_.result_extent()[2], to = plan_.to;
    for_rows(image, q, of_y, [&](Index row) {
      float* y = buffers_.y + row * buffers_.y_pitch;
      for (Index i = 0; i < width; ++i, y += buffers_.y_pitch)
        for (Index c = 0; c < to; ++c) y[c] = buffers_.bias ? buffers_.bias[c] : 0.0f;
    });
  }
  void finish(Index image, Index q, const Range& of_y, Index task) const {
    if (!buffers_.epilogue) return;
    for_rows(image, q, of_y, [&](Index row) {
      buffers_.epilogue->take({image, row, plan_.result_extent()[2], 1, 1, 0, 1, 0}, task, 0, plan_.to);
    });
  }

  struct Row {
    Index z, y;
  };
  /// The products of one row of the source, to all results of the box that they belong to.
  void scatter(Index image, const Row& source, const Range& of_z, const Range& of_y, float* products) const {
    const Index begin = ScatterCut::begin(plan_, 2), end = ScatterCut::end(plan_, 2), count = phases_[2][0].count;
    const auto &from = plan_.source_extent(), &to = plan_.result_extent();
    const float* x = buffers_.x + ((image * from[0] + source.z) * from[1] + source.y) * from[2] * buffers_.x_pitch;
    for (Index first = 0; first < count; first += cut_.voxels) {
      const Range of_x{first, std::min(count, first + cut_.voxels)};
      multiply(x, {of_x.first + begin, of_x.last + end}, products);
      for (const AxisPhase& z : phases_[0])
        for (Index j = 0; j < z.taps; ++j) {
          const Index qz = source.z - z.offset - j * z.spread;
          if (qz < of_z.first || qz >= std::min(of_z.last, z.count)) continue;
          for (const AxisPhase& y : phases_[1])
            for (Index k = 0; k < y.taps; ++k) {
              const Index qy = source.y - y.offset - k * y.spread;
              if (qy < of_y.first || qy >= std::min(of_y.last, y.count)) continue;
              const Index row = ((image * to[0] + z.first + qz * z.step) * to[1] + y.first + qy * y.step) * to[2];
              const Index tap = (z.tap(j) * plan_.window.kernel[1] + y.tap(k)) * plan_.window.kernel[2];
              for (const AxisPhase& phase : phases_[2])
                add_line(phase, of_x, products + tap * plan_.to - (first + begin) * cut_.padded,
                         buffers_.y + row * buffers_.y_pitch);
            }
        }
    }
  }

  /// Products of voxels [first, last) of a row; of those that do not exist zeros.
  void multiply(const float* x, const Range& voxels, float* products) const {
    alignas(64) static constexpr float kZeros[32] = {};
    constexpr Index kLine = 16;
    const Index first = std::max<Index>(0, voxels.first),
                last = std::max(first, std::min(plan_.source_extent()[2], voxels.last));
    const Index padded = cut_.padded, from = plan_.from, pitch = buffers_.x_pitch;
    float* out = products + (first - voxels.first) * padded;
    std::fill(products, out, 0.0f);
    std::fill(out + (last - first) * padded, products + (voxels.last - voxels.first) * padded, 0.0f);
    GatherTile t{};
    t.x_step = pitch, t.taps_z = t.taps_y = t.taps_x = 1, t.length = from, t.init = kZeros, t.out_step = padded;
    for (Index c = 0; c < padded; c += table_.block()) {
      t.width = std::min(table_.block(), padded - c), t.w = buffers_.packed + c * from;
      const TileSet& set = table_.wide(t.width / table_.lanes);
      const TileShape& best = set.best(last - first, t.width / table_.lanes);
      for (Index i = first; i < last; i += t.rows) {
        const TileShape& tile = i + best.rows <= last ? best : set.within(last - i);
        t.rows = tile.rows, t.x = x + i * pitch, t.out = out + (i - first) * padded + c;
        t.ahead = {0, 0, c == 0 ? std::min(from, t.rows * ceil_div(from, kLine)) : 0, t.out};   // the next tile's source
        tile.gather(t);
      }
    }
  }

  /// What results q of one phase along x get from a row's products.
  void add_line(const AxisPhase& x, const Range& q, const float* products, float* row) const {
    Line l{};
    l.taps = x.taps, l.step = cut_.padded, l.out_step = x.step * buffers_.y_pitch;
    l.count = std::min(q.last, x.count) - q.first;
    l.from = products + (q.first + x.offset) * cut_.padded, l.out = row + (x.first + q.first * x.step) * buffers_.y_pitch;
    for (Index j = 0; j < x.taps; ++j) l.at[j] = j * x.spread * cut_.padded + x.tap(j) * plan_.to;
    switch (plan_.to) {
      case 1:
        return add<One>(l);
      case 2:
        return add<Two>(l);
      case 4:
        return add<Four>(l);
      default:
        break;
    }
    add<Two>(l);
    l.from += 2, l.out += 2;
    add<One>(l);
  }
  struct Line {
    const float* from;
    Index at[kMostTaps], taps, step;
    float* out;
    Index out_step, count;
  };
  struct One {
    typedef float V __attribute__((may_alias));
  };
  struct Two {
    typedef float V __attribute__((vector_size(8), aligned(4), may_alias));
  };
  struct Four {
    typedef float V __attribute__((vector_size(16), aligned(4), may_alias));
  };
  template <class C> static void add(const Line& l) {
    using V = typename C::V;
    const auto value = [](const float* p) { return *reinterpret_cast<const V*>(p); };
    const Index a = l.at[0], b = l.at[1], c = l.at[2];
    switch (l.taps) {
      case 0:
        return;
      case 1:
        return each<C>(l, [=](const float* p) { return value(p + a); });
      case 2:
        return each<C>(l, [=](const float* p) { return value(p + a) + value(p + b); });
      case 3:
        return each<C>(l, [=](const float* p) { return value(p + a) + value(p + b) + value(p + c); });
      default:
        break;
    }
    each<C>(l, [&](const float* p) {
      V sum = value(p + a);
      for (Index j = 1; j < l.taps; ++j) sum += value(p + l.at[j]);
      return sum;
    });
  }
  template <class C, class F> static void each(const Line& l, F f) {
    using V = typename C::V;
    const float* from = l.from;
    float* out = l.out;
    for (Index i = l.count; i > 0; --i, from += l.step, out += l.out_step) *reinterpret_cast<V*>(out) += f(from);
  }

  const ConvPlan& plan_;
  const GatherBuffers& buffers_;
  const TileTable& table_;
  ScatterCut cut_;
  std::vector<AxisPhase> phases_[3];
};

/// The same sum as gather(), where scatters() holds.
inline void scatter(Executor& executor, const ConvPlan& plan, const GatherBuffers& buffers) {
  Scatter(plan, buffers).run(executor);
}

}   // namespace ctseg::simd
