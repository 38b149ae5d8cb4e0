// Where the voxels of a patch come from. One gather kernel does what a row of moves comes to: affine maps, an elastic field
// between them, the border's rule, eight neighbours of the image and one or a vote of the label, then intensity steps while the
// value is in a register. Coordinates in double and sums as on the CPU, so the same bits. The source is read through the caches:
// a 3-D texture has 9-bit weights and would need a copy of the case into a cudaArray. Flips and quarter turns only copy.
// Bytes     about 4 read and 4 written for each voxel, 1 and 1 of the label, 12 more of offsets: 128^3 21 MB, as long as
//           neighbouring threads read neighbouring voxels. Filters 4 and 4 for each axis. Not measured yet.
#include "../common/launch.cuh"
#include "values.cuh"

namespace ctseg::cuda {
namespace {

struct Voxel {
  int z, y, x;
  template <class E> CTSEG_DEVICE Voxel(const E (&size)[3], Index i) : x(static_cast<int>(i) % static_cast<int>(size[2])) {
    const int row = static_cast<int>(i) / static_cast<int>(size[2]), rows = static_cast<int>(size[1]);
    z = row / rows, y = row % rows;
  }
};
CTSEG_DEVICE Index voxels_in(const int (&size)[3]) { return Index{size[0]} * size[1] * size[2]; }

/// The image of all channels at voxel `from` (below 0: outside) becomes voxel i of the target.
CTSEG_DEVICE void copy_voxel(const PatchFrom& f, const PatchTo& t, Index from, Index i) {
  const Index source = voxels_in(f.size), target = voxels_in(t.size);
  for (int c = 0; c < f.channels; ++c) {
    const Index to = c * target + i;
    t.image[to] = changed(t.program, from < 0 ? static_cast<float>(f.outside) : f.image[c * source + from], to);
  }
  if (t.label) t.label[i] = from < 0 ? std::uint8_t{0} : f.label[from];
}

struct Cut {
  static constexpr const char* kName = "cut_patch";
  CutJob job;
  CTSEG_DEVICE void operator()(Index i) const {
    const Voxel v(job.to.size, i);
    const Index z = v.z + job.corner[0], y = v.y + job.corner[1], x = v.x + job.corner[2];
    const int(&n)[3] = job.from.size;
    const bool in = z >= 0 && z < n[0] && y >= 0 && y < n[1] && x >= 0 && x < n[2];
    copy_voxel(job.from, job.to, in ? (z * n[1] + y) * n[2] + x : -1, i);
  }
};

struct Permute {
  static constexpr const char* kName = "permute_patch";
  PermuteJob job;
  CTSEG_DEVICE void operator()(Index i) const {
    const Voxel v(job.to.size, i);
    copy_voxel(job.from, job.to, job.first + v.z * job.step[0] + v.y * job.step[1] + v.x * job.step[2], i);
  }
};

/// Mirrored at -1/2 and n - 1/2 as often as it takes.
CTSEG_DEVICE double reflected(double c, double n) {
  const double period = 2 * n;
  double r = std::fmod(c + 0.5, period);
  if (r < 0) r += period;
  return (r < n ? r : period - r) - 0.5;
}

/// A place in the source: the first of eight neighbours, the weights of the next ones, the share of them that is inside, and the
/// nearest voxel (-1: outside).
struct Place {
  Index first, step[3];
  float weight[3], inside;
  Index nearest;
};

struct Warp {
  static constexpr const char* kName = "warp_patch";
  WarpJob job;

  CTSEG_DEVICE void operator()(Index i) const {
    const Place p = place(i);
    const Index source = voxels_in(job.from.size), target = voxels_in(job.to.size);
    for (int c = 0; c < job.from.channels; ++c) {
      float v = trilinear(p, job.from.image + c * source);
      const auto outside = static_cast<float>(job.from.outside);
      if (p.inside < 1) v = outside + product(p.inside, v - outside);
      const Index to = c * target + i;
      job.to.image[to] = changed(job.to.program, v, to);
    }
    if (job.to.label) job.to.label[i] = job.labels == WarpJob::Labels::vote ? voted(p) : nearest(p);
  }

 private:
  CTSEG_DEVICE Place place(Index i) const {
    const Voxel v(job.to.size, i);
    const Index all = voxels_in(job.to.size);
    const bool zeros = job.border == WarpJob::Border::zeros;
    const Index stride[3] = {Index{job.from.size[1]} * job.from.size[2], job.from.size[2], 1};
    Place p{0, {}, {}, 1, 0};
    double share = 1;
    for (int d = 0; d < 3; ++d) {
      const double(&m)[4] = job.map[d];
      double at = m[3] + product(m[0], static_cast<double>(v.z)) + product(m[1], static_cast<double>(v.y)) +
                  product(m[2], static_cast<double>(v.x));
      if (job.offsets)
        for (int e = 0; e < 3; ++e)
          if (job.before[d][e] != 0) at += product(job.before[d][e], static_cast<double>(job.offsets[e * all + i]));
      const double last = job.from.size[d] - 1;
      if (!(at >= 0 && at <= last) && job.border == WarpJob::Border::reflection) at = reflected(at, last + 1);
      const double low = at + 1, high = job.from.size[d] - at;   // of what fades in
      const double in = low < high ? low : high, positive = in > 0 ? in : 0;
      share = product(share, positive < 1 ? positive : 1);
      const double nearest = std::rint(at);
      if (zeros && !(nearest >= 0 && nearest <= last)) p.nearest = -1;
      if (p.nearest >= 0) p.nearest += static_cast<Index>(nearest > 0 ? (nearest < last ? nearest : last) : 0) * stride[d];
      double c = at < last ? at : last;   // not a number: the last voxel
      c = c > 0 ? c : 0;
      const int most = job.from.size[d] > 1 ? job.from.size[d] - 2 : 0;
      const int first = static_cast<int>(c) < most ? static_cast<int>(c) : most;
      p.weight[d] = static_cast<float>(c - first);
      p.first += first * stride[d];
      p.step[d] = job.from.size[d] > 1 ? stride[d] : 0;
    }
    if (zeros) p.inside = static_cast<float>(share);
    return p;
  }
  CTSEG_DEVICE std::uint8_t nearest(const Place& p) const {
    return p.nearest < 0 ? std::uint8_t{0} : job.from.label[p.nearest];
  }
  CTSEG_DEVICE static float between(float a, float b, float weight) { return a + product(weight, b - a); }
  CTSEG_DEVICE static float trilinear(const Place& p, const float* image) {
    const float* const at = image + p.first;
    const float *const y = at + p.step[1], *const z = at + p.step[0], *const zy = z + p.step[1];
    const Index x = p.step[2];   // 0 where there is no neighbour: what lies behind the image may be a NaN
    const float line[2] = {between(between(at[0], z[0], p.weight[0]), between(y[0], zy[0], p.weight[0]), p.weight[1]),
                           between(between(at[x], z[x], p.weight[0]), between(y[x], zy[x], p.weight[0]), p.weight[1])};
    return between(line[0], line[1], p.weight[2]);
  }

  /// The label with the most weight among the eight neighbours; of equals the nearest voxel's, else the smallest. What is
  /// missing to one belongs to label 0.
  CTSEG_DEVICE std::uint8_t voted(const Place& p) const {
    const std::uint8_t* const at = job.from.label + p.first;
    std::uint8_t around[9];
    float weight[9];
    bool same = true;
    for (int i = 0; i < 8; ++i) {
      around[i] = at[(i & 4 ? p.step[0] : 0) + (i & 2 ? p.step[1] : 0) + (i & 1 ? p.step[2] : 0)];
      same = same && around[i] == around[0];
      const float z = i & 4 ? p.weight[0] : 1 - p.weight[0], y = i & 2 ? p.weight[1] : 1 - p.weight[1];
      weight[i] = product(product(product(z, y), i & 1 ? p.weight[2] : 1 - p.weight[2]), p.inside);
    }
    if (same && (p.inside == 1 || around[0] == 0)) return around[0];
    around[8] = 0;
    weight[8] = p.inside < 1 ? 1 - p.inside : 0;
    return heaviest(around, weight, nearest(p));
  }
  CTSEG_DEVICE static std::uint8_t heaviest(const std::uint8_t (&label)[9], const float (&weight)[9], std::uint8_t nearest) {
    float share[9], most = 0;
    for (int i = 0; i < 9; ++i) {
      share[i] = 0;
      for (int j = 0; j < 9; ++j)
        if (label[j] == label[i]) share[i] += weight[j];
      most = most < share[i] ? share[i] : most;
    }
    int winner = 256;
    for (int i = 0; i < 9; ++i)
      if (share[i] >= most - 1e-6f && (label[i] == nearest || (winner != nearest && label[i] < winner))) winner = label[i];
    return static_cast<std::uint8_t>(winner);
  }
};

struct Filter {
  static constexpr const char* kName = "filter_axis";
  FilterJob job;
  CTSEG_DEVICE void operator()(Index i) const {
    const Voxel v(job.size, i);
    const int at = job.axis == 0 ? v.z : job.axis == 1 ? v.y : v.x;
    const Index stride = job.axis == 0 ? Index{job.size[1]} * job.size[2] : job.axis == 1 ? job.size[2] : 1;
    const float* const line = job.from + i - at * stride;
    float sum = 0;
    for (Index k = at * job.taps; k < (at + 1) * job.taps; ++k)
      if (const int from = job.index[k]; from >= 0 && job.weight[k] != 0) sum += product(job.weight[k], line[from * stride]);
    job.to[i] = sum;
  }
};

struct Pick {
  static constexpr const char* kName = "pick_labels";
  PickJob job;
  CTSEG_DEVICE void operator()(Index i) const {
    const Voxel v(job.size, i);
    const int *const z = job.table, *const y = z + job.size[0], *const x = y + job.size[1];
    job.to[i] = job.from[(Index{z[v.z]} * job.size[1] + y[v.y]) * job.size[2] + x[v.x]];
  }
};

template <class E> Index count_of(const E (&size)[3]) { return Index{size[0]} * size[1] * size[2]; }

}   // namespace

void cut_patch(Stream stream, const CutJob& job) { for_each(stream, count_of(job.to.size), Cut{job}); }
void permute_patch(Stream stream, const PermuteJob& job) { for_each(stream, count_of(job.to.size), Permute{job}); }
void warp_patch(Stream stream, const WarpJob& job) { for_each(stream, count_of(job.to.size), Warp{job}); }
void filter_axis(Stream stream, const FilterJob& job) { for_each(stream, count_of(job.size), Filter{job}); }
void pick_labels(Stream stream, const PickJob& job) { for_each(stream, count_of(job.size), Pick{job}); }

}   // namespace ctseg::cuda
