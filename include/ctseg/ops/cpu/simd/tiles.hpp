// The register tiles of the float convolution: what a tile is told, and the table of tiles that an instruction set offers.
// All geometry (edges, strides, phases) is settled by the callers; a tile knows pointers and steps only.
#pragma once
#include <cstddef>
#include <utility>

#include "../../../core/device.hpp"

namespace ctseg::simd {

/// R results of one row times a block of channels: out[i] = init[i] + sum over taps and channels of x[i * step + ...] * w[...].
/// All steps count floats. Taps run z, y, x; `length` input channels (or taps times channels) follow each other for each tap.
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
  Index rows, width;   // as in GatherTile
};

/// One tile shape: R rows in registers.
struct TileShape {
  Index rows = 0;
  void (*gather)(const GatherTile&) = nullptr;
  void (*gradient)(const GradientTile&) = nullptr;
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
