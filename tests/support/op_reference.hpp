// Op runs against the plain reference: how tensors of the library become volumes of the reference.
#pragma once
#include <doctest/doctest.h>

#include "op_run.hpp"
#include "reference.hpp"

namespace ctseg::test {

template <class T, int Dim> Volume5 volume_of(View<T, Dim> view) {
  Volume5 out(view.shape);
  out.each([&](Index n, Index c, Index z, Index y, Index x) {
    out(n, c, z, y, x) = static_cast<double>(view.at(n, (z * out.h + y) * out.w + x)[c]);
  });
  return out;
}
template <int Dim> Three three(const Axes<Dim>& a, Index fill) {
  Three out = {fill, fill, fill};
  for (int d = 0; d < Dim; ++d) out[static_cast<std::size_t>(d + 3 - Dim)] = a[d];
  return out;
}
/// Weights as the library holds them, [groups, taps, in, out], asked by channels of the whole; in and out count one group's.
template <class Acc> auto tap_weights(const std::vector<Acc>& w, Index in, Index out, Three k) {
  return [&w, in, out, k](Index o, Index i, Index a, Index b, Index e) {
    const Index tap = ((o / out * k[0] + a) * k[1] + b) * k[2] + e;
    return static_cast<double>(w[static_cast<std::size_t>((tap * in + i % in) * out + o % out)]);
  };
}

inline void check_equal(const Volume5& a, const Volume5& b, double tolerance) {
  REQUIRE(std::array{a.n, a.c, a.d, a.h, a.w} == std::array{b.n, b.c, b.d, b.h, b.w});
  double largest = 0, apart = 0;
  for (std::size_t i = 0; i < a.v.size(); ++i) {
    REQUIRE(std::isfinite(a.v[i]));
    largest = std::max(largest, std::abs(b.v[i])), apart = std::max(apart, std::abs(a.v[i] - b.v[i]));
  }
  INFO("largest difference " << apart << " of " << largest);
  CHECK(apart <= tolerance * std::max(largest, 1e-6));
}

}   // namespace ctseg::test
