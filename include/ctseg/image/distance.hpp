// Exact Euclidean distance transforms in linear time: rows first, then the lower envelope of parabolas along y and along z.
// A line falls apart into runs of one side (inside or outside): past the first voxel of the other side nothing can be nearer.
// That makes every run a small problem of its own, and lets both sides of a signed distance share one array, told apart by
// sign.
#pragma once
#include "mask.hpp"

namespace ctseg {

struct DistanceOptions {
  std::optional<Index> label{};              // the foreground; unset: everything but 0
  std::optional<Xyz<double>> spacing_mm{};   // unset: the volume's own; 1 for raw voxels
  bool per_slice = false;                    // every slice on its own, a 2-D distance
  Executor* executor = nullptr;              // unset: the calling thread
};

namespace edt {

/// Squared distance where no voxel of the other side was met yet.
inline constexpr float kFar = std::numeric_limits<float>::max();
/// Nearest voxel where there is none.
inline constexpr std::uint32_t kNowhere = std::numeric_limits<std::uint32_t>::max();
/// Lines that are moved together: a cache line of floats.
inline constexpr Index kTile = 16;

/// One stretch of a line, and which of its neighbours are voxels of the other side.
struct Run {
  Index begin, end;
  bool site_before, site_after;
};

/// The lower envelope of parabolas along one line.
template <bool kNearest> class Envelope {
 public:
  Envelope(Index n, double spacing) : squared_(spacing * spacing), sites_(static_cast<std::size_t>(n) + 2) {}

  /// Squared distances of one run in place, from those within the lines of the passes before.
  void solve(const Run& run, float* value, std::uint32_t* nearest) {
    count_ = 0;
    const float sign = value[run.begin] < 0 ? -1.f : 1.f;
    const auto offer = [&](Index i, double height) { push({height, double(i), kNearest ? nearest[i] : 0}); };
    if (run.site_before) offer(run.begin - 1, 0);
    for (Index i = run.begin; i < run.end; ++i)
      if (sign * value[i] != kFar) offer(i, double{sign * value[i]});
    if (run.site_after) offer(run.end, 0);
    if (count_ == 0) return;

    const Site *site = sites_.data(), *last = site + count_ - 1;
    for (Index i = run.begin; i < run.end; ++i) {
      double best = at(*site, double(i));
      while (site < last) {   // on a tie the lower one stays
        const double next = at(site[1], double(i));
        if (!(next < best)) break;
        best = next;
        ++site;
      }
      value[i] = sign * static_cast<float>(best);
      if constexpr (kNearest) nearest[i] = site->nearest;
    }
  }

 private:
  struct Site {
    double height, place;
    std::uint32_t nearest;
  };
  double at(const Site& s, double place) const { return s.height + (place - s.place) * (place - s.place) * squared_; }

  /// Adds a site behind the others, and drops those that it hides together with the one before them. No division.
  void push(const Site& next) {
    while (count_ >= 2) {
      const Site &low = sites_[count_ - 2], &middle = sites_[count_ - 1];
      const double a = middle.place - low.place, b = next.place - middle.place, c = a + b;
      if (c * middle.height - b * low.height - a * next.height <= a * b * c * squared_) break;
      --count_;
    }
    sites_[count_++] = next;
  }

  double squared_;
  std::vector<Site> sites_;
  std::size_t count_ = 0;
};

/// What all tasks of one transform share.
template <class T> struct Job {
  const T* voxels;
  Xyz<Index> shape;
  Xyz<double> spacing;
  mask::Foreground<T> foreground;   // what gets distances; its inverse gets them too, negative, if both_sides
  bool both_sides;
  float* distance;          // while it lasts, squared
  std::uint32_t* nearest;   // or null
};

/// Along x: the nearer end of each run.
template <class T> void row_pass(const Job<T>& job, Index row) {
  const Index n = job.shape.x, first = row * n;
  float* const value = job.distance + first;
  const double squared = job.spacing.x * job.spacing.x;
  const auto fill = [&](Index begin, Index end, float sign) {
    if (begin == end) return;
    const bool before = begin > 0, after = end < n;
    if (!before && !after) return std::fill(value, value + n, sign * kFar);
    for (Index i = begin; i < end; ++i) {
      const Index left = before ? i - begin + 1 : n, right = after ? end - i : n;
      const double steps = static_cast<double>(std::min(left, right));
      value[i] = sign * static_cast<float>(steps * steps * squared);
      if (job.nearest) job.nearest[first + i] = static_cast<std::uint32_t>(first + (left <= right ? begin - 1 : end));
    }
  };
  Index done = 0;
  const auto outside = [&](Index begin, Index end) {
    if (job.nearest)
      for (Index i = begin; i < end; ++i) job.nearest[first + i] = static_cast<std::uint32_t>(first + i);
    if (job.both_sides) fill(begin, end, -1.f);   // else they stay 0
  };
  mask::for_runs(job.voxels + first, n, job.foreground, [&](Index begin, Index end) {
    outside(done, begin);
    fill(begin, end, 1.f);
    done = end;
  });
  outside(done, n);
}

/// One line of n squared distances, side after side.
template <bool kNearest> void solve_line(Envelope<kNearest>& envelope, Index n, float* value, std::uint32_t* nearest) {
  const auto side = [&](Index i) { return (value[i] > 0) - (value[i] < 0); };
  for (Index begin = 0; begin < n;) {
    const int here = side(begin);
    Index end = begin + 1;
    while (end < n && side(end) == here) ++end;
    if (here != 0) envelope.solve({begin, end, begin > 0, end < n}, value, nearest);
    begin = end;
  }
}

/// Lines along y or z: n voxels, `stride` apart, of `lines` neighbours in memory that begin at `first`.
struct Sheet {
  Index first, lines, n, stride;
  double spacing;
};

/// All lines of one sheet, a tile at a time: strided memory is read and written by whole cache lines.
template <bool kNearest, class T> void sheet_pass(const Job<T>& job, const Sheet& sheet) {
  const Index pitch = sheet.n + kTile;   // no power of two: tiles would fight for the same sets of the cache
  std::vector<float> values(static_cast<std::size_t>(pitch * kTile));
  std::vector<std::uint32_t> nearests(kNearest ? values.size() : 1);
  Envelope<kNearest> envelope(sheet.n, sheet.spacing);
  for (Index start = 0; start < sheet.lines; start += kTile) {
    const Index width = std::min(kTile, sheet.lines - start);
    const auto move = [&](auto&& one) {
      for (Index i = 0; i < sheet.n; ++i)
        for (Index k = 0; k < width; ++k) one(sheet.first + start + i * sheet.stride + k, k * pitch + i);
    };
    float* const value = values.data();
    std::uint32_t* const nearest = nearests.data();
    move([&](Index from, Index to) { value[to] = job.distance[from]; });
    if constexpr (kNearest) move([&](Index from, Index to) { nearest[to] = job.nearest[from]; });
    for (Index k = 0; k < width; ++k)
      solve_line<kNearest>(envelope, sheet.n, value + k * pitch, kNearest ? nearest + k * pitch : nullptr);
    move([&](Index to, Index from) { job.distance[to] = value[from]; });
    if constexpr (kNearest) move([&](Index to, Index from) { job.nearest[to] = nearest[from]; });
  }
}

template <bool kNearest, class T> void transform(const Job<T>& job, const DistanceOptions& options) {
  const Xyz<Index> n = job.shape;
  mask::for_tasks(options.executor, n.z, [&](Index z) {   // a slice stays in the cache from rows to columns
    for (Index y = 0; y < n.y; ++y) row_pass(job, z * n.y + y);
    if (n.y > 1) sheet_pass<kNearest>(job, {z * n.y * n.x, n.x, n.y, n.x, job.spacing.y});
  });
  if (n.z > 1 && !options.per_slice)
    mask::for_tasks(options.executor, n.y, [&](Index y) {
      sheet_pass<kNearest>(job, {y * n.x, n.x, n.z, n.x * n.y, job.spacing.z});
    });
}

inline void check_spacing(Xyz<double> s, std::string_view where) {
  for (const double step : {s.x, s.y, s.z})
    if (!(step >= 1e-6 && step <= 1e6))
      throw Error(Code::bad_argument, where, text("spacing_mm = ", s, "; every axis must be 0.000001 to 1000000 mm."));
}

enum class Side { to_background, to_foreground, both };

template <class T> std::vector<float> distances(const T* voxels, Xyz<Index> shape, const DistanceOptions& options, Side side) {
  mask::checked_extents(shape, "distance");
  const auto inside = mask::foreground<T>(options.label, "distance");
  const Xyz<double> spacing = options.spacing_mm.value_or(Xyz<double>{1, 1, 1});
  check_spacing(spacing, "distance");
  std::vector<float> out = mask::zeros<float>(shape.x * shape.y * shape.z, options.executor);
  const bool outside = side != Side::to_background;
  const Job<T> job{voxels, shape, spacing, outside ? inside.inverse() : inside, side == Side::both, out.data(), nullptr};
  transform<false>(job, options);
  const Index slice = shape.x * shape.y;
  mask::for_tasks(options.executor, shape.z, [&](Index z) {
    for (float *d = out.data() + z * slice, *end = d + slice; d < end; ++d) {
      const float length = *d < 0 ? -*d : *d;
      const float root = length == kFar ? std::numeric_limits<float>::infinity() : std::sqrt(length);
      *d = *d < 0 ? -root : root;
    }
  });
  return out;
}

template <class T>
std::vector<std::uint32_t> nearest(const T* voxels, Xyz<Index> shape, const DistanceOptions& options, Side side) {
  mask::checked_extents(shape, "nearest");
  const auto inside = mask::foreground<T>(options.label, "nearest");
  const Xyz<double> spacing = options.spacing_mm.value_or(Xyz<double>{1, 1, 1});
  check_spacing(spacing, "nearest");
  const Index count = shape.x * shape.y * shape.z;
  if (count >= Index{kNowhere})
    throw Error(Code::unsupported, "nearest", text(count, " voxels; indices are 32 bits, at most 4294967294 voxels."));
  std::vector<float> squared = mask::zeros<float>(count, options.executor);
  std::vector<std::uint32_t> out = mask::zeros<std::uint32_t>(count, options.executor);
  std::fill(out.begin(), out.end(), kNowhere);
  const Job<T> job{voxels, shape,          spacing,   side == Side::to_foreground ? inside.inverse() : inside,
                   false,  squared.data(), out.data()};
  transform<true>(job, options);
  return out;
}

template <class T> DistanceOptions on_grid(const Volume<T>& volume, DistanceOptions options) {
  options.spacing_mm = mask::spacing_for_distance(volume.grid(), options.spacing_mm, "distance");
  return options;
}

}   // namespace edt

/// Distance of every foreground voxel to the centre of the nearest background voxel; background voxels get 0.
/// Shapes    as the mask; what lies beyond the volume is neither side. Infinity everywhere where there is no background.
/// Units     millimetres, with the volume's spacing; equals scipy.ndimage.distance_transform_edt(mask, sampling).
/// Numerics  double along each line, float between lines: within 1e-7 of the exact value, exact for a spacing of 1.
/// Cost      linear in voxels; the result, and beside it 200 bytes for each voxel of the longest axis and running task.
/// Errors    bad_argument for a spacing or label that cannot be; unsupported for sheared grids (mask::spacing_for_distance).
/// Source    Felzenszwalb and Huttenlocher, Distance transforms of sampled functions, Theory of Computing 2012; the test
///           without division is that of Maurer et al., IEEE PAMI 25(2), 2003.
template <class T>
std::vector<float> distance_to_background(const T* voxels, Xyz<Index> shape, const DistanceOptions& options = {}) {
  return edt::distances(voxels, shape, options, edt::Side::to_background);
}
template <class T> Volume<float> distance_to_background(const Volume<T>& volume, const DistanceOptions& options = {}) {
  return {volume.grid(), distance_to_background(volume.data(), volume.shape(), edt::on_grid(volume, options))};
}

/// Distance of every background voxel to the centre of the nearest foreground voxel; foreground voxels get 0.
template <class T>
std::vector<float> distance_to_foreground(const T* voxels, Xyz<Index> shape, const DistanceOptions& options = {}) {
  return edt::distances(voxels, shape, options, edt::Side::to_foreground);
}
template <class T> Volume<float> distance_to_foreground(const Volume<T>& volume, const DistanceOptions& options = {}) {
  return {volume.grid(), distance_to_foreground(volume.data(), volume.shape(), edt::on_grid(volume, options))};
}

/// Distance to the nearest voxel of the other side: positive outside, negative inside, nowhere 0 (the steps across a boundary
/// are one voxel: from -1 to 1).
template <class T> std::vector<float> signed_distance(const T* voxels, Xyz<Index> shape, const DistanceOptions& options = {}) {
  return edt::distances(voxels, shape, options, edt::Side::both);
}
template <class T> Volume<float> signed_distance(const Volume<T>& volume, const DistanceOptions& options = {}) {
  return {volume.grid(), signed_distance(volume.data(), volume.shape(), edt::on_grid(volume, options))};
}

/// Index in memory of the nearest background voxel, a background voxel's own for itself; edt::kNowhere if there is none. Of
/// several at one distance the first in memory.
/// Errors    unsupported for more than 4294967294 voxels; those of distance_to_background.
template <class T>
std::vector<std::uint32_t> nearest_background(const T* voxels, Xyz<Index> shape, const DistanceOptions& options = {}) {
  return edt::nearest(voxels, shape, options, edt::Side::to_background);
}
template <class T> Volume<std::uint32_t> nearest_background(const Volume<T>& volume, const DistanceOptions& options = {}) {
  return {volume.grid(), nearest_background(volume.data(), volume.shape(), edt::on_grid(volume, options))};
}

/// Index in memory of the nearest foreground voxel, a foreground voxel's own for itself.
template <class T>
std::vector<std::uint32_t> nearest_foreground(const T* voxels, Xyz<Index> shape, const DistanceOptions& options = {}) {
  return edt::nearest(voxels, shape, options, edt::Side::to_foreground);
}
template <class T> Volume<std::uint32_t> nearest_foreground(const Volume<T>& volume, const DistanceOptions& options = {}) {
  return {volume.grid(), nearest_foreground(volume.data(), volume.shape(), edt::on_grid(volume, options))};
}

}   // namespace ctseg
