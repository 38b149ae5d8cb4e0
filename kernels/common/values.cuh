// Scalars and packs of them on the card: what every kernel reads and writes.
#pragma once
#include "block.cuh"
#include "ctseg/ops/cuda/array.hpp"

namespace ctseg::cuda {

/// Arithmetic is in float, rounded once on the way out. bf16 and half convert as on the host, bit for bit, but for the payload
/// of a NaN: the card's own instructions are five times as fast as the host's code.
CTSEG_DEVICE float to_float(float x) { return x; }
CTSEG_DEVICE float to_float(bf16 x) { return static_cast<float>(x); }
#if defined(__CUDA_ARCH__)
CTSEG_DEVICE float to_float(half x) {
  float f;
  asm("cvt.f32.f16 %0, %1;" : "=f"(f) : "h"(__builtin_bit_cast(unsigned short, x)));
  return f;
}
template <class T> CTSEG_DEVICE T from_float(float x) {
  if constexpr (std::is_same_v<T, bf16>) {
    unsigned short bits;
    asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(bits) : "f"(x));
    return __builtin_bit_cast(bf16, bits);
  } else if constexpr (std::is_same_v<T, half>) {
    unsigned short bits;
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(bits) : "f"(x));
    return __builtin_bit_cast(half, bits);
  } else {
    return T(x);
  }
}
#else
CTSEG_DEVICE float to_float(half x) { return static_cast<float>(x); }
template <class T> CTSEG_DEVICE T from_float(float x) { return T(x); }
#endif

/// The key that a kernel draws from: its own, or, in a recording, that of the run which plays it.
CTSEG_DEVICE RandomKey key_of(const Key& k) { return k.now ? RandomKey{k.now->seed, k.now->run, k.key.op} : k.key; }

/// N neighbouring channels, moved as one access of N * sizeof(T) bytes (at most 16), on which they must be aligned.
template <class T, int N> struct alignas(sizeof(T) * N) Pack {
  T at[N];
};
/// Channels of one 16-byte access.
template <class T> inline constexpr int kPack = 16 / static_cast<int>(sizeof(T));

/// f(T{}) for the storage type named: float, bf16 or half. Others are refused by infer, long before a launch.
template <class F> void with_storage(Dtype dtype, F f) {
  if (dtype == Dtype::f32) return f(float{});
  if (dtype == Dtype::bf16) return f(bf16{});
  if (dtype == Dtype::f16) return f(half{});
  throw Error(Code::unsupported, "cuda", text("values of ", dtype, "; the card stores f32, bf16 or f16."));
}

}   // namespace ctseg::cuda
