// Pixel shuffle: channels become voxels, and back.
// Idea     a thread owns one channel of the fine side in one voxel of the coarse side: its values are neighbours there, and the
//          threads of a warp have neighbouring channels of the same fine voxels.
// Bytes    of a value: 2 sizes.
// Speed    not measured yet.
#include "ctseg/ops/cuda/pixel_shuffle.hpp"

#include "../pointwise/rows.cuh"

namespace ctseg::cuda {
namespace {

template <class T, bool kBack> struct Shuffler {
  static constexpr int kThreads = kRowThreads;
  static constexpr bool kSyncs = false;
  static constexpr const char* kName = kBack ? "pixel_shuffle_back" : "pixel_shuffle";
  Zyx factor, from, to;   // extents of the coarse and of the fine side
  Rows<T> coarse, fine;
  Index rows, channels;

  CTSEG_DEVICE void operator()(const Block& b) const {
    const Share s = share_of(b, rows, channels);
    const int parts = factor.z * factor.y * factor.x;
    for (Index row = s.row; row < rows; row += s.step) {
      const Place p = place_of(row, from);
      T* many = coarse.at(row, s.pack * parts);
      for (int z = 0; z < factor.z; ++z)
        for (int y = 0; y < factor.y; ++y) {
          const Place first{p.image, {p.at.z * factor.z + z, p.at.y * factor.y + y, p.at.x * factor.x}};
          T* line = fine.at(row_of(first, to), s.pack);
          for (int x = 0; x < factor.x; ++x, ++many) kBack ? *many = line[x * fine.pitch] : line[x * fine.pitch] = *many;
        }
    }
  }
};

template <bool kBack> void run(Stream stream, const Shuffle& s) {
  with_storage(s.fine.dtype, [&]<class T>(T) {
    const Index rows = s.coarse.rows(), channels = s.fine.c;
    launch(stream, grid_of(rows, channels, 1),
           Shuffler<T, kBack>{zyx(s.factor), extents_of(s.coarse), extents_of(s.fine), rows_of<T>(s.coarse), rows_of<T>(s.fine),
                              rows, channels});
  });
}

}   // namespace

void shuffle(Stream stream, const Shuffle& s) { run<false>(stream, s); }
void shuffle_back(Stream stream, const Shuffle& s) { run<true>(stream, s); }

}   // namespace ctseg::cuda
