// The register tiles of the float convolution: what a tile is told, and the table of tiles that an instruction set offers.
// All geometry (edges, strides, phases) is settled by the callers; a tile knows pointers and steps only.
#pragma once
#include <cstddef>
#include <utility>

#include "../../../core/device.hpp"

namespace ctseg::simd {

/// What the next tile reads and this one writes is fetched while a wide tile counts, a line of the cache each for every step of its inner
/// loop: a burst of fetches between two tiles stalls both.
struct Ahead {
  Index fresh_z, fresh_y;   // lines of taps before these were read with the last row of results
  Index steps;              // of the inner loop that fetch
  const float* out;         // where this tile will write
};
inline constexpr Index kWidthThatFetches = 16;   // narrower tiles have no time for it

/// R results of one row times a block of channels: out[i] = init[i] + sum over taps and channels of x[i * step + ...] * w[...].
/// All steps count floats. Taps run z, y, x; `length` input channels (or taps times channels) follow each other for each tap.
/// The second of two vectors of channels stands `overlap` channels nearer to the first than it could: then nothing is written
/// behind the last channel, and what both hold is the same.
struct GatherTile {
  const float* x;
  Index x_step, x_z, x_y, x_x;
  Index taps_z, taps_y, taps_x, length;
  const float* w;
  Index w_z, w_y, w_x;
  const float* init;
  Index init_step;   // 0: every result starts from the same values
  float* out;
  Index out_step;
  Index rows, width;   // R and the channels of the block; only plain tiles need to be told
  Index overlap;
  const Index* at;      // of edge: for each tap x and row the step from x, below 0: read zeros; of list: the step of each value
  const float* zeros;   // of edge: `length` of them
  Ahead ahead;          // of gather
};

/// R rows of x times a matrix, then the next R, `blocks` times: out[i] = sum over channels of x[i * step + ...] * w[...].
/// What gather() does for one tap and zeros, without its loops: a call of a few hundred cycles feels them.
struct ProductTile {
  const float* x;
  Index x_step, length;
  const float* w;
  float* out;
  Index out_step;
  Index rows, width;   // as in GatherTile
  Index blocks;
};

/// R channels of x times a block of channels of dy for one tap: out[i] += sum over voxels of x[i] * dy[...].
struct GradientTile {
  const float* x;
  Index x_z, x_y, x_x;
  const float* dy;
  Index dy_z, dy_y, dy_x;
  Index count_z, count_y, count_x;
  float* out;
  Index out_step;
  Index rows, width, overlap;   // as in GatherTile
  const Index* at;              // of gradient_list: the step of each row from x
};

/// One tile shape: R rows in registers.
struct TileShape {
  Index rows = 0;
  void (*gather)(const GatherTile&) = nullptr;
  void (*edge)(const GatherTile&) = nullptr;   // the same where some rows lie outside, whose x is zero
  void (*list)(const GatherTile&) = nullptr;   // the same of `length` values that lie anywhere
  void (*gradient)(const GradientTile&) = nullptr;
  void (*gradient_list)(const GradientTile&) = nullptr;   // the same of rows that lie anywhere
  void (*product)(const ProductTile&) = nullptr;
};

/// Tiles that are `vectors` vectors wide, most rows first, ending with one row.
struct TileSet {
  const TileShape* shapes;
  int count;

  /// Time of one tile in fused multiply-adds: what its registers hold, but no less than the latency of the unit allows.
  static constexpr Index cost(Index rows, Index vectors) { return (rows * vectors > 8 ? rows * vectors : 8) + 1; }
  /// The smallest tile that covers n rows (n no more than the largest).
  const TileShape& covering(Index n) const {
    int i = count - 1;
    while (shapes[i].rows < n) --i;
    return shapes[i];
  }
  /// The largest tile within n rows.
  const TileShape& within(Index n) const {
    int i = 0;
    while (shapes[i].rows > n) ++i;
    return shapes[i];
  }
  /// The tile to cut n rows into, the rest of the rows going to one covering tile.
  const TileShape& best(Index n, Index vectors) const {
    const TileShape* chosen = shapes;
    Index least = 0;
    for (int i = 0; i < count; ++i) {
      const Index rows = shapes[i].rows, rest = n % rows;
      const Index time = n / rows * cost(rows, vectors) + (rest ? cost(covering(rest).rows, vectors) : 0);
      if (i == 0 || time < least) chosen = &shapes[i], least = time;
    }
    return *chosen;
  }
};

struct TransformTable;   // of Winograd's transforms, see transforms.hpp

/// What one instruction set offers: vectors of `lanes` floats, tiles one and two vectors wide.
struct TileTable {
  Index lanes;
  TileSet sets[2];
  void (*add)(const float* from, float* to, Index count);   // to += from
  const TransformTable* transforms;

  Index block() const { return 2 * lanes; }
  const TileSet& wide(Index vectors) const { return sets[vectors - 1]; }
};

}   // namespace ctseg::simd
