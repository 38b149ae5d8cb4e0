// Scalars and packs of them on the card: what every kernel reads and writes.
#pragma once
#include "block.cuh"
#include "ctseg/core/dtype.hpp"

namespace ctseg::cuda {

/// Arithmetic is in float, rounded once on the way out. bf16 and half convert as on the host, bit for bit.
CTSEG_DEVICE float to_float(float x) { return x; }
CTSEG_DEVICE float to_float(bf16 x) { return static_cast<float>(x); }
CTSEG_DEVICE float to_float(half x) { return static_cast<float>(x); }
template <class T> CTSEG_DEVICE T from_float(float x) { return T(x); }

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
