// Statistics that a convolution takes of its results while they are in the cache, for the norm behind it: in parts, whose
// number and order follow the shape alone.
#pragma once
#include "../core/shape.hpp"

namespace ctseg {

/// Results are items (tiles or rows), image after image. A part holds those of one task and one image.
struct MomentParts {
  Index images = 1, per_image = 1;          // items of an image
  Index chunk = 1, pieces = 1, piece = 1;   // items are cut into chunks, chunks into pieces: these are the tasks' units

  Index unit(Index item) const { return item / chunk * pieces + item % chunk / piece; }
  Index first(Index image) const { return unit(image * per_image) + image; }
  Index last(Index image) const { return unit((image + 1) * per_image - 1) + image + 1; }
  Index count() const { return last(images - 1); }
};

/// Part i is at data + i * 3 * width: the count, the mean and the squared deviations from it, each [width]; a part without
/// results is zeros. Groups of `width` channels follow each other.
struct Moments {
  MomentParts parts{};
  Index width = 0;
  double* data = nullptr;

  static constexpr Index kNumbers = 3;
  Index size() const { return parts.count() * kNumbers * width; }   // of one group
};

}   // namespace ctseg
