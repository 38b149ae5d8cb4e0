// Scalars: the two 16-bit storage types, and names for all types that a value can have at run time.
#pragma once
#include <bit>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <type_traits>

#include "error.hpp"

namespace ctseg {

/// Upper half of a float, rounded to nearest even. Storage only: arithmetic happens in float. (constexpr: for the card too.)
class bf16 {
 public:
  bf16() = default;
  constexpr explicit bf16(float x) : bits_(round(std::bit_cast<std::uint32_t>(x))) {}
  constexpr explicit operator float() const { return std::bit_cast<float>(std::uint32_t{bits_} << 16); }

 private:
  static constexpr std::uint16_t round(std::uint32_t u) {
    if ((u & 0x7fffffff) > 0x7f800000) return static_cast<std::uint16_t>(u >> 16 | 0x40);   // stays a NaN
    return static_cast<std::uint16_t>((u + 0x7fff + (u >> 16 & 1)) >> 16);
  }
  std::uint16_t bits_;
};

/// IEEE 754 binary16, rounded to nearest even; subnormals and infinities kept. Storage only.
class half {
 public:
  half() = default;
  constexpr explicit half(float x) : bits_(round(x)) {}
  constexpr explicit operator float() const {
    const std::uint32_t sign = std::uint32_t{bits_ & 0x8000u} << 16, exponent = bits_ >> 10 & 31, fraction = bits_ & 1023u;
    if (exponent == 31) return std::bit_cast<float>(sign | 0x7f800000 | fraction << 13);
    if (exponent == 0) return (sign ? -1.f : 1.f) * static_cast<float>(fraction) * 0x1p-24f;
    return std::bit_cast<float>(sign | (exponent + 112) << 23 | fraction << 13);
  }

 private:
  static constexpr std::uint16_t round(float x) {
    const std::uint32_t u = std::bit_cast<std::uint32_t>(x), sign = u >> 16 & 0x8000, magnitude = u & 0x7fffffff;
    if (magnitude > 0x7f800000) return static_cast<std::uint16_t>(sign | 0x7e00);
    if (magnitude >= 0x477ff000) return static_cast<std::uint16_t>(sign | 0x7c00);   // 65520 and above: infinity
    if (magnitude < 0x38800000) {   // subnormal: let the float adder round at 2^-24
      const float shifted = std::bit_cast<float>(magnitude) + 0.5f;
      return static_cast<std::uint16_t>(sign | (std::bit_cast<std::uint32_t>(shifted) - 0x3f000000));
    }
    return static_cast<std::uint16_t>(sign | (((magnitude + 0xfff + (magnitude >> 13 & 1)) >> 13) - (112 << 10)));
  }
  std::uint16_t bits_;
};

enum class Dtype : std::uint8_t { f64, f32, f16, bf16, i64, i32, i16, u16, u8 };

template <class T> constexpr Dtype dtype_of() {
  using U = std::remove_cv_t<T>;
  if constexpr (std::is_same_v<U, double>)
    return Dtype::f64;
  else if constexpr (std::is_same_v<U, float>)
    return Dtype::f32;
  else if constexpr (std::is_same_v<U, half>)
    return Dtype::f16;
  else if constexpr (std::is_same_v<U, bf16>)
    return Dtype::bf16;
  else if constexpr (std::is_same_v<U, std::int64_t>)
    return Dtype::i64;
  else if constexpr (std::is_same_v<U, std::int32_t>)
    return Dtype::i32;
  else if constexpr (std::is_same_v<U, std::int16_t>)
    return Dtype::i16;
  else if constexpr (std::is_same_v<U, std::uint16_t>)
    return Dtype::u16;
  else {
    static_assert(std::is_same_v<U, std::uint8_t>, "ctseg: values are double, float, half, bf16, int16/32/64 or uint8/16");
    return Dtype::u8;
  }
}

constexpr Index size_of(Dtype d) {
  constexpr std::uint8_t sizes[] = {8, 4, 2, 2, 8, 4, 2, 2, 1};
  return sizes[static_cast<std::size_t>(d)];
}
inline std::string text(Dtype d) {
  constexpr const char* names[] = {"f64", "f32", "f16", "bf16", "i64", "i32", "i16", "u16", "u8"};
  return names[static_cast<std::size_t>(d)];
}

}   // namespace ctseg
