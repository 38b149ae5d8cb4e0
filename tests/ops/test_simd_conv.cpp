// The direct SIMD convolution engine: every instruction set of this processor, both sides, both weight orders, odd sizes.
#include "ops/simd_checks.hpp"

using namespace ctseg;
using namespace ctseg::simd;
using namespace ctseg::simd::test;

namespace {

void check_all(const ConvWindow& w, const Sizes& s) {
  for (Isa isa : isas()) {
    CAPTURE(text(isa));
    for (Side side : {Side::output, Side::input}) {
      CAPTURE(side == Side::output);
      for (bool flipped : {false, true}) check_gather(make_plan(w, side, s, isa), s, flipped, !flipped);
      check_gradient(make_plan(w, side, s, isa), s);
    }
  }
}

}   // namespace

TEST_CASE("simd conv: kernels 1, 2, 3, 5, strides 1, 2, 3, paddings 0 to 2") {
  for (const auto& input : {std::array<Index, 3>{5, 6, 7}, std::array<Index, 3>{1, 1, 5}, std::array<Index, 3>{3, 4, 31}})
    for (Index kernel : {1, 2, 3, 5})
      for (Index stride : {1, 2, 3})
        for (Index padding = 0; padding <= 2 && padding < kernel; ++padding) {
          CAPTURE(input[2]);
          CAPTURE(kernel);
          CAPTURE(stride);
          CAPTURE(padding);
          ConvWindow w;
          if (make_window(w, input, {kernel, stride, padding})) check_all(w, {1, 3, 5, padding, 2});
        }
}

TEST_CASE("simd conv: dilations 2, 3, 4 with strides that share factors with them and strides that do not") {
  for (const auto& input : {std::array<Index, 3>{5, 6, 9}, std::array<Index, 3>{3, 2, 33}})
    for (Index dilation : {2, 3, 4})
      for (Index stride : {1, 2, 6})
        for (Index kernel : {2, 3})
          for (Index padding : {1, 4}) {
            CAPTURE(input[2]);
            CAPTURE(dilation);
            CAPTURE(stride);
            CAPTURE(kernel);
            CAPTURE(padding);
            ConvWindow w;
            if (make_window(w, input, {kernel, stride, padding, dilation})) check_all(w, {1, 2, 3, padding, 2});
          }
  check_all({{7, 9, 40}, {7, 5, 17}, {1, 3, 5}, {1, 2, 2}, {0, 2, 1}, {1, 2, 2}}, {2, 17, 9});           // unequal axes
  check_all({{9, 9, 13}, {9, 9, 13}, {3, 3, 3}, {1, 1, 1}, {2, 3, 4}, {2, 3, 4}}, {1, 300, 5});          // several pieces
  check_all({{13, 13, 40}, {3, 3, 3}, {29, 29, 29}, {1, 1, 1}, {28, 28, 168}, {2, 2, 12}}, {1, 1, 2});   // no patch holds it
}

TEST_CASE("simd conv: channels that do and do not fill vectors, two images, odd extents") {
  ConvWindow w;
  const std::vector<std::array<Index, 2>> pairs{{1, 1},  {1, 32}, {8, 8},   {16, 16}, {17, 9},
                                                {5, 26}, {32, 2}, {24, 40}, {33, 67}};
  for (const auto& pair : pairs) {
    const Index from = pair[0], to = pair[1];
    CAPTURE(from);
    CAPTURE(to);
    REQUIRE(make_window(w, {3, 5, 11}, {3, 1, 1}));
    check_all(w, {2, from, to, 0, 3});
    REQUIRE(make_window(w, {4, 2, 18}, {2, 2, 0}));
    check_all(w, {1, from, to, 1, 0});
  }
}

TEST_CASE("simd conv: rows and channels that fill the largest tiles, results one channel short of whole vectors") {
  for (Index to : {7, 15, 31}) check_all({{1, 2, 42}, {1, 2, 42}, {1, 1, 3}, {1, 1, 1}, {0, 0, 1}}, {1, 14, to});
}

TEST_CASE("simd conv: unequal axes, rows beyond a box, windows beyond a patch") {
  check_all({{1, 6, 9}, {1, 3, 9}, {1, 3, 5}, {1, 2, 1}, {0, 1, 2}}, {2, 4, 6});         // 2-D
  check_all({{3, 8, 6}, {3, 8, 7}, {3, 1, 2}, {1, 1, 1}, {1, 0, 1}}, {1, 4, 6});         // even kernel, growing
  check_all({{2, 3, 600}, {2, 3, 600}, {1, 1, 3}, {1, 1, 1}, {0, 0, 1}}, {1, 2, 3});     // 600 voxels in a row
  check_all({{25, 25, 25}, {3, 3, 3}, {29, 29, 29}, {1, 1, 1}, {3, 3, 3}}, {1, 1, 2});   // 24389 taps
  check_all({{3, 3, 6}, {3, 3, 6}, {3, 3, 3}, {1, 1, 1}, {1, 1, 1}}, {1, 300, 20});      // a patch in several pieces
  check_all({{5, 7, 10}, {2, 2, 3}, {1, 2, 2}, {3, 4, 4}, {0, 0, 0}}, {1, 3, 4});        // voxels that no tap meets
}
