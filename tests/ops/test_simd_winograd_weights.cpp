// Weight gradients by Winograd's tiles: every instruction set and kind of tile against plain double loops, rounding, and the
// choice of tiles.
#include <cstring>

#include "ops/simd_checks.hpp"

using namespace ctseg;
using namespace ctseg::simd;
using namespace ctseg::simd::test;

namespace {

using Tilings = std::array<Tiling, 3>;
constexpr Tiling kWhole = Tiling::whole, kTwo = Tiling::f2k3, kFour = Tiling::f4k3, kFive = Tiling::f2k5,
                 kLong = Tiling::f4k5;

ConvPlan plan_of(const std::array<Index, 3>& input, const Tilings& tiling, const std::array<Index, 3>& padding,
                 const Sizes& s) {
  ConvWindow w{.input = input, .padding = padding};
  for (std::size_t d = 0; d < 3; ++d) {
    w.kernel[d] = taps_of(tiling[d]);
    w.output[d] = input[d] + 2 * padding[d] - w.kernel[d] + 1;
  }
  return make_plan(w, Side::output, s, Isa::scalar);
}
ConvPlan cube(Index extent, Index from, Index to, Index kernel = 3) {
  const Tiling t = kernel == 3 ? kTwo : kFive;
  return plan_of({extent, extent, extent}, {t, t, t}, {kernel / 2, kernel / 2, kernel / 2}, {1, from, to});
}

/// On every instruction set, with dy on either side of the window.
void check(ConvPlan plan, const Tilings& tiling, const Sizes& s) {
  const auto& out = plan.window.output;
  if (out[0] < 1 || out[1] < 1 || out[2] < 1) return;
  for (const Isa isa : isas()) {
    CAPTURE(text(isa));
    for (const Side side : {Side::output, Side::input}) {
      plan.isa = isa, plan.side = side;
      check_gradient(plan, s, tiling);
    }
  }
}

std::vector<float> numbers(Index count, std::uint64_t seed) {
  std::vector<float> v(static_cast<std::size_t>(count));
  Numbers next{seed};
  for (float& f : v) f = next();
  return v;
}
/// By the direct sum where there are no tiles.
std::vector<float> gradient_of(const ConvPlan& plan, const std::optional<WinogradPlan>& tiled, int threads) {
  const auto x = numbers(voxels(plan.source_extent()) * plan.from, 5), dy = numbers(voxels(plan.result_extent()) * plan.to, 6);
  std::vector<float> dw(static_cast<std::size_t>(plan.window.taps() * plan.from * plan.to));
  const Index bytes = tiled ? winograd_weights_scratch_bytes(*tiled) : weight_gradient_scratch_bytes(plan);
  std::vector<float> scratch(static_cast<std::size_t>(bytes) / sizeof(float), kNaN);
  ThreadPool pool(threads);
  const GradientBuffers b{x.data(), plan.from, dy.data(), plan.to, dw.data(), scratch.data()};
  tiled ? winograd_weights(pool, *tiled, b) : weight_gradient(pool, plan, b);
  return dw;
}

/// Relative to double, in the middle tap of all channels: root of the sum of squares.
double error_of(const ConvPlan& plan, const std::vector<float>& dw) {
  const auto x = numbers(voxels(plan.source_extent()) * plan.from, 5), dy = numbers(voxels(plan.result_extent()) * plan.to, 6);
  const Index middle = plan.window.taps() / 2 * plan.from * plan.to;
  double wrong = 0, whole = 0;
  for (Index i = 0; i < plan.from; ++i)
    for (Index o = 0; o < plan.to; ++o) {
      double want = 0;
      for (Index v = 0; v < voxels(plan.window.output); ++v)
        want += double(x[static_cast<std::size_t>(v * plan.from + i)]) * dy[static_cast<std::size_t>(v * plan.to + o)];
      const double got = dw[static_cast<std::size_t>(middle + i * plan.to + o)];
      wrong += (got - want) * (got - want), whole += want * want;
    }
  return std::sqrt(wrong / whole);
}

}   // namespace

TEST_CASE("simd winograd weights: 200 odd shapes, channels that do and do not fill vectors, tiles of every kind") {
  Numbers next{14};
  const auto draw = [&](Index most) { return static_cast<Index>((next() + 1) / 2 * float(most)) % most; };
  for (int i = 0; i < 200; ++i) {
    const auto kind = [&] {
      return std::array{kWhole, kFive, kTwo, kFour, kTwo, kFour, kLong, Tiling::f6k3}[std::size_t(draw(8))];
    };
    const Tilings tiling{kind(), kind(), kind()};
    const std::array<Index, 3> input{1 + draw(7), 1 + draw(7), 1 + draw(11)}, padding{draw(3), draw(3), draw(3)};
    const Sizes s{1 + draw(2), 1 + draw(20), 1 + draw(20), draw(3), draw(3)};
    CAPTURE(i);
    check(plan_of(input, tiling, padding, s), tiling, s);
  }
}

TEST_CASE("simd winograd weights: many tiles, many channels, several chunks, copies and groups") {
  struct Case {
    Tilings tiling;
    std::array<Index, 3> input;
    Sizes s;
  };
  for (const Case& c :
       {Case{{kTwo, kTwo, kFour}, {4, 5, 150}, {1, 3, 5}}, Case{{kWhole, kFour, kFour}, {1, 9, 150}, {1, 17, 33}},
        Case{{kFour, kWhole, kWhole}, {9, 2, 150}, {2, 17, 40}}, Case{{kFour, kFour, kFour}, {5, 5, 5}, {1, 260, 90}},
        Case{{kFive, kFive, kFive}, {5, 3, 6}, {1, 9, 18}}, Case{{kLong, kLong, kLong}, {5, 6, 9}, {1, 33, 18}},
        Case{{kFour, Tiling::f6k3, Tiling::f6k3}, {5, 7, 13}, {1, 33, 18}}}) {
    const auto padding = [&](std::size_t d) { return taps_of(c.tiling[d]) / 2; };
    check(plan_of(c.input, c.tiling, {padding(0), padding(1), padding(2)}, c.s), c.tiling, c.s);
  }
  const auto cut = [](const ConvPlan& p, Tiling t) { return WinogradWeightsCut({p, {t, t, t}}); };
  CHECK(cut(cube(5, 260, 90), kFour).groups > 1);   // the last but one above
  CHECK(cut(cube(40, 4, 4), kTwo).copies > 1);      // the first below
  CHECK(cut(cube(24, 40, 48), kFour).copies == 1);
}

TEST_CASE("simd winograd weights: the same bits for 1, 2 and 4 threads") {
  for (const auto& [plan, kind] : {std::pair(cube(40, 4, 4), kTwo), std::pair(cube(24, 40, 48), kFour),
                                   std::pair(cube(5, 260, 90), kFour), std::pair(cube(12, 8, 8, 5), kFive),
                                   std::pair(cube(12, 24, 24, 5), kLong)})
    for (const Isa isa : {detect_isa(), Isa::scalar16}) {
      ConvPlan p = plan;
      p.isa = isa;
      const WinogradPlan tiled{p, {kind, kind, kind}};
      const auto one = gradient_of(p, tiled, 1);
      for (const int threads : {2, 4}) {
        const auto more = gradient_of(p, tiled, threads);
        CHECK(std::memcmp(one.data(), more.data(), one.size() * sizeof(float)) == 0);
      }
    }
}

TEST_CASE("simd winograd weights: rounding over a whole image") {
  ConvPlan p = cube(40, 16, 16);
  p.isa = detect_isa();
  const auto error = [&](Accuracy a) { return error_of(p, gradient_of(p, choose_winograd_weights(p, a), 2)); };
  MESSAGE("strict ", error(Accuracy::strict), ", standard ", error(Accuracy::standard), ", fast ", error(Accuracy::fast));
  CHECK(error(Accuracy::strict) < 1e-6);
  CHECK(error(Accuracy::standard) < 3e-6);
  CHECK(error(Accuracy::fast) < 2e-5);
}

TEST_CASE("simd winograd weights: copies that are added, groups that take several chunks each") {
  ConvPlan small = cube(40, 4, 4), wide = cube(20, 260, 90);
  small.isa = wide.isa = detect_isa();
  const WinogradPlan copied{small, {kTwo, kTwo, kTwo}}, grouped{wide, {kFour, kFour, kFour}};
  CHECK(WinogradWeightsCut(copied).copies > 1);
  CHECK(WinogradWeightsCut(grouped).groups > 1);
  CHECK(WinogradWeightsCut(grouped).chunk < grouped.tiles());
  CHECK(error_of(small, gradient_of(small, copied, 2)) < 3e-6);
  CHECK(error_of(wide, gradient_of(wide, grouped, 2)) < 2e-5);
}

TEST_CASE("simd winograd weights: tiles are chosen from shape and accuracy") {
  const auto kinds = [](ConvPlan p, Accuracy a) {
    p.isa = Isa::scalar16;   // as avx512
    const auto plan = choose_winograd_weights(p, a);
    return plan ? plan->tiling : Tilings{};   // whole: the direct engine
  };
  const Tilings direct{}, flat{kTwo, kTwo, kFour}, large{kFour, kFour, kFour};
  for (const auto& [extent, from, to] :
       {std::array<Index, 3>{96, 32, 32}, {48, 32, 64}, {48, 64, 64}, {24, 64, 128}, {24, 128, 128}, {12, 256, 256}}) {
    const ConvPlan p = cube(extent, from, to);
    CAPTURE(text(p.window.input[0], ": ", p.from, " to ", p.to));
    CHECK((kinds(p, Accuracy::strict) == direct));
    CHECK((kinds(p, Accuracy::standard) == flat));
    CHECK((kinds(p, Accuracy::fast) == large));
  }
  CHECK((kinds(cube(6, 512, 512), Accuracy::fast) == direct));   // sums at all points would be more than the voxels
  CHECK((kinds(cube(4, 320, 320), Accuracy::fast) == direct));
  CHECK((kinds(cube(64, 1, 32), Accuracy::fast) == direct));   // transforms would cost more than they save
  CHECK((kinds(cube(24, 64, 64, 5), Accuracy::standard) == direct));
  CHECK((kinds(cube(24, 64, 64, 5), Accuracy::fast) == Tilings{kLong, kLong, kLong}));
  ConvPlan seven = cube(48, 64, 64, 5);
  seven.window.kernel = {7, 7, 7}, seven.window.padding = {3, 3, 3};
  CHECK((kinds(seven, Accuracy::fast) == direct));
  CHECK((kinds(plan_of({1, 96, 96}, {kWhole, kTwo, kTwo}, {0, 1, 1}, {1, 64, 64}), Accuracy::fast) ==
         Tilings{kWhole, kFour, kFour}));
  ConvPlan strided = cube(48, 64, 64);
  strided.window.stride = {2, 2, 2}, strided.window.output = {24, 24, 24};
  CHECK((kinds(strided, Accuracy::fast) == direct));
}

TEST_CASE("simd winograd weights: scratch memory has a bound, whatever the channels") {
  for (const Isa isa : isas())
    for (const Index from : {1, 8, 32, 128, 512})
      for (const Index to : {1, 8, 32, 128, 512})
        for (const Tiling t : {kTwo, kFour}) {
          ConvPlan plan = cube(96, from, to);
          plan.isa = isa;
          CAPTURE(text(isa, " ", from, " to ", to));
          CHECK(winograd_weights_scratch_bytes({plan, {t, t, t}}) <= 40 << 20);
        }
}
