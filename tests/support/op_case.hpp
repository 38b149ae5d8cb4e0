// An op case: an op with the shapes it is tried on, declared once. The oracle test, the gradient check, the benchmark
// (benchmarks/bench_ops.cpp) and any other backend's parity test start from it. tests/ops/*_cases.hpp declare them,
// tests/ops/families.hpp lists them.
#pragma once
#include <initializer_list>
#include <string>
#include <vector>

#include <ctseg/core/random.hpp>
#include <ctseg/nn/node.hpp>

namespace ctseg::test {

struct WeightCase {
  Index size = 0;   // 0: absent
  double low = -1, high = 1;
  bool statistic = false;   // its "gradient" is running - batch, no derivative
};

template <AnySpec S> struct OpCase {
  std::string name;
  AnyOp<S> op;
  std::vector<ValueInfo<S::kDim>> inputs;
  std::vector<WeightCase> weights{};
  Mode mode = Mode::train;
  bool linear = false;   // in its input, without bias: the adjoint test applies
  bool kinks = false;    // not differentiable everywhere
  Index labels = 0;      // number of classes, where an input is labels
  double flop = 0;       // of forward, where arithmetic and not memory is the limit
};

/// What a case is for. odd: about 60 voxels, odd and even extents. threads: about 1500 voxels, many blocks of rows.
/// bench: what networks have; every choice is then the first of its list, so lists begin with the usual.
enum class CaseSize { odd, threads, bench };

/// Where a case takes its numbers from. The same key gives the same case in every precision and on every device.
class Draw {
 public:
  explicit Draw(RandomKey key, CaseSize size = CaseSize::odd) : random_(key), size_(size) {}

  Index below(Index count) { return bench() ? 0 : random_.below(count); }
  bool chance(Index one_in) { return !bench() && random_.below(one_in) == 0; }
  template <class T> T pick(std::initializer_list<T> list) { return list.begin()[below(std::ssize(list))]; }
  Index channels(Index most) { return bench() ? 32 : 1 + random_.below(most); }

  /// At least `least` voxels along each axis.
  template <int Dim> Shape<Dim> shape(Index channels, Index least = 1) {
    Shape<Dim> s{.n = 1 + below(2), .c = channels};
    if (bench()) {
      s.space.fill(Dim == 3 ? 64 : 512);
      return s;
    }
    const bool large = size_ == CaseSize::threads;
    const Index most = Dim == 3 ? (large ? 12 : 4) : (large ? 40 : 8);
    for (Index& e : s.space)
      e = least + (large ? most / 2 : 0) + random_.below(large ? most / 2 : std::max<Index>(most - least, 2));
    return s;
  }

 private:
  bool bench() const { return size_ == CaseSize::bench; }
  RandomStream random_;
  CaseSize size_;
};

template <AnySpec S> ValueInfo<S::kDim> activations(const Shape<S::kDim>& s) { return {s, dtype_of<typename S::T>()}; }

}   // namespace ctseg::test
