// What an optimizer must know of gradients before it moves weights: their common length, and whether all are finite. One launch
// reads them once: a block sums the squares of a fixed range in double, and the block that finishes last adds up these partial
// sums in a fixed order and writes what follows from them (the factor that unscales and clips) beside the gradients.
// Something that is not finite makes a partial sum NaN: squares of floats cannot overflow a double.
//
// Bytes per value: 4. Speed: not measured yet.
#include "../common/launch.cuh"
#include "../common/values.cuh"
#include "ctseg/ops/cuda/gradients.hpp"

namespace ctseg::cuda {
namespace {

constexpr int kThreads = 256;
constexpr Index kRange = 16384;   // values of a block
using Four = Pack<float, 4>;

CTSEG_DEVICE bool finite(float x) { return x - x == 0; }
CTSEG_DEVICE bool finite(double x) { return x - x == 0; }

/// Sum over the block, in thread 0; in a fixed order.
CTSEG_DEVICE double block_sum(const Block& b, double value) {
  double* sums = b.shared<double>();
  value = warp_sum(b, value);
  if (b.lane() == 0) sums[b.warp()] = value;
  b.sync();
  value = 0;
  if (b.thread() == 0)
    for (int w = 0; w < kThreads / kWarp; ++w) value += sums[w];
  return value;
}

struct Judge {
  static constexpr int kThreads = cuda::kThreads;
  static constexpr bool kSyncs = true;
  static constexpr const char* kName = "judge_gradients";
  FlatGradients g;
  double inverse_scale, longest;
  Index binding;

  CTSEG_DEVICE void operator()(const Block& b) const {
    const Index first = b.index() * kRange, end = first + kRange < g.size ? first + kRange : g.size;
    double sum = 0;
    bool good = true;
    for (Index i = first + 4 * b.thread(); i < end; i += 4 * kThreads) {
      const Four x = *reinterpret_cast<const Four*>(g.values + i);
      for (int k = 0; k < 4; ++k) {
        good = good && finite(x.at[k] * static_cast<float>(i < g.trained ? inverse_scale : 1));
        if (i < g.trained) sum += static_cast<double>(x.at[k]) * static_cast<double>(x.at[k]);
      }
    }
    if (!good) sum = NAN;
    sum = block_sum(b, sum);
    unsigned* last = reinterpret_cast<unsigned*>(b.shared<double>() + kThreads / kWarp);
    if (b.thread() == 0) {
      g.partials[b.index()] = sum;
      *last = b.arrive(&g.facts->arrived) + 1 == static_cast<unsigned>(b.blocks());
    }
    b.sync();
    if (*last) conclude(b);
  }
  CTSEG_DEVICE void conclude(const Block& b) const {
    double sum = 0;
    for (Index i = b.thread(); i < b.blocks(); i += kThreads) sum += static_cast<const volatile double*>(g.partials)[i];
    sum = block_sum(b, sum);
    if (b.thread() != 0) return;
    GradientFacts& facts = *g.facts;
    facts.arrived = 0;
    facts.norm = std::sqrt(sum) * inverse_scale;
    facts.bad = !finite(sum) || !finite(facts.loss);
    const double clipped = longest > 0 ? longest / (facts.norm + 1e-6) : 1;
    facts.factor = static_cast<float>(inverse_scale * (clipped < 1 ? clipped : 1));
    facts.binding = static_cast<std::int32_t>(binding);
  }
};

struct AddLoss {
  static constexpr const char* kName = "add_loss";
  const float* loss;
  double share;
  GradientFacts* facts;
  CTSEG_DEVICE void operator()(Index) const { facts->loss += static_cast<double>(*loss) * share; }
};
struct Multiply {
  static constexpr const char* kName = "multiply_gradients";
  float* values;
  float factor;
  CTSEG_DEVICE void operator()(Index i) const { values[i] *= factor; }
};
struct Divide {
  static constexpr const char* kName = "divide_gradients";
  float* values;
  float divisor;
  CTSEG_DEVICE void operator()(Index i) const { values[i] /= divisor; }
};

}   // namespace

Index judge_partials(Index size) { return (size + kRange - 1) / kRange; }

void judge(Stream stream, const FlatGradients& g, const Judgement& j) {
  const int shared = static_cast<int>(sizeof(double)) * (kThreads / kWarp + 1);
  launch(stream, {.blocks = judge_partials(g.size), .shared_bytes = shared}, Judge{g, j.inverse_scale, j.longest, j.binding});
}
void add_loss(Stream stream, const float* loss, double share, GradientFacts* facts) {
  for_each(stream, 1, AddLoss{loss, share, facts});
}
void multiply(Stream stream, float* values, Index count, float factor) { for_each(stream, count, Multiply{values, factor}); }
void divide(Stream stream, float* values, Index count, float divisor) { for_each(stream, count, Divide{values, divisor}); }

}   // namespace ctseg::cuda
