// Sums of partial results and of rows. Both are read once, e bytes per value, so the ceiling is memory's; sums are made in an
// order that follows shapes alone. Speed: not measured yet.
#include "sums.cuh"

#include "../common/launch.cuh"
#include "taps.cuh"

namespace ctseg::cuda {
namespace {

/// out[i] += sum over p < count of partials[p * size + i], in double. 8 warps share the partials of 32 neighbouring sums.
struct SumPartials {
  static constexpr int kThreads = 256, kWarps = kThreads / kWarp;
  static constexpr bool kSyncs = true;
  static constexpr const char* kName = "sum_partials";
  static constexpr int kBytes = kThreads * static_cast<int>(sizeof(double));
  Partials of;

  CTSEG_DEVICE void operator()(const Block& b) const {
    const Index i = b.index() * kWarp + b.lane();
    double sum = 0;
    if (i < of.size)
      for (Index p = b.warp(); p < of.count; p += kWarps) sum += static_cast<double>(of.partials[p * of.size + i]);
    double* const all = b.shared<double>();
    all[b.thread()] = sum;
    b.sync();
    if (b.warp() != 0 || i >= of.size) return;
    for (int w = 1; w < kWarps; ++w) sum += all[w * kWarp + b.lane()];
    of.out[i] += static_cast<float>(sum);
  }
};

/// partials[block][c] = sum over the block's rows of x[row][c]; b.row() counts groups of 32 channels.
template <class T> struct ChannelSums {
  static constexpr int kThreads = 256;
  static constexpr bool kSyncs = true;
  static constexpr const char* kName = "channel_sums";
  static constexpr int kWidth = kPack<T>, kLanes = 32 / kWidth, kRows = kThreads / kLanes;
  static constexpr int kBytes = kRows * 33 * static_cast<int>(sizeof(float));
  Lattice x;
  float* partials;
  int rows, rows_per_block;

  CTSEG_DEVICE void operator()(const Block& b) const {
    const int first = static_cast<int>(b.index()) * rows_per_block;
    const int last = first + rows_per_block < rows ? first + rows_per_block : rows;
    const int channel = static_cast<int>(b.row()) * 32 + b.thread() % kLanes * kWidth, own = b.thread() / kLanes;
    float sum[kWidth] = {};
    for (int r = first + own; r < last; r += 4 * kRows) {
      Pack<T, kWidth> values[4];   // on their way together
      for (int i = 0; i < 4; ++i)
        values[i] = x.load<T, kWidth>(r + i * kRows < last ? row(r + i * kRows) : nullptr, channel);
      for (int i = 0; i < 4; ++i)
        for (int c = 0; c < kWidth; ++c) sum[c] += to_float(values[i].at[c]);
    }
    float* const all = b.shared<float>();
    for (int c = 0; c < kWidth; ++c) all[own * 33 + b.thread() % kLanes * kWidth + c] = sum[c];
    b.sync();
    const int c = static_cast<int>(b.row()) * 32 + b.thread();
    if (b.thread() >= 32 || c >= x.channels) return;
    float total = 0;
    for (int i = 0; i < kRows; ++i) total += all[i * 33 + b.thread()];
    partials[b.index() * x.channels + c] = total;
  }

 private:
  CTSEG_DEVICE const T* row(int r) const { return reinterpret_cast<const T*>(x.data) + r * x.pitch; }
};

constexpr Index kSumRows = 4096, kMostSumBlocks = 528;
/// Rows of one partial sum, and how many of these there are.
struct RowParts {
  Index each, count;
  explicit RowParts(Index rows) : each(std::max(kSumRows, (rows + kMostSumBlocks - 1) / kMostSumBlocks)) {
    count = (rows + each - 1) / each;
  }
};

}   // namespace

void sum_partials(Stream stream, const Partials& p) {
  launch(stream, {.blocks = (p.size + kWarp - 1) / kWarp, .shared_bytes = SumPartials::kBytes}, SumPartials{p});
}

Index channel_sums_scratch(Index rows, Index channels) {
  return RowParts(rows).count * channels * static_cast<Index>(sizeof(float));
}
void add_channel_sums(Stream stream, const Array& x, float* out, std::byte* scratch) {
  const RowParts parts(x.rows());
  float* const partials = reinterpret_cast<float*>(scratch);
  with_storage(x.dtype, [&](auto value) {
    using Body = ChannelSums<decltype(value)>;
    launch(stream, {.blocks = parts.count, .rows = (x.c + 31) / 32, .shared_bytes = Body::kBytes},
           Body{{x, {1, 1, 1}}, partials, static_cast<int>(x.rows()), static_cast<int>(parts.each)});
  });
  sum_partials(stream, {partials, out, x.c, parts.count});
}

}   // namespace ctseg::cuda
