// copy, add, fill: moves between arrays whose rows may be channel ranges of wider ones (concatenation).
// Idea     packs of 16 bytes where channels, pitches and addresses allow, four of them in flight for each thread; packed arrays
//          are walked as one line, whatever their channels. A plain copy moves bits of any type, without arithmetic.
// Bytes    of a value: copy 2 sizes, add 3, fill 1.
// Speed    not measured yet; the goal is the card's own copy.
#include "ctseg/ops/cuda/elementwise.hpp"

#include "map.cuh"

namespace ctseg::cuda {
namespace {

struct ScaledCopy {
  static constexpr const char* kName = "scaled_copy";
  float scale;
  CTSEG_DEVICE float operator()(const float* x, Index, Index) const { return scale * x[0]; }
};
struct Sum {
  static constexpr const char* kName = "add";
  float scale;
  CTSEG_DEVICE float operator()(const float* x, Index, Index) const { return x[0] + scale * x[1]; }
};

/// Bits: T is an unsigned number as wide as the values. Without a source, `value`.
template <class T, int N> struct MoveBits {
  static constexpr int kThreads = kRowThreads, kAhead = 4;
  static constexpr bool kSyncs = false;
  static constexpr const char* kName = "move_bits";
  Rows<const T> from;
  T value;
  Rows<T> to;
  Index rows, packs;

  CTSEG_DEVICE void operator()(const Block& b) const {
    const Share s = share_of(b, rows, packs);
    const Index c = s.pack * N;
    for (Index first = s.row; first < rows; first += kAhead * s.step) {
      Pack<T, N> x[kAhead];
      CTSEG_UNROLL for (int k = 0; k < kAhead; ++k) {
        const Index row = first + k * s.step < rows ? first + k * s.step : first;
        if (from)
          x[k] = load<N>(from.at(row, c));
        else
          CTSEG_UNROLL for (int e = 0; e < N; ++e) x[k].at[e] = value;
      }
      CTSEG_UNROLL for (int k = 0; k < kAhead; ++k)
        if (first + k * s.step < rows) store(to.at(first + k * s.step, c), x[k]);
    }
  }
};

template <class T> void move_bits(Stream stream, Array from, T value, Array to) {
  if (!from) from = to, from.data = nullptr;
  if (from.contiguous() && to.contiguous()) {
    const Index width = flat_width(from, to);
    from = flattened(from, width), to = flattened(to, width);
  }
  with_width<T>(packs_fit(from, to), [&](auto n) {
    constexpr int kWidth = decltype(n)::value;
    const Index packs = to.c / kWidth;
    using Body = MoveBits<T, kWidth>;
    launch(stream, grid_of(to.rows(), packs, Body::kAhead),
           Body{rows_of<const T>(from), value, rows_of<T>(to), to.rows(), packs});
  });
}

void copy_bits(Stream stream, const Array& from, const Array& to) {
  switch (size_of(to.dtype)) {
    case 1:
      return move_bits<std::uint8_t>(stream, from, 0, to);
    case 2:
      return move_bits<std::uint16_t>(stream, from, 0, to);
    case 4:
      return move_bits<std::uint32_t>(stream, from, 0, to);
    default:
      return move_bits<std::uint64_t>(stream, from, 0, to);
  }
}

}   // namespace

void copy(Stream stream, const Moving& m) {
  if (m.scale == 1) return copy_bits(stream, m.from, m.to);
  with_storage(m.to.dtype, [&]<class T>(T) { map<T>(stream, ScaledCopy{m.scale}, false, m.to, m.from); });
}

void add(Stream stream, const Moving& m) {
  with_storage(m.to.dtype, [&]<class T>(T) { map<T>(stream, Sum{m.scale}, false, m.to, m.to, m.from); });
}

void fill(Stream stream, float value, const Array& to) {
  with_storage(to.dtype, [&]<class T>(T) {
    using Bits = std::conditional_t<sizeof(T) == 2, std::uint16_t, std::uint32_t>;
    move_bits<Bits>(stream, {}, std::bit_cast<Bits>(T(value)), to);
  });
}

}   // namespace ctseg::cuda
