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
#include <optional>

#include "gather.hpp"
#include "transforms.hpp"

namespace ctseg::simd {

struct WinogradPlan {
  ConvPlan conv;
  std::array<Tiling, 3> tiling{};   // along z, y, x

  Index n(std::size_t axis) const { return inputs_of(tiling[axis]); }
  Index m(std::size_t axis) const { return results_of(tiling[axis]); }
  Index points() const { return n(0) * n(1) * n(2); }
  Index tiles(std::size_t axis) const { return ceil_div(conv.result_extent()[axis], m(axis)); }
  Index tiles() const { return conv.images * tiles(0) * tiles(1) * tiles(2); }
  /// The source of result r begins at voxel r + offset.
  Index offset(std::size_t axis) const {
    const Index padding = conv.window.padding[axis];
    return conv.side == Side::output ? -padding : padding - (conv.window.kernel[axis] - 1);
  }
};

/// True where tiles of these kinds can make the convolution.
inline bool winograd_fits(const ConvPlan& plan, const std::array<Tiling, 3>& tiling) {
  for (std::size_t d = 0; d < 3; ++d)
    if (plan.window.stride[d] != 1 || plan.window.dilation[d] != 1 || plan.window.kernel[d] != taps_of(tiling[d])) return false;
  return plan.window.taps() > 1;
}

/// What a weight costs beside a multiply-add: to be read by one call, and to be packed where it changes between calls. Measured
/// at 64 to 320 channels.
constexpr double weight_cost(bool packed_once) { return packed_once ? 8 : 58; }

/// Multiply-adds of one result voxel, transforms counted at what they cost beside the product: measured at 32 and 64 channels.
inline double winograd_cost(const WinogradPlan& plan, bool packed_once) {
  constexpr double kInput = 20, kOutput = 12;
  const double from = double(plan.conv.from), to = double(plan.conv.to), points = double(plan.points());
  const auto padded = [&](Index channels) {
    const Index lanes = tiles(plan.conv.isa, channels).lanes;
    return double(ceil_div(channels, lanes) * lanes);
  };
  const double tile = from * to + kInput * padded(plan.conv.from) + kOutput * padded(plan.conv.to);
  return points * (double(plan.tiles()) * tile + weight_cost(packed_once) * from * to) / plan.conv.results();
}
/// The same of gather(), which leaves out the taps outside along z and y.
inline double direct_cost(const ConvPlan& plan, bool packed_once) {
  double taps = double(plan.window.kernel[2]);
  for (std::size_t d = 0; d < 2; ++d) {
    const AxisPhase axis = axis_phase(plan, d, 0);
    Index met = 0;
    for (Index q = 0; q < axis.count; ++q) met += std::max<Index>(0, axis.end(q, plan.source_extent()[d]) - axis.begin(q));
    taps *= double(met) / double(axis.count);
  }
  return (taps + weight_cost(packed_once) * double(plan.window.taps()) / plan.results()) * double(plan.from * plan.to);
}

/// The kinds of tiles for each axis, large ones where they mean fewer points; none: a kernel that has no tiles.
inline std::optional<WinogradPlan> winograd_tiles(const ConvPlan& conv, bool large) {
  WinogradPlan plan{conv};
  for (std::size_t d = 0; d < 3; ++d) {
    const Index extent = conv.result_extent()[d], kernel = conv.window.kernel[d];
    if (kernel == 3)
      plan.tiling[d] = large && ceil_div(extent, 4) * 6 < ceil_div(extent, 2) * 4 ? Tiling::f4k3 : Tiling::f2k3;
    else if (kernel == 5 && large)
      plan.tiling[d] = Tiling::f2k5;
    else if (kernel != 1)
      return std::nullopt;
  }
  return winograd_fits(conv, plan.tiling) ? std::optional(plan) : std::nullopt;
}

/// The cheapest way that `accuracy` allows; none: the direct one. Small images with many channels have more weights than
/// voxels: there the points of large tiles, or of any, cost more than they save, most of all where every call packs them.
/// Chosen from shape, instruction set and mode alone, so that results repeat.
inline std::optional<WinogradPlan> choose_winograd(const ConvPlan& conv, Accuracy accuracy, bool packed_once = true) {
  std::optional<WinogradPlan> best;
  if (accuracy == Accuracy::strict) return best;
  double least = 0.9 * direct_cost(conv, packed_once);
  for (const bool large : {false, true}) {
    if (large && accuracy != Accuracy::fast) continue;
    const auto plan = winograd_tiles(conv, large);
    if (!plan) continue;
    if (const double cost = winograd_cost(*plan, packed_once); cost < least) best = plan, least = cost;
  }
  return best;
}

/// How tiles and channels become tasks and what memory they need, in floats: by shape alone.
struct WinogradCut {
  Index from;               // channels of the source, rounded up to whole vectors
  Index width, blocks;      // channels of a block of results, rounded up to whole vectors; blocks
  Index rows, task_tiles;   // tiles that a task multiplies at a time
  Index chunk, chunks;      // tiles transformed together
  bool shared;              // ... for all tasks, not for one
  Index slots;              // tasks that can run at a time
  Index point_v, point_m;   // floats from one point to the next
  Index input, product;     // floats of one set of transformed inputs, and of one task's products

  WinogradCut(const WinogradPlan& plan, const TileTable& table) {
    constexpr Index kInputs = Index{768} << 10, kShared = Index{4} << 20, kWeights = Index{8} << 20, kFewest = 6, kSlots = 32;
    constexpr Index kFloat = Index{sizeof(float)}, kTasks = 16;   // as the direct engine
    const Index points = plan.points(), all = plan.tiles(), lanes = tiles(plan.conv.isa, plan.conv.from).lanes;
    from = ceil_div(plan.conv.from, lanes) * lanes;
    width = std::min(table.block(), ceil_div(plan.conv.to, table.lanes) * table.lanes);
    blocks = ceil_div(plan.conv.to, table.block());
    rows = table.wide(width / table.lanes).shapes[0].rows;
    const Index tile_bytes = points * std::max(from, width) * kFloat, weight_bytes = points * from * plan.conv.to * kFloat;
    const Index fit = kInputs / tile_bytes;   // tiles whose points stay in the cache of one core
    // Cut over its tiles alone, a small image is work for one or two threads.
    const bool few = ceil_div(all, ceil_div(ceil_div(all, kTasks), rows) * rows) < kTasks / 2;
    shared = fit < kFewest || weight_bytes > kWeights || (few && blocks > 1);
    chunk = shared ? std::max(rows, kShared / tile_bytes / rows * rows) : fit >= rows ? fit / rows * rows : fit;
    if (!shared) chunk = std::min(chunk, ceil_div(ceil_div(all, kTasks), rows) * rows);
    chunks = ceil_div(all, chunk);
    chunk = ceil_div(all, chunks);   // of equal size
    task_tiles = shared ? std::min(chunk, rows) : chunk;
    slots = std::min(kSlots, shared ? blocks * ceil_div(chunk, task_tiles) : chunks);
    point_v = chunk * from + 16;   // 16: points do not fall on the same lines of the cache
    point_m = task_tiles * width + 16;
    input = points * point_v;
    product = points * point_m;
  }
  Index floats() const { return (shared ? input : slots * input) + slots * product; }
};

inline Index winograd_scratch_bytes(const WinogradPlan& plan) {
  return WinogradCut(plan, tiles(plan.conv.isa, plan.conv.to)).floats() * Index{sizeof(float)};
}
/// Weights at all points, with the result channels rounded up to whole vectors.
inline Index winograd_packed_bytes(const WinogradPlan& plan) {
  const Index lanes = tiles(plan.conv.isa, plan.conv.to).lanes;
  return plan.points() * plan.conv.from * ceil_div(plan.conv.to, lanes) * lanes * Index{sizeof(float)};
}

/// Weights to points, in the order in which the product reads them: [block of result channels][point][from][channel in block].
inline void winograd_pack(Executor& executor, const WinogradPlan& plan, const PackBuffers& b) {
  const Index from = plan.conv.from, to = plan.conv.to;
  const TileTable& table = tiles(plan.conv.isa, to);
  const TransformTable& transforms = *table.transforms;
  const Index lanes = table.lanes, block = table.block(), points = plan.points();
  const auto& kernel = plan.conv.window.kernel;
  const Index n1 = plan.n(1), n2 = plan.n(2), taps = plan.conv.window.taps();
  const Index tap_from = b.flipped ? 1 : to, tap_to = b.flipped ? from : 1;
  const Index vectors = ceil_div(to, lanes);
  const auto pass = [&](std::size_t axis, const TransformPass& p) {
    transforms.weights[static_cast<std::size_t>(plan.tiling[axis])](p);
  };
  parallel_for(executor, vectors * from, [&](Index task) {
    const Index i = task % from, first = task / from * lanes, real = std::min(lanes, to - first);
    const Index width = std::min(block, ceil_div(to - first / block * block, lanes) * lanes);
    alignas(64) float a[kMostInputs * kMostInputs * kMostInputs * 16], c[kMostInputs * kMostInputs * kMostInputs * 16];
    for (Index t = 0; t < taps; ++t) {   // seen from the other side of the window, the taps come in falling order
      const float* w = b.w + (plan.conv.side == Side::output ? t : taps - 1 - t) * from * to + i * tap_from + first * tap_to;
      for (Index k = 0; k < real; ++k) a[t * lanes + k] = w[k * tap_to];
      std::fill(a + t * lanes + real, a + (t + 1) * lanes, 0.0f);
    }
    // x: [kz][ky][kx] -> [kz][ky][n2]; y: -> [kz][n1][n2]; z: -> points
    pass(2, {a, {lanes, kernel[2] * lanes, 0}, c, {lanes, n2 * lanes, 0}, kernel[0] * kernel[1], 1});
    pass(1, {c, {n2 * lanes, lanes, kernel[1] * n2 * lanes}, a, {n2 * lanes, lanes, n1 * n2 * lanes}, n2, kernel[0]});
    float* out = b.packed + first / block * block * points * from + i * width + first % block;
    pass(0, {a, {n1 * n2 * lanes, lanes, 0}, out, {n1 * n2 * from * width, from * width, 0}, n1 * n2, 1});
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
    std::atomic<Index> next{0};   // memory goes with the task, and tiles to whoever is free
    parallel_for(executor, cut_.slots, [&](Index slot) {
      float *v = scratch_ + slot * (cut_.input + cut_.product), *m = v + cut_.input;
      for (Index chunk = next++; chunk < cut_.chunks; chunk = next++) {
        const Index first = chunk * cut_.chunk, count = std::min(cut_.chunk, plan_.tiles() - first);
        for (Index t = 0, run; t < count; t += run) {
          run = strip(first + t, count - t);
          for (Index c = 0; c < cut_.from; c += lanes_) transform_input(first + t, run, c, v + t * cut_.from + c);
        }
        for (Index block = 0; block < cut_.blocks; ++block) multiply(block, first, count, v, m);
      }
    });
  }

 private:
  static constexpr Index kMostLanes = 16,
                         kBox = 18 * kMostInputs * kMostInputs;   // vectors: 40 KiB, most of the first-level cache

  void run_shared(Executor& executor) {
    const Index vectors = cut_.from / lanes_;
    float *v = scratch_, *products = scratch_ + cut_.input;
    for (Index first = 0; first < plan_.tiles(); first += cut_.chunk) {
      const Index count = std::min(cut_.chunk, plan_.tiles() - first), parts = ceil_div(count, cut_.task_tiles);
      parallel_for(executor, parts * vectors, [&](Index task) {
        const Index begin = task / vectors * cut_.task_tiles, end = std::min(count, begin + cut_.task_tiles);
        const Index channel = task % vectors * lanes_;
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
  void pass(const Transform (&transforms)[4], std::size_t axis, const TransformPass& p) const {
    transforms[static_cast<std::size_t>(plan_.tiling[axis])](p);
  }

  /// Tiles from `tile` on, at most `most`, that lie side by side in one row and fit the box that a strip is transformed in.
  Index strip(Index tile, Index most) const {
    const Index inputs = (kBox / (plan_.n(0) * plan_.n(1)) - (plan_.n(2) - plan_.m(2))) / plan_.m(2);
    const Index products = kBox / (plan_.m(0) * plan_.n(1) * plan_.n(2));
    return std::min({most, inputs, products, plan_.tiles(2) - tile % plan_.tiles(2)});
  }

  /// A vector of channels of the inputs of `run` tiles side by side, to v + point * point_v + tile * from. Columns that two
  /// tiles share are read and transformed along z and y once.
  void transform_input(Index tile, Index run, Index channel, float* v) const {
    const Transform(&input)[4] = source_table_.transforms->input;
    const Index lanes = lanes_, n0 = plan_.n(0), n1 = plan_.n(1), n2 = plan_.n(2), m2 = plan_.m(2), column = n0 * n1 * lanes;
    const Index columns = run * m2 + n2 - m2, pitch = buffers_.x_pitch;
    const auto& extent = plan_.conv.source_extent();
    Place p = place(tile);
    p.z += plan_.offset(0), p.y += plan_.offset(1), p.x += plan_.offset(2);
    const bool inside = p.z >= 0 && p.y >= 0 && p.x >= 0 && p.z + n0 <= extent[0] && p.y + n1 <= extent[1] &&
                        p.x + columns <= extent[2] && channel + lanes <= plan_.conv.from;
    alignas(64) float box[kBox * kMostLanes];   // [column][z][y][channel]
    const TransformPass::Walk in_box = {n1 * lanes, lanes, column};
    if (inside) {
      const Index row = extent[2] * pitch;
      const float* source = buffers_.x + ((p.image * extent[0] + p.z) * extent[1] + p.y) * row + p.x * pitch + channel;
      pass(input, 0, {source, {extent[1] * row, row, pitch}, box, in_box, n1, columns});
    } else {
      copy_edge(p, columns, channel, box);
      pass(input, 0, {box, in_box, box, in_box, n1, columns});
    }
    pass(input, 1, {box, {lanes, n1 * lanes, column}, box, {lanes, n1 * lanes, column}, n0, columns});
    pass(input, 2, {box, {column, lanes, m2 * column}, v, {cut_.point_v, n2 * cut_.point_v, cut_.from}, n0 * n1, run});
  }
  /// A vector of channels of the columns at `at`, as far as they exist, and zeros.
  void copy_edge(const Place& at, Index columns, Index channel, float* to) const {
    const auto& extent = plan_.conv.source_extent();
    const auto count = static_cast<std::size_t>(std::min(lanes_, plan_.conv.from - channel));
    std::memset(to, 0, static_cast<std::size_t>(columns * plan_.n(0) * plan_.n(1) * lanes_) * sizeof(float));
    const Index first = std::max<Index>(0, -at.x), last = std::min(columns, extent[2] - at.x);
    for (Index i = 0; i < plan_.n(0) * plan_.n(1); ++i, to += lanes_) {
      const Index z = at.z + i / plan_.n(1), y = at.y + i % plan_.n(1);
      if (z < 0 || y < 0 || z >= extent[0] || y >= extent[1]) continue;
      const float* row =
          buffers_.x + (((at.image * extent[0] + z) * extent[1] + y) * extent[2] + at.x) * buffers_.x_pitch + channel;
      for (Index x = first; x < last; ++x)
        std::memcpy(to + x * plan_.n(0) * plan_.n(1) * lanes_, row + x * buffers_.x_pitch, count * sizeof(float));
    }
  }

  /// Results of `count` tiles from tile `first` in one block of channels; v is that of the first, m room for the products.
  void multiply(Index block, Index first, Index count, const float* v, float* m) const {
    const Index from = plan_.conv.from, channel = block * table_.block(),
                real = std::min(table_.block(), plan_.conv.to - channel);
    const Index vectors = ceil_div(real, table_.lanes), width = vectors * table_.lanes;
    const TileSet& set = table_.wide(vectors);
    const TileShape& shape = set.best(count, vectors);
    const float* w = buffers_.packed + channel * plan_.points() * from;
    alignas(64) static constexpr float kZeros[2 * kMostLanes] = {};
    GatherTile t{};
    t.x_step = cut_.from, t.taps_z = t.taps_y = t.taps_x = 1, t.length = from, t.init = kZeros, t.out_step = width,
    t.width = width;
    for (Index point = 0; point < plan_.points(); ++point) {
      t.w = w + point * from * width;
      const auto tile = [&](const TileShape& s, Index q) {
        t.x = v + point * cut_.point_v + q * cut_.from, t.out = m + point * cut_.point_m + q * width, t.rows = s.rows;
        s.gather(t);
      };
      Index q = 0;
      for (; q + shape.rows <= count; q += shape.rows) tile(shape, q);
      while (q < count) {
        const TileShape& rest = set.within(count - q);
        tile(rest, q);
        q += rest.rows;
      }
    }
    for (Index i = 0, run; i < count; i += run) {
      run = strip(first + i, count - i);
      const Index last = (first + i + run) % plan_.tiles(2) == 0 && plan_.conv.result_extent()[2] % plan_.m(2) > 0 ? 1 : 0;
      if (run > 1) run -= last;   // a tile that is cut off comes alone
      for (Index c = 0; c < real; c += table_.lanes)
        transform_output(first + i, run, {channel + c, std::min(table_.lanes, real - c), width}, m + i * width + c);
    }
  }

  struct Channels {
    Index first, count;   // no more than a vector
    Index width;          // of their block
  };
  /// Products of `run` tiles side by side to their results, as far as they exist.
  void transform_output(Index tile, Index run, const Channels& channels, const float* m) const {
    const Transform(&output)[4] = table_.transforms->output;
    const Index lanes = table_.lanes, n1 = plan_.n(1), n2 = plan_.n(2), plane = n1 * n2, m2 = plan_.m(2),
                pitch = buffers_.y_pitch;
    const auto& extent = plan_.conv.result_extent();
    const Place p = place(tile);
    const Index nz = std::min(plan_.m(0), extent[0] - p.z), ny = std::min(plan_.m(1), extent[1] - p.y),
                nx = std::min(m2, extent[2] - p.x);
    const Index row = extent[2] * pitch;
    float* y = buffers_.y + ((p.image * extent[0] + p.z) * extent[1] + p.y) * row + p.x * pitch + channels.first;
    alignas(64) float box[kBox * kMostLanes], bias[kMostLanes] = {};   // [tile][z][y][x][channel]
    if (buffers_.bias) std::copy_n(buffers_.bias + channels.first, channels.count, bias);
    const TransformPass::Walk lines = {n2 * lanes, lanes, plane * lanes};
    pass(output, 0,
         {m,
          {plane * cut_.point_m, cut_.point_m, channels.width},
          box,
          {plane * lanes, lanes, nz * plane * lanes},
          plane,
          run,
          nz});
    pass(output, 1, {box, lines, box, lines, n2, run * nz, ny});
    for (Index z = 0; z < nz; ++z, y += extent[1] * row) {
      TransformPass last{
          box + z * plane * lanes, {lanes, n2 * lanes, nz * plane * lanes}, y, {pitch, row, m2 * pitch}, ny, run, nx, bias};
      if (channels.count == lanes) {
        pass(output, 2, last);
        continue;
      }
      alignas(64) float rest[4 * kMostLanes];   // a line of one tile
      last.lines = last.planes = 1, last.to = rest, last.to_step.value = lanes;
      for (Index i = 0; i < run * ny; ++i) {
        last.from = box + (z + i / ny * nz) * plane * lanes + i % ny * n2 * lanes;
        pass(output, 2, last);
        for (Index x = 0; x < nx; ++x)
          std::copy_n(rest + x * lanes, channels.count, y + i % ny * row + (i / ny * m2 + x) * pitch);
      }
    }
  }

  const WinogradPlan& plan_;
  const GatherBuffers& buffers_;
  const TileTable &table_, &source_table_;
  Index lanes_;   // of the source
  WinogradCut cut_;
  float* scratch_;
};

/// The same sum as gather().
/// Numerics  float; F(2, 3) as exact as the direct sum, F(4, 3) and F(2, 5) to some 1e-5 of the largest result. A value that is
///           not finite spoils its tile. The order follows the plan only.
inline void winograd(Executor& executor, const WinogradPlan& plan, const GatherBuffers& buffers, float* scratch) {
  Winograd(plan, buffers, scratch).run(executor);
}

}   // namespace ctseg::simd
