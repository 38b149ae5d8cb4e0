// A plan must have the bits of the eager tape, on an arena that starts as NaN, however it shares and recomputes.
#pragma once
#include <doctest/doctest.h>

#include <cstring>

#include <ctseg/core/tensor.hpp>
#include <ctseg/nn/run.hpp>
#include <ctseg/ops/cpu.hpp>

namespace ctseg::test {

template <class T, int Dim> Tensor<T, Dim> random_tensor(const Shape<Dim>& shape, std::uint64_t seed) {
  Tensor<T, Dim> t(shape);
  RandomStream random({.seed = seed, .op = 9});
  for (Index i = 0; i < shape.elements(); ++i) t.data()[i] = T(static_cast<float>(random.normal()));
  return t;
}
template <int Dim> Tensor<std::uint8_t, Dim> random_labels(const Shape<Dim>& shape, Index classes, std::uint64_t seed) {
  Tensor<std::uint8_t, Dim> t(shape);
  RandomStream random({.seed = seed, .op = 10});
  for (Index i = 0; i < shape.elements(); ++i) t.data()[i] = static_cast<std::uint8_t>(random.below(classes));
  return t;
}

template <AnySpec S> bool same_bits(In<S> a, In<S> b) {
  if (a.shape != b.shape) return false;
  for (Index r = 0; r < a.rows(); ++r)
    if (std::memcmp(a.row(r), b.row(r), sizeof(typename S::T) * static_cast<std::size_t>(a.shape.c)) != 0) return false;
  return true;
}
template <class Acc> bool same_bits(std::span<const Acc> a, std::span<const Acc> b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size_bytes()) == 0;
}
template <AnySpec S> const Gradients<S>& read_only(const Gradients<S>& g) { return g; }

/// An input and its labels.
template <AnySpec S> struct Sample {
  Tensor<typename S::T, S::kDim> x;
  Tensor<std::uint8_t, S::kDim> labels;
  Sample(const Shape<S::kDim>& shape, Index classes, std::uint64_t seed)
      : x(random_tensor<typename S::T>(shape, seed)), labels(random_labels(shape.with_channels(1), classes, seed)) {}
  void fill(Run<S>& run, Var<S> x_var, Var<S> labels_var) const {
    copy(x, run.input(x_var));
    copy(labels, run.template input_as<std::uint8_t>(labels_var));
  }
  template <class T> static void copy(const Tensor<T, S::kDim>& from, View<T, S::kDim> to) {
    for (Index r = 0; r < to.rows(); ++r) std::copy_n(from.view().row(r), to.shape.c, to.row(r));
  }
};

inline void poison(Memory<Cpu>& memory) {
  if (memory.bytes() > 0) std::memset(memory.data(), 0xff, static_cast<std::size_t>(memory.bytes()));
}

}   // namespace ctseg::test
