// Products of two values, the second perhaps of one channel (attention gates).
// Idea     forward: map.cuh. Backward in one pass over a, b and dy: a thread, or where b has one channel the lanes that share a
//          voxel, read all of it before they write, for da may lie on dy.
// Bytes    of a value: forward 3 sizes, backward 5; with a gate of one channel 2 and 3, and the gate.
// Speed    not measured yet.
#include "ctseg/ops/cuda/multiply.hpp"

#include "map.cuh"

namespace ctseg::cuda {
namespace {

struct Times {
  static constexpr const char* kName = "multiply";
  CTSEG_DEVICE float operator()(const float* ab, Index, Index) const { return ab[0] * ab[1]; }
};
template <class T> struct Gate {   // one channel for all
  static constexpr const char* kName = "multiply_gate";
  Rows<const T> gate;
  CTSEG_DEVICE float operator()(const float* a, Index row, Index) const { return a[0] * to_float(*gate.at(row, 0)); }
};

template <class T, int N> struct TimesBackward {
  static constexpr int kThreads = kRowThreads, kAhead = 2;
  static constexpr bool kSyncs = false;
  static constexpr const char* kName = "multiply_backward";
  Rows<const T> a, b, dy;
  Rows<T> da, db;
  Index rows, packs;

  CTSEG_DEVICE void operator()(const Block& block) const {
    const Share s = share_of(block, rows, packs);
    const Index c = s.pack * N;
    for (Index first = s.row; first < rows; first += kAhead * s.step) {
      Pack<T, N> as[kAhead], bs[kAhead], ds[kAhead];
      CTSEG_UNROLL for (int k = 0; k < kAhead; ++k) {
        const Index row = first + k * s.step < rows ? first + k * s.step : first;
        as[k] = load<N>(a.at(row, c)), bs[k] = load<N>(b.at(row, c)), ds[k] = load<N>(dy.at(row, c));
      }
      CTSEG_UNROLL for (int k = 0; k < kAhead; ++k) {
        const Index row = first + k * s.step;
        if (row >= rows) break;
        Pack<T, N> to_a, to_b;
        CTSEG_UNROLL for (int e = 0; e < N; ++e) {
          const float d = to_float(ds[k].at[e]);
          to_a.at[e] = from_float<T>(d * to_float(bs[k].at[e]));
          to_b.at[e] = from_float<T>(d * to_float(as[k].at[e]));
        }
        if (da) store(da.at(row, c), to_a);
        if (db) store(db.at(row, c), to_b);
      }
    }
  }
};

template <class T, int N> struct GateBackward {
  static constexpr int kThreads = kRowThreads;
  static constexpr bool kSyncs = true;
  static constexpr const char* kName = "multiply_gate_backward";
  Rows<const T> a, gate, dy;
  Rows<T> da, dgate;
  Index rows, packs;
  int lanes;

  CTSEG_DEVICE void operator()(const Block& b) const {
    for (Index first = group_first(b, lanes); first < rows; first += group_step(b, lanes)) {
      const Group g = group_of(b, first, rows, lanes);
      const float factor = to_float(*gate.at(g.row, 0));
      float sum = 0;
      for (Index p = b.lane() % lanes; p < packs; p += lanes) {
        const Pack<T, N> as = load<N>(a.at(g.row, p * N)), ds = load<N>(dy.at(g.row, p * N));
        Pack<T, N> to;
        CTSEG_UNROLL for (int e = 0; e < N; ++e) {
          sum += to_float(ds.at[e]) * to_float(as.at[e]);
          to.at[e] = from_float<T>(to_float(ds.at[e]) * factor);
        }
        if (da && g.live) store(da.at(g.row, p * N), to);
      }
      sum = group_sum(b, sum, lanes);
      if (dgate && g.live && b.lane() % lanes == 0) *dgate.at(g.row, 0) = from_float<T>(sum);
    }
  }
};

bool fits(const Array& a) { return !a || packs_fit(a); }

}   // namespace

void multiply(Stream stream, const Product& p, const Array& y) {
  with_storage(y.dtype, [&]<class T>(T) {
    if (p.b.c == p.a.c)
      map<T>(stream, Times{}, false, y, p.a, p.b);
    else
      map<T>(stream, Gate<T>{rows_of<const T>(p.b)}, true, y, p.a);
  });
}

void multiply_backward(Stream stream, const Product& p, const ProductBackward& g) {
  if (!g.da && !g.db) return;
  with_storage(p.a.dtype, [&]<class T>(T) {
    const bool same = p.b.c == p.a.c;
    with_width<T>(packs_fit(p.a, g.dy) && fits(g.da) && (!same || (packs_fit(p.b) && fits(g.db))), [&](auto n) {
      constexpr int kWidth = decltype(n)::value;
      const Index rows = p.a.rows(), packs = p.a.c / kWidth;
      const auto a = rows_of<const T>(p.a), b = rows_of<const T>(p.b), dy = rows_of<const T>(g.dy);
      const auto da = rows_of<T>(g.da), db = rows_of<T>(g.db);
      if (same) {
        using Body = TimesBackward<T, kWidth>;
        return launch(stream, grid_of(rows, packs, Body::kAhead), Body{a, b, dy, da, db, rows, packs});
      }
      const int lanes = lanes_for(packs);
      launch(stream, group_grid(rows, lanes), GateBackward<T, kWidth>{a, b, dy, da, db, rows, packs, lanes});
    });
  });
}

}   // namespace ctseg::cuda
