// Separable linear maps: interpolation, average pooling, padding, and the transpose of each.
// Idea     a thread owns a pack of channels of one voxel and gathers: sums along x, of these along y, of these along z, which is
//          the CPU's order. At most two taps an axis (all interpolation, windows of 2) are unrolled, eight loads in flight. More
//          than kMostTaps a voxel (a mean over a volume) go in passes, x first, with sums in float between them: the same
//          digits. Tables come as arguments of a launch that writes them down: a recorded launch holds them, and no copy waits.
// Bytes    of a value of the target: the source's once (its neighbours come from the caches), and one size.
// Speed    not measured yet.
#include "ctseg/ops/cuda/separable.hpp"

#include "../pointwise/rows.cuh"

namespace ctseg::cuda {
namespace {

inline constexpr Index kMostTaps = 64;

// ---- tables

struct WriteWords {
  static constexpr int kThreads = 256, kMost = 960;   // arguments of a launch end at 4 KB
  static constexpr bool kSyncs = false;
  static constexpr const char* kName = "write_table";
  std::uint32_t word[kMost];
  std::uint32_t* to;
  int count;
  CTSEG_DEVICE void operator()(const Block& b) const {
    const int i = static_cast<int>(b.index()) * kThreads + b.thread();
    if (i < count) to[i] = word[i];
  }
};
void write_words(Stream stream, std::uint32_t* to, std::span<const std::uint32_t> words) {
  for (std::span<const std::uint32_t> part; !words.empty(); words = words.subspan(part.size()), to += part.size()) {
    part = words.first(std::min(words.size(), std::size_t{WriteWords::kMost}));
    WriteWords body{};
    body.to = to, body.count = static_cast<int>(part.size());
    std::copy(part.begin(), part.end(), body.word);
    launch(stream, {.blocks = (body.count + 255) / 256}, body);
  }
}

/// A table in device memory. Without taps every coordinate reads its own; without either it also exists.
struct Axis {
  const std::int32_t* first = nullptr;
  const AxisTap* taps = nullptr;

  struct Range {
    int begin, end;
  };
  CTSEG_DEVICE Range of(int k) const {
    if (!first) return {0, 1};
    const Range r{first[k], first[k + 1]};
    return taps ? r : Range{0, r.begin < r.end};
  }
  CTSEG_DEVICE AxisTap tap(int i, int k) const { return taps ? taps[i] : AxisTap{k, 1.f}; }
};
Axis place_only(Axis a) { return {a.first, nullptr}; }

Index table_words(const Resampling& r) {
  std::size_t words = 0;
  for (const TapTable& t : r.axes) words += (t.first.size() + 1) / 2 * 2 + 2 * t.taps.size();   // taps on 8 bytes
  return static_cast<Index>(words);
}
std::array<Axis, 3> written(Stream stream, const Resampling& r, std::uint32_t* to) {
  std::vector<std::uint32_t> words;
  std::array<Axis, 3> axes;
  for (std::size_t d = 0; d < 3; ++d) {
    axes[d].first = reinterpret_cast<const std::int32_t*>(to + words.size());
    for (const std::int32_t f : r.axes[d].first) words.push_back(static_cast<std::uint32_t>(f));
    if (words.size() % 2) words.push_back(0);
    axes[d].taps = reinterpret_cast<const AxisTap*>(to + words.size());
    for (const AxisTap& t : r.axes[d].taps)
      words.push_back(static_cast<std::uint32_t>(t.at)), words.push_back(std::bit_cast<std::uint32_t>(t.weight));
  }
  write_words(stream, to, words);
  return axes;
}

// ---- one pass

template <class From, class To, int N, int kMost> struct Gather {   // kMost: taps of a coordinate, at most; 0: any number
  static constexpr int kThreads = kRowThreads, kResident = 2;
  static constexpr bool kSyncs = false;
  static constexpr const char* kName = "resample";
  Axis z, y, x;
  Zyx in, out;
  Rows<const From> from;
  Rows<To> to;
  Index rows, packs;
  float outside;

  CTSEG_DEVICE void operator()(const Block& b) const {
    const Share s = share_of(b, rows, packs);
    for (Index row = s.row; row < rows; row += s.step) one(row, s.pack * N);
  }
  CTSEG_DEVICE void one(Index row, Index c) const {
    const Place p = place_of(row, out);
    const Axis::Range zs = z.of(p.at.z), ys = y.of(p.at.y), xs = x.of(p.at.x);
    float sum[N] = {};
    const bool some = zs.begin < zs.end && ys.begin < ys.end && xs.begin < xs.end;
    if (some) {
      if constexpr (kMost > 0)
        few(p, zs, ys, xs, c, sum);
      else
        many(p, zs, ys, xs, c, sum);
    }
    Pack<To, N> result;
    CTSEG_UNROLL for (int e = 0; e < N; ++e) result.at[e] = from_float<To>(some ? sum[e] : outside);
    store(to.at(row, c), result);
  }

  /// Missing taps are the first one again: loaded with the others, but not added.
  CTSEG_DEVICE void few(const Place& p, Axis::Range zs, Axis::Range ys, Axis::Range xs, Index c, float (&sum)[N]) const {
    AxisTap tz[kMost], ty[kMost], tx[kMost];
    CTSEG_UNROLL for (int i = 0; i < kMost; ++i) {
      tz[i] = z.tap(zs.begin + (zs.begin + i < zs.end ? i : 0), p.at.z);
      ty[i] = y.tap(ys.begin + (ys.begin + i < ys.end ? i : 0), p.at.y);
      tx[i] = x.tap(xs.begin + (xs.begin + i < xs.end ? i : 0), p.at.x);
    }
    Pack<From, N> v[kMost][kMost][kMost];
    CTSEG_UNROLL for (int i = 0; i < kMost; ++i) {
      CTSEG_UNROLL for (int j = 0; j < kMost; ++j) {
        CTSEG_UNROLL for (int k = 0; k < kMost; ++k)
          v[i][j][k] = load<N>(from.at(row_of({p.image, {tz[i].at, ty[j].at, tx[k].at}}, in), c));
      }
    }
    CTSEG_UNROLL for (int e = 0; e < N; ++e) {
      CTSEG_UNROLL for (int i = 0; i < kMost; ++i) {
        float plane = 0;
        CTSEG_UNROLL for (int j = 0; j < kMost; ++j) {
          float line = 0;
          CTSEG_UNROLL for (int k = 0; k < kMost; ++k)
            line = xs.begin + k < xs.end ? line + tx[k].weight * to_float(v[i][j][k].at[e]) : line;
          plane = ys.begin + j < ys.end ? plane + ty[j].weight * line : plane;
        }
        sum[e] = zs.begin + i < zs.end ? sum[e] + tz[i].weight * plane : sum[e];
      }
    }
  }

  CTSEG_DEVICE void many(const Place& p, Axis::Range zs, Axis::Range ys, Axis::Range xs, Index c, float (&sum)[N]) const {
    for (int i = zs.begin; i < zs.end; ++i) {
      const AxisTap tz = z.tap(i, p.at.z);
      float plane[N] = {};
      for (int j = ys.begin; j < ys.end; ++j) {
        const AxisTap ty = y.tap(j, p.at.y);
        float line[N] = {};
        for (int k = xs.begin; k < xs.end; ++k) {
          const AxisTap tx = x.tap(k, p.at.x);
          const Pack<From, N> v = load<N>(from.at(row_of({p.image, {tz.at, ty.at, tx.at}}, in), c));
          CTSEG_UNROLL for (int e = 0; e < N; ++e) line[e] += tx.weight * to_float(v.at[e]);
        }
        CTSEG_UNROLL for (int e = 0; e < N; ++e) plane[e] += ty.weight * line[e];
      }
      CTSEG_UNROLL for (int e = 0; e < N; ++e) sum[e] += tz.weight * plane[e];
    }
  }
};

struct Pass {
  Array from, to;
  std::array<Axis, 3> axes;
  Index most = 0;
  float outside = 0;
};
template <class From, class To, int N, int kMost> void start(Stream stream, const Pass& p) {
  const Index rows = p.to.rows(), packs = p.to.c / N;
  launch(stream, grid_of(rows, packs, 1),
         Gather<From, To, N, kMost>{p.axes[0], p.axes[1], p.axes[2], extents_of(p.from), extents_of(p.to),
                                    rows_of<const From>(p.from), rows_of<To>(p.to), rows, packs, p.outside});
}

// ---- all passes

/// Which passes: one; x and then the others; or one for each axis. By shape alone.
int passes(const Resampling& r) {
  const Index z = r.axes[0].most(), y = r.axes[1].most(), x = r.axes[2].most();
  if (x * y * z <= kMostTaps) return 1;
  return y * z <= kMostTaps ? 2 : 3;
}
/// Sums between passes: packed, in float, of extents z, y, x.
Array between(const Resampling& r, std::array<Index, 3> space) {
  Array a = r.to;
  a.data = nullptr, a.space = space, a.pitch = a.c, a.dtype = Dtype::f32;
  return a;
}
Array after_x(const Resampling& r) { return between(r, {r.from.space[0], r.from.space[1], r.to.space[2]}); }
Array after_y(const Resampling& r) { return between(r, {r.from.space[0], r.to.space[1], r.to.space[2]}); }

template <class T, int N> void run(Stream stream, const Resampling& r, Bytes scratch) {
  const auto axes = written(stream, r, take<std::uint32_t>(scratch, table_words(r)));
  const auto& [z, y, x] = axes;
  const int count = passes(r);
  if (count == 1) {
    const Index most = std::max({r.axes[0].most(), r.axes[1].most(), r.axes[2].most()});
    const Pass all{r.from, r.to, axes, most, r.outside};
    if (most <= 1) return start<T, T, N, 1>(stream, all);
    return most == 2 ? start<T, T, N, 2>(stream, all) : start<T, T, N, 0>(stream, all);
  }
  Array lines = after_x(r), planes = after_y(r);
  lines.data = reinterpret_cast<std::byte*>(take<float>(scratch, lines.elements()));
  start<T, float, N, 0>(stream, {r.from, lines, {Axis{}, Axis{}, x}});
  if (count == 2) return start<float, T, N, 0>(stream, {lines, r.to, {z, y, place_only(x)}, 0, r.outside});
  planes.data = reinterpret_cast<std::byte*>(take<float>(scratch, planes.elements()));
  start<float, float, N, 0>(stream, {lines, planes, {Axis{}, y, Axis{}}});
  start<float, T, N, 0>(stream, {planes, r.to, {z, place_only(y), place_only(x)}, 0, r.outside});
}

}   // namespace

Index resample_scratch(const Resampling& r) {
  const int count = passes(r);
  return bytes_of<std::uint32_t>(table_words(r)) + (count > 1 ? bytes_of<float>(after_x(r).elements()) : 0) +
         (count > 2 ? bytes_of<float>(after_y(r).elements()) : 0);
}

void resample(Stream stream, const Resampling& r, Bytes scratch) {
  with_storage(r.to.dtype, [&]<class T>(T) {
    with_width<T>(packs_fit(r.from, r.to), [&](auto n) { run<T, decltype(n)::value>(stream, r, scratch); });
  });
}

}   // namespace ctseg::cuda
