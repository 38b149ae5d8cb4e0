// Networks that halve their input several times and concatenate on the way back need sizes that divide: one check, one message.
#pragma once
#include <type_traits>

#include "../ops/axes.hpp"

namespace ctseg {

/// a times b, axis by axis: the divisor of a network, level by level.
/// Errors    bad_argument beyond Axes::kMost, long before it overflows.
template <int Dim> Axes<Dim> product(const Axes<Dim>& a, const Axes<Dim>& b) {
  std::array<Index, Dim> all = a.value;
  for (std::size_t d = 0; d < Dim; ++d) all[d] *= b.value[d];
  return all;
}

/// Errors    shape_mismatch unless every axis of x is a multiple of the divisor; says what to pad or crop to.
template <int Dim> void check_divisible(const Shape<Dim>& x, const std::type_identity_t<std::array<Index, Dim>>& divisor,
                                        std::string_view network) {
  std::array<Index, Dim> low = x.space, high = x.space;
  for (std::size_t d = 0; d < Dim; ++d) low[d] -= x.space[d] % divisor[d], high[d] = low[d] + divisor[d];
  if (low == x.space) return;
  for (std::size_t d = 0; d < Dim; ++d)
    if (low[d] == x.space[d]) high[d] = low[d];
  const auto by = [](const std::array<Index, Dim>& a) {
    std::string out;
    for (std::size_t d = 0; d < Dim; ++d) out += (d ? "x" : "") + text(a[d]);
    return out;
  };
  bool can_crop = true;
  for (const Index e : low) can_crop = can_crop && e > 0;
  throw Error(Code::shape_mismatch, network,
              text("input ", x, " is not a multiple of ", by(divisor), ". Hint: pad it to ", by(high),
                   can_crop ? " or crop it to " + by(low) : std::string(), "."));
}

}   // namespace ctseg
