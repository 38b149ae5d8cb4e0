// Intensity steps of augmentation: neighbouring ones in one pass over the patch, in registers. Those that need statistics of the
// whole patch (contrast, gamma) get them from one pass before, whose last block leaves the step's numbers in device memory: the
// host learns nothing and waits for nothing.
// Bytes     a pass 4 read and 4 written for each value, statistics 4 read. 128^3: 17 and 8 MB. Not measured yet.
#include "../common/launch.cuh"
#include "../common/values.cuh"
#include "values.cuh"

namespace ctseg::cuda {
namespace {

struct Change {
  static constexpr const char* kName = "change_values";
  ValuesJob job;
  CTSEG_DEVICE void operator()(Index i) const { job.values[i] = changed(job.program, job.values[i], i); }
};

template <class T> struct Store {
  static constexpr const char* kName = "store_patch";
  const float* from;
  T* to;
  Index pitch;
  CTSEG_DEVICE void operator()(Index i) const { to[i * pitch] = from_float<T>(from[i]); }
};

/// Sums around a pivot, and the range.
struct Sums {
  double sum, square;
  float low, high;

  CTSEG_DEVICE static Sums none() { return {0, 0, 3.402823466e38f, -3.402823466e38f}; }
  CTSEG_DEVICE void add(float x, double pivot) {
    const double d = static_cast<double>(x) - pivot;
    sum += d, square += d * d;
    low = x < low ? x : low;
    high = x > high ? x : high;
  }
  CTSEG_DEVICE void add(const Sums& o) {
    sum += o.sum, square += o.square;
    low = o.low < low ? o.low : low;
    high = o.high > high ? o.high : high;
  }
};

struct Statistics {
  static constexpr int kThreads = 256, kWarps = kThreads / kWarp, kMostBlocksHere = 264;
  static constexpr Index kValuesOfBlock = 8192;
  static constexpr bool kSyncs = true;
  static constexpr const char* kName = "decide_numbers";
  /// What the scratch holds.
  struct Scratch {
    unsigned counter;
    double mean, deviation, pivot;   // what gamma leaves for retain
    Sums parts[kMostBlocksHere];
  };
  static_assert(sizeof(Scratch) <= StatisticsJob::kScratch);
  struct Shared {
    Sums warps[kWarps];
    int last;
  };
  StatisticsJob job;

  CTSEG_DEVICE void operator()(const Block& b) const {
    Scratch& scratch = *static_cast<Scratch*>(job.scratch);
    Shared& shared = *b.shared<Shared>();
    const double pivot = job.what == StatisticsJob::What::retain ? scratch.pivot : static_cast<double>(job.values[0]);
    Sums own = Sums::none();
    for (Index i = b.index() * kThreads + b.thread(); i < job.count; i += b.blocks() * kThreads) own.add(job.values[i], pivot);
    const Sums block = of_block(b, shared, own);
    if (b.thread() == 0) {
      scratch.parts[b.index()] = block;
      shared.last = b.arrive(&scratch.counter) + 1 == static_cast<unsigned>(b.blocks());
    }
    b.sync();
    if (!shared.last) return;
    own = Sums::none();
    for (Index p = b.thread(); p < b.blocks(); p += kThreads) own.add(scratch.parts[p]);
    b.sync();
    const Sums all = of_block(b, shared, own);
    if (b.thread() > 0) return;
    decide(all, pivot, scratch);
    scratch.counter = 0;
  }

 private:
  /// In pairs within warps, warps in their order; of thread 0.
  CTSEG_DEVICE static Sums of_block(const Block& b, Shared& shared, Sums own) {
    for (int mask = kWarp / 2; mask > 0; mask /= 2)
      own.add(Sums{b.shuffle_xor(own.sum, mask), b.shuffle_xor(own.square, mask), b.shuffle_xor(own.low, mask),
                   b.shuffle_xor(own.high, mask)});
    if (b.lane() == 0) shared.warps[b.warp()] = own;
    b.sync();
    Sums all = shared.warps[0];
    for (int w = 1; w < kWarps; ++w) all.add(shared.warps[w]);
    return all;
  }
  CTSEG_DEVICE void decide(const Sums& s, double pivot, Scratch& scratch) const {
    const double n = static_cast<double>(job.count), mean = pivot + s.sum / n;
    const double square = s.square - s.sum * s.sum / n;
    const double deviation = job.count > 1 && square > 0 ? std::sqrt(square / (n - 1)) : 0;
    if (job.what == StatisticsJob::What::contrast) {
      linear(job.numbers, job.parameter, mean * (1 - job.parameter));
      if (job.flag) job.numbers[2] = s.low, job.numbers[3] = s.high;
    } else if (job.what == StatisticsJob::What::gamma) {
      const double sign = job.flag ? -1 : 1, low = job.flag ? -static_cast<double>(s.high) : static_cast<double>(s.low);
      const double range = static_cast<double>(s.high) - static_cast<double>(s.low), scale = 1 / (range > 1e-7 ? range : 1e-7);
      float* const power = job.numbers;
      power[0] = static_cast<float>(sign * scale), power[1] = static_cast<float>(-low * scale);
      power[2] = static_cast<float>(job.parameter), power[3] = static_cast<float>(range), power[4] = static_cast<float>(low);
      linear(job.numbers + ValueOp::kNumbers, sign, 0);
      scratch.mean = mean, scratch.deviation = deviation, scratch.pivot = low + range / 2;
    } else {
      const double stretch = (job.flag ? -1 : 1) * (scratch.deviation / (deviation > 1e-7 ? deviation : 1e-7));
      linear(job.numbers, stretch, scratch.mean - stretch * mean);
    }
  }
  CTSEG_DEVICE static void linear(float* to, double scale, double shift) {
    to[0] = static_cast<float>(scale), to[1] = static_cast<float>(shift);
    to[2] = -3.402823466e38f, to[3] = 3.402823466e38f;
  }
};

}   // namespace

void change_values(Stream stream, const ValuesJob& job) {
  if (job.program.count > 0) for_each(stream, job.count, Change{job});
}
void store_patch(Stream stream, const float* from, const Array& to) {
  with_storage(to.dtype, [&](auto t) {
    using T = decltype(t);
    for_each(stream, to.rows(), Store<T>{from, to.as<T>(), to.pitch});
  });
}
void decide_numbers(Stream stream, const StatisticsJob& job) {
  const Index blocks = (job.count + Statistics::kValuesOfBlock - 1) / Statistics::kValuesOfBlock;
  launch(stream,
         {.blocks = blocks < Statistics::kMostBlocksHere ? blocks : Statistics::kMostBlocksHere,
          .shared_bytes = sizeof(Statistics::Shared)},
         Statistics{job});
}

}   // namespace ctseg::cuda
