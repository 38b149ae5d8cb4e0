// Direct convolution by gathering: each result sums the taps it meets, in registers, and is written once. The same code is the
// convolution, the data gradient, and the transposed convolution, because all three are phases of one window (plan.hpp).
//
// Results are cut along x into tiles of up to 14 voxels times two vectors of channels. Inside a row a tile reads its source
// in place, whatever the pitch; taps along x and channels join into one loop where the source is dense. A tile that touches
// an edge in x reads a copy with zeros around it, a few per cent of its own work. Taps outside in y and z are left out.
#pragma once
#include <cstring>

#include "../../../core/parallel.hpp"
#include "epilogue.hpp"
#include "plan.hpp"

namespace ctseg::simd {

/// Bytes that gather_pack fills: all taps, with the result channels rounded up to whole vectors.
inline Index gather_packed_bytes(const ConvPlan& plan) {
  const Index lanes = tiles(plan.isa, plan.to).lanes;
  return plan.window.taps() * plan.from * ceil_div(plan.to, lanes) * lanes * Index{sizeof(float)};
}

/// Weights [tap][from][to], or if flipped [tap][to][from], and where to pack them.
struct PackBuffers {
  const float* w = nullptr;
  bool flipped = false;
  float* packed = nullptr;
};

/// What one gather reads and writes. Row v of an image is at data + v * pitch.
struct GatherBuffers {
  const float* x = nullptr;
  Index x_pitch = 0;
  const float* packed = nullptr;
  const float* bias = nullptr;   // none: zeros
  float* y = nullptr;
  Index y_pitch = 0;
  Index wave = 0;   // results overlap the source: so many chunks of tiles may run at a time (overlap.hpp); 0: all
  const Epilogue* epilogue = nullptr;
};

/// Weights into the order in which gather reads them: [phase][block of result channels][tap][from][channel in block],
/// with zeros in the channels that do not exist.
inline void gather_pack(Executor& executor, const ConvPlan& plan, const PackBuffers& b) {
  const Index from = plan.from, to = plan.to, block = tiles(plan.isa, to).block(), lanes = block / 2;
  const Index tap_from = b.flipped ? 1 : to, tap_to = b.flipped ? from : 1, padded = ceil_div(to, lanes) * lanes;
  float* packed = b.packed;
  for (Index p = 0; p < phases(plan); ++p) {
    const Phase ph = phase(plan, p);
    parallel_for(executor, ph.taps(), [&](Index t) {
      const Index z = ph.z.tap(t / ph.x.taps / ph.y.taps), y = ph.y.tap(t / ph.x.taps % ph.y.taps), x = ph.x.tap(t % ph.x.taps);
      const float* w = b.w + ((z * plan.window.kernel[1] + y) * plan.window.kernel[2] + x) * from * to;
      for (Index first = 0; first < to; first += block) {
        const Index real = std::min(block, to - first), width = ceil_div(real, lanes) * lanes;
        float* out = packed + (ph.taps() * first + t * width) * from;
        for (Index i = 0; i < from; ++i, out += width) {
          for (Index c = 0; c < real; ++c) out[c] = w[i * tap_from + (first + c) * tap_to];
          std::fill(out + real, out + width, 0.0f);
        }
      }
    });
    packed += ph.taps() * from * padded;
  }
}

/// The arguments of one gather, shared by its tasks.
struct GatherJob {
  const ConvPlan& plan;
  const GatherBuffers& buffers;
  const TileTable& table;
};

/// One block of result channels in one phase, along one row of results.
class GatherRow {
 public:
  GatherRow(const GatherJob& job, const Phase& phase, const float* w, Index first_channel)
      : job_(job),
        phase_(phase),
        w_(w),
        first_(first_channel),
        real_(std::min(job.table.block(), job.plan.to - first_channel)),
        vectors_(ceil_div(real_, job.table.lanes)),
        width_(vectors_ * job.table.lanes),
        shape_(&job.table.wide(vectors_).best(phase.x.count, vectors_)) {
    for (Index c = 0; c < width_; ++c) bias_[c] = job.buffers.bias && c < real_ ? job.buffers.bias[first_ + c] : 0.0f;
  }

  void run(Index image, Index qz, Index qy) {
    const auto& source = job_.plan.source_extent();
    const auto& result = job_.plan.result_extent();
    const AxisPhase &z = phase_.z, &y = phase_.y, &x = phase_.x;
    z0_ = z.begin(qz), z1_ = std::max(z0_, z.end(qz, source[0]));
    y0_ = y.begin(qy), y1_ = std::max(y0_, y.end(qy, source[1]));
    if (x.taps == 0) z1_ = z0_;
    row_ = (image * source[0] + qz * z.pace + z.offset) * source[1] + qy * y.pace + y.offset;
    const Index at = ((image * result[0] + z.first + qz * z.step) * result[1] + y.first + qy * y.step) * result[2] + x.first;
    out_ = job_.buffers.y + at * job_.buffers.y_pitch + first_;
    const Index rows = shape_->rows;
    Index q = 0;
    for (; q + rows <= x.count; q += rows) tile(*shape_, q, rows);
    if (q == x.count) return;
    const TileShape& last = job_.table.wide(vectors_).covering(x.count - q);
    q = std::max<Index>(0, std::min(q, x.count - last.rows));   // the last tile repeats voxels rather than leave rows idle
    tile(last, q, std::min(x.count - q, last.rows));
  }
  /// What comes behind a row that run() has just written.
  void finish(Index image, Index unit) const {
    const Index row = (out_ - job_.buffers.y - first_) / job_.buffers.y_pitch;
    job_.buffers.epilogue->take({image, row, phase_.x.count, phase_.x.step, 1, 0, 1, 0}, unit, first_, real_);
  }

 private:
  static constexpr Index kPatch = 12288, kRows = 16, kWidth = 32;

  /// Results [q, q + real) by a tile of no fewer rows.
  void tile(const TileShape& shape, Index q, Index real) {
    const AxisPhase& x = phase_.x;
    const Index from = job_.plan.from, y_step = x.step * job_.buffers.y_pitch;
    const bool whole = real == shape.rows && real_ == width_;
    for (Index i = 0; i < real; ++i) touch(out_ + (q + i) * y_step, real_);
    alignas(64) float buffer[kRows * kWidth];
    GatherTile t{};
    t.rows = shape.rows, t.width = width_;
    t.init = bias_, t.init_step = 0;
    t.out = whole ? out_ + q * y_step : buffer, t.out_step = whole ? y_step : width_;
    t.taps_z = z1_ - z0_, t.taps_y = y1_ - y0_, t.taps_x = x.taps, t.length = from;
    t.w_x = from * width_, t.w_y = x.taps * t.w_x, t.w_z = phase_.y.taps * t.w_y;
    t.w = w_ + z0_ * t.w_z + y0_ * t.w_y;
    const Index left = q * x.pace + x.offset, span = (shape.rows - 1) * x.pace + x.span();
    if (left >= 0 && left + span <= job_.plan.source_extent()[2]) {
      in_place(t, left);
      join_taps(t);
      prefetch(shape, t.x);
      shape.gather(t);
    } else if (t.taps_z * t.taps_y == 0) {
      t.taps_z = 0;
      shape.gather(t);
    } else {
      edge_tile(shape, t, left, span);
    }
    if (whole) return;
    for (Index i = 0; i < real; ++i) std::memcpy(out_ + (q + i) * y_step, buffer + i * width_, bytes(real_));
  }

  /// The source from voxel `left` of the tile's first line, where it lies in memory.
  void in_place(GatherTile& t, Index left) const {
    const Index height = job_.plan.source_extent()[1], width = job_.plan.source_extent()[2], pitch = job_.buffers.x_pitch;
    t.x_step = phase_.x.pace * pitch, t.x_x = phase_.x.spread * pitch;
    t.x_y = phase_.y.spread * width * pitch, t.x_z = phase_.z.spread * height * width * pitch;
    t.x = job_.buffers.x + (row_of(0, 0) * width + left) * pitch;
  }
  /// The row of the source that existing taps z and y of the tile read.
  Index row_of(Index z, Index y) const {
    return row_ + (z0_ + z) * phase_.z.spread * job_.plan.source_extent()[1] + (y0_ + y) * phase_.y.spread;
  }

  /// Results are written once, and with few taps sources are read once or twice: without a hint the tile would wait for memory.
  /// So ask for the lines of the source that the row before has not read, one tile ahead.
  void prefetch(const TileShape& shape, const float* x) const {
    const Index voxels = shape.rows * phase_.x.pace, from = job_.plan.from, pitch = job_.buffers.x_pitch;
    if (first_ > 0 || voxels * from > 4096) return;
    const Index width = job_.plan.source_extent()[2] * pitch, plane = job_.plan.source_extent()[1] * width;
    const Index taps_z = z1_ - z0_, taps_y = y1_ - y0_;
    for (Index z = std::max<Index>(0, taps_z - phase_.z.pace); z < taps_z; ++z)
      for (Index y = std::max<Index>(0, taps_y - phase_.y.pace); y < taps_y; ++y) {
        const float* next = x + z * phase_.z.spread * plane + y * phase_.y.spread * width + voxels * pitch;
        if (pitch == from) {
          touch(next, voxels * from);
        } else {
          for (Index v = 0; v < voxels; ++v) touch(next + v * pitch, from);
        }
      }
  }
  static void touch(const float* data, Index floats) {
    for (Index i = 0; i < floats; i += 16) __builtin_prefetch(data + i);
  }

  /// The source, as far as it exists, is copied into a patch with zeros around it; as many channels at a time as fit.
  void edge_tile(const TileShape& shape, GatherTile& t, Index left, Index span) {
    const Index from = job_.plan.from, lines = t.taps_z * t.taps_y;
    Index chunk = std::min(from, kPatch / (lines * span));
    if (chunk == 0) return edge_voxels(shape, t, left);
    if (chunk < from && chunk > 16) chunk -= chunk % 16;
    alignas(64) float patch[kPatch];
    for (Index first = 0; first < from; first += chunk) {
      const Index channels = std::min(chunk, from - first);
      for (Index line = 0; line < lines; ++line) {
        copy_line(patch + line * span * channels, row_of(line / t.taps_y, line % t.taps_y), {left, span, first, channels});
      }
      GatherTile part = t;
      part.x = patch, part.length = channels;
      part.x_step = phase_.x.pace * channels, part.x_x = phase_.x.spread * channels;
      part.x_y = span * channels, part.x_z = t.taps_y * part.x_y;
      part.w = t.w + first * width_;
      if (first > 0) part.init = t.out, part.init_step = t.out_step;
      join_taps(part);
      shape.gather(part);
    }
  }

  /// A window too large for a patch: voxel by voxel, with only the taps that exist.
  void edge_voxels(const TileShape& shape, const GatherTile& t, Index left) {
    const AxisPhase& x = phase_.x;
    const Index q = (left - x.offset) / x.pace, width = job_.plan.source_extent()[2];
    for (Index i = 0; i < shape.rows; ++i) {
      const Index j0 = std::min(x.taps, x.begin(q + i)), j1 = x.end(q + i, width);
      GatherTile one = t;
      in_place(one, left + i * x.pace + j0 * x.spread);
      one.taps_x = std::max<Index>(0, j1 - j0);
      if (one.taps_x == 0) one.taps_z = 0;
      one.w = t.w + j0 * t.w_x;
      one.out = t.out + i * t.out_step;
      const TileShape& single = job_.table.wide(vectors_).covering(1);
      one.rows = single.rows;
      single.gather(one);
    }
  }

  struct Line {
    Index left, span, first, channels;
  };
  void copy_line(float* to, Index row, const Line& line) const {
    const Index width = job_.plan.source_extent()[2], pitch = job_.buffers.x_pitch, channels = line.channels;
    const Index before = std::clamp<Index>(-line.left, 0, line.span);
    const Index inside = std::clamp<Index>(width - (line.left + before), 0, line.span - before);
    std::fill(to, to + before * channels, 0.0f);
    to += before * channels;
    const float* x = job_.buffers.x + (row * width + line.left + before) * pitch + line.first;
    if (pitch == channels) {
      if (inside > 0) std::memcpy(to, x, bytes(inside * channels));
    } else {
      for (Index i = 0; i < inside; ++i) std::memcpy(to + i * channels, x + i * pitch, bytes(channels));
    }
    std::fill(to + inside * channels, to + (line.span - before) * channels, 0.0f);
  }

  /// Where the source of the next tap follows the last channel of this one, taps and channels are one loop.
  void join_taps(GatherTile& t) const {
    if (t.x_x == t.length && t.w_x == t.length * width_) t.length *= t.taps_x, t.taps_x = 1;
  }

  static std::size_t bytes(Index floats) { return static_cast<std::size_t>(floats) * sizeof(float); }

  const GatherJob& job_;
  const Phase& phase_;
  const float* w_;
  Index first_, real_, vectors_, width_;
  const TileShape* shape_;
  Index z0_ = 0, z1_ = 0, y0_ = 0, y1_ = 0, row_ = 0;
  float* out_ = nullptr;
  alignas(64) float bias_[kWidth];
};

/// How the rows of results and the blocks of channels become tasks: by shape alone.
struct GatherCut {
  Index rows, rows_y, rows_z, slab, slabs, blocks, tasks;
  bool block_per_task;

  GatherCut(const ConvPlan& plan, const TileTable& table) {
    constexpr Index kSource = 256 << 10, kTasks = 16;   // a slab's source stays in the second-level cache
    rows_z = axis_phase(plan, 0, 0).count;              // the first phase has the most results
    rows_y = axis_phase(plan, 1, 0).count;
    rows = plan.images * rows_z * rows_y;
    blocks = ceil_div(plan.to, table.block());
    const Index row_bytes = plan.source_extent()[2] * axis_phase(plan, 1, 0).pace * plan.from * Index{sizeof(float)};
    slab = std::clamp<Index>(kSource / row_bytes, 1, std::max<Index>(1, rows * blocks / kTasks));
    slabs = ceil_div(rows, slab);   // the units of an epilogue
    block_per_task = slabs < kTasks;
    tasks = slabs * (block_per_task ? blocks : 1);
  }
};

/// y[v] = bias + sum over the taps and voxels u that meet v of w[tap] x[u]; y is assigned.
/// Numerics  float; the order of the sum depends on the plan only.      Cost  each tap once, out-of-range taps mostly left out.
inline void gather(Executor& executor, const ConvPlan& plan, const GatherBuffers& buffers) {
  const GatherJob job{plan, buffers, tiles(plan.isa, plan.to)};
  const GatherCut cut(plan, job.table);
  const Index padded = ceil_div(plan.to, job.table.lanes) * job.table.lanes;
  parallel_for(executor, cut.tasks, [&](Index task) {
    const Index first_row = task % cut.slabs * cut.slab, last_row = std::min(cut.rows, first_row + cut.slab);
    const Index first_block = cut.block_per_task ? task / cut.slabs : 0;
    const Index last_block = cut.block_per_task ? first_block + 1 : cut.blocks;
    const float* packed = buffers.packed;
    for (Index p = 0; p < phases(plan); ++p) {
      const Phase ph = phase(plan, p);
      for (Index block = first_block; block < last_block; ++block) {
        const Index channel = block * job.table.block();
        GatherRow row(job, ph, packed + ph.taps() * channel * plan.from, channel);
        for (Index r = first_row; r < last_row; ++r) {
          const Index y = r % cut.rows_y, z = r / cut.rows_y % cut.rows_z;
          if (z >= ph.z.count || y >= ph.y.count || ph.x.count == 0) continue;
          row.run(r / cut.rows_y / cut.rows_z, z, y);
          if (buffers.epilogue) row.finish(r / cut.rows_y / cut.rows_z, task % cut.slabs);
        }
      }
      packed += ph.taps() * plan.from * padded;
    }
  });
}

}   // namespace ctseg::simd
