// Direct convolution by gathering: each result sums the taps it meets, in registers, and is written once. The same code is the
// convolution, the data gradient, and the transposed convolution, because all three are phases of one window (plan.hpp).
//
// Results are cut along x into tiles of up to 14 voxels times two vectors of channels. Inside a row a tile reads its source
// in place, whatever the pitch; taps along x and channels join into one loop where the source is dense, or all taps into one
// list where channels are few. A tile that touches an edge in x reads zeros there. Taps outside in y and z are left out.
#pragma once
#include <cstring>

#include "gather_pack.hpp"

namespace ctseg::simd {

/// The arguments of one gather, shared by its tasks.
struct GatherJob {
  const ConvPlan& plan;
  const GatherBuffers& buffers;
  const TileTable& table;
  bool fetches;   // source and results are larger than the second-level cache
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
        overlap_(vectors_ == 2 ? width_ - real_ : 0),
        listed_(lists(job.plan, phase)),
        shape_(&job.table.wide(vectors_).best(phase.x.count, vectors_)) {
    for (Index c = 0; c < width_; ++c) bias_[c] = job.buffers.bias && c < real_ ? job.buffers.bias[first_ + c] : 0.0f;
    if (!listed_) return;
    const Index pitch = job.buffers.x_pitch, width = job.plan.source_extent()[2] * pitch;
    const Index plane = job.plan.source_extent()[1] * width, line = list_line() * job.plan.from;
    fill_list(in_place_, {plane * phase.z.spread, width * phase.y.spread, pitch * phase.x.spread});
    fill_list(in_patch_, {line * phase.y.taps, line, job.plan.from * phase.x.spread});
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
    prepare();
    const Index rows = shape_->rows, y_step = x.step * job_.buffers.y_pitch, x_step = x.pace * job_.buffers.x_pitch;
    const Index inside = source[2] - (rows - 1) * x.pace - x.span();   // where the last tile without an edge begins
    const float* line = tile_.x;
    Index q = 0;
    for (; q + rows <= x.count; q += rows) {
      const Index left = q * x.pace + x.offset;
      const bool edge = left < 0 || left > inside;
      tile_.x = line + q * x_step, tile_.out = out_ + q * y_step;
      if (job_.fetches && !edge) fetch_ahead(q);
      if (edge || !full_) {
        tile(*shape_, q, rows);
        continue;
      }
      listing_ ? shape_->list(tile_) : shape_->gather(tile_);
    }
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
  static constexpr Index kPatch = 12288, kRows = 16, kWidth = 32, kListed = 512, kEdgeTaps = 16, kLine = 16;
  alignas(64) static constexpr float kZeros[1024] = {};

  /// With few channels a tap is a short loop: then all taps and channels together are one, over a list of where they lie.
  static bool lists(const ConvPlan& plan, const Phase& phase) {
    const Index line = (kRows - 1) * phase.x.pace + phase.x.span();
    return plan.from <= 4 && phase.taps() * plan.from <= kListed && phase.z.taps * phase.y.taps * line * plan.from <= kPatch;
  }
  Index list_line() const { return (kRows - 1) * phase_.x.pace + phase_.x.span(); }   // voxels of a line of a patch
  void fill_list(Index* at, const std::array<Index, 3>& step) const {
    for (Index z = 0; z < phase_.z.taps; ++z)
      for (Index y = 0; y < phase_.y.taps; ++y)
        for (Index x = 0; x < phase_.x.taps; ++x)
          for (Index c = 0; c < job_.plan.from; ++c) *at++ = z * step[0] + y * step[1] + x * step[2] + c;
  }

  /// What all tiles of a row without an edge have in common; x and out of result 0, wherever x may be.
  void prepare() {
    const Index from = job_.plan.from, taps_z = z1_ - z0_, taps_y = y1_ - y0_;
    GatherTile& t = tile_;
    listing_ = listed_ && taps_z == phase_.z.taps && taps_y == phase_.y.taps;
    t.rows = shape_->rows, t.width = width_, t.overlap = overlap_;
    t.init = bias_, t.init_step = 0;
    t.out = out_, t.out_step = phase_.x.step * job_.buffers.y_pitch;
    t.taps_z = taps_z, t.taps_y = taps_y, t.taps_x = phase_.x.taps, t.length = from;
    if (taps_z * taps_y == 0) t.taps_z = 0;
    t.w_x = from * width_, t.w_y = phase_.x.taps * t.w_x, t.w_z = phase_.y.taps * t.w_y;
    t.w = w_ + z0_ * t.w_z + y0_ * t.w_y;
    in_place(t, phase_.x.offset);
    t.ahead = {};
    edge_ = t;
    full_ = real_ == width_ - overlap_;
    if (listing_) {
      t.at = in_place_, t.length = phase_.taps() * from;
    } else {
      join_taps(t);
    }
    const Index voxels = shape_->rows * phase_.x.pace;
    const bool fresh = first_ == 0 && voxels * from <= 4096;
    const Index steps = shape_->rows * ceil_div(std::max(fresh ? from * phase_.x.pace : 0, real_), kLine);
    const bool in_tile =
        job_.fetches && width_ >= kWidthThatFetches && !listing_ && from <= 128;   // more: weights fill the way
    t.ahead = {taps_z - phase_.z.pace, taps_y - phase_.y.pace, in_tile ? std::min(t.length, steps) : 0, nullptr};
  }

  /// Results [q, q + real) by a tile of no fewer rows.
  void tile(const TileShape& shape, Index q, Index real) {
    const AxisPhase& x = phase_.x;
    const Index from = job_.plan.from, y_step = x.step * job_.buffers.y_pitch;
    const bool whole = real == shape.rows && full_;
    alignas(64) float buffer[kRows * kWidth];
    GatherTile& t = edge_;
    t.rows = shape.rows;
    t.init = bias_, t.init_step = 0, t.length = from, t.taps_x = x.taps;
    t.out = whole ? out_ + q * y_step : buffer, t.out_step = whole ? y_step : width_;
    const Index left = q * x.pace + x.offset, span = (shape.rows - 1) * x.pace + x.span();
    if (left >= 0 && left + span <= job_.plan.source_extent()[2]) {
      in_place(t, left);
      if (listing_) {
        t.at = in_place_, t.length = tile_.length;
        shape.list(t);
      } else {
        join_taps(t);
        shape.gather(t);
      }
    } else if (t.taps_z == 0) {
      shape.gather(t);
    } else if (listing_) {
      listed_edge_tile(shape, t, left);
    } else if (from >= 16 && x.taps <= kEdgeTaps) {
      edge_tile(shape, t, left);
    } else {
      patch_tile(shape, t, left, span);
    }
    if (!whole) store(buffer, q, real);
  }

  /// The real channels of `real` results in the buffer; few are copied faster without a call.
  void store(const float* buffer, Index q, Index real) const {
    const Index y_step = phase_.x.step * job_.buffers.y_pitch;
    float* out = out_ + q * y_step;
    for (Index i = 0; i < real; ++i, out += y_step, buffer += width_) copy(buffer, out, real_);
  }
  typedef float Four __attribute__((vector_size(16), aligned(4), may_alias));
  static void copy(const float* from, float* to, Index count) {
    if (count >= 4) {
      for (Index i = 0; i + 4 < count; i += 4) *reinterpret_cast<Four*>(to + i) = *reinterpret_cast<const Four*>(from + i);
      *reinterpret_cast<Four*>(to + count - 4) = *reinterpret_cast<const Four*>(from + count - 4);
      return;
    }
    if (count > 0) to[0] = from[0];
    if (count > 1) to[1] = from[1];
    if (count > 2) to[2] = from[2];
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

  /// Results are written once, and with few taps sources are read once or twice: without a hint tiles would wait for memory.
  /// Wide tiles do that as they count, for others it is done here.
  void fetch_ahead(Index q) {
    const Index rows = shape_->rows, y_step = tile_.out_step;
    tile_.ahead.out = tile_.out;
    if (tile_.ahead.steps > 0) return;
    const float* out = out_ + q * y_step;
    for (Index i = 0; i < rows; ++i)
      for (Index c = 0; c < real_; c += kLine) __builtin_prefetch(out + i * y_step + c);
    const Index floats = rows * tile_.x_step;
    if (listing_ || first_ > 0 || floats > 4096) return;
    for (Index z = std::max<Index>(0, tile_.ahead.fresh_z); z < tile_.taps_z; ++z)
      for (Index y = std::max<Index>(0, tile_.ahead.fresh_y); y < tile_.taps_y; ++y)
        for (Index i = 0; i < floats; i += kLine) __builtin_prefetch(tile_.x + z * tile_.x_z + y * tile_.x_y + floats + i);
  }

  /// A tile of which some rows meet taps outside in x: they read zeros.
  void edge_tile(const TileShape& shape, const GatherTile& like, Index left) const {
    GatherTile t = like;
    const AxisPhase& x = phase_.x;
    const Index pitch = job_.buffers.x_pitch, width = job_.plan.source_extent()[2], from = job_.plan.from;
    Index at[kEdgeTaps * kRows];
    for (Index j = 0; j < x.taps; ++j)
      for (Index i = 0; i < shape.rows; ++i) {
        const Index voxel = left + i * x.pace + j * x.spread;
        at[j * shape.rows + i] = voxel >= 0 && voxel < width ? voxel * pitch : -1;
      }
    in_place(t, 0);
    t.at = at, t.zeros = kZeros;
    constexpr Index kMost = static_cast<Index>(std::size(kZeros));
    const float* line = t.x;
    const float* w = t.w;
    for (Index first = 0; first < from; first += kMost) {
      t.x = line + first, t.w = w + first * width_, t.length = std::min(kMost, from - first);
      if (first > 0) t.init = t.out, t.init_step = t.out_step;
      shape.edge(t);
    }
  }

  void listed_edge_tile(const TileShape& shape, const GatherTile& like, Index left) const {
    GatherTile t = like;
    alignas(64) float patch[kPatch];
    const Index from = job_.plan.from, span = list_line(), line = span * from;
    for (Index i = 0; i < t.taps_z * t.taps_y; ++i)
      copy_line(patch + i * line, row_of(i / t.taps_y, i % t.taps_y), {left, span, 0, from});
    t.x = patch, t.x_step = phase_.x.pace * from;
    t.at = in_patch_, t.length = phase_.taps() * from;
    shape.list(t);
  }

  /// The source, as far as it exists, is copied into a patch with zeros around it; as many channels at a time as fit.
  void patch_tile(const TileShape& shape, GatherTile& t, Index left, Index span) {
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
      copy(x, to, inside * channels);
    } else {
      for (Index i = 0; i < inside; ++i) copy(x + i * pitch, to + i * channels, channels);
    }
    std::fill(to + inside * channels, to + (line.span - before) * channels, 0.0f);
  }

  /// Where the source of the next tap follows the last channel of this one, taps and channels are one loop.
  void join_taps(GatherTile& t) const {
    if (t.x_x == t.length && t.w_x == t.length * width_) t.length *= t.taps_x, t.taps_x = 1;
  }

  const GatherJob& job_;
  const Phase& phase_;
  const float* w_;
  Index first_, real_, vectors_, width_, overlap_;
  bool listed_, listing_ = false, full_ = true;   // listing_: in this row, of which all taps exist
  const TileShape* shape_;
  Index z0_ = 0, z1_ = 0, y0_ = 0, y1_ = 0, row_ = 0;
  float* out_ = nullptr;
  GatherTile tile_, edge_;   // set by prepare()
  alignas(64) float bias_[kWidth];
  Index in_place_[kListed], in_patch_[kListed];   // lists filled where listed_
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
  if (scatters(plan)) return scatter(executor, plan, buffers);
  const auto floats = [](const std::array<Index, 3>& e, Index channels) { return e[0] * e[1] * e[2] * channels; };
  const Index all = plan.images * (floats(plan.source_extent(), plan.from) + floats(plan.result_extent(), plan.to)) +
                    plan.window.taps() * plan.from * plan.to;
  const GatherJob job{plan, buffers, tiles(plan.isa, plan.to), all > 128 << 10};
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
