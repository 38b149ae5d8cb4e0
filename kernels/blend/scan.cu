// A scan is uploaded once, made a network's input on the card, and stays: windows are gathered from it, with the rule for what
// lies around it, so no padded copy exists. Windows that show air alone are found before any is run.
// Bytes     prepare 2 or 4 read, 4 written for each voxel; gather 4 read, sizeof(T) written for each value of a window: 128^3 of
//           bf16 are 12.6 MB. Threads take four neighbours along x where a row is whole fours. Not measured yet.
#include "../common/exact.cuh"
#include "../common/launch.cuh"
#include "../common/values.cuh"
#include "ctseg/infer/cuda/launchers.hpp"

namespace ctseg::cuda {
namespace {

CTSEG_DEVICE float stepped(const ValueStep& s, float value) {
  if (value != value) return static_cast<float>(s.of_nan);
  double v = static_cast<double>(value);
  v = v < s.in_low ? s.in_low : v;
  v = v > s.in_high ? s.in_high : v;
  v = product(v - s.subtract, s.scale) + s.add;
  v = v < s.low ? s.low : v;
  return static_cast<float>(v > s.high ? s.high : v);
}

template <class V> struct Prepare {
  static constexpr const char* kName = "prepare_scan";
  ScanJob job;
  CTSEG_DEVICE void operator()(Index i) const {
    float v = static_cast<float>(static_cast<const V*>(job.from)[i]);
    for (int s = 0; s < ValueSteps::kMost; ++s)
      if (s < job.steps.count) v = stepped(job.steps.at[s], v);
    job.to[i * job.step] = v;
  }
};

/// Where a window's voxel lies in the volume; below 0: nowhere.
CTSEG_DEVICE Index row_of(const WindowSource& s, int z, int y) {
  const int(&n)[3] = s.tables.image;
  const Index at_z = detail::padded_at(z, n[0], s.padding), at_y = detail::padded_at(y, n[1], s.padding);
  return at_z < 0 || at_y < 0 ? -1 : (at_z * n[1] + at_y) * n[2];
}
CTSEG_DEVICE float value_at(const WindowSource& s, Index row, int x, Index c) {
  const Index at_x = row < 0 ? -1 : detail::padded_at(x, s.tables.image[2], s.padding);
  return at_x < 0 ? s.outside : s.values[(row + at_x) * s.channels + c];
}
struct Corner {
  int z, y, x;
  CTSEG_DEVICE Corner(const WindowTables& t, int window)
      : z(t.start[0][window / (t.count[1] * t.count[2])]),
        y(t.start[1][window / t.count[2] % t.count[1]]),
        x(t.start[2][window % t.count[2]]) {}
};

/// N voxels of one channel along x for each thread; a row of blocks is a window.
template <class T, int N> struct Gather {
  static constexpr int kThreads = 256;
  static constexpr bool kSyncs = false;
  static constexpr const char* kName = "gather_windows";
  WindowSource source;
  WindowNumbers windows;
  T* to;
  Index pitch;

  CTSEG_DEVICE void operator()(const Block& b) const {
    const WindowTables& t = source.tables;
    const int place = static_cast<int>(b.row()), voxels = t.window[0] * t.window[1] * t.window[2];
    const int v = (static_cast<int>(b.index()) * kThreads + b.thread()) * N;
    if (v >= voxels) return;
    const Corner corner(t, windows.at[place]);
    const int line = v / t.window[2], x = v - line * t.window[2], z = line / t.window[1], y = line - z * t.window[1];
    const Index row = row_of(source, corner.z + z, corner.y + y);
    T* const out = to + (Index{place} * voxels + v) * pitch;
    if constexpr (N == 1) {
      for (Index c = 0; c < source.channels; ++c) out[c] = from_float<T>(value_at(source, row, corner.x + x, c));
    } else {
      Pack<T, N> p;
      for (int k = 0; k < N; ++k) p.at[k] = from_float<T>(value_at(source, row, corner.x + x + k, 0));
      *reinterpret_cast<Pack<T, N>*>(out) = p;
    }
  }
};
template <class T, int N>
void gather(Stream stream, const WindowSource& source, const WindowNumbers& windows, const Array& to) {
  const WindowTables& t = source.tables;
  const Index threads = Index{t.window[0]} * t.window[1] * t.window[2] / N;
  launch(stream, {.blocks = (threads + 255) / 256, .rows = windows.count}, Gather<T, N>{source, windows, to.as<T>(), to.pitch});
}

/// A block looks at a window until one of its threads finds a value; all of them then write the same 1.
template <class T> struct Occupied {
  static constexpr int kThreads = 256;
  static constexpr bool kSyncs = false;
  static constexpr const char* kName = "find_occupied";
  WindowSource source;
  AirTest test;

  CTSEG_DEVICE void operator()(const Block& b) const {
    const WindowTables& t = source.tables;
    const int window = static_cast<int>(b.index()), lines = t.window[0] * t.window[1];
    const Corner corner(t, window);
    for (int line = b.thread() / kWarp; line < lines; line += kThreads / kWarp) {
      const Index row = row_of(source, corner.z + line / t.window[1], corner.y + line % t.window[1]);
      for (int x = b.lane(); x < t.window[2]; x += kWarp)
        for (Index c = 0; c < source.channels; ++c)
          if (!(to_float(from_float<T>(value_at(source, row, corner.x + x, c))) <= test.threshold)) {
            test.occupied[window] = 1;
            return;
          }
    }
  }
};

}   // namespace

void prepare_scan(Stream stream, const ScanJob& job, Dtype from) {
  if (from == Dtype::i16) return for_each(stream, job.count, Prepare<std::int16_t>{job});
  if (from == Dtype::f32) return for_each(stream, job.count, Prepare<float>{job});
  throw Error(Code::unsupported, "prepare_scan", ctseg::text("a scan of ", from, "; i16 and f32 are uploaded."));
}

void gather_windows(Stream stream, const WindowSource& source, const WindowNumbers& windows, const Array& to) {
  with_storage(to.dtype, [&](auto t) {
    using T = decltype(t);
    const bool fours = source.channels == 1 && to.pitch == 1 && source.tables.window[2] % 4 == 0 &&
                       reinterpret_cast<std::uintptr_t>(to.data) % (4 * sizeof(T)) == 0;
    fours ? gather<T, 4>(stream, source, windows, to) : gather<T, 1>(stream, source, windows, to);
  });
}
void find_occupied(Stream stream, const WindowSource& source, const AirTest& test) {
  with_storage(test.dtype, [&](auto t) {
    launch(stream, {.blocks = source.tables.windows()}, Occupied<decltype(t)>{source, test});
  });
}

}   // namespace ctseg::cuda
