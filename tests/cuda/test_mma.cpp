// Products of small matrices by one warp, on the emulated card: every way to load the factors, every way to multiply, against
// sums in double. (On a real card the kernels that are made of them are tested.)
#include <doctest/doctest.h>

#include <cmath>
#include <ctseg/cuda.hpp>

#include "kernels/common/launch.cuh"
#include "kernels/common/mma.cuh"

using namespace ctseg;
using cuda::Block;

namespace {

constexpr int kDepth = 16, kPitchA = 24, kPitchAcross = 24;

float number(int i) { return static_cast<float>((i * 7919 + 13) % 1000 - 500) / 128; }

/// sums[16][8] = A[16][kDepth] B[kDepth][8], each factor stored along k or across.
template <class P, bool AcrossA, bool AcrossB> struct Product {
  static constexpr int kThreads = 32;
  static constexpr bool kSyncs = true;
  static constexpr const char* kName = "product_of_a_test";
  using T = typename P::Value;
  const T *a, *b;
  float* sums;
  void operator()(const Block& block) const {
    T* const tile_a = block.shared<T>();
    T* const tile_b = block.shared<T>(4096);
    for (int e = block.thread(); e < 16 * kDepth; e += kThreads) {
      const int m = e / kDepth, k = e % kDepth;
      tile_a[AcrossA ? k * kPitchAcross + m : m * kPitchA + k] = a[e];
    }
    for (int e = block.thread(); e < kDepth * 8; e += kThreads) {
      const int k = e / 8, n = e % 8;
      tile_b[AcrossB ? k * kPitchAcross + n : n * kPitchA + k] = b[e];
    }
    block.sync();
    cuda::Sums s;
    for (int k = 0; k < kDepth; k += P::kDepth) {
      typename P::A left;
      typename P::B right;
      if constexpr (AcrossA)
        left = P::load_a_across(block, tile_a + k * kPitchAcross, kPitchAcross);
      else
        left = P::load_a(block, tile_a + k, kPitchA);
      if constexpr (AcrossB)
        right = P::load_b_across(block, tile_b + k * kPitchAcross, kPitchAcross);
      else
        right = P::load_b(block, tile_b + k, kPitchA);
      P::multiply(block, s, left, right);
    }
    for (int i = 0; i < 4; ++i) sums[cuda::Sums::row(block, i) * 8 + cuda::Sums::column(block, i)] = s.at[i];
  }
};

template <class T> Memory<Cuda> on_card(const std::vector<T>& v) {
  Memory<Cuda> m(std::ssize(v) * Index{sizeof(T)});
  cuda::copy_to_device(nullptr, m.data(), v.data(), std::ssize(v) * Index{sizeof(T)});
  return m;
}

template <class P, bool AcrossA, bool AcrossB> void check_product(double tolerance) {
  using T = typename P::Value;
  std::vector<T> a, b;
  for (int i = 0; i < 16 * kDepth; ++i) a.push_back(T(number(i)));
  for (int i = 0; i < kDepth * 8; ++i) b.push_back(T(number(i + 1000)));
  const auto left = on_card(a), right = on_card(b);
  Memory<Cuda> sums(16 * 8 * sizeof(float));
  cuda::launch(nullptr, {.shared_bytes = 8192},
               Product<P, AcrossA, AcrossB>{reinterpret_cast<const T*>(left.data()), reinterpret_cast<const T*>(right.data()),
                                            reinterpret_cast<float*>(sums.data())});
  std::vector<float> got(16 * 8);
  cuda::copy_to_host(nullptr, got.data(), sums.data(), 16 * 8 * sizeof(float));
  double worst = 0, largest = 0;
  for (int m = 0; m < 16; ++m)
    for (int n = 0; n < 8; ++n) {
      double want = 0;
      for (int k = 0; k < kDepth; ++k)
        want += static_cast<double>(float(a[static_cast<std::size_t>(m * kDepth + k)])) *
                static_cast<double>(float(b[static_cast<std::size_t>(k * 8 + n)]));
      const double off = std::abs(want - static_cast<double>(got[static_cast<std::size_t>(m * 8 + n)]));
      worst = std::max(worst, off == off ? off : 1e9), largest = std::max(largest, std::abs(want));
    }
  CHECK(worst <= tolerance * largest);
}

template <class P> void check_all(double tolerance) {
  check_product<P, false, false>(tolerance);
  check_product<P, false, true>(tolerance);
  check_product<P, true, false>(tolerance);
  check_product<P, true, true>(tolerance);
}

}   // namespace

TEST_CASE("warps multiply bf16 and half exactly, with sums in float") {
  check_all<cuda::WarpProduct<bf16>>(1e-6);
  check_all<cuda::WarpProduct<half>>(1e-6);
}

TEST_CASE("plain float stays float, TF32 is rounded to 10 bits of fraction") {
  check_all<cuda::WarpProduct<float>>(1e-6);
  check_all<cuda::WarpProduct<cuda::Tf32>>(1e-3);
  using Tf32 = cuda::WarpProduct<cuda::Tf32>;
  CHECK(Tf32::rounded(1 + 0x1p-10f) == 1 + 0x1p-10f);
  CHECK(Tf32::rounded(1 + 0x1p-11f) == 1 + 0x1p-10f);   // ties away from zero
  CHECK(Tf32::rounded(1 + 0x1p-12f) == 1);
  CHECK(Tf32::rounded(-1 - 0x1p-11f) == -1 - 0x1p-10f);
  CHECK(std::isinf(Tf32::rounded(INFINITY)));
}
