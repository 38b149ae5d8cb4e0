// Dropout: number i of the key's stream decides value i, so the mask is the CPU's and is never stored.
// Idea     four numbers come of one call of Philox: a thread with a pack of channels uses all four of them. Seed and run are
//          read from device memory where a recorded launch runs again and again with another key.
// Bytes    of a value: 2 sizes. About 20 integer operations for each value in packs: not bound by memory in 16 bits.
// Speed    not measured yet.
#include "ctseg/ops/cuda/dropout.hpp"

#include "ctseg/ops/cuda/elementwise.hpp"
#include "rows.cuh"

namespace ctseg::cuda {
namespace {

template <class T, int N> struct Drop {
  static constexpr int kThreads = kRowThreads;
  static constexpr bool kSyncs = false;
  static constexpr const char* kName = "dropout";
  Rows<const T> from;
  Rows<T> to;
  Index rows, packs, rows_of_number;   // rows_of_number: 1, or the voxels of an image: they share a number
  float p, keep;
  Key key;

  CTSEG_DEVICE void operator()(const Block& b) const {
    const RandomKey mine = key_of(key);
    const Share s = share_of(b, rows, packs);
    const Index c = s.pack * N;
    for (Index row = s.row; row < rows; row += s.step) {
      const Pack<T, N> x = load<N>(from.at(row, c));
      const std::uint64_t number = static_cast<std::uint64_t>((rows_of_number == 1 ? row : row / rows_of_number) * packs * N + c);
      Pack<T, N> y;
      if constexpr (N == 1) {
        const auto words = mine.words(number / 4);
        const auto k = number % 4;
        y.at[0] = dropped(k < 2 ? (k == 0 ? words[0] : words[1]) : (k == 2 ? words[2] : words[3]), x.at[0]);
      } else {
        CTSEG_UNROLL for (int e = 0; e < N; e += 4) {
          const auto words = mine.words((number + static_cast<std::uint64_t>(e)) / 4);
          y.at[e] = dropped(words[0], x.at[e]), y.at[e + 1] = dropped(words[1], x.at[e + 1]);
          y.at[e + 2] = dropped(words[2], x.at[e + 2]), y.at[e + 3] = dropped(words[3], x.at[e + 3]);
        }
      }
      store(to.at(row, c), y);
    }
  }
  CTSEG_DEVICE T dropped(std::uint32_t word, T x) const {
    return uniform_of(word) < p ? from_float<T>(0) : from_float<T>(keep * to_float(x));
  }
};

}   // namespace

void drop(Stream stream, const Dropout& d) {
  if (!(d.p > 0)) {
    if (d.from.data != d.to.data) copy(stream, {d.from, d.to});
    return;
  }
  with_storage(d.to.dtype, [&]<class T>(T) {
    Array from = d.from, to = d.to;
    if (!d.channelwise && from.contiguous() && to.contiguous()) {   // number i is value i of the line, too
      const Index width = flat_width(from, to);
      from = flattened(from, width), to = flattened(to, width);
    }
    with_width<T>(packs_fit(from, to), [&](auto n) {
      constexpr int kWidth = decltype(n)::value;
      const Index packs = to.c / kWidth;
      launch(stream, grid_of(to.rows(), packs, 4),
             Drop<T, kWidth>{rows_of<const T>(from), rows_of<T>(to), to.rows(), packs, d.channelwise ? to.voxels() : 1, d.p,
                             1 / (1 - d.p), d.key});
    });
  });
}

}   // namespace ctseg::cuda
