// What lies between the windows that were seen and those that come: sums of logits that are not finished. The volume is cut
// into cells; a cell is born with the first window that touches it, goes when it was handed over, and may wait in a file.
#pragma once
#include <sys/mman.h>

#include <chrono>
#include <memory>

#include "../core/context.hpp"
#include "spill.hpp"
#include "windows.hpp"

namespace ctseg::detail {

/// One axis cut where windows begin and end, so that voxels of a cell live about equally long.
struct CutAxis {
  static constexpr Index kMostInWindow = 8;   // cells of a window along an axis: overlaps of 0.99 have windows at every voxel
  std::vector<Index> cuts;                    // cell i: voxels [cuts[i], cuts[i + 1])
  std::vector<Index> from, to;                // is touched by the windows [from[i], to[i])

  CutAxis(Index extent, Index window, const std::vector<Index>& starts) {
    std::vector<Index> all{0, extent};
    for (const Index s : starts)
      for (const Index cut : {s, s + window})
        if (cut > 0 && cut < extent) all.push_back(cut);
    std::sort(all.begin(), all.end());
    all.erase(std::unique(all.begin(), all.end()), all.end());
    for (Index apart = 1; cuts.empty() || densest(window) > kMostInWindow; apart *= 2) {
      cuts = {0};
      for (const Index cut : all)
        if (cut - cuts.back() >= apart && cut < extent) cuts.push_back(cut);
      cuts.push_back(extent);
    }
    for (std::size_t i = 0; i + 1 < cuts.size(); ++i) {
      const auto first = std::find_if(starts.begin(), starts.end(), [&](Index s) { return s + window > cuts[i]; });
      const auto last = std::find_if(first, starts.end(), [&](Index s) { return s >= cuts[i + 1]; });
      from.push_back(first - starts.begin()), to.push_back(last - starts.begin());
    }
  }
  Index count() const { return std::ssize(from); }
  Index thickest() const {
    Index most = 0;
    for (std::size_t i = 0; i + 1 < cuts.size(); ++i) most = std::max(most, cuts[i + 1] - cuts[i]);
    return most;
  }

 private:
  Index densest(Index window) const {
    Index most = 0;
    for (auto c = cuts.begin(); c != cuts.end(); ++c)
      most = std::max<Index>(most, std::lower_bound(c, cuts.end(), *c + window) - c);
    return most;
  }
};

/// Zeros. Large ones go back to the system at once: cells differ in size, and an allocator kept a quarter more in holes.
class CellMemory {
 public:
  explicit CellMemory(Index bytes = 0) : data_(nullptr, Free{static_cast<std::size_t>(bytes)}) {
    if (bytes == 0) return;
    void* p = bytes < kMapped ? std::calloc(1, data_.get_deleter().bytes) : map(data_.get_deleter().bytes);
    if (!p)
      throw Error(Code::out_of_memory, "stream_windows",
                  text("cannot allocate ", bytes >> 20, " MiB. Hint: StreamOptions::max_memory sends logits to a file."));
    data_.reset(static_cast<float*>(p));
  }
  float* values() { return data_.get(); }

 private:
  static constexpr Index kMapped = Index{1} << 20;
  static void* map(std::size_t bytes) {
    void* p = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED) return nullptr;
#if defined(MADV_HUGEPAGE)
    (void)::madvise(p, bytes, MADV_HUGEPAGE);   // advice: failing is fine
#endif
    return p;
  }
  struct Free {
    std::size_t bytes;
    void operator()(float* p) const { static_cast<Index>(bytes) < kMapped ? std::free(p) : (void)::munmap(p, bytes); }
  };
  std::unique_ptr<float, Free> data_;
};

/// Places in a file: the first gap that is large enough, else its end.
class FilePlaces {
 public:
  Index take(Index bytes) {
    const auto gap = std::find_if(gaps_.begin(), gaps_.end(), [&](const Gap& g) { return g.bytes >= bytes; });
    if (gap == gaps_.end()) {
      const bool at_end = !gaps_.empty() && gaps_.back().at + gaps_.back().bytes == end_;
      const Index at = at_end ? gaps_.back().at : end_;
      if (at_end) gaps_.pop_back();
      end_ = at + bytes;
      return at;
    }
    const Index at = gap->at;
    gap->at += bytes, gap->bytes -= bytes;
    if (gap->bytes == 0) gaps_.erase(gap);
    return at;
  }
  void give(Index at, Index bytes) {
    auto next = std::find_if(gaps_.begin(), gaps_.end(), [&](const Gap& g) { return g.at > at; });
    next = gaps_.insert(next, {at, bytes});
    if (next + 1 != gaps_.end() && at + bytes == next[1].at) next->bytes += next[1].bytes, gaps_.erase(next + 1);
    if (next != gaps_.begin() && next[-1].at + next[-1].bytes == at) next[-1].bytes += next->bytes, gaps_.erase(next);
  }

 private:
  struct Gap {
    Index at, bytes;
  };
  std::vector<Gap> gaps_;   // in their order
  Index end_ = 0;
};

/// A box of voxels, z, y, x.
struct CellBox {
  std::array<Index, 3> first{}, size{};
  Index voxels() const { return size[0] * size[1] * size[2]; }
};

struct FrontierOptions {
  Index channels = 1;
  Index budget = 0;       // bytes of cells in memory at once; 0: as many as it takes
  bool slabs = false;     // finished cells wait for the others of their slices
  bool dry = false;       // count, but allocate and write nothing
  std::string folder{};   // of the file
};

class Frontier {
 public:
  Frontier(const WindowGrid& grid, FrontierOptions o)
      : axes_{CutAxis(grid.image[0], grid.window[0], grid.starts[0]), CutAxis(grid.image[1], grid.window[1], grid.starts[1]),
              CutAxis(grid.image[2], grid.window[2], grid.starts[2])},
        windows_{grid.count(0), grid.count(1), grid.count(2)},
        options_(std::move(o)),
        cells_(static_cast<std::size_t>(axes_[0].count() * axes_[1].count() * axes_[2].count())) {}

  const CutAxis& axis(std::size_t a) const { return axes_[a]; }
  Index cell(Index z, Index y, Index x) const { return (z * axes_[1].count() + y) * axes_[2].count() + x; }
  CellBox box(Index c) const {
    CellBox b;
    for (std::size_t a = 3; a-- > 0; c /= axes_[a].count()) {
      const auto i = static_cast<std::size_t>(c % axes_[a].count());
      b.first[a] = axes_[a].cuts[i], b.size[a] = axes_[a].cuts[i + 1] - b.first[a];
    }
    return b;
  }
  Index largest_bytes() const { return bytes_of_voxels(axes_[0].thickest() * axes_[1].thickest() * axes_[2].thickest()); }

  /// The cell's sums, in memory, for window w; zero at first.
  float* touch(Index c, Index w) {
    Cell& cell = at(c);
    if (cell.seen < 0) {
      allocate(c);
      unfinished_ += bytes(c), most_unfinished = std::max(most_unfinished, unfinished_);
    } else if (cell.file_at >= 0) {
      allocate(c);
      timed([&] { file_->read(cell.file_at, cell.memory.values(), bytes(c)); });
      places_.give(std::exchange(cell.file_at, -1), bytes(c));
    }
    cell.seen = w;
    return cell.memory.values();
  }
  void release(Index c) {
    unfinished_ -= bytes(c);
    if (Cell& cell = at(c); cell.file_at >= 0)
      places_.give(std::exchange(cell.file_at, -1), bytes(c));
    else
      leave(c);
  }
  /// Whether w is the last window that touches the cell.
  bool finished_by(Index c, Index w) const { return next_use(c, w) < 0; }

  /// `count` slices of a cell from the first one + `skip` on: where they are in memory, or read into `scratch`.
  float* slices(Index c, std::array<Index, 2> skip_count, std::vector<float>& scratch) {
    const CellBox b = box(c);
    const Index slice = b.size[1] * b.size[2] * options_.channels, offset = skip_count[0] * slice;
    Cell& cell = at(c);
    if (cell.file_at < 0) return cell.memory.values() + offset;
    scratch.resize(static_cast<std::size_t>(skip_count[1] * slice));
    timed([&] {
      file_->read(cell.file_at + offset * Index{sizeof(float)}, scratch.data(), std::ssize(scratch) * Index{sizeof(float)});
    });
    return scratch.data();
  }

  // What it came to.
  Index most_unfinished = 0, most_resident = 0;   // bytes
  Index file_bytes = 0, written_bytes = 0;
  double seconds = 0;   // of reading and writing the file

 private:
  struct Cell {
    CellMemory memory{};
    Index seen = -1;      // the last window that touched it
    Index file_at = -1;   // its place in the file while it is there
    Index place = -1;     // its place in resident_ while it is in memory
  };
  Cell& at(Index c) { return cells_[static_cast<std::size_t>(c)]; }
  Index bytes(Index c) const { return bytes_of_voxels(box(c).voxels()); }
  Index bytes_of_voxels(Index voxels) const { return voxels * options_.channels * Index{sizeof(float)}; }

  /// The first window behind w that touches the cell; -1: none.
  Index next_use(Index c, Index w) const {
    std::array<Index, 3> low{}, high{}, n{};
    for (std::size_t a = 3; a-- > 0; c /= axes_[a].count()) {
      const auto i = static_cast<std::size_t>(c % axes_[a].count());
      low[a] = axes_[a].from[i], high[a] = axes_[a].to[i];
    }
    n = {(w + 1) / (windows_[1] * windows_[2]), (w + 1) / windows_[2] % windows_[1], (w + 1) % windows_[2]};
    std::size_t fits = 0;   // axes along which n lies in the cell's range
    while (fits < 3 && n[fits] >= low[fits] && n[fits] < high[fits]) ++fits;
    if (fits < 3 && n[fits] >= high[fits]) {   // behind it: one on along a slower axis
      do {
        if (fits == 0) return -1;
        --fits;
      } while (++n[fits] >= high[fits]);
      ++fits;
    }
    for (; fits < 3; ++fits) n[fits] = low[fits];
    return (n[0] * windows_[1] + n[1]) * windows_[2] + n[2];
  }
  /// When a cell in memory is needed again, be it to hand over its slices.
  Index needed(Index c) {
    const Index next = next_use(c, at(c).seen);
    const auto layers = axes_[0].to[static_cast<std::size_t>(c / (axes_[1].count() * axes_[2].count()))];
    return next >= 0 ? next : layers * windows_[1] * windows_[2];
  }

  void allocate(Index c) {
    while (options_.budget > 0 && resident_bytes_ + bytes(c) > options_.budget) spill_one();
    Cell& cell = at(c);
    if (!options_.dry) cell.memory = CellMemory(bytes(c));
    cell.place = std::ssize(resident_);
    resident_.push_back(c);
    resident_bytes_ += bytes(c), most_resident = std::max(most_resident, resident_bytes_);
  }
  void leave(Index c) {
    Cell& cell = at(c);
    cell.memory = CellMemory();
    resident_bytes_ -= bytes(c);
    at(resident_.back()).place = cell.place;
    resident_[static_cast<std::size_t>(cell.place)] = resident_.back();
    resident_.pop_back();
    cell.place = -1;
  }
  /// Writes the cell that is needed last to the file. What is needed when is known beforehand, so nothing better can be done.
  void spill_one() {
    Index victim = resident_.front(), latest = needed(victim);
    for (const Index c : resident_)
      if (const Index when = needed(c); when > latest || (when == latest && c > victim)) victim = c, latest = when;
    Cell& cell = at(victim);
    cell.file_at = places_.take(bytes(victim));
    if (!options_.dry) {
      if (!file_) file_ = std::make_unique<SpillFile>(options_.folder);
      timed([&] { file_->write(cell.file_at, cell.memory.values(), bytes(victim)); });
    }
    file_bytes = std::max(file_bytes, cell.file_at + bytes(victim));
    written_bytes += bytes(victim);
    leave(victim);
  }
  template <class F> void timed(F f) {
    const auto start = std::chrono::steady_clock::now();
    if (!options_.dry) f();
    seconds += std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  }

  std::array<CutAxis, 3> axes_;
  std::array<Index, 3> windows_;
  FrontierOptions options_;
  std::vector<Cell> cells_;
  Index resident_bytes_ = 0, unfinished_ = 0;
  std::vector<Index> resident_;
  FilePlaces places_;
  std::unique_ptr<SpillFile> file_;
};

}   // namespace ctseg::detail
