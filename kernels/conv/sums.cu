// Sums of partial results: 4 bytes each, read once, mostly from L2. A thread has every eighth partial of one sum, so that some
// tens of reads, not hundreds, follow each other. Speed: not measured yet.
#include "sums.cuh"

#include "../common/launch.cuh"

namespace ctseg::cuda {

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

void sum_partials(Stream stream, const Partials& p) {
  launch(stream, {.blocks = (p.size + kWarp - 1) / kWarp, .shared_bytes = SumPartials::kBytes}, SumPartials{p});
}

}   // namespace ctseg::cuda
