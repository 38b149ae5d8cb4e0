// The sizes that a network takes: what stands in for an error from deep inside it.
#pragma once
#include "../ops/axes.hpp"

namespace ctseg {

/// A network that halves its input several times and joins what comes back with what was there needs sizes that divide.
/// Errors    shape_mismatch, naming the divisor and the next size up.
template <int Dim> void check_divisible(const Shape<Dim>& x, const Axes<Dim>& divisor, std::string_view where) {
  std::array<Index, Dim> up{};
  for (std::size_t d = 0; d < Dim; ++d) up[d] = (x.space[d] + divisor.value[d] - 1) / divisor.value[d] * divisor.value[d];
  if (up == x.space) return;
  throw Error(Code::shape_mismatch, where,
              text("input ", x, " must be divisible by ", divisor, " (as ", Dim == 3 ? "D,H,W" : "H,W", "). Hint: pad it to ",
                   Axes<Dim>(up), ", or predict in windows of such a size."));
}

}   // namespace ctseg
