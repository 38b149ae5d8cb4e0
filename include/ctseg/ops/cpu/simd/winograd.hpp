// Convolution with stride 1 by Winograd's minimal filtering: several times fewer multiplications than taps. transforms.hpp
// tells the idea in one dimension.
//
// The result is cut into tiles of m^3 voxels, each from n^3 inputs that overlap those of its neighbours by kernel - 1:
//
//     inputs n = 6   |-----------|             input transform: n^3 voxels of a tile -> n^3 points, for all channels
//     results m = 4    |-------|               product: at every point a matrix, tiles x from times from x to
//     next tile                |-----------|   output transform: n^3 points -> m^3 voxels, and the bias
//
// The product is where the time goes, and it is the register tile of the direct convolution with one tap. A task takes a block
// of tiles through all three stages while its points are in the second-level cache. Where the weights at all points are larger
// than that cache they, not the tiles, must be read once: then many tiles are transformed first, into memory that all tasks
// share, and a task is a block of result channels.
#pragma once
#include <atomic>

#include "gather.hpp"
#include "winograd_plan.hpp"

namespace ctseg::simd {

/// Weights to points, in the order in which the product reads them: [block of result channels][y][x][z of a point][from]
/// [channel in block]. A task takes 16 `from` of a block, and transforms as many together as fit the cache: points lie far
/// apart, so each is given several vectors that follow each other.
inline void winograd_pack(Executor& executor, const WinogradPlan& plan, const PackBuffers& b) {
  constexpr Index kRun = 8, kTask = 16, kMostTaps = 5, kMostWeights = 8, kMostLanes = 16;
  const Index from = plan.conv.from, to = plan.conv.to;
  const TileTable& table = tiles(plan.conv.isa, to);
  const Index lanes = table.lanes, block = table.block(), points = plan.weights();
  const auto& kernel = plan.conv.window.kernel;
  const Index n1 = plan.weights(1), n2 = plan.weights(2), taps = plan.conv.window.taps(), parts = ceil_div(from, kTask);
  const Index tap_from = b.flipped ? 1 : to, tap_to = b.flipped ? from : 1;
  const auto pass = [&](std::size_t axis, const TransformPass& p) {
    table.transforms->weights[static_cast<std::size_t>(plan.tiling[axis])](p);
  };
  parallel_for(executor, ceil_div(to, block) * parts, [&](Index task) {
    const Index first = task / parts * block, real = std::min(block, to - first), width = ceil_div(real, lanes) * lanes;
    const Index end = std::min(from, (task % parts + 1) * kTask), most = kRun * lanes / width;
    alignas(64) float box[kMostTaps * kMostWeights * kMostWeights * kRun * kMostLanes];   // [z][y][x][from][channel]
    for (Index i = task % parts * kTask, count; i < end; i += count) {
      count = std::min(most, end - i);
      const Index vectors = count * width / lanes, value = count * width, line = n2 * value, plane = n1 * line;
      for (Index t = 0; t < taps; ++t) {   // seen from the other side of the window, the taps come in falling order
        const float* w = b.w + (plan.conv.side == Side::output ? t : taps - 1 - t) * from * to + i * tap_from + first * tap_to;
        float* x = box + t / kernel[2] / kernel[1] * plane + t / kernel[2] % kernel[1] * line + t % kernel[2] * value;
        if (real < width) std::fill(x, x + value, 0.0f);
        for (Index k = 0; k < count; ++k)
          if (tap_to == 1)
            std::copy_n(w + k * to, real, x + k * width);
          else
            for (Index c = 0; c < real; ++c) x[k * width + c] = w[c * tap_to + k];
      }
      float* out = b.packed + first * points * from + i * width;
      for (Index z = 0; z < kernel[0]; ++z) {
        float* x = box + z * plane;
        pass(2, {x, {value, lanes, line}, x, {value, lanes, line}, vectors, kernel[1]});
        pass(1, {x, {line, lanes, 0}, x, {line, lanes, 0}, n2 * vectors, 1});
      }
      pass(0, {box, {plane, lanes, value}, out, {from * width, lanes, plan.weights(0) * from * width}, vectors, n1 * n2});
    }
  });
}

/// One convolution under way: what its tasks share.
class Winograd {
 public:
  Winograd(const WinogradPlan& plan, const GatherBuffers& buffers, float* scratch)
      : plan_(plan),
        buffers_(buffers),
        table_(tiles(plan.conv.isa, plan.conv.to)),
        source_table_(tiles(plan.conv.isa, plan.conv.from)),
        lanes_(source_table_.lanes),
        cut_(plan, table_),
        scratch_(scratch) {}

  void run(Executor& executor) {
    if (cut_.shared) return run_shared(executor);
    const Index wave = buffers_.wave > 0 ? buffers_.wave : cut_.chunks;
    for (Index first = 0; first < cut_.chunks; first += wave) run_chunks(executor, first, std::min(cut_.chunks, first + wave));
  }

 private:
  static constexpr Index kMostLanes = 16, kGroup = 32;   // channels: 128 bytes of a voxel, which caches fetch together
  static constexpr Index kColumns = 18;                  // of six points, 81 KiB; in shorter runs, rows are read slowly
  static constexpr Index kBox = kColumns * kMostInputs * kMostInputs * kGroup;
  static constexpr Index kOutputs = 2 * 4 * 4 * 6 * kGroup;   // 24 KiB, two tiles of F(4, 3), if one is not larger
  static constexpr Index kOutputBox = kMostResults * kMostResults * kMostInputs * kGroup;

  void run_chunks(Executor& executor, Index first_chunk, Index last_chunk) {
    std::atomic<Index> next{first_chunk};   // memory goes with the task, and tiles to whoever is free
    parallel_for(executor, cut_.slots, [&](Index slot) {
      float *v = scratch_ + slot * (cut_.input + cut_.product), *m = v + cut_.input;
      for (Index chunk = next++; chunk < last_chunk; chunk = next++) {
        const Index first = chunk * cut_.chunk, count = std::min(cut_.chunk, plan_.tiles() - first);
        for (Index t = 0, run; t < count; t += run) {
          run = strip(first + t, count - t);
          for (Index c = 0; c < cut_.from; c += kGroup) transform_input(first + t, run, c, v + t * cut_.from + c);
        }
        for (Index block = 0; block < cut_.blocks; ++block) multiply(block, first, count, v, m);
      }
    });
  }

  void run_shared(Executor& executor) {
    const Index groups = ceil_div(cut_.from, kGroup);
    float *v = scratch_, *products = scratch_ + cut_.input;
    for (Index first = 0; first < plan_.tiles(); first += cut_.chunk) {
      const Index count = std::min(cut_.chunk, plan_.tiles() - first), parts = ceil_div(count, cut_.task_tiles);
      parallel_for(executor, parts * groups, [&](Index task) {
        const Index begin = task / groups * cut_.task_tiles, end = std::min(count, begin + cut_.task_tiles);
        const Index channel = task % groups * kGroup;
        for (Index t = begin, run; t < end; t += run) {
          run = strip(first + t, end - t);
          transform_input(first + t, run, channel, v + t * cut_.from + channel);
        }
      });
      std::atomic<Index> next{0};
      parallel_for(executor, cut_.slots, [&](Index slot) {
        for (Index task = next++; task < cut_.blocks * parts; task = next++) {
          const Index t = task % parts * cut_.task_tiles;
          multiply(task / parts, first + t, std::min(cut_.task_tiles, count - t), v + t * cut_.from,
                   products + slot * cut_.product);
        }
      });
    }
  }

  struct Place {
    Index image, z, y, x;   // of a tile's first result
  };
  Place place(Index tile) const {
    const Index x = plan_.tiles(2), y = plan_.tiles(1), z = plan_.tiles(0);
    return {tile / x / y / z, tile / x / y % z * plan_.m(0), tile / x % y * plan_.m(1), tile % x * plan_.m(2)};
  }
  /// Where the source of a tile begins.
  Place source(Index tile) const {
    const Place p = place(tile);
    const auto at = [&](std::size_t d, Index first) { return first / plan_.m(d) * plan_.pace(d) + plan_.offset(d); };
    return {p.image, at(0, p.z), at(1, p.y), at(2, p.x)};
  }
  void pass(const Transform (&transforms)[kTilings], std::size_t axis, const TransformPass& p) const {
    transforms[static_cast<std::size_t>(plan_.tiling[axis])](p);
  }

  /// Tiles from `tile` on, at most `most`, that lie side by side in one row.
  Index strip(Index tile, Index most) const { return std::min(most, plan_.tiles(2) - tile % plan_.tiles(2)); }
  /// Channels that are transformed together from `channel` on, rounded up to whole vectors.
  Index group(Index channel) const { return std::min(kGroup, cut_.from - channel); }

  /// Floats of a plane of transform_input's box: at least kColumns columns.
  Index box_plane() const { return kColumns * std::max<Index>(36, plan_.n(0) * plan_.n(1)) * kGroup / plan_.n(0); }
  /// A group of channels of the inputs of `run` tiles side by side, to v + point * point_v + tile * from. As many tiles at a
  /// time as fit the first-level cache; columns that a tile shares with the one before are transformed along z and y once.
  void transform_input(Index tile, Index run, Index channel, float* v) const {
    const Transform(&input)[kTilings] = source_table_.transforms->input;
    const Index lanes = lanes_, width = group(channel), vectors = width / lanes;
    const Index n0 = plan_.n(0), n1 = plan_.n(1), n2 = plan_.n(2), pace = plan_.pace(2), shared = n2 - pace;
    const Index column = n1 * width, plane = box_plane(), most = (plane / column - shared) / pace;
    alignas(64) float box[kBox];   // [z][column][y][channel]
    Place p = source(tile);
    for (Index begin = 0; begin < run; begin += most, v += most * cut_.from) {
      const Index count = std::min(most, run - begin), old = begin == 0 ? 0 : shared, columns = count * pace + shared - old;
      for (Index z = 0; z < n0 && old > 0; ++z)
        std::memmove(box + z * plane, box + z * plane + most * pace * column,
                     static_cast<std::size_t>(old * column) * sizeof(float));
      transform_columns(p, columns, channel, box + old * column);
      p.x += columns;
      for (Index z = 0; z < n0; ++z) {   // a plane stays in the first-level cache
        float *all = box + z * plane, *fresh = all + old * column;
        pass(input, 1, {fresh, {width, lanes, column}, fresh, {width, lanes, column}, vectors, columns});
        pass(input, 2,
             {all,
              {column, lanes, width, pace * column},
              v + z * cut_.point_v,
              {n0 * cut_.point_v, lanes, n2 * n0 * cut_.point_v, cut_.from},
              vectors,
              n1,
              count});
      }
    }
  }
  /// A group of channels of the columns at `at`, transformed along z; where there is no source, zeros.
  void transform_columns(const Place& at, Index columns, Index channel, float* to) const {
    const Transform(&input)[kTilings] = source_table_.transforms->input;
    const Index width = group(channel), vectors = width / lanes_, pitch = buffers_.x_pitch;
    const Index n0 = plan_.n(0), n1 = plan_.n(1), column = n1 * width, plane = box_plane();
    const auto& extent = plan_.conv.source_extent();
    const Index row = extent[2] * pitch, slice = extent[1] * row;
    const Index first_z = std::max<Index>(0, -at.z), first_y = std::max<Index>(0, -at.y), first_x = std::max<Index>(0, -at.x);
    const Index rows_z = std::min(n0, extent[0] - at.z) - first_z, rows_y = std::min(n1, extent[1] - at.y) - first_y,
                rows_x = std::min(columns, extent[2] - at.x) - first_x;
    const bool all_z = rows_z == n0 && channel + width <= plan_.conv.from;
    if (!all_z || rows_y < n1 || rows_x < columns)
      for (Index z = 0; z < n0; ++z) std::memset(to + z * plane, 0, static_cast<std::size_t>(columns * column) * sizeof(float));
    if (rows_z <= 0 || rows_y <= 0 || rows_x <= 0) return;
    const float* from = buffers_.x + (at.image * extent[0] + at.z + first_z) * slice + (at.y + first_y) * row +
                        (at.x + first_x) * pitch + channel;
    to += first_x * column + first_y * width;
    const TransformPass::Walk in_box = {plane, lanes_, column, width};
    if (all_z) return pass(input, 0, {from, {slice, lanes_, pitch, row}, to, in_box, vectors, rows_x, rows_y});
    const Index whole = std::min(width, plan_.conv.from - channel) / lanes_, rest = plan_.conv.from - channel - whole * lanes_;
    for (Index z = 0; z < rows_z; ++z, from += slice) {
      float* out = to + (first_z + z) * plane;
      input[static_cast<std::size_t>(Tiling::whole)](
          {from, {0, lanes_, pitch, row}, out, {0, lanes_, column, width}, whole, rows_x, rows_y});
      if (whole == vectors) continue;
      for (Index i = 0; i < rows_y * rows_x; ++i)
        std::copy_n(from + i / rows_x * row + i % rows_x * pitch + whole * lanes_, rest,
                    out + i / rows_x * width + i % rows_x * column + whole * lanes_);
    }
    pass(input, 0, {to, in_box, to, in_box, vectors, rows_x, rows_y});
  }

  /// Results of `count` tiles from tile `first` in one block of channels; v is that of the first, m room for the products.
  void multiply(Index block, Index first, Index count, const float* v, float* m) const {
    const Index from = plan_.conv.from, channel = block * table_.block(),
                real = std::min(table_.block(), plan_.conv.to - channel);
    const Index vectors = ceil_div(real, table_.lanes), width = vectors * table_.lanes;
    const TileSet& set = table_.wide(vectors);
    const TileShape& shape = set.best(count, vectors);
    const float* w = buffers_.packed + channel * plan_.weights() * from;
    const Index plane = plan_.n(1) * plan_.n(2), line_m = cut_.line_m, lines = plan_.m(0) * line_m;
    float* products = m + plane * lines;
    for (Index i = 0; i < plane; ++i) {   // the products of a line along z stay in the first-level cache
      const float* line_w = w + weights_line(i) * from * width;
      for (Index z = 0; z < plan_.n(0); ++z)
        for (Index q = 0, rows, point = i * plan_.n(0) + z; q < count; q += rows) {
          const TileShape& cover = set.covering(std::min(shape.rows, count - q));
          const TileShape& tile = cover.rows <= count ? cover : set.within(count - q);
          q = std::min(q, count - tile.rows);   // the last ones again, rather than one by one
          const Index blocks = (count - q) / tile.rows;
          rows = blocks * tile.rows;
          tile.product({v + point * cut_.point_v + q * cut_.from, cut_.from, from, line_w + plan_.weight(0, z) * from * width,
                        products + z * line_m + q * width, width, tile.rows, width, blocks});
        }
      pass(table_.transforms->output, 0,
           {products, {line_m, table_.lanes, 0}, m + i * lines, {line_m, table_.lanes, 0}, count * vectors, 1, 1, plan_.m(0)});
    }
    const Index most = std::max<Index>(1, kOutputs / (plan_.m(0) * plan_.m(1) * plan_.n(2) * width));
    const Index cut_off = plan_.conv.result_extent()[2] % plan_.m(2) > 0 ? 1 : 0;   // the last tile of a row, which comes alone
    for (Index i = 0, run, begin = 0; i < count; i += run) {
      run = strip(first + i, std::min(most, count - i));
      if (run > 1 && (first + i + run) % plan_.tiles(2) == 0) run -= cut_off;
      transform_output(first + i, run, {channel, real, width}, m + i * width);
      if (buffers_.epilogue) begin = finish(first, begin, i + run, i + run == count, {channel, real, width});
    }
  }

  /// The weights of the first point of line i along z.
  Index weights_line(Index i) const {
    const Index n2 = plan_.n(2);
    return (plan_.weight(1, i / n2) * plan_.weights(2) + plan_.weight(2, i % n2)) * plan_.weights(0);
  }

  static constexpr Index kEpilogue = 256;   // voxels that an epilogue takes at a time, or more
  struct Channels {
    Index first, count;   // of a block of results
    Index width;          // rounded up to whole vectors
  };
  /// Products of `run` tiles side by side, transformed along z, to their results, as far as they exist.
  void transform_output(Index tile, Index run, const Channels& channels, const float* m) const {
    const Transform(&output)[kTilings] = table_.transforms->output;
    const Index lanes = table_.lanes, width = channels.width, n2 = plan_.n(2), pitch = buffers_.y_pitch;
    const auto& extent = plan_.conv.result_extent();
    const Place p = place(tile);
    const Index nz = std::min(plan_.m(0), extent[0] - p.z), ny = std::min(plan_.m(1), extent[1] - p.y),
                nx = std::min(plan_.m(2), extent[2] - p.x);
    const Index row = extent[2] * pitch, slice = extent[1] * row;
    float* y = buffers_.y + (p.image * extent[0] + p.z) * slice + p.y * row + p.x * pitch + channels.first;
    for (Index i = 0; i < nz * ny; ++i) {   // the results' lines arrive while two axes are transformed
      const float* at = y + i / ny * slice + i % ny * row;
      for (Index x = 0; x < run * nx; ++x, at += pitch)
        for (Index c = 0; c < channels.count; c += 16) __builtin_prefetch(at + c, 1, 2);
    }
    const Index x_step = plan_.m(2) * pitch, value = run * width, line = n2 * value, plane = ny * line;
    const Index lines_m = plan_.m(0) * cut_.line_m;
    alignas(64) float box[kOutputBox];   // [z][y][x][tile][channel]
    pass(output, 1,
         {m, {n2 * lines_m, lanes, cut_.line_m, lines_m}, box, {line, lanes, plane, value}, value / lanes, nz, n2, ny});
    for (Index c = 0; c < channels.count; c += lanes, y += lanes) {
      alignas(64) float bias[kMostLanes] = {}, rest[kMostResults * kMostResults * kMostResults * kMostLanes];
      const Index real = std::min(lanes, channels.count - c);
      if (buffers_.bias) std::copy_n(buffers_.bias + channels.first + c, real, bias);
      TransformPass last{box + c, {value, line, plane, width}, y, {pitch, row, slice, x_step}, ny, nz, run, nx, bias};
      if (real == lanes) {
        pass(output, 2, last);
        continue;
      }
      last.to = rest, last.to_step = {lanes, nx * lanes, ny * nx * lanes}, last.sheets = 1;   // a tile at a time
      for (Index t = 0; t < run; ++t, last.from += width) {
        pass(output, 2, last);
        for (Index i = 0; i < nz * ny * nx; ++i)
          std::copy_n(rest + i * lanes, real, y + t * x_step + i / nx / ny * slice + i / nx % ny * row + i % nx * pitch);
      }
    }
  }

  /// What comes behind the results of tiles [begin, end) from `first`, side by side, once they are enough or the last of a row
  /// or of all; returns where the next begin.
  Index finish(Index first, Index begin, Index end, bool last, const Channels& channels) const {
    const auto& extent = plan_.conv.result_extent();
    const Index m0 = plan_.m(0), m1 = plan_.m(1), m2 = plan_.m(2), tile = first + begin, run = end - begin;
    if (!last && (first + end) % plan_.tiles(2) != 0 && run * m0 * m1 * m2 < kEpilogue) return begin;
    const Place p = place(tile);
    const Box box{.image = p.image,
                  .row = ((p.image * extent[0] + p.z) * extent[1] + p.y) * extent[2] + p.x,
                  .voxels = std::min(run * m2, extent[2] - p.x),
                  .step = 1,
                  .lines = std::min(m1, extent[1] - p.y),
                  .line_step = extent[2],
                  .planes = std::min(m0, extent[0] - p.z),
                  .plane_step = extent[1] * extent[2]};
    buffers_.epilogue->take(box, cut_.unit(tile), channels.first, channels.count);
    return end;
  }

  const WinogradPlan& plan_;
  const GatherBuffers& buffers_;
  const TileTable &table_, &source_table_;
  Index lanes_;   // of the source
  WinogradCut cut_;
  float* scratch_;
};

/// The same sum as gather().
/// Numerics  float; F(2, 3) as exact as the direct sum, the others to some 1e-5 of the largest result. A value that is
///           not finite spoils its tile. The order follows the plan only.
inline void winograd(Executor& executor, const WinogradPlan& plan, const GatherBuffers& buffers, float* scratch) {
  Winograd(plan, buffers, scratch).run(executor);
}

}   // namespace ctseg::simd
