// Finiteness by bits: under a user's -ffast-math std::isfinite, x != x and a comparison with NaN may say anything. The numbers
// come by reference, for that flag also lets a compiler suppose that an argument passed by value is finite.
#pragma once
#include <bit>
#include <cstdint>
#include <span>

namespace ctseg {

inline bool is_finite(const float& x) { return (std::bit_cast<std::uint32_t>(x) & 0x7f800000u) != 0x7f800000u; }
inline bool is_finite(const double& x) {
  return (std::bit_cast<std::uint64_t>(x) & 0x7ff0000000000000u) != 0x7ff0000000000000u;
}
inline bool is_nan(const float& x) { return (std::bit_cast<std::uint32_t>(x) & 0x7fffffffu) > 0x7f800000u; }
inline bool is_nan(const double& x) { return (std::bit_cast<std::uint64_t>(x) & 0x7fffffffffffffffu) > 0x7ff0000000000000u; }

template <class T> bool all_finite(std::span<T> values) {
  for (const auto& v : values)
    if (!is_finite(v)) return false;
  return true;
}

}   // namespace ctseg
