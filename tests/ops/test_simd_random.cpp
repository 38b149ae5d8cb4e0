// Every way of the convolution engine against plain double loops: 200 random odd shapes each, forward and data gradient, on the
// best instruction set and, in turn, on each of the others.
#include "ops/simd_checks.hpp"

using namespace ctseg;
using namespace ctseg::simd;
using namespace ctseg::simd::test;

namespace {

constexpr int kShapes = 200;

struct Draw {
  Numbers next;
  /// One of first .. last.
  Index operator()(Index first, Index last) {
    const Index count = last - first + 1;
    return first + std::min(count - 1, static_cast<Index>((next() + 1) / 2 * static_cast<float>(count)));
  }
};

/// Draws until a window has results: of stride 1 for tiles; the direct engine takes any kernel, stride and dilation.
ConvWindow draw_window(Draw& draw, const std::optional<std::array<Tiling, 3>>& tiling) {
  for (;;) {
    ConvWindow w;
    bool fits = true;
    for (std::size_t d = 0; d < 3; ++d) {
      w.input[d] = draw(1, d == 2 ? 11 : 6);
      w.kernel[d] = tiling ? taps_of((*tiling)[d]) : draw(1, 4);
      w.stride[d] = tiling ? 1 : draw(1, 3);
      w.dilation[d] = tiling || draw(1, 3) < 3 ? 1 : 2;
      w.padding[d] = draw(0, 2);
      const Index room = w.input[d] + 2 * w.padding[d] - w.dilation[d] * (w.kernel[d] - 1) - 1;
      fits = fits && room >= 0;
      w.output[d] = room < 0 ? 0 : room / w.stride[d] + 1;
    }
    if (fits) return w;
  }
}

/// Returns the number of shapes that were checked.
int check_random(Side side, const std::optional<Tiling>& kind) {
  Draw draw{{static_cast<std::uint64_t>(side == Side::output ? 17 : 71) + (kind ? static_cast<std::uint64_t>(*kind) : 9)}};
  const std::vector<Isa> all = isas();
  int shapes = 0;
  for (; shapes < kShapes; ++shapes) {
    std::optional<std::array<Tiling, 3>> tiling;
    if (kind) {
      tiling = {*kind, *kind, *kind};
      if (draw(0, 4) == 0) (*tiling)[static_cast<std::size_t>(draw(0, 2))] = Tiling::whole;   // an axis with one tap
    }
    const ConvWindow w = draw_window(draw, tiling);
    const bool wide = draw(0, 9) == 0;
    const Sizes s{draw(1, 2), draw(1, wide ? 40 : 11), draw(1, wide ? 40 : 11), draw(0, 2), draw(0, 2)};
    for (const Isa isa : {detect_isa(), all[static_cast<std::size_t>(shapes) % all.size()]}) {
      CAPTURE(shapes);
      CAPTURE(text(isa));
      check_gather(make_plan(w, side, s, isa), s, side == Side::input, side == Side::output, tiling);
    }
  }
  return shapes;
}

}   // namespace

TEST_CASE("simd random: the direct engine, any kernel, stride, padding and dilation") {
  CHECK(check_random(Side::output, std::nullopt) == kShapes);
  CHECK(check_random(Side::input, std::nullopt) == kShapes);
}
TEST_CASE("simd random: F(2,3)") {
  CHECK(check_random(Side::output, Tiling::f2k3) == kShapes);
  CHECK(check_random(Side::input, Tiling::f2k3) == kShapes);
}
TEST_CASE("simd random: F(4,3)") {
  CHECK(check_random(Side::output, Tiling::f4k3) == kShapes);
  CHECK(check_random(Side::input, Tiling::f4k3) == kShapes);
}
TEST_CASE("simd random: F(2,5)") {
  CHECK(check_random(Side::output, Tiling::f2k5) == kShapes);
  CHECK(check_random(Side::input, Tiling::f2k5) == kShapes);
}
TEST_CASE("simd random: F(4,5)") {
  CHECK(check_random(Side::output, Tiling::f4k5) == kShapes);
  CHECK(check_random(Side::input, Tiling::f4k5) == kShapes);
}
TEST_CASE("simd random: F(6,3)") {
  CHECK(check_random(Side::output, Tiling::f6k3) == kShapes);
  CHECK(check_random(Side::input, Tiling::f6k3) == kShapes);
}
TEST_CASE("simd cut: small images are split over channels as well as tiles") {
  for (const Isa isa : isas())
    for (const Index extent : {4, 6, 8, 12})
      for (const Index channels : {64, 128, 256})
        for (const Tiling t : {Tiling::f2k3, Tiling::f4k3}) {
          const ConvPlan plan{.window = {.input = {extent, extent, extent},
                                         .output = {extent, extent, extent},
                                         .kernel = {3, 3, 3},
                                         .padding = {1, 1, 1}},
                              .side = Side::output,
                              .from = channels,
                              .to = channels,
                              .isa = isa};
          const TileTable& table = tiles(isa, channels);
          CAPTURE(text(isa));
          CAPTURE(extent);
          CAPTURE(channels);
          CHECK(WinogradCut({plan, {t, t, t}}, table).slots >= std::min<Index>(8, ceil_div(channels, table.block())));
        }
}
