// The two 16-bit types: all values there and back, and how the rest rounds.
#include <doctest/doctest.h>

#include <cmath>
#include <limits>

#include <ctseg/core/dtype.hpp>

using namespace ctseg;

template <class T> static T from_bits(unsigned bits) { return std::bit_cast<T>(static_cast<std::uint16_t>(bits)); }
template <class T> static unsigned bits_of(T value) { return std::bit_cast<std::uint16_t>(value); }

/// The value of 16 bits by the definition of IEEE 754, for a given number of exponent bits.
static double by_definition(unsigned bits, int exponent_bits) {
  const int fraction_bits = 15 - exponent_bits, bias = (1 << (exponent_bits - 1)) - 1;
  const int exponent = static_cast<int>(bits >> fraction_bits) & ((1 << exponent_bits) - 1);
  const double fraction = std::ldexp(bits & ((1u << fraction_bits) - 1), -fraction_bits), sign = bits >> 15 ? -1 : 1;
  if (exponent == (1 << exponent_bits) - 1) return fraction != 0 ? NAN : sign * INFINITY;
  return sign * (exponent == 0 ? std::ldexp(fraction, 1 - bias) : std::ldexp(1 + fraction, exponent - bias));
}

/// Checks all 65536 values, and the rounding of the points between neighbours: below, at and above the middle.
template <class T> static void check_all(int exponent_bits) {
  int wrong_value = 0, wrong_round_trip = 0, wrong_rounding = 0, nans = 0;
  const unsigned infinity = ((1u << exponent_bits) - 1) << (15 - exponent_bits);
  for (unsigned bits = 0; bits < 65536; ++bits) {
    const T value = from_bits<T>(bits);
    const float wide = static_cast<float>(value);
    const double expected = by_definition(bits, exponent_bits);
    if (std::isnan(expected)) {
      ++nans;
      wrong_value += !std::isnan(wide);
      wrong_round_trip += !std::isnan(static_cast<float>(T(wide))) || (bits_of(T(wide)) >> 15) != (bits >> 15);
      continue;
    }
    wrong_value += static_cast<double>(wide) != expected || std::signbit(wide) != std::signbit(expected);
    wrong_round_trip += bits_of(T(wide)) != bits;
    if ((bits & 0x7fff) + 1 >= infinity) continue;
    const auto middle = static_cast<float>((expected + by_definition(bits + 1, exponent_bits)) / 2);   // exact in a float
    const unsigned even = bits % 2 ? bits + 1 : bits;
    wrong_rounding += bits_of(T(middle)) != even;
    wrong_rounding += bits_of(T(std::nextafter(middle, 0.f))) != bits;
    wrong_rounding += bits_of(T(std::nextafter(middle, middle * 2))) != bits + 1;
  }
  CHECK(wrong_value == 0);
  CHECK(wrong_round_trip == 0);
  CHECK(wrong_rounding == 0);
  CHECK(nans == 2 * ((1 << (15 - exponent_bits)) - 1));
}

TEST_CASE("half: all 65536 values, round to nearest even") { check_all<half>(5); }
TEST_CASE("bf16: all 65536 values, round to nearest even") { check_all<bf16>(8); }

TEST_CASE("16 bits: what is too large becomes infinite, what is too small becomes zero, a NaN stays one") {
  CHECK(bits_of(half(65504.f)) == 0x7bff);
  CHECK(bits_of(half(65519.99f)) == 0x7bff);
  CHECK(bits_of(half(65520.f)) == 0x7c00);
  CHECK(bits_of(half(-1e30f)) == 0xfc00);
  CHECK(bits_of(half(0x1p-25f)) == 0);   // the middle of 0 and the smallest: to even
  CHECK(bits_of(half(0x1.000002p-25f)) == 1);
  CHECK(bits_of(half(-1e-30f)) == 0x8000);
  CHECK(bits_of(bf16(std::numeric_limits<float>::max())) == 0x7f80);
  CHECK(bits_of(bf16(-std::numeric_limits<float>::infinity())) == 0xff80);
  for (std::uint32_t payload : {0x7f800001u, 0x7fffffffu, 0xff800001u, 0xffffffffu}) {   // a carry must not make it infinite
    const float nan = std::bit_cast<float>(payload);
    CHECK(std::isnan(static_cast<float>(half(nan))));
    CHECK(std::isnan(static_cast<float>(bf16(nan))));
  }
}

TEST_CASE("types have a name and a size") {
  CHECK(dtype_of<const double>() == Dtype::f64);
  const Dtype all[] = {Dtype::f64, Dtype::f32, Dtype::f16, Dtype::bf16, Dtype::i64,
                       Dtype::i32, Dtype::i16, Dtype::u16, Dtype::u8};
  const Index sizes[] = {sizeof(double), sizeof(float), sizeof(half), sizeof(bf16), 8, 4, 2, 2, 1};
  const char* names[] = {"f64", "f32", "f16", "bf16", "i64", "i32", "i16", "u16", "u8"};
  for (int i = 0; i < 9; ++i) {
    CHECK(size_of(all[i]) == sizes[i]);
    CHECK(text(all[i]) == names[i]);
  }
  CHECK(dtype_of<half>() == Dtype::f16);
  CHECK(dtype_of<bf16>() == Dtype::bf16);
  CHECK(dtype_of<std::uint8_t>() == Dtype::u8);
}
