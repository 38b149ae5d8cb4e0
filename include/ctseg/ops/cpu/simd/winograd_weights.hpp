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
#include "weight_gradient.hpp"
#include "winograd.hpp"

namespace ctseg::simd {

/// How tiles and channels become tasks and what memory they need, in floats: by shape alone.
struct WinogradWeightsCut {
  Index group, groups;   // channels of x taken at a time, in whole vectors, so that the sums at all points have a bound
  Index from, to;        // channels of a group and of dy, rounded up to whole vectors
  Index copies;          // of the sums: tasks that each take a range of tiles through all stages; 1: tasks share a chunk
  Index chunk;           // tiles transformed before they are multiplied
  Index point_x, point_y, point_u;   // floats from one point to the next: transformed x, dy, sums
  Index chunk_floats, sum_floats;    // of one copy

  explicit WinogradWeightsCut(const WinogradPlan& plan) {
    constexpr Index kFloat = Index{sizeof(float)}, kPad = 16;   // points do not fall on the same lines of the cache
    static const Index kSums = (getenv("SUMS") ? atoi(getenv("SUMS")) : 16 << 10) << 10, kMostCopies = getenv("COPIES") ? atoi(getenv("COPIES")) : 16;
    static const Index kShared = (getenv("SHARED") ? atoi(getenv("SHARED")) : 4096) << 10, kOwn = (getenv("OWN") ? atoi(getenv("OWN")) : 512) << 10, kFewest = getenv("FEWEST") ? atoi(getenv("FEWEST")) : 32;
    const Index points = plan.points(), all = plan.tiles();
    const Index lanes = tiles(plan.conv.isa, plan.conv.from).lanes, to_lanes = tiles(plan.conv.isa, plan.conv.to).lanes;
    to = ceil_div(plan.conv.to, to_lanes) * to_lanes;
    from = ceil_div(plan.conv.from, lanes) * lanes;
    groups = std::min(from / lanes, ceil_div(points * from * to * kFloat, kSums));
    group = ceil_div(from / lanes, groups) * lanes;
    groups = ceil_div(from, group);
    from = group;
    const Index sum_bytes = points * from * to * kFloat, tile_bytes = points * (from + to) * kFloat;
    copies = groups > 1 ? 1 : std::min({kMostCopies, kSums / sum_bytes, ceil_div(all, kFewest)});
    if (copies < kMostCopies / 2) copies = 1;
    chunk = std::max(copies > 1 ? kOwn / tile_bytes : kShared / tile_bytes, kFewest);
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
      const Index first = group * cut_.group;
      const Channels channels = {first, std::min(cut_.group, plan_.conv.from - first)};
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
  static constexpr Index kMostLanes = 16, kBox = 18 * kMostInputs * kMostInputs, kRun = 4, kPart = 16;

  struct Channels {
    Index first, count;   // of x
  };
  /// x or dy: where its tiles lie, and how they become points.
  struct Factor {
    explicit Factor(const Transform (&t)[4]) : transforms(t) {}
    const Transform (&transforms)[4];
    const float* data = nullptr;
    Index pitch = 0, channels = 0, lanes = 0;
    std::array<Index, 3> extent{}, read{}, offset{};   // voxels of a tile; where it begins, seen from its first result
    Index point = 0, width = 0;                        // floats from one point to the next, from one tile to the next
  };

  float* sums(Index copy) const { return buffers_.scratch + copy * cut_.sum_floats; }
  float* chunk(Index copy) const { return sums(cut_.copies) + copy * cut_.chunk_floats; }

  /// The sums of one copy's tiles at all points.
  void sum_tiles(Executor& executor, Index copy, const Channels& channels) const {
    const Index begin = plan_.tiles() * copy / cut_.copies, end = plan_.tiles() * (copy + 1) / cut_.copies;
    float *x = chunk(copy), *dy = x + plan_.points() * cut_.point_x, *u = sums(copy);
    const Index x_vectors = ceil_div(channels.count, x_.lanes), vectors = x_vectors + cut_.to / dy_.lanes;
    const bool keeps_dy = channels.first > 0 && end - begin <= cut_.chunk;   // from the group before
    for (Index first = begin; first < end; first += cut_.chunk) {
      const Index count = std::min(cut_.chunk, end - first), parts = ceil_div(count, kPart);
      parallel_for(executor, parts * (keeps_dy ? x_vectors : vectors), [&](Index task) {
        const Index v = task / parts, t = task % parts * kPart, last = std::min(count, t + kPart);
        const Factor& f = v < x_vectors ? x_ : dy_;
        const Index c = (v < x_vectors ? v : v - x_vectors) * f.lanes;
        float* to = (v < x_vectors ? x : dy) + c;
        transform(f, {first + t, first + last}, v < x_vectors ? channels.first + c : c, to + t * f.width);
      });
      parallel_for(executor, plan_.points(), [&](Index point) {
        float* sum = u + point * cut_.point_u;
        if (first == begin) std::fill(sum, sum + cut_.point_u, 0.0f);
        multiply(channels.count, count, {x + point * cut_.point_x, dy + point * cut_.point_y, sum});
      });
    }
  }

  struct Tiles {
    Index first, last;
  };
  /// A vector of channels of these tiles to their points, v + point * f.point + tile * f.width. Tiles side by side go together
  /// and transform the columns that they share along z and y once.
  void transform(const Factor& f, Tiles tiles, Index channel, float* v) const {
    const Index n0 = plan_.n(0), n1 = plan_.n(1), n2 = plan_.n(2), m2 = plan_.m(2), column = n0 * n1 * f.lanes;
    const Index along = plan_.tiles(2), most = (kBox / (n0 * n1) - (f.read[2] - m2)) / m2;
    alignas(64) float box[kBox * kMostLanes];   // [column][z][y][channel], with room for the points
    const TransformPass::Walk lines_z = {n1 * f.lanes, f.lanes, column}, lines_y = {f.lanes, n1 * f.lanes, column};
    for (Index tile = tiles.first, run; tile < tiles.last; tile += run, v += run * f.width) {
      run = std::min({most, tiles.last - tile, along - tile % along});
      const Index columns = run * m2 + f.read[2] - m2;
      load(f, tile, columns, channel, box);
      pass(f, 0, {box, lines_z, box, lines_z, f.read[1], columns});
      pass(f, 1, {box, lines_y, box, lines_y, n0, columns});
      pass(f, 2, {box, {column, f.lanes, m2 * column}, v, {f.point, n2 * f.point, f.width}, n0 * n1, run});
    }
  }
  void pass(const Factor& f, std::size_t axis, const TransformPass& p) const {
    f.transforms[static_cast<std::size_t>(plan_.tiling[axis])](p);
  }

  /// A vector of channels of the columns from the tile's first on, with zeros for voxels and channels that do not exist.
  void load(const Factor& f, Index tile, Index columns, Index channel, float* box) const {
    const Index tx = plan_.tiles(2), ty = plan_.tiles(1), tz = plan_.tiles(0), n0 = plan_.n(0), n1 = plan_.n(1);
    const Index image = tile / tx / ty / tz, first = tile % tx * plan_.m(2) + f.offset[2];
    const Index real = std::min(f.lanes, f.channels - channel), begin = std::clamp<Index>(-first, 0, columns),
                end = std::clamp<Index>(f.extent[2] - first, begin, columns);
    const auto bytes = static_cast<std::size_t>(f.lanes) * sizeof(float);
    for (Index z = 0; z < f.read[0]; ++z)
      for (Index y = 0; y < f.read[1]; ++y) {
        const Index at_z = tile / tx / ty % tz * plan_.m(0) + f.offset[0] + z, at_y = tile / tx % ty * plan_.m(1) + f.offset[1] + y;
        float* to = box + (z * n1 + y) * f.lanes;
        const Index step = n0 * n1 * f.lanes;
        const bool inside = at_z >= 0 && at_y >= 0 && at_z < f.extent[0] && at_y < f.extent[1];
        const Index from = inside ? begin : columns, upto = inside ? end : columns;
        for (Index x = 0; x < from; ++x) std::memset(to + x * step, 0, bytes);
        for (Index x = upto; x < columns; ++x) std::memset(to + x * step, 0, bytes);
        if (from == upto) continue;
        const float* row = f.data + (((image * f.extent[0] + at_z) * f.extent[1] + at_y) * f.extent[2] + first) * f.pitch + channel;
        if (real == f.lanes) {
          const TransformPass copy = {row + from * f.pitch, {0, f.pitch, 0}, to + from * step, {0, step, 0}, upto - from, 1};
          f.transforms[static_cast<std::size_t>(Tiling::whole)](copy);
          continue;
        }
        for (Index x = from; x < upto; ++x) {
          std::memset(to + x * step, 0, bytes);
          std::memcpy(to + x * step, row + x * f.pitch, static_cast<std::size_t>(real) * sizeof(float));
        }
      }
  }

  struct AtPoint {
    const float *x, *dy;
    float* sum;
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
        shape.gradient(t);
        c += shape.rows;
      }
    }
  }

  /// Of a run of vectors of [from][to], the sums at all points to the taps, which are added to dw.
  void add_taps(const Channels& channels, Index vector, Index run) const {
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
      float* dw = buffers_.dw + (plan_.conv.side == Side::output ? t : taps - 1 - t) * plan_.conv.from * to + channels.first * to;
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
/// Numerics  float; F(2, 3) as exact as the direct sum, F(4, 3) and F(2, 5) to some 1e-5. The order follows the plan only.
inline void winograd_weights(Executor& executor, const WinogradPlan& plan, const GradientBuffers& buffers) {
  WinogradWeights(plan, buffers).run(executor);
}

}   // namespace ctseg::simd
