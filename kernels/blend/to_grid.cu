// The way back to the scan's grid: a thread owns a voxel of the target, interpolates one channel after the other between the
// ring's slices and keeps the winner, so that no volume of channels exists. In double and in the CPU's order (z, y, x), so the
// same bits; on a card for computing double is half as fast as float, and this kernel waits for memory anyway. The CPU's
// shortcut (neighbours that agree on the winner need no channels) would make neighbouring threads disagree, so there is none.
// Bytes     up to eight neighbours of a channel read, nearly all from the caches: 4 for each voxel and channel of the source, and
//           the label written. Not measured yet.
#include "../common/launch.cuh"
#include "../common/values.cuh"
#include "covering.cuh"

namespace ctseg::cuda {
namespace {

/// Where a target voxel lies between source voxels; values of a channel come out of it.
struct Between {
  const float* corner[2][2][2];   // low and high along z, y, x; the high one only where its weight is not 0
  double weight[3];

  CTSEG_DEVICE double along_z(int y, int x, int c) const {
    const double low = static_cast<double>(corner[0][y][x][c]);
    return weight[0] > 0 ? low + product(weight[0], static_cast<double>(corner[1][y][x][c]) - low) : low;
  }
  CTSEG_DEVICE double column(int x, int c) const {
    const double low = along_z(0, x, c);
    return weight[1] > 0 ? low + product(weight[1], along_z(1, x, c) - low) : low;
  }
  CTSEG_DEVICE float operator()(int c) const {
    const double low = column(0, c);
    return static_cast<float>(weight[2] > 0 ? low + product(weight[2], column(1, c) - low) : low);
  }
};

struct ToGrid {
  static constexpr int kThreads = 256;
  static constexpr bool kSyncs = false;
  static constexpr const char* kName = "slices_to_grid";
  ToGridJob job;

  CTSEG_DEVICE void operator()(const Block& b) const {
    const int pixel = static_cast<int>(b.index()) * kThreads + b.thread(), columns = static_cast<int>(job.axis[2].count);
    if (pixel >= job.axis[1].count * columns) return;
    const int at[3] = {job.slices[b.row()], pixel / columns, pixel % columns};
    Index to = 0;
    for (int a = 0; a < 3; ++a) {
      if (!job.axis[a].inside[at[a]]) return;
      to += at[a] * job.axis[a].stride;
    }
    const Between v = between(at);
    write_label(job.labels, to, winner_of(job.labels, job.ring.channels, v));
    if (job.probability_of >= 0) job.probability[to] = probability(v);
  }

 private:
  CTSEG_DEVICE Between between(const int (&at)[3]) const {
    const SliceRing& r = job.ring;
    Between v;
    int low[3];
    for (int a = 0; a < 3; ++a) low[a] = job.axis[a].low[at[a]], v.weight[a] = job.axis[a].weight[at[a]];
    for (int i = 0; i < 8; ++i) {
      const int z = (low[0] + (i >> 2 & 1)) % r.slices, y = low[1] + (i >> 1 & 1), x = low[2] + (i & 1);
      v.corner[i >> 2 & 1][i >> 1 & 1][i & 1] = r.values + ((Index{z} * r.rows + y) * r.columns + x) * r.channels;
    }
    return v;
  }
  CTSEG_DEVICE float probability(const Between& v) const {
    const int wanted = static_cast<int>(job.probability_of), channels = job.ring.channels;
    if (job.scores != Scores::logits) return v(wanted);
    if (job.labels.by_threshold) return 1 / (1 + std::exp(-v(wanted)));
    float top = v(0), sum = 0;
    for (int c = 1; c < channels; ++c)
      if (const float at = v(c); top < at) top = at;
    for (int c = 0; c < channels; ++c) sum += std::exp(v(c) - top);
    return std::exp(v(wanted) - top) / sum;
  }
};

}   // namespace

void slices_to_grid(Stream stream, const ToGridJob& job) {
  const Index pixels = job.axis[1].count * job.axis[2].count;
  launch(stream, {.blocks = (pixels + ToGrid::kThreads - 1) / ToGrid::kThreads, .rows = job.count}, ToGrid{job});
}

}   // namespace ctseg::cuda
