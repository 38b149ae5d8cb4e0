// The weight gradient of a convolution with stride 1 by Winograd's tiles: the transpose of what winograd.hpp computes.
//
// Forward, a tile's results are  y = A^T [ (G w) * (B^T x) ]  in every channel pair: points of the weights times points of the
// inputs, summed over channels of x. That is linear in w, so its transpose gives the gradient of w from that of y:
//
//     dw = G^T [ sum over tiles of (B^T x) (A dy) ]        * was a product at each point; here it is one of vectors of channels
//
//     x, n^3 voxels of a tile  -> n^3 points   input transform, as forward
//     dy, m^3 voxels of a tile -> n^3 points   the transpose of the output transform
//     at every point: [from x tiles] times [tiles x to], summed in memory; at the end n^3 points -> taps by G^T, once
//
// Products: n^3 for m^3 voxels in place of 27 m^3. The product is the register tile of the direct weight gradient with one tap
// and tiles in place of voxels. A chunk of tiles is transformed, then the points are multiplied.
#pragma once
#include <optional>

#include "weight_gradient.hpp"
#include "winograd.hpp"

namespace ctseg::simd {

/// Multiply-adds, transforms and the memory of the sums counted at what they cost beside the product (measured at 8 to 512
/// channels).
inline double winograd_weights_cost(const WinogradPlan& plan) {
  constexpr double kInput = 25, kOutput = 15, kSum = 45, kProduct = 1.15;
  const double weights = double(plan.conv.from) * double(plan.conv.to);
  const auto padded = [&](Index channels) {
    const Index lanes = tiles(plan.conv.isa, channels).lanes;
    return double(ceil_div(channels, lanes) * lanes);
  };
  const double tile = kProduct * weights + kInput * padded(plan.conv.from) + kOutput * padded(plan.conv.to);
  return double(plan.points()) * (double(plan.tiles()) * tile + kSum * weights);
}
/// The same of weight_gradient(), which leaves out the taps outside.
inline double weight_gradient_cost(const ConvPlan& plan) {
  constexpr double kSum = 45;
  double pairs = double(plan.images);
  for (std::size_t d = 0; d < 3; ++d) {
    const AxisPhase axis = axis_phase(plan, d, 0);
    Index met = 0;
    for (Index q = 0; q < axis.count; ++q) met += std::max<Index>(0, axis.end(q, plan.source_extent()[d]) - axis.begin(q));
    pairs *= double(met);
  }
  return (pairs + kSum * double(plan.window.taps())) * double(plan.from * plan.to);
}

/// The cheapest tiles that `accuracy` allows; none: the direct sum, as for small images with many channels. `standard` has
/// large tiles along x alone: sums over a whole image forgive that, and it is a fifth faster than F(2, 3) everywhere.
inline std::optional<WinogradPlan> choose_winograd_weights(const ConvPlan& conv, Accuracy accuracy) {
  std::optional<WinogradPlan> best;
  if (strided(conv)) return best;
  double least = 0.9 * weight_gradient_cost(conv);
  for (const Index most : {2, 4}) {
    auto plan = winograd_tiles(conv, most);
    if (!plan || !accurate(conv, accuracy, most)) continue;
    if (conv.window.kernel[2] == 3) plan->tiling[2] = winograd_tiles(conv, 4)->tiling[2];
    if (const double cost = winograd_weights_cost(*plan); cost < least) best = plan, least = cost;
  }
  return best;
}

/// How tiles and channels become tasks and what memory they need, in floats: by shape alone.
struct WinogradWeightsCut {
  Index from, groups;   // channels of x taken at a time, in whole vectors, so that the sums at all points have a bound
  Index to;             // channels of dy, rounded up to whole vectors
  Index copies;         // of the sums: tasks that each take a range of tiles through all stages; 1: tasks share a chunk
  Index chunk;          // tiles transformed before they are multiplied
  Index point_x, point_y, point_u;   // floats from one point to the next: transformed x, dy, sums
  Index chunk_floats, sum_floats;    // of one copy

  explicit WinogradWeightsCut(const WinogradPlan& plan) {
    constexpr Index kFloat = Index{sizeof(float)}, kPad = 16;   // points do not fall on the same lines of the cache
    constexpr Index kSums = 16 << 20, kOwn = 1 << 20, kLeast = 4 << 20, kMost = 16 << 20, kFewest = 16, kCopies = 16;
    constexpr Index kAll = 36 << 20;
    const Index points = plan.points(), all = plan.tiles();
    const Index lanes = tiles(plan.conv.isa, plan.conv.from).lanes, to_lanes = tiles(plan.conv.isa, plan.conv.to).lanes;
    const Index vectors = ceil_div(plan.conv.from, lanes);
    to = ceil_div(plan.conv.to, to_lanes) * to_lanes;
    from = ceil_div(vectors, std::min(vectors, ceil_div(points * vectors * lanes * to * kFloat, kSums))) * lanes;
    groups = ceil_div(vectors * lanes, from);
    const Index sum_bytes = points * from * to * kFloat, tile_bytes = points * (from + to) * kFloat;
    // Copies of the sums must be cleared and added: that pays where their tiles are 64 times as much to read.
    copies = std::min({kCopies, all * tile_bytes / (64 * sum_bytes), kSums / sum_bytes,
                       kAll / (sum_bytes + std::max(kOwn, kFewest * tile_bytes))});
    if (copies < kCopies / 2 || groups > 1) copies = 1;
    // Sums are read and written once for each chunk: the larger they are, the larger the chunk.
    chunk = std::max((copies > 1 ? kOwn : std::clamp(sum_bytes, kLeast, kMost)) / tile_bytes, kFewest);
    const Index share = ceil_div(all, copies);
    chunk = ceil_div(share, ceil_div(share, chunk));   // of equal size
    point_x = chunk * from + kPad, point_y = chunk * to + kPad, point_u = from * to + kPad;
    chunk_floats = points * (point_x + point_y), sum_floats = points * point_u;
  }
  Index floats() const { return copies * (chunk_floats + sum_floats); }
};

inline Index winograd_weights_scratch_bytes(const WinogradPlan& plan) {
  return WinogradWeightsCut(plan).floats() * Index{sizeof(float)};
}

/// One weight gradient under way.
class WinogradWeights {
 public:
  WinogradWeights(const WinogradPlan& plan, const GradientBuffers& buffers)
      : plan_(plan),
        buffers_(buffers),
        cut_(plan),
        table_(tiles(plan.conv.isa, plan.conv.to)),
        x_(tiles(plan.conv.isa, plan.conv.from).transforms->input),
        dy_(table_.transforms->output_adjoint) {
    const ConvPlan& c = plan.conv;
    x_.data = buffers.x, x_.pitch = buffers.x_pitch, x_.channels = c.from, x_.lanes = tiles(c.isa, c.from).lanes;
    x_.extent = c.source_extent(), x_.point = cut_.point_x, x_.width = cut_.from;
    dy_.data = buffers.dy, dy_.pitch = buffers.dy_pitch, dy_.channels = c.to, dy_.lanes = table_.lanes;
    dy_.extent = c.result_extent(), dy_.point = cut_.point_y, dy_.width = cut_.to;
    for (std::size_t d = 0; d < 3; ++d) {
      x_.read[d] = plan.n(d), x_.offset[d] = plan.offset(d);
      dy_.read[d] = plan.m(d), dy_.offset[d] = 0;
    }
  }

  void run(Executor& executor) {
    for (Index group = 0; group < cut_.groups; ++group) {
      const Index first = group * cut_.from;
      const Group channels = {first, std::min(cut_.from, plan_.conv.from - first)};
      if (cut_.copies == 1)
        sum_tiles(executor, 0, channels);
      else   // tasks run what they cut themselves
        parallel_for(executor, cut_.copies, [&](Index copy) { sum_tiles(executor, copy, channels); });
      parallel_blocks(executor, cut_.copies > 1 ? cut_.sum_floats : 0, Index{16} << 10, [&](Index begin, Index end) {
        for (Index copy = 1; copy < cut_.copies; ++copy) table_.add(sums(copy) + begin, sums(0) + begin, end - begin);
      });
      const Index vectors = channels.count * (cut_.to / table_.lanes);
      parallel_blocks(executor, vectors, 16, [&](Index begin, Index end) {
        for (Index v = begin; v < end; v += kRun) add_taps(channels, v, std::min(kRun, end - v));
      });
    }
  }

 private:
  static constexpr Index kMostLanes = 16, kRun = 8, kPart = 16;
  static constexpr Index kPiece = 32;   // channels transformed together: 128 bytes of a voxel, which caches fetch together
  static constexpr Index kCached = 6 * 6 * 6 * kPiece;   // 27 KiB, most of the first-level cache, if a tile fits
  static constexpr Index kBox = kMostInputs * kMostInputs * kMostInputs * kPiece;

  struct Group {
    Index first, count;   // channels of x
  };
  /// x or dy: where its tiles lie, and how they become points.
  struct Factor {
    explicit Factor(const Transform* t) : transforms(t) {}
    const Transform* transforms;   // of every tiling of stride 1
    const float* data = nullptr;
    Index pitch = 0, channels = 0, lanes = 0;
    std::array<Index, 3> extent{}, read{}, offset{};   // voxels of a tile; where it begins, seen from its first result
    Index point = 0, width = 0;                        // floats from one point to the next, from one tile to the next
  };

  float* sums(Index copy) const { return buffers_.scratch + copy * cut_.sum_floats; }
  float* chunk(Index copy) const { return sums(cut_.copies) + copy * cut_.chunk_floats; }

  /// The sums of one copy's tiles at all points.
  void sum_tiles(Executor& executor, Index copy, const Group& channels) const {
    const Index begin = plan_.tiles() * copy / cut_.copies, end = plan_.tiles() * (copy + 1) / cut_.copies;
    float *x = chunk(copy), *dy = x + plan_.points() * cut_.point_x, *u = sums(copy);
    const Index pieces = ceil_div(channels.count, kPiece), all = pieces + ceil_div(cut_.to, kPiece);
    const bool keeps_dy = channels.first > 0 && end - begin <= cut_.chunk;   // from the group before
    for (Index first = begin; first < end; first += cut_.chunk) {
      const Index count = std::min(cut_.chunk, end - first), parts = ceil_div(count, kPart);
      parallel_for(executor, parts * (keeps_dy ? pieces : all), [&](Index task) {
        const Index piece = task / parts, t = task % parts * kPart;
        const bool of_x = piece < pieces;
        const Factor& f = of_x ? x_ : dy_;
        const Index c = (of_x ? piece : piece - pieces) * kPiece;
        transform(f, {first + t, first + std::min(count, t + kPart)},
                  {of_x ? channels.first + c : c, std::min(kPiece, f.width - c)}, (of_x ? x : dy) + c + t * f.width);
      });
      parallel_for(executor, plan_.points(), [&](Index point) {
        float* sum = u + point * cut_.point_u;
        if (first == begin) std::fill(sum, sum + cut_.point_u, 0.0f);
        multiply(channels.count, count, {x + point * cut_.point_x, dy + point * cut_.point_y, sum, first > begin});
      });
    }
  }

  struct Tiles {
    Index first, last;
  };
  struct Channels {
    Index first, width;   // rounded up to whole vectors
  };
  /// These channels of some tiles to their points, v + point * f.point + tile * f.width. As many tiles at a time as fit the
  /// first-level cache; columns that a tile shares with the one before are transformed along z and y once.
  void transform(const Factor& f, const Tiles& tiles, const Channels& channels, float* v) const {
    const Index n0 = plan_.n(0), n1 = plan_.n(1), n2 = plan_.n(2), m2 = plan_.m(2), along = plan_.tiles(2);
    const Index width = channels.width, vectors = width / f.lanes, line = n1 * width, column = n0 * line;
    const Index shared = f.read[2] - m2, most = std::max<Index>(1, (kCached / column - shared) / m2);
    alignas(64) float box[kBox];   // [column][z][y][channel], with room for the points
    for (Index tile = tiles.first, run, before = 0; tile < tiles.last; tile += run, v += run * f.width) {
      run = std::min({most, tiles.last - tile, along - tile % along});
      Place at = place(f, tile);
      const Index old = tile == tiles.first || tile % along == 0 ? 0 : shared, columns = run * m2 + shared - old;
      if (old > 0) std::memmove(box, box + before * m2 * column, static_cast<std::size_t>(old * column) * sizeof(float));
      at.x += old, before = run;
      load(f, at, columns, channels, box + old * column);
      float* fresh = box + old * column;
      pass(f, 1, {fresh, {width, f.lanes, line}, fresh, {width, f.lanes, line}, vectors, columns * n0});
      for (Index t = 0; t < run; ++t)
        pass(f, 2,
             {box + t * m2 * column,
              {column, f.lanes, width},
              v + t * f.width,
              {f.point, f.lanes, n2 * f.point},
              vectors,
              n0 * n1});
    }
  }
  void pass(const Factor& f, std::size_t axis, const TransformPass& p) const {
    f.transforms[static_cast<std::size_t>(plan_.tiling[axis])](p);
  }

  struct Place {
    Index image, z, y, x;   // of a tile's first voxel, which may be outside
  };
  Place place(const Factor& f, Index tile) const {
    const Index x = plan_.tiles(2), y = plan_.tiles(1), z = plan_.tiles(0);
    return {tile / x / y / z, tile / x / y % z * plan_.m(0) + f.offset[0], tile / x % y * plan_.m(1) + f.offset[1],
            tile % x * plan_.m(2) + f.offset[2]};
  }
  static const float* voxel(const Factor& f, const Place& p) {
    return f.data + (((p.image * f.extent[0] + p.z) * f.extent[1] + p.y) * f.extent[2] + p.x) * f.pitch;
  }
  /// The columns at `at`, transformed along z.
  void load(const Factor& f, const Place& at, Index columns, const Channels& channels, float* box) const {
    const Index width = channels.width, vectors = width / f.lanes, line = plan_.n(1) * width, column = plan_.n(0) * line;
    const bool inside = at.z >= 0 && at.y >= 0 && at.x >= 0 && at.z + f.read[0] <= f.extent[0] &&
                        at.y + f.read[1] <= f.extent[1] && at.x + columns <= f.extent[2] &&
                        channels.first + width <= f.channels;
    if (!inside) copy_edge(f, at, columns, channels, box);
    const Index row = f.extent[2] * f.pitch;
    for (Index y = 0; y < f.read[1]; ++y) {
      float* to = box + y * width;
      if (inside)
        pass(f, 0,
             {voxel(f, at) + y * row + channels.first,
              {f.extent[1] * row, f.lanes, f.pitch},
              to,
              {line, f.lanes, column},
              vectors,
              columns});
      else
        pass(f, 0, {to, {line, f.lanes, column}, to, {line, f.lanes, column}, vectors, columns});
    }
  }
  /// The columns at `at`, as far as they exist, and zeros.
  void copy_edge(const Factor& f, const Place& at, Index columns, const Channels& channels, float* box) const {
    const Index line = plan_.n(1) * channels.width, column = plan_.n(0) * line;
    const Index first = std::max<Index>(0, -at.x), last = std::min(columns, f.extent[2] - at.x);
    const auto count = static_cast<std::size_t>(std::min(channels.width, f.channels - channels.first));
    std::memset(box, 0, static_cast<std::size_t>(columns * column) * sizeof(float));
    for (Index i = 0; i < f.read[0] * f.read[1]; ++i) {
      const Index z = i / f.read[1], y = i % f.read[1];
      if (at.z + z < 0 || at.y + y < 0 || at.z + z >= f.extent[0] || at.y + y >= f.extent[1]) continue;
      const float* row = voxel(f, {at.image, at.z + z, at.y + y, at.x}) + channels.first;
      float* to = box + z * line + y * channels.width;
      for (Index x = first; x < last; ++x) std::memcpy(to + x * column, row + x * f.pitch, count * sizeof(float));
    }
  }

  struct AtPoint {
    const float *x, *dy;
    float* sum;
    bool again;   // sums that an earlier chunk began
  };
  /// sum[from][to] += over `count` tiles x[tile][from] dy[tile][to], at one point.
  void multiply(Index from, Index count, const AtPoint& p) const {
    GradientTile t{};
    t.x_x = cut_.from, t.dy_x = cut_.to, t.count_z = t.count_y = 1, t.count_x = count, t.out_step = cut_.to;
    for (Index channel = 0; channel < cut_.to; channel += table_.block()) {
      const Index vectors = std::min(table_.block(), cut_.to - channel) / table_.lanes;
      const TileSet& set = table_.wide(vectors);
      const TileShape& best = set.best(from, vectors);
      for (Index c = 0; c < from;) {
        const TileShape& shape = from - c >= best.rows ? best : set.within(from - c);
        t.x = p.x + c, t.dy = p.dy + channel, t.out = p.sum + c * cut_.to + channel;
        t.rows = shape.rows, t.width = vectors * table_.lanes;
        for (Index i = 0; p.again && i < shape.rows; ++i)   // they come from far away, and are needed last
          for (Index v = 0; v < vectors; ++v) __builtin_prefetch(t.out + i * cut_.to + v * table_.lanes, 1);
        shape.gradient(t);
        c += shape.rows;
      }
    }
  }

  /// Of a run of vectors of [from][to], the sums at all points to the taps, which are added to dw.
  void add_taps(const Group& channels, Index vector, Index run) const {
    const Index lanes = table_.lanes, n1 = plan_.n(1), n2 = plan_.n(2), u = cut_.point_u, wide = run * lanes;
    const auto& kernel = plan_.conv.window.kernel;
    alignas(64) float box[5 * kMostInputs * kMostInputs * kRun * kMostLanes];   // [z][y][x][vector]
    const auto pass = [&](std::size_t axis, const TransformPass& p) {
      table_.transforms->weight_adjoint[static_cast<std::size_t>(plan_.tiling[axis])](p);
    };
    pass(0, {sums(0) + vector * lanes, {n1 * n2 * u, lanes, u}, box, {n1 * n2 * wide, lanes, wide}, run, n1 * n2});
    const TransformPass::Walk along_y = {n2 * wide, lanes, n1 * n2 * wide};
    pass(1, {box, along_y, box, along_y, n2 * run, kernel[0]});
    const TransformPass::Walk along_x = {wide, lanes, n2 * wide};
    pass(2, {box, along_x, box, along_x, run, kernel[0] * n1});
    const Index to = plan_.conv.to, vectors = cut_.to / lanes, taps = plan_.conv.window.taps();
    for (Index t = 0; t < taps; ++t) {
      const float* from = box + (t / kernel[2] / kernel[1] * n1 * n2 + t / kernel[2] % kernel[1] * n2 + t % kernel[2]) * wide;
      float* dw =
          buffers_.dw + (plan_.conv.side == Side::output ? t : taps - 1 - t) * plan_.conv.from * to + channels.first * to;
      if (to == cut_.to) {
        table_.add(from, dw + vector * lanes, wide);
        continue;
      }
      for (Index v = 0; v < run; ++v) {
        const Index c = (vector + v) % vectors * lanes;
        table_.add(from + v * lanes, dw + (vector + v) / vectors * to + c, std::min(lanes, to - c));
      }
    }
  }

  const WinogradPlan& plan_;
  const GradientBuffers& buffers_;
  WinogradWeightsCut cut_;
  const TileTable& table_;
  Factor x_, dy_;
};

/// The same sum as weight_gradient().
/// Numerics  float; F(2, 3) as exact as the direct sum, the others to some 1e-5. The order follows the plan only.
inline void winograd_weights(Executor& executor, const WinogradPlan& plan, const GradientBuffers& buffers) {
  WinogradWeights(plan, buffers).run(executor);
}

}   // namespace ctseg::simd
