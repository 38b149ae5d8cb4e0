// Erosion, dilation, opening and closing of masks, with the neighbours of Connectivity or with a ball in millimetres. At the
// border they do what scipy.ndimage does: voxels beyond it are background, or foreground if `border` says so.
#pragma once
#include "distance.hpp"

namespace ctseg {

struct MorphologyOptions {
  Connectivity connectivity = Connectivity::faces;   // the cross, SciPy's default
  int iterations = 1;
  double radius_mm = 0;                      // above 0: a ball instead, by way of the distance transform
  bool border = false;                       // what lies beyond the volume (SciPy's border_value)
  bool per_slice = false;                    // slices on their own: 4 or 8 neighbours, a disc for a ball
  std::optional<Index> label{};              // the foreground; unset: everything but 0
  std::optional<Xyz<double>> spacing_mm{};   // of the ball; unset: the volume's own; 1 for raw voxels
  Executor* executor = nullptr;              // unset: the calling thread
};

namespace morphology {

using Flags = std::vector<std::uint8_t>;   // 0 or 1 for every voxel

template <class T> Flags flags_of(const T* voxels, Xyz<Index> shape, const MorphologyOptions& options) {
  mask::checked_extents(shape, "morphology");
  if (options.iterations < 1)
    throw Error(Code::bad_argument, "morphology", text("iterations = ", options.iterations, "; must be 1 or more."));
  if (!(options.radius_mm >= 0 && options.radius_mm <= 1e6))
    throw Error(Code::bad_argument, "morphology", text("radius_mm = ", options.radius_mm, "; must be 0 to 1000000."));
  if (options.radius_mm > 0 && options.iterations > 1)
    throw Error(Code::bad_argument, "morphology",
                text("radius_mm = ", options.radius_mm, " with iterations = ", options.iterations,
                     "; a ball is used once. Hint: give the whole radius."));
  const auto foreground = mask::foreground<T>(options.label, "morphology");
  Flags flags = mask::zeros<std::uint8_t>(shape.x * shape.y * shape.z, options.executor);
  const Index slice = shape.x * shape.y;
  mask::for_tasks(options.executor, shape.z, [&](Index z) {
    for (Index i = z * slice; i < (z + 1) * slice; ++i) flags[static_cast<std::size_t>(i)] = foreground(voxels[i]);
  });
  return flags;
}

struct And {
  static std::uint8_t of(std::uint8_t a, std::uint8_t b) { return a & b; }
};
struct Or {
  static std::uint8_t of(std::uint8_t a, std::uint8_t b) { return a | b; }
};

/// One slice of one step. Of the nine rows around a row, those from which a step along x is still allowed are gathered in
/// `wide`, the others in `narrow`; plain loops over bytes, which compilers vectorise.
template <class Op>
void step_slice(const std::uint8_t* from, std::uint8_t* to, Xyz<Index> shape, Index z, const MorphologyOptions& options) {
  const Index n = shape.x;
  const int steps = static_cast<int>(options.connectivity);
  Flags buffer(static_cast<std::size_t>(2 * n + 2));
  std::uint8_t *const wide = buffer.data() + 1, *const narrow = wide + n + 1;
  const Flags beyond(static_cast<std::size_t>(n), options.border);
  for (Index y = 0; y < shape.y; ++y) {
    const auto row_at = [&](Index dy, Index dz) {
      const bool inside = y + dy >= 0 && y + dy < shape.y && z + dz >= 0 && z + dz < shape.z;
      return inside ? from + ((z + dz) * shape.y + y + dy) * n : beyond.data();
    };
    std::copy_n(row_at(0, 0), n, wide);
    std::copy_n(row_at(0, 0), n, narrow);
    wide[-1] = wide[n] = options.border;
    for (const Index dz : {-1, 0, 1})
      for (const Index dy : {-1, 0, 1}) {
        const int used = (dy != 0) + (dz != 0);
        if (used == 0 || used > steps + 1 || (options.per_slice && dz != 0)) continue;
        const std::uint8_t* const row = row_at(dy, dz);
        std::uint8_t* const sum = used <= steps ? wide : narrow;
        for (Index x = 0; x < n; ++x) sum[x] = Op::of(sum[x], row[x]);
      }
    std::uint8_t* const out = to + (z * shape.y + y) * n;
    for (Index x = 0; x < n; ++x) out[x] = Op::of(Op::of(wide[x - 1], wide[x + 1]), Op::of(wide[x], narrow[x]));
  }
}

template <class Op> void step(Flags& flags, Xyz<Index> shape, const MorphologyOptions& options) {
  Flags next = mask::zeros<std::uint8_t>(std::ssize(flags), options.executor);
  for (int i = 0; i < options.iterations; ++i) {
    mask::for_tasks(options.executor, shape.z, [&](Index z) { step_slice<Op>(flags.data(), next.data(), shape, z, options); });
    std::swap(flags, next);
  }
}

/// Sets to `value` every voxel that has one of that value, or one beyond a border of that value, within the radius.
template <class = void> void spread(Flags& flags, Xyz<Index> shape, const MorphologyOptions& options, std::uint8_t value) {
  const DistanceOptions how{
      .label = Index{value}, .spacing_mm = options.spacing_mm, .per_slice = options.per_slice, .executor = options.executor};
  const std::vector<float> distance = distance_to_foreground(flags.data(), shape, how);
  const Xyz<double> step = options.spacing_mm.value_or(Xyz<double>{1, 1, 1});
  const double reach = options.radius_mm * (1 + 1e-6);   // a radius of whole voxels holds them, whatever was rounded
  const auto near_border = [&](Index i, Index n, double spacing) {
    return options.border == (value != 0) && static_cast<double>(std::min(i, n - 1 - i) + 1) * spacing <= reach;
  };
  mask::for_tasks(options.executor, shape.z, [&](Index z) {
    const bool edge = !options.per_slice && near_border(z, shape.z, step.z);
    for (Index y = 0; y < shape.y; ++y) {
      const bool all = edge || near_border(y, shape.y, step.y);
      const Index row = (z * shape.y + y) * shape.x;
      for (Index x = 0; x < shape.x; ++x) {
        const auto i = static_cast<std::size_t>(row + x);
        if (all || near_border(x, shape.x, step.x) || double{distance[i]} <= reach) flags[i] = value;
      }
    }
  });
}

template <class = void> void erode(Flags& flags, Xyz<Index> shape, const MorphologyOptions& options) {
  if (options.radius_mm > 0)
    spread(flags, shape, options, 0);
  else
    step<And>(flags, shape, options);
}
template <class = void> void dilate(Flags& flags, Xyz<Index> shape, const MorphologyOptions& options) {
  if (options.radius_mm > 0)
    spread(flags, shape, options, 1);
  else
    step<Or>(flags, shape, options);
}

template <class T> MorphologyOptions on_grid(const Volume<T>& volume, MorphologyOptions options) {
  if (options.radius_mm > 0) options.spacing_mm = mask::spacing_for_distance(volume.grid(), options.spacing_mm, "morphology");
  return options;
}

}   // namespace morphology

/// Foreground whose neighbours (or whose ball) are foreground throughout: scipy.ndimage.binary_erosion. Voxels are 0 or 1.
/// Shapes    as the mask. A slice on its own, 2-D, is per_slice = true; without it the space above and below counts as border.
/// Units     the ball holds the voxels whose centres are within radius_mm (plus a millionth of it, for rounding).
/// Cost      one read and write a step, two bytes a voxel; a ball of any size costs one distance transform.
/// Errors    bad_argument for iterations, a radius or a label that cannot be; a ball has those of distance_to_background.
template <class T> std::vector<std::uint8_t> erode(const T* voxels, Xyz<Index> shape, const MorphologyOptions& options = {}) {
  auto flags = morphology::flags_of(voxels, shape, options);
  morphology::erode(flags, shape, options);
  return flags;
}
template <class T> Volume<std::uint8_t> erode(const Volume<T>& volume, const MorphologyOptions& options = {}) {
  return {volume.grid(), erode(volume.data(), volume.shape(), morphology::on_grid(volume, options))};
}

/// Foreground and all its neighbours (or everything in its ball): scipy.ndimage.binary_dilation.
template <class T> std::vector<std::uint8_t> dilate(const T* voxels, Xyz<Index> shape, const MorphologyOptions& options = {}) {
  auto flags = morphology::flags_of(voxels, shape, options);
  morphology::dilate(flags, shape, options);
  return flags;
}
template <class T> Volume<std::uint8_t> dilate(const Volume<T>& volume, const MorphologyOptions& options = {}) {
  return {volume.grid(), dilate(volume.data(), volume.shape(), morphology::on_grid(volume, options))};
}

/// Erosion, then dilation: takes away what is thinner than the element.
template <class T> std::vector<std::uint8_t> opening(const T* voxels, Xyz<Index> shape, const MorphologyOptions& options = {}) {
  auto flags = morphology::flags_of(voxels, shape, options);
  morphology::erode(flags, shape, options);
  morphology::dilate(flags, shape, options);
  return flags;
}
template <class T> Volume<std::uint8_t> opening(const Volume<T>& volume, const MorphologyOptions& options = {}) {
  return {volume.grid(), opening(volume.data(), volume.shape(), morphology::on_grid(volume, options))};
}

/// Dilation, then erosion: closes what is thinner than the element. As in SciPy, the erosion eats into foreground that touches
/// the border unless `border` is true.
template <class T> std::vector<std::uint8_t> closing(const T* voxels, Xyz<Index> shape, const MorphologyOptions& options = {}) {
  auto flags = morphology::flags_of(voxels, shape, options);
  morphology::dilate(flags, shape, options);
  morphology::erode(flags, shape, options);
  return flags;
}
template <class T> Volume<std::uint8_t> closing(const Volume<T>& volume, const MorphologyOptions& options = {}) {
  return {volume.grid(), closing(volume.data(), volume.shape(), morphology::on_grid(volume, options))};
}

}   // namespace ctseg
