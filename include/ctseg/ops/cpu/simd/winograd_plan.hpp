// How a convolution is cut into Winograd's tiles (winograd.hpp): which kinds of tiles, whether at all, and how tiles and
// channels become tasks.
#pragma once
#include <optional>
#include <span>

#include "plan.hpp"
#include "transforms.hpp"

namespace ctseg::simd {

struct WinogradPlan {
  ConvPlan conv;
  std::array<Tiling, 3> tiling{};   // along z, y, x

  Index n(std::size_t axis) const { return inputs_of(tiling[axis]); }
  Index m(std::size_t axis) const { return results_of(tiling[axis]); }
  Index pace(std::size_t axis) const { return m(axis) * stride_of(tiling[axis]); }   // inputs from a tile to the next
  Index weights(std::size_t axis) const { return facts_of(tiling[axis]).weights; }
  Index weights() const { return weights(0) * weights(1) * weights(2); }
  /// Which of these a point has.
  Index weight(std::size_t axis, Index point) const { return std::min(point, weights(axis) - 1); }
  Index points() const { return n(0) * n(1) * n(2); }
  Index tiles(std::size_t axis) const { return ceil_div(conv.result_extent()[axis], m(axis)); }
  Index tiles() const { return conv.images * tiles(0) * tiles(1) * tiles(2); }
  /// The source of tile i begins at voxel i * pace + offset.
  Index offset(std::size_t axis) const {
    const Index padding = conv.window.padding[axis];
    return conv.side == Side::output ? -padding : padding - (conv.window.kernel[axis] - 1);
  }
};

inline bool strided(const ConvPlan& plan) { return plan.window.stride != std::array<Index, 3>{1, 1, 1}; }

/// True where tiles of these kinds can make the convolution.
inline bool winograd_fits(const ConvPlan& plan, const std::array<Tiling, 3>& tiling) {
  for (std::size_t d = 0; d < 3; ++d)
    if (plan.window.stride[d] != stride_of(tiling[d]) || plan.window.dilation[d] != 1 ||
        plan.window.kernel[d] != taps_of(tiling[d]))
      return false;
  if (strided(plan) && plan.side == Side::input) return false;   // phases of the results, not of the source
  return plan.window.taps() > 1;
}

/// Tilings as numbers below kTilingsOfStride1, for the stride tells the others.
inline int code_of(Tiling t) { return static_cast<int>(t) - (stride_of(t) == 1 ? 0 : kTilingsOfStride1 - 1); }
inline Tiling tiling_of(const ConvPlan& plan, std::size_t axis, int code) {
  return static_cast<Tiling>(plan.window.stride[axis] == 1 ? code : code + kTilingsOfStride1 - 1);
}

/// What a weight costs beside a multiply-add: to be read by one call, and to be packed where it changes between calls. Measured
/// at 64 to 320 channels.
constexpr double weight_cost(bool packed_once) { return packed_once ? 6 : 35; }

/// Multiply-adds of one result voxel, transforms counted at what they cost beside the product: the more, the more voxels there
/// are to a point, for voxels lie further away. Measured at 16 to 128 channels.
inline double winograd_cost(const WinogradPlan& plan, bool packed_once) {
  const double from = double(plan.conv.from), to = double(plan.conv.to), points = double(plan.points());
  const double voxels = double(plan.m(0) * plan.m(1) * plan.m(2)) / points;
  const auto padded = [&](Index channels) {
    const Index lanes = tiles(plan.conv.isa, channels).lanes;
    return double(ceil_div(channels, lanes) * lanes);
  };
  const double transforms = (10 + 30 * voxels) * padded(plan.conv.from) + (10 + 26 * voxels) * padded(plan.conv.to);
  const double tile = 1.1 * from * padded(plan.conv.to) + transforms;
  // Memory that is kept: beyond four times the weights, tiles must save more than 50 multiply-adds each.
  const double others = double(plan.weights());
  const double kept = packed_once ? 50 * std::max(0.0, others - 4 * double(plan.conv.window.taps())) : 0;
  const double weights = (others * weight_cost(packed_once) + kept) * from * to;
  return (points * double(plan.tiles()) * tile + weights) / plan.conv.results();
}
/// The same of gather(), which leaves out the taps outside along z and y.
inline double direct_cost(const ConvPlan& plan, bool packed_once) {
  double taps = double(plan.window.kernel[2]) / double(phases(plan, 2));
  for (std::size_t d = 0; d < 2; ++d) {
    Index met = 0;
    for (Index p = 0; p < phases(plan, d); ++p) {
      const AxisPhase axis = axis_phase(plan, d, p);
      for (Index q = 0; q < axis.count; ++q) met += std::max<Index>(0, axis.end(q, plan.source_extent()[d]) - axis.begin(q));
    }
    taps *= double(met) / double(plan.result_extent()[d]);
  }
  return (taps + weight_cost(packed_once) * double(plan.window.taps()) / plan.results()) * double(plan.from * plan.to);
}

/// For each axis the kind of tiles with the fewest points, of at most `most` results; none: a kernel that has no tiles.
/// F(6, 3) is for images of two dimensions: in a network of three it rounds twice as much as F(4, 3). F(4, 2) is not for z.
inline std::optional<WinogradPlan> winograd_tiles(const ConvPlan& conv, Index most) {
  constexpr Tiling kThree[] = {Tiling::f2k3, Tiling::f4k3, Tiling::f6k3}, kFive[] = {Tiling::f2k5, Tiling::f4k5};
  constexpr Tiling kStride2[] = {Tiling::f2s2, Tiling::f4s2};
  WinogradPlan plan{conv};
  for (std::size_t d = 0; d < 3; ++d) {
    const Index extent = conv.result_extent()[d], kernel = conv.window.kernel[d];
    if (kernel == 1) continue;
    if (kernel != 3 && kernel != 5) return std::nullopt;
    std::span<const Tiling> kinds = kFive;
    if (kernel == 3) kinds = kThree;
    if (conv.window.stride[d] == 2) kinds = kStride2;
    const auto points = [&](Tiling t) { return ceil_div(extent, results_of(t)) * inputs_of(t); };
    const Index large = conv.window.kernel[0] == 1 ? most : std::min<Index>(4, most);
    const Index limit = d == 0 && conv.window.stride[d] == 2 ? std::min<Index>(2, large) : large;   // points stay in the cache
    plan.tiling[d] = kinds[0];
    for (const Tiling t : kinds)
      if (results_of(t) <= limit && points(t) < points(plan.tiling[d])) plan.tiling[d] = t;
  }
  return winograd_fits(conv, plan.tiling) ? std::optional(plan) : std::nullopt;
}

/// True where `accuracy` allows tiles of up to `most` results: strict none, standard F(2, 3) alone.
inline bool accurate(const ConvPlan& conv, Accuracy accuracy, Index most) {
  const auto& kernel = conv.window.kernel;
  const bool exact = most == 2 && *std::max_element(kernel.begin(), kernel.end()) == 3;
  return accuracy == Accuracy::fast || (accuracy == Accuracy::standard && exact);
}

/// The cheapest way that `accuracy` allows; none: the direct one. Small images with many channels have more weights than
/// voxels: there the points of large tiles, or of any, cost more than they save, most of all where every call packs them.
/// Chosen from shape, instruction set and mode alone, so that results repeat.
inline std::optional<WinogradPlan> choose_winograd(const ConvPlan& conv, Accuracy accuracy, bool packed_once = true) {
  std::optional<WinogradPlan> best;
  double least = (strided(conv) ? 1.1 : 0.9) * direct_cost(conv, packed_once);   // with strides, tiles are less than full
  for (const Index most : {2, 4, 6}) {
    const auto plan = winograd_tiles(conv, most);
    if (!plan || !accurate(conv, accuracy, most)) continue;
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
  Index point_v;            // floats from one transformed input to the next of a tile
  Index line_m;             // floats of one product, or half-way result, of all tiles of a task
  Index input, product;     // floats of one set of transformed inputs, and of one task's products

  WinogradCut(const WinogradPlan& plan, const TileTable& table) {
    constexpr Index kInputs = Index{768} << 10, kShared = Index{4} << 20, kWeights = Index{8} << 20, kFewest = 6, kSlots = 32;
    constexpr Index kScratch = Index{16} << 20;   // memory of more tasks at a time would count beside the activations
    constexpr Index kFloat = Index{sizeof(float)}, kTasks = 16;   // as the direct engine
    const Index points = plan.points(), all = plan.tiles(), lanes = tiles(plan.conv.isa, plan.conv.from).lanes;
    from = ceil_div(plan.conv.from, lanes) * lanes;
    width = std::min(table.block(), ceil_div(plan.conv.to, table.lanes) * table.lanes);
    blocks = ceil_div(plan.conv.to, table.block());
    const TileSet& set = table.wide(width / table.lanes);
    rows = set.shapes[0].rows;
    const Index tile_bytes = points * std::max(from, width) * kFloat,
                weight_bytes = plan.weights() * from * plan.conv.to * kFloat;
    const Index fit = kInputs / tile_bytes;   // tiles whose points stay in the cache of one core
    const bool few = ceil_div(all, ceil_div(ceil_div(all, kTasks), rows) * rows) < kTasks / 2;
    shared = fit < kFewest || weight_bytes > kWeights || (few && blocks > 1);   // few tiles: tasks of channels as well
    chunk = shared        ? std::max(rows, kShared / tile_bytes / rows * rows)
            : fit >= rows ? fit / rows * rows
                          : set.within(fit).rows;
    if (!shared) chunk = std::min(chunk, ceil_div(ceil_div(all, kTasks), rows) * rows);
    chunks = ceil_div(all, chunk);
    chunk = ceil_div(all, chunks);   // of equal size
    if (chunk < rows && chunks > 1) chunk = set.covering(chunk).rows, chunks = ceil_div(all, chunk);
    task_tiles = shared ? std::min(chunk, 2 * rows) : chunk;   // each task reads all weights of a block
    point_v = chunk * from + 16;                               // 16: points do not fall on the same lines of the cache
    line_m = task_tiles * width + 16;
    input = points * point_v;
    product = (plan.m(0) * plan.n(1) * plan.n(2) + plan.n(0)) * line_m;
    const Index fitting = std::max(kTasks, kScratch / ((input + product) * kFloat));   // of tiles that are not shared
    slots = shared ? std::min(kSlots, blocks * ceil_div(chunk, task_tiles)) : std::min({kSlots, fitting, chunks});
  }
  Index parts() const { return ceil_div(chunk, task_tiles); }
  Index unit(Index tile) const { return tile / chunk * parts() + tile % chunk / task_tiles; }   // of an epilogue
  Index floats() const { return (shared ? input : slots * input) + slots * product; }
};

inline Index winograd_scratch_bytes(const WinogradPlan& plan) {
  return WinogradCut(plan, tiles(plan.conv.isa, plan.conv.to)).floats() * Index{sizeof(float)};
}
/// Weights at all points, with the result channels rounded up to whole vectors.
inline Index winograd_packed_bytes(const WinogradPlan& plan) {
  const Index lanes = tiles(plan.conv.isa, plan.conv.to).lanes;
  return plan.weights() * plan.conv.from * ceil_div(plan.conv.to, lanes) * lanes * Index{sizeof(float)};
}

}   // namespace ctseg::simd
