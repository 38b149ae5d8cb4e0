// Products of small matrices by one warp: C[16, 8] += A[16, k] B[k, 8], spread over the registers of its 32 lanes. bf16, half
// and TF32 go to the tensor cores (mma.sync), plain float to ordinary arithmetic behind the same interface, so that a kernel is
// written once. On the host the lanes exchange the very same fragments, so that kernels are tested without a card.
//
// mma.sync is said to reach about 60 % of Hopper's wgmma (not measured). It serves kernels that wait for memory: below some 100
// FLOP per byte.
#pragma once
#include <bit>

#include "values.cuh"

namespace ctseg::cuda {

/// Four of the 16 x 8 sums of a product, in every lane.
struct Sums {
  float at[4]{};
  CTSEG_DEVICE static int row(const Block& b, int i) { return b.lane() / 4 + i / 2 * 8; }
  CTSEG_DEVICE static int column(const Block& b, int i) { return b.lane() % 4 * 2 + i % 2; }
};

/// Values are float, products of them rounded to 10 bits of fraction (to nearest, ties away from zero), sums float.
struct Tf32 {};

/// A way to multiply. Value: what tiles in shared memory hold; kDepth: k of one product; A, B: a lane's part of the factors.
///   make_a(b, f), make_b(b, f)           from any f(row, k), f(k, column) -> Value
///   load_a(b, tile, pitch)               A[m][k] = tile[m * pitch + k];  load_a_across: tile[k * pitch + m]
///   load_b(b, tile, pitch)               B[k][n] = tile[n * pitch + k];  load_b_across: tile[k * pitch + n]
///   multiply(b, sums, a, c)              all 32 lanes must call
/// Rows of tiles of 16-bit values start on 16 bytes. This primary is of them: products exact, sums float.
template <class T> struct WarpProduct {
  static_assert(sizeof(T) == 2);
  using Value = T;
  static constexpr int kDepth = 16;
  struct A {
    std::uint32_t at[4];
  };
  struct B {
    std::uint32_t at[2];
  };

  template <class F> CTSEG_DEVICE static A make_a(const Block& b, F f) {
    const int row = b.lane() / 4, k = b.lane() % 4 * 2;
    return {{pair(f(row, k), f(row, k + 1)), pair(f(row + 8, k), f(row + 8, k + 1)), pair(f(row, k + 8), f(row, k + 9)),
             pair(f(row + 8, k + 8), f(row + 8, k + 9))}};
  }
  template <class F> CTSEG_DEVICE static B make_b(const Block& b, F f) {
    const int column = b.lane() / 4, k = b.lane() % 4 * 2;
    return {{pair(f(k, column), f(k + 1, column)), pair(f(k + 8, column), f(k + 9, column))}};
  }

#if defined(__CUDACC__)
  // Lanes 8 j .. 8 j + 7 name the rows of the 8 x 8 matrix that becomes register j.
  CTSEG_DEVICE static A load_a(const Block& b, const T* tile, int pitch) {
    const int j = b.lane() / 8, r = b.lane() % 8;
    A a;
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(a.at[0]), "=r"(a.at[1]), "=r"(a.at[2]), "=r"(a.at[3])
                 : "r"(address(tile + (r + j % 2 * 8) * pitch + j / 2 * 8))
                 : "memory");
    return a;
  }
  CTSEG_DEVICE static A load_a_across(const Block& b, const T* tile, int pitch) {
    const int j = b.lane() / 8, r = b.lane() % 8;
    A a;
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(a.at[0]), "=r"(a.at[1]), "=r"(a.at[2]), "=r"(a.at[3])
                 : "r"(address(tile + (r + j / 2 * 8) * pitch + j % 2 * 8))
                 : "memory");
    return a;
  }
  CTSEG_DEVICE static B load_b(const Block& b, const T* tile, int pitch) {
    const int j = b.lane() / 8 % 2, r = b.lane() % 8;
    B c;
    asm volatile("ldmatrix.sync.aligned.m8n8.x2.shared.b16 {%0,%1}, [%2];"
                 : "=r"(c.at[0]), "=r"(c.at[1])
                 : "r"(address(tile + r * pitch + j * 8))
                 : "memory");
    return c;
  }
  CTSEG_DEVICE static B load_b_across(const Block& b, const T* tile, int pitch) {
    const int j = b.lane() / 8 % 2, r = b.lane() % 8;
    B c;
    asm volatile("ldmatrix.sync.aligned.m8n8.x2.trans.shared.b16 {%0,%1}, [%2];"
                 : "=r"(c.at[0]), "=r"(c.at[1])
                 : "r"(address(tile + (r + j * 8) * pitch))
                 : "memory");
    return c;
  }
  CTSEG_DEVICE static void multiply(const Block&, Sums& s, const A& a, const B& c) {
    if constexpr (std::is_same_v<T, bf16>)
      asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
                   : "+f"(s.at[0]), "+f"(s.at[1]), "+f"(s.at[2]), "+f"(s.at[3])
                   : "r"(a.at[0]), "r"(a.at[1]), "r"(a.at[2]), "r"(a.at[3]), "r"(c.at[0]), "r"(c.at[1]));
    else
      asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
                   : "+f"(s.at[0]), "+f"(s.at[1]), "+f"(s.at[2]), "+f"(s.at[3])
                   : "r"(a.at[0]), "r"(a.at[1]), "r"(a.at[2]), "r"(a.at[3]), "r"(c.at[0]), "r"(c.at[1]));
  }
#else
  static A load_a(const Block& b, const T* tile, int pitch) {
    return make_a(b, [=](int m, int k) { return tile[m * pitch + k]; });
  }
  static A load_a_across(const Block& b, const T* tile, int pitch) {
    return make_a(b, [=](int m, int k) { return tile[k * pitch + m]; });
  }
  static B load_b(const Block& b, const T* tile, int pitch) {
    return make_b(b, [=](int k, int n) { return tile[n * pitch + k]; });
  }
  static B load_b_across(const Block& b, const T* tile, int pitch) {
    return make_b(b, [=](int k, int n) { return tile[k * pitch + n]; });
  }
  static void multiply(const Block& b, Sums& s, const A& a, const B& c) {
    const int row = b.lane() / 4, column = b.lane() % 4 * 2;
    A of_row[4];
    B of_columns[2][4];
    for (int j = 0; j < 4; ++j) {
      of_row[j] = b.shuffle(a, row * 4 + j);
      for (int e = 0; e < 2; ++e) of_columns[e][j] = b.shuffle(c, (column + e) * 4 + j);
    }
    for (int k = 0; k < kDepth; ++k)
      for (int i = 0; i < 4; ++i)
        s.at[i] +=
            one_of(of_row[k % 8 / 2].at[k / 8 * 2 + i / 2], k % 2) * one_of(of_columns[i % 2][k % 8 / 2].at[k / 8], k % 2);
  }
  static float one_of(std::uint32_t pair, int which) {
    return to_float(std::bit_cast<T>(static_cast<std::uint16_t>(which == 0 ? pair : pair >> 16)));
  }
#endif

 private:
  CTSEG_DEVICE static std::uint32_t pair(T low, T high) {
    return std::uint32_t{std::bit_cast<std::uint16_t>(low)} | std::uint32_t{std::bit_cast<std::uint16_t>(high)} << 16;
  }
#if defined(__CUDACC__)
  CTSEG_DEVICE static std::uint32_t address(const T* shared) {
    return static_cast<std::uint32_t>(__cvta_generic_to_shared(shared));
  }
#endif
};

/// What both ways of float share: a lane fetches the values it needs one by one. On the card banks do not collide where the
/// pitch is 4 more than a multiple of 32 (load_a, load_b) or 8 more (across).
template <class Own> struct FloatLoads {
  CTSEG_DEVICE static auto load_a(const Block& b, const float* tile, int pitch) {
    return Own::make_a(b, [=](int m, int k) { return tile[m * pitch + k]; });
  }
  CTSEG_DEVICE static auto load_a_across(const Block& b, const float* tile, int pitch) {
    return Own::make_a(b, [=](int m, int k) { return tile[k * pitch + m]; });
  }
  CTSEG_DEVICE static auto load_b(const Block& b, const float* tile, int pitch) {
    return Own::make_b(b, [=](int k, int n) { return tile[n * pitch + k]; });
  }
  CTSEG_DEVICE static auto load_b_across(const Block& b, const float* tile, int pitch) {
    return Own::make_b(b, [=](int k, int n) { return tile[k * pitch + n]; });
  }
};

template <> struct WarpProduct<Tf32> : FloatLoads<WarpProduct<Tf32>> {
  using Value = float;
  static constexpr int kDepth = 8;
  struct A {
    float at[4];
  };
  struct B {
    float at[2];
  };

  template <class F> CTSEG_DEVICE static A make_a(const Block& b, F f) {
    const int row = b.lane() / 4, k = b.lane() % 4;
    return {{rounded(f(row, k)), rounded(f(row + 8, k)), rounded(f(row, k + 4)), rounded(f(row + 8, k + 4))}};
  }
  template <class F> CTSEG_DEVICE static B make_b(const Block& b, F f) {
    const int column = b.lane() / 4, k = b.lane() % 4;
    return {{rounded(f(k, column)), rounded(f(k + 4, column))}};
  }
  CTSEG_DEVICE static float rounded(float x) {
    const std::uint32_t u = std::bit_cast<std::uint32_t>(x);
    return (u & 0x7f800000u) == 0x7f800000u ? x : std::bit_cast<float>((u + 0x1000u) & ~0x1fffu);
  }

  CTSEG_DEVICE static void multiply(const Block& b, Sums& s, const A& a, const B& c) {
#if defined(__CUDACC__)
    const auto bits = [](float x) { return std::bit_cast<std::uint32_t>(x); };
    asm volatile("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
                 : "+f"(s.at[0]), "+f"(s.at[1]), "+f"(s.at[2]), "+f"(s.at[3])
                 : "r"(bits(a.at[0])), "r"(bits(a.at[1])), "r"(bits(a.at[2])), "r"(bits(a.at[3])), "r"(bits(c.at[0])),
                   "r"(bits(c.at[1])));
    static_cast<void>(b);
#else
    const int row = b.lane() / 4, column = b.lane() % 4 * 2;
    for (int k = 0; k < 4; ++k) {
      const A of_row = b.shuffle(a, row * 4 + k);
      const B of_columns[2] = {b.shuffle(c, column * 4 + k), b.shuffle(c, (column + 1) * 4 + k)};
      for (int i = 0; i < 4; ++i)
        for (int half = 0; half < 2; ++half) s.at[i] += of_row.at[half * 2 + i / 2] * of_columns[i % 2].at[half];
    }
#endif
  }
};

/// Plain float: every lane has all it needs for its own four sums, k in order.
template <> struct WarpProduct<float> : FloatLoads<WarpProduct<float>> {
  using Value = float;
  static constexpr int kDepth = 4;
  struct A {
    float at[2][4];
  };
  struct B {
    float at[2][4];
  };

  template <class F> CTSEG_DEVICE static A make_a(const Block& b, F f) {
    const int row = b.lane() / 4;
    return {{{f(row, 0), f(row, 1), f(row, 2), f(row, 3)}, {f(row + 8, 0), f(row + 8, 1), f(row + 8, 2), f(row + 8, 3)}}};
  }
  template <class F> CTSEG_DEVICE static B make_b(const Block& b, F f) {
    const int n = b.lane() % 4 * 2;
    return {{{f(0, n), f(1, n), f(2, n), f(3, n)}, {f(0, n + 1), f(1, n + 1), f(2, n + 1), f(3, n + 1)}}};
  }
  CTSEG_DEVICE static void multiply(const Block&, Sums& s, const A& a, const B& c) {
    for (int k = 0; k < kDepth; ++k)
      for (int i = 0; i < 4; ++i) s.at[i] += a.at[i / 2][k] * c.at[i % 2][k];
  }
};

/// f(WarpProduct<...>{}) for values stored as `dtype`: float arithmetic is exact unless TF32 is asked for.
template <class F> void with_product(Dtype dtype, bool tf32, F f) {
  if (dtype == Dtype::f32 && tf32) return f(WarpProduct<Tf32>{});
  with_storage(dtype, [&](auto value) { f(WarpProduct<decltype(value)>{}); });
}

/// Values to leave free behind each row of a tile, so that fragments are read without collisions of banks.
template <class P> inline constexpr int kRowGap = sizeof(typename P::Value) == 2 ? 8 : 4;   // load_a, load_b
template <class P> inline constexpr int kAcrossGap = 8;                                     // the others

}   // namespace ctseg::cuda
