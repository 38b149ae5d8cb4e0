// What a stream of windows hands on: some finished axial slices of a volume's logits, lowest first, each once.
#pragma once
#include "../core/shape.hpp"

namespace ctseg {

/// Slices [first, first + slices) of a result on the prepared grid. A channel's values lie next to each other as everywhere:
/// values[(((z - first) * rows + y) * columns + x) * channels + c]. Valid until the receiver returns.
struct LogitSlab {
  Index first = 0, slices = 0, rows = 0, columns = 0, channels = 0;
  const float* values = nullptr;

  const float* row(Index z, Index y, Index x) const {   // z counted in the volume
    return values + (((z - first) * rows + y) * columns + x) * channels;
  }
  Index last() const { return first + slices; }   // one behind
};

}   // namespace ctseg
