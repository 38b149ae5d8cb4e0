// What masks and label maps are tidied with: holes filled, islands dropped. Voxels keep their values; a volume that is passed
// with std::move is changed in place.
#pragma once
#include <map>

#include "components.hpp"

namespace ctseg {

struct FillHolesOptions {
  Connectivity connectivity = Connectivity::faces;   // of the holes: SciPy's default
  bool by_value = false;          // every label on its own: holes within one label, in ascending order of labels
  bool per_slice = false;         // holes of slices: closed in the plane is enough
  std::optional<Index> label{};   // fill only this label's holes; unset: those of everything but 0
  Executor* executor = nullptr;   // unset: the calling thread
};

struct KeepLargestOptions {
  int count = 1;   // how many to keep; of equal ones the first in memory
  Connectivity connectivity = Connectivity::corners;
  bool by_value = false;   // count of every label; else of everything but 0 taken together
  bool per_slice = false;
  Executor* executor = nullptr;
};

struct RemoveSmallOptions {
  Index min_voxels = 0;   // what has fewer goes
  double min_mm3 = 0;     // what is smaller goes; 0: does not matter
  Connectivity connectivity = Connectivity::corners;
  bool by_value = false;   // every label on its own; else everything but 0 taken together
  bool per_slice = false;
  Executor* executor = nullptr;
};

namespace cleanup {

/// Gives their label (1, where that is everything but 0) to the zeros that those voxels enclose: background components that do
/// not reach the border.
template <class T> void fill(T* voxels, Xyz<Index> shape, mask::Foreground<T> of, const FillHolesOptions& options) {
  using components::Run;
  auto table = components::RunTable<T>(
      voxels, shape, {.connectivity = options.connectivity, .per_slice = options.per_slice, .executor = options.executor});
  table.of(of.inverse()).build();
  std::vector<std::uint8_t> open(static_cast<std::size_t>(table.count()));
  table.each_run(0, table.rows(), [&](Index row, Run run, std::uint32_t component) {
    const Index y = row % shape.y, z = row / shape.y;
    if (run.begin == 0 || run.end == shape.x || y == 0 || y == shape.y - 1 ||
        (!options.per_slice && (z == 0 || z == shape.z - 1)))
      open[component] = 1;
  });
  const T value = of.equal ? of.value : T(1);
  table.each_run([&](Index row, Run run, std::uint32_t component) {
    if (open[component]) return;
    for (T *v = voxels + row * shape.x + run.begin, *end = v + (run.end - run.begin); v < end; ++v)
      if (*v == T(0)) *v = value;   // other labels stay
  });
}

/// The values that occur, except 0, ascending.
template <class T> std::vector<T> values_of(const T* voxels, Xyz<Index> shape) {
  std::vector<T> found;
  for (Index row = 0; row < shape.y * shape.z; ++row)
    mask::for_equal_runs(voxels + row * shape.x, shape.x, mask::Foreground<T>{}, [&](Index begin, Index) {
      const T value = voxels[row * shape.x + begin];
      const auto at = std::lower_bound(found.begin(), found.end(), value);
      if (at == found.end() || *at != value) found.insert(at, value);
    });
  return found;
}

/// Sets every voxel of the components that are not kept to 0.
template <class T, class Options, class Choose>
void drop(T* voxels, Xyz<Index> shape, const Options& options, Choose&& choose) {
  const components::RunTable<T> table = components::RunTable<T>(voxels, shape,
                                                                {.connectivity = options.connectivity,
                                                                 .by_value = options.by_value,
                                                                 .per_slice = options.per_slice,
                                                                 .executor = options.executor})
                                            .build();
  const std::vector<std::uint8_t> keep = choose(table.list());
  table.each_run([&](Index row, components::Run run, std::uint32_t component) {
    if (!keep[component]) std::fill(voxels + row * shape.x + run.begin, voxels + row * shape.x + run.end, T(0));
  });
}

}   // namespace cleanup

/// Fills the holes of a mask with 1, or those of a label with the label: scipy.ndimage.binary_fill_holes on 0 and 1. A hole is
/// background that no path of background connects with the border. Only zeros change: other labels in a hole stay.
/// Errors    bad_argument for a label that T cannot hold, or one named together with by_value.
template <class T> Volume<T> fill_holes(Volume<T> volume, const FillHolesOptions& options = {}) {
  static_assert(std::is_integral_v<T>, "ctseg: fill_holes takes masks and label maps of integers");
  if (options.label && (options.by_value || *options.label == 0))
    throw Error(Code::bad_argument, "fill_holes",
                text("label = ", *options.label, options.by_value ? " with by_value" : "",
                     "; name a label other than 0, or by_value for all of them, not both."));
  if (!options.by_value) {
    cleanup::fill(volume.data(), volume.shape(), mask::foreground<T>(options.label, "fill_holes"), options);
    return volume;
  }
  for (const T value : cleanup::values_of(volume.data(), volume.shape()))
    cleanup::fill(volume.data(), volume.shape(), {value, true}, options);
  return volume;
}

/// Keeps the largest connected components; the voxels of all others become 0.
/// Errors    bad_argument for a count below 1.
template <class T> Volume<T> keep_largest(Volume<T> volume, const KeepLargestOptions& options = {}) {
  static_assert(std::is_integral_v<T>, "ctseg: keep_largest takes masks and label maps of integers");
  if (options.count < 1)
    throw Error(Code::bad_argument, "keep_largest", text("count = ", options.count, "; must be 1 or more."));
  const auto choose = [&](const std::vector<Component>& list) {
    std::vector<std::size_t> order(list.size());
    for (std::size_t i = 0; i < order.size(); ++i) order[i] = i;
    std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) { return list[a].voxels > list[b].voxels; });
    std::map<T, int> kept;   // how many of each label; of all, under 0
    std::vector<std::uint8_t> keep(list.size());
    for (const std::size_t i : order) keep[i] = kept[options.by_value ? volume.data()[list[i].first] : T(0)]++ < options.count;
    return keep;
  };
  cleanup::drop(volume.data(), volume.shape(), options, choose);
  return volume;
}

/// Drops the connected components that are smaller than a limit; their voxels become 0.
/// Units     cubic millimetres by the determinant of the affine, right for sheared grids too.
/// Errors    bad_argument for a limit below 0 or none at all.
template <class T> Volume<T> remove_small(Volume<T> volume, const RemoveSmallOptions& options) {
  static_assert(std::is_integral_v<T>, "ctseg: remove_small takes masks and label maps of integers");
  if (options.min_voxels < 0 || !(options.min_mm3 >= 0) || (options.min_voxels == 0 && options.min_mm3 == 0))
    throw Error(Code::bad_argument, "remove_small",
                text("min_voxels = ", options.min_voxels, ", min_mm3 = ", options.min_mm3,
                     "; both must be 0 or more, and one of them above 0."));
  const double voxel_mm3 = volume.affine().voxel_mm3();
  const auto choose = [&](const std::vector<Component>& list) {
    std::vector<std::uint8_t> keep(list.size());
    for (std::size_t i = 0; i < keep.size(); ++i)
      keep[i] = list[i].voxels >= options.min_voxels && static_cast<double>(list[i].voxels) * voxel_mm3 >= options.min_mm3;
    return keep;
  };
  cleanup::drop(volume.data(), volume.shape(), options, choose);
  return volume;
}

}   // namespace ctseg
