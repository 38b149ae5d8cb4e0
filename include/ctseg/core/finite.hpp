// Finiteness by bits: under a user's -ffast-math std::isfinite is allowed to say yes to everything.
#pragma once
#include <bit>
#include <cstdint>
#include <span>

namespace ctseg {

inline bool is_finite(float x) { return (std::bit_cast<std::uint32_t>(x) & 0x7f800000u) != 0x7f800000u; }
inline bool is_finite(double x) { return (std::bit_cast<std::uint64_t>(x) & 0x7ff0000000000000u) != 0x7ff0000000000000u; }

template <class T> bool all_finite(std::span<T> values) {
  for (const auto& v : values)
    if (!is_finite(v)) return false;
  return true;
}

}   // namespace ctseg
