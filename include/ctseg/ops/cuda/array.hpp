// Values on the card as launchers take them: one type for every scalar and both ranks, so that kernels/ compiles each kernel
// once and a user's program compiles none.
#pragma once
#include "../op.hpp"

namespace ctseg::cuda {

/// A channels-last value in device memory; 2-D is a single plane (space[0] = 1). Rows of `c` channels lie `pitch` apart.
struct Array {
  std::byte* data = nullptr;
  Index n = 1, c = 1;
  std::array<Index, 3> space{1, 1, 1};   // z, y, x
  Index pitch = 1;
  Dtype dtype = Dtype::f32;

  Index voxels() const { return space[0] * space[1] * space[2]; }
  Index rows() const { return n * voxels(); }
  Index elements() const { return rows() * c; }
  bool contiguous() const { return pitch == c; }
  explicit operator bool() const { return data != nullptr; }
  template <class T> T* as() const { return reinterpret_cast<T*>(data); }
};

template <int Dim> std::array<Index, 3> space_of(const Shape<Dim>& s) {
  if constexpr (Dim == 3)
    return s.space;
  else
    return {1, s.space[0], s.space[1]};
}
template <int Dim> Array array_of(const AnyView<Dim>& v) {
  return {v.data, v.shape.n, v.shape.c, space_of(v.shape), v.pitch, v.dtype};
}
template <class T, int Dim> Array array_of(const View<T, Dim>& v) { return array_of(AnyView<Dim>(v)); }

/// Random numbers of one op in one run. In a recording seed and run are read from `now`, in device memory, so that it can be
/// played again for another run; else it is null. Kernels call key_of() of kernels/common/values.cuh; Context<Cuda>::key makes it.
struct Key {
  RandomKey key;
  const RandomKey* now = nullptr;
};

}   // namespace ctseg::cuda
