// Connected components. The unit of work is a run of voxels along a row: a few hundred thousand of them stand for tens of
// millions of voxels, so that union-find, sizes, boxes and centroids cost next to nothing and the time goes to reading the mask
// and writing the labels.
#pragma once
#include "mask.hpp"

namespace ctseg {

struct ComponentOptions {
  Connectivity connectivity = Connectivity::corners;   // 26 neighbours, or 8; SciPy's default is faces
  std::optional<Index> label{};                        // the foreground; unset: everything but 0
  bool by_value = false;          // touching voxels belong together only if they are equal: labels each on their own
  bool per_slice = false;         // slices do not touch: 4 or 8 neighbours
  Executor* executor = nullptr;   // unset: the calling thread
};

/// One component. Coordinates are voxel indices.
struct Component {
  Index voxels = 0;
  Xyz<Index> low{}, high{};   // its box, both corners inside
  Xyz<double> center{};       // mean of its voxels; Components::centroid is in the patient
  Index first = 0;            // its first voxel in memory
};

namespace components {

/// One stretch of foreground along a row.
struct Run {
  std::int32_t begin, end;
};

/// All runs of a volume, joined to components. Parents are runs with a lower index: a root is its component's first run.
template <class T> class RunTable {
 public:
  RunTable(const T* voxels, Xyz<Index> shape, const ComponentOptions& options)
      : voxels_(voxels),
        shape_(mask::checked_extents(shape, "components")),
        options_(options),
        foreground_(mask::foreground<T>(options.label, "components")),
        row_begin_(static_cast<std::size_t>(rows()) + 1) {}

  /// Foreground that an Index cannot name: labels above 2^63.
  RunTable& of(mask::Foreground<T> foreground) {
    foreground_ = foreground;
    return *this;
  }
  /// The inverse: components of the background.
  RunTable& invert() {
    foreground_ = foreground_.inverse();
    return *this;
  }
  /// Finds the runs, joins them and numbers the components from 0, in the order of their first voxels.
  RunTable& build() {
    find_runs();
    join();
    number();
    return *this;
  }

  Index count() const { return count_; }
  Index rows() const { return shape_.y * shape_.z; }
  T value(Index component) const { return voxels_[firsts_[static_cast<std::size_t>(component)]]; }

  /// f(row, run, component) for every run of some rows, in the order of memory.
  template <class F> void each_run(Index first_row, Index last_row, F&& f) const {
    for (Index row = first_row; row < last_row; ++row)
      for (std::uint32_t r = begin_of(row); r < begin_of(row + 1); ++r) f(row, runs_[r], parent_[r]);
  }
  /// The same for all rows, on many threads.
  template <class F> void each_run(F&& f) const {
    mask::for_tasks(options_.executor, shape_.z, [&](Index z) { each_run(z * shape_.y, (z + 1) * shape_.y, f); });
  }

  /// Sums of whole numbers, so the order of summing changes nothing.
  std::vector<Component> list() const {
    std::vector<Component> all(static_cast<std::size_t>(count_));
    std::vector<Xyz<Index>> sums(all.size());
    each_run(0, rows(), [&](Index row, Run run, std::uint32_t component) {
      Component& c = all[component];
      Xyz<Index>& sum = sums[component];
      const Index y = row % shape_.y, z = row / shape_.y, n = run.end - run.begin, last = run.end - 1;
      if (c.voxels == 0) c.low = {run.begin, y, z}, c.high = {last, y, z}, c.first = row * shape_.x + run.begin;
      c.low = {std::min<Index>(c.low.x, run.begin), std::min(c.low.y, y), c.low.z};
      c.high = {std::max(c.high.x, last), std::max(c.high.y, y), z};
      c.voxels += n;
      sum = {sum.x + n * (run.begin + last), sum.y + n * y, sum.z + n * z};   // x twice, which keeps it whole
    });
    for (std::size_t i = 0; i < all.size(); ++i) {
      const double n = static_cast<double>(all[i].voxels);
      all[i].center = {double(sums[i].x) / 2 / n, double(sums[i].y) / n, double(sums[i].z) / n};
    }
    return all;
  }

 private:
  std::uint32_t begin_of(Index row) const { return row_begin_[static_cast<std::size_t>(row)]; }

  template <class F> void scan(Index row, F&& f) const {
    const T* const at = voxels_ + row * shape_.x;
    if (options_.by_value)
      mask::for_equal_runs(at, shape_.x, foreground_, f);
    else
      mask::for_runs(at, shape_.x, foreground_, f);
  }

  /// Finds the runs slice by slice, then puts them one behind the other: the mask is read once.
  void find_runs() {
    std::vector<std::vector<Run>> found(static_cast<std::size_t>(shape_.z));
    mask::for_tasks(options_.executor, shape_.z, [&](Index z) {
      std::vector<Run>& runs = found[static_cast<std::size_t>(z)];
      for (Index row = z * shape_.y; row < (z + 1) * shape_.y; ++row) {
        const std::size_t before = runs.size();
        scan(row, [&](Index begin, Index end) {
          runs.push_back({static_cast<std::int32_t>(begin), static_cast<std::int32_t>(end)});
        });
        row_begin_[static_cast<std::size_t>(row) + 1] = static_cast<std::uint32_t>(runs.size() - before);
      }
    });
    std::uint64_t total = 0;
    for (std::uint32_t& end : row_begin_) end = static_cast<std::uint32_t>(total += end);
    if (total > std::numeric_limits<std::uint32_t>::max())
      throw Error(Code::unsupported, "components", text(std::size_t{total}, " runs of voxels; at most 4294967295."));
    runs_.resize(total);
    parent_.resize(total);
    mask::for_tasks(options_.executor, shape_.z, [&](Index z) {
      std::vector<Run>& runs = found[static_cast<std::size_t>(z)];
      const std::uint32_t first = begin_of(z * shape_.y);
      std::copy(runs.begin(), runs.end(), runs_.begin() + first);
      for (std::size_t r = 0; r < runs.size(); ++r) parent_[first + r] = first + static_cast<std::uint32_t>(r);
      runs = {};
    });
  }

  std::uint32_t root(std::uint32_t r) {
    while (parent_[r] != r) r = parent_[r] = parent_[parent_[r]];
    return r;
  }
  void unite(std::uint32_t a, std::uint32_t b) {
    a = root(a), b = root(b);
    parent_[std::max(a, b)] = std::min(a, b);
  }

  /// Joins the runs of a row with those they touch in a row before it; `reach` is 1 where a diagonal step is allowed.
  void join_rows(Index before, Index row, std::int32_t reach) {
    std::uint32_t first = begin_of(before);
    const std::uint32_t end = begin_of(before + 1);
    for (std::uint32_t r = begin_of(row); r < begin_of(row + 1); ++r) {
      while (first < end && runs_[first].end + reach <= runs_[r].begin) ++first;
      for (std::uint32_t k = first; k < end && runs_[k].begin < runs_[r].end + reach; ++k)
        if (!options_.by_value || voxels_[before * shape_.x + runs_[k].begin] == voxels_[row * shape_.x + runs_[r].begin])
          unite(k, r);
    }
  }
  /// Joins a row with the rows before it that it touches and that lie in [from, to).
  void join_row(Index row, Index from, Index to) {
    const int steps = static_cast<int>(options_.connectivity);
    const Index y = row % shape_.y;
    const auto with = [&](Index dy, Index dz) {   // a step along x may be added while steps are left
      const int used = (dy != 0) + (dz != 0);
      const Index before = row + dy + dz * shape_.y;
      if (used <= steps + 1 && y + dy >= 0 && y + dy < shape_.y && before >= from && before < to)
        join_rows(before, row, used <= steps);
    };
    with(-1, 0);
    if (options_.per_slice) return;
    for (const Index dy : {-1, 0, 1}) with(dy, -1);
  }

  /// Slabs of rows on their own, then each with the one before it. The cut depends on the shape alone.
  void join() {
    const Index at_least = shape_.z > 1 ? 4 * shape_.y : 64, slab = std::max(at_least, (rows() + 31) / 32);
    mask::for_tasks(options_.executor, (rows() + slab - 1) / slab, [&](Index s) {
      for (Index row = s * slab; row < std::min(rows(), (s + 1) * slab); ++row) join_row(row, s * slab, row);
    });
    for (Index start = slab; start < rows(); start += slab)
      for (Index row = start; row < std::min(rows(), start + shape_.y + 1); ++row) join_row(row, 0, start);
  }

  /// Roots come before their children, so that one walk numbers both.
  void number() {
    for (Index row = 0; row < rows(); ++row)
      for (std::uint32_t r = begin_of(row); r < begin_of(row + 1); ++r)
        if (parent_[r] == r) {
          firsts_.push_back(row * shape_.x + runs_[r].begin);
          parent_[r] = count_++;
        } else {
          parent_[r] = parent_[parent_[r]];
        }
  }

  const T* voxels_;
  Xyz<Index> shape_;
  ComponentOptions options_;
  mask::Foreground<T> foreground_;
  std::vector<std::uint32_t> row_begin_;   // of every row, its first run
  std::vector<Run> runs_;
  std::vector<std::uint32_t> parent_;   // of every run; once numbered, its component
  std::vector<Index> firsts_;           // of every component, its first voxel
  std::uint32_t count_ = 0;
};

/// 0 where there is no component, else its number plus 1.
template <class T> std::vector<std::uint32_t> paint(const RunTable<T>& table, Xyz<Index> shape, Executor* executor) {
  std::vector<std::uint32_t> labels = mask::zeros<std::uint32_t>(shape.x * shape.y * shape.z, executor);
  table.each_run([&](Index row, Run run, std::uint32_t component) {
    std::uint32_t* const at = labels.data() + row * shape.x;
    std::fill(at + run.begin, at + run.end, component + 1);
  });
  return labels;
}

}   // namespace components

/// Components of raw voxels: labels in the order of memory, and the table.
struct RawComponents {
  std::vector<std::uint32_t> labels;
  std::vector<Component> list;
};
/// Components of a volume; list[i] has the voxels of label i + 1.
struct Components {
  Volume<std::uint32_t> labels;
  std::vector<Component> list;

  /// Centre of gravity of component i of the list, in millimetres.
  Point<Ras> centroid(std::size_t i) const {
    const Xyz<double> c = list.at(i).center;
    return labels.affine()(c.x, c.y, c.z);
  }
};

/// Numbers the connected components 1, 2, ... in the order of their first voxels in memory, as scipy.ndimage.label does.
/// Shapes    as the mask; a 2-D image is a volume of one slice.
/// Cost      two reads of the mask, one write of the labels; 4 bytes a row and 12 bytes a run beside them.
/// Errors    bad_argument for a label that T cannot hold; unsupported for axes or numbers of runs beyond 32 bits.
/// Source    union-find on runs: Wu, Otoo and Suzuki, Optimizing two-pass connected-component labeling algorithms, 2009.
template <class T> RawComponents label_components(const T* voxels, Xyz<Index> shape, const ComponentOptions& options = {}) {
  const auto table = components::RunTable<T>(voxels, shape, options).build();
  return {components::paint(table, shape, options.executor), table.list()};
}
template <class T> Components label_components(const Volume<T>& volume, const ComponentOptions& options = {}) {
  RawComponents raw = label_components(volume.data(), volume.shape(), options);
  return {Volume<std::uint32_t>(volume.grid(), std::move(raw.labels)), std::move(raw.list)};
}

/// The table alone, without writing labels: to count, measure and choose.
template <class T>
std::vector<Component> list_components(const T* voxels, Xyz<Index> shape, const ComponentOptions& options = {}) {
  return components::RunTable<T>(voxels, shape, options).build().list();
}
template <class T> std::vector<Component> list_components(const Volume<T>& volume, const ComponentOptions& options = {}) {
  return list_components(volume.data(), volume.shape(), options);
}

}   // namespace ctseg
