// Random numbers: the published answers of the generator, and what the streams built on it promise.
#include <doctest/doctest.h>

#include <set>
#include <vector>

#include <ctseg/core/random.hpp>

using namespace ctseg;

TEST_CASE("philox gives the published answers") {
  using Words = std::array<std::uint32_t, 4>;
  constexpr std::uint32_t ones = 0xffffffff;
  CHECK(philox({0, 0, 0, 0}, {0, 0}) == Words{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8});
  CHECK(philox({ones, ones, ones, ones}, {ones, ones}) == Words{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd});
  CHECK(philox({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0}) ==
        Words{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1});
}

TEST_CASE("every part of a key names another stream") {
  const RandomKey keys[] = {
      {}, {.seed = 1}, {.run = 1}, {.op = 1}, {.seed = std::uint64_t{1} << 32}, {.run = std::uint64_t{1} << 32}};
  std::set<std::array<std::uint32_t, 4>> blocks;
  for (const RandomKey& key : keys)
    for (std::uint64_t block : {std::uint64_t{0}, std::uint64_t{1}, std::uint64_t{1} << 32}) blocks.insert(key.words(block));
  CHECK(blocks.size() == 18);
}

TEST_CASE("uniform(key, i) does not depend on the order of the calls") {
  const RandomKey key{.seed = 7, .run = 3, .op = 2};
  std::vector<float> forwards, backwards;
  for (std::uint64_t i = 0; i < 101; ++i) forwards.push_back(uniform(key, i));
  for (std::uint64_t i = 101; i-- > 0;) backwards.insert(backwards.begin(), uniform(key, i));
  CHECK(forwards == backwards);
  for (float v : forwards) CHECK((v >= 0 && v < 1));
}

TEST_CASE("a stream's uniform and normal numbers have their moments") {
  RandomStream random({.seed = 11});
  constexpr int count = 200000;
  double sum = 0, square = 0, normal_sum = 0, normal_square = 0, normal_fourth = 0;
  for (int i = 0; i < count; ++i) {
    const double u = random.uniform(), z = random.normal();
    REQUIRE((u >= 0 && u < 1));
    sum += u, square += u * u;
    normal_sum += z, normal_square += z * z, normal_fourth += z * z * z * z;
  }
  CHECK(sum / count == doctest::Approx(0.5).epsilon(0.005));
  CHECK(square / count == doctest::Approx(1.0 / 3).epsilon(0.01));
  CHECK(std::abs(normal_sum / count) < 0.01);
  CHECK(normal_square / count == doctest::Approx(1).epsilon(0.02));
  CHECK(normal_fourth / count == doctest::Approx(3).epsilon(0.04));
  const double low = random.uniform(-3, -2);
  CHECK((low >= -3 && low < -2));
}

TEST_CASE("two streams of one key are the same, of another key are not") {
  RandomStream a({.seed = 5}), b({.seed = 5}), c({.seed = 6});
  int different = 0;
  for (int i = 0; i < 100; ++i) {
    const std::uint32_t word = a.word();
    CHECK(word == b.word());
    different += word != c.word();
  }
  CHECK(different > 95);
}

TEST_CASE("below draws all of its numbers, equally often, and no other") {
  RandomStream random({.seed = 3});
  for (Index count : {Index{1}, Index{2}, Index{7}, Index{10}}) {
    std::vector<int> hits(static_cast<std::size_t>(count));
    for (int i = 0; i < 20000; ++i) {
      const Index k = random.below(count);
      REQUIRE((k >= 0 && k < count));
      ++hits[static_cast<std::size_t>(k)];
    }
    double chi_square = 0;
    const double expected = 20000.0 / static_cast<double>(count);
    for (int h : hits) chi_square += (h - expected) * (h - expected) / expected;
    CHECK(chi_square < 30);   // 9 degrees of freedom at most: p < 0.0005
  }
  const Index huge = (Index{1} << 62) + 1;   // a modulo of 32 bits would never leave the low end
  int upper = 0;
  for (int i = 0; i < 1000; ++i) upper += random.below(huge) > huge / 2;
  CHECK((upper > 400 && upper < 600));
  CHECK_THROWS_WITH_AS(random.below(0), "random: cannot draw one of 0 things", Error);
  CHECK_THROWS_AS(random.below(-4), Error);
}
