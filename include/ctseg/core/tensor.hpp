// A tensor on the host: it owns its values and is indexed in logical order, whatever lies in memory.
#pragma once
#include <algorithm>

#include "memory.hpp"

namespace ctseg {

/// Owned values of logical order N, C, (D,) H, W, stored channels-last; zero at first.
template <class T, int Dim> class Tensor {
 public:
  Tensor() : memory_(0) {}
  explicit Tensor(const Shape<Dim>& shape) : shape_(checked(shape, "tensor")), memory_(bytes_of<T>(shape.elements())) {
    std::fill_n(data(), shape_.elements(), T(0));
  }

  const Shape<Dim>& shape() const { return shape_; }
  T* data() { return reinterpret_cast<T*>(memory_.data()); }
  const T* data() const { return reinterpret_cast<const T*>(memory_.data()); }
  View<T, Dim> view() { return {data(), shape_, shape_.c}; }
  View<const T, Dim> view() const { return {data(), shape_, shape_.c}; }
  operator View<T, Dim>() { return view(); }
  operator View<const T, Dim>() const { return view(); }

  /// tensor(n, c, z, y, x) or (n, c, y, x). Not checked: for loops.
  template <class... At> T& operator()(Index n, Index c, At... at) { return data()[offset(n, c, {static_cast<Index>(at)...})]; }
  template <class... At> const T& operator()(Index n, Index c, At... at) const {
    return data()[offset(n, c, {static_cast<Index>(at)...})];
  }

 private:
  Index offset(Index n, Index c, const std::array<Index, Dim>& at) const {
    Index voxel = n;
    for (int d = 0; d < Dim; ++d) voxel = voxel * shape_.space[static_cast<std::size_t>(d)] + at[static_cast<std::size_t>(d)];
    return voxel * shape_.c + c;
  }
  Shape<Dim> shape_{.n = 0, .c = 0};
  Memory<Cpu> memory_;
};

}   // namespace ctseg
