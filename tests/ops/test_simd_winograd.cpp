// Winograd's convolution: every instruction set and kind of tile against plain double loops, and the choice of tiles.
#include <cstring>

#include "ops/simd_checks.hpp"

using namespace ctseg;
using namespace ctseg::simd;
using namespace ctseg::simd::test;

namespace {

constexpr Tiling kThree[] = {Tiling::f2k3, Tiling::f4k3};

ConvWindow window_of(const std::array<Index, 3>& input, const std::array<Tiling, 3>& tiling,
                     const std::array<Index, 3>& padding) {
  ConvWindow w{.input = input, .padding = padding};
  for (std::size_t d = 0; d < 3; ++d) {
    w.kernel[d] = taps_of(tiling[d]);
    w.output[d] = input[d] + 2 * padding[d] - w.kernel[d] + 1;
  }
  return w;
}

void check(const std::array<Index, 3>& input, const std::array<Tiling, 3>& tiling, const std::array<Index, 3>& padding,
           const Sizes& s) {
  const ConvWindow w = window_of(input, tiling, padding);
  if (w.output[0] < 1 || w.output[1] < 1 || w.output[2] < 1) return;
  for (const Isa isa : isas()) {
    CAPTURE(text(isa));
    for (const bool flipped : {false, true})
      for (const Side side : {Side::output, Side::input})
        check_gather(make_plan(w, side, s, isa), s, flipped, !flipped, tiling);
  }
}

std::vector<float> result_of(const ConvPlan& plan, const std::array<Tiling, 3>& tiling, int threads) {
  const WinogradPlan p{plan, tiling};
  const auto floats = [](Index n) { return std::vector<float>(static_cast<std::size_t>(n)); };
  auto x = floats(voxels(plan.source_extent()) * plan.from), y = floats(voxels(plan.result_extent()) * plan.to);
  auto w = floats(plan.window.taps() * plan.from * plan.to), u = floats(winograd_packed_bytes(p) / 4);
  auto scratch = floats(winograd_scratch_bytes(p) / 4);
  Numbers next{9};
  for (auto* v : {&x, &w})
    for (float& f : *v) f = next();
  ThreadPool pool(threads);
  winograd_pack(pool, p, {.w = w.data(), .packed = u.data()});
  winograd(pool, p, {.x = x.data(), .x_pitch = plan.from, .packed = u.data(), .y = y.data(), .y_pitch = plan.to},
           scratch.data());
  return y;
}

ConvPlan cube(Index extent, Index from, Index to, Index kernel = 3) {
  return {.window = {.input = {extent, extent, extent},
                     .output = {extent, extent, extent},
                     .kernel = {kernel, kernel, kernel},
                     .padding = {kernel / 2, kernel / 2, kernel / 2}},
          .side = Side::output,
          .from = from,
          .to = to,
          .isa = Isa::scalar};
}

}   // namespace

TEST_CASE("simd winograd: 200 odd shapes, channels that do and do not fill vectors, tiles of every kind") {
  Numbers next{4};
  const auto draw = [&](Index most) { return static_cast<Index>((next() + 1) / 2 * float(most)) % most; };
  for (int i = 0; i < 200; ++i) {
    const auto kind = [&] {
      constexpr Tiling kAll[] = {Tiling::whole, Tiling::f2k3, Tiling::f4k3, Tiling::f2k5, Tiling::f4k5, Tiling::f6k3};
      return kAll[draw(6)];
    };
    const std::array<Tiling, 3> tiling{kind(), kind(), kind()};
    const std::array<Index, 3> input{1 + draw(7), 1 + draw(7), 1 + draw(11)}, padding{draw(3), draw(3), draw(3)};
    CAPTURE(i);
    check(input, tiling, padding, {1 + draw(2), 1 + draw(20), 1 + draw(20), draw(3), draw(3)});
  }
}

TEST_CASE("simd winograd: long rows, many tiles, tiles shared by all tasks") {
  check({4, 5, 70}, {Tiling::f2k3, Tiling::f2k3, Tiling::f2k3}, {1, 1, 1}, {1, 3, 5});
  // More columns than are transformed at a time.
  for (const Tiling t : {Tiling::f2k3, Tiling::f4k3, Tiling::f2k5, Tiling::f4k5, Tiling::f6k3})
    check({3, 4, 66}, {t, t, t}, {taps_of(t) / 2, taps_of(t) / 2, taps_of(t) / 2}, {1, 31, 3});
  check({1, 9, 150}, {Tiling::whole, Tiling::f4k3, Tiling::f4k3}, {0, 1, 1}, {1, 17, 33});
  check({9, 2, 150}, {Tiling::f4k3, Tiling::whole, Tiling::whole}, {1, 0, 0}, {1, 17, 17});
  check({2, 2, 150}, {Tiling::whole, Tiling::whole, Tiling::f2k5}, {0, 0, 2}, {1, 17, 17});
  check({5, 5, 5}, {Tiling::f4k3, Tiling::f4k3, Tiling::f4k3}, {1, 1, 1}, {1, 260, 40});   // too large for one core's cache
}

TEST_CASE("simd winograd: the same bits for 1, 2 and 4 threads") {
  for (const auto& [plan, kind] : {std::pair(cube(17, 24, 40), Tiling::f2k3), std::pair(cube(17, 24, 40), Tiling::f4k3),
                                   std::pair(cube(9, 260, 72), Tiling::f4k3), std::pair(cube(12, 8, 8, 5), Tiling::f2k5),
                                   std::pair(cube(12, 24, 24, 5), Tiling::f4k5), std::pair(cube(13, 24, 40), Tiling::f6k3)})
    for (const Isa isa : {detect_isa(), Isa::scalar16}) {
      ConvPlan p = plan;
      p.isa = isa;
      const auto one = result_of(p, {kind, kind, kind}, 1);
      for (const int threads : {2, 4}) {
        const auto more = result_of(p, {kind, kind, kind}, threads);
        CHECK(std::memcmp(one.data(), more.data(), one.size() * sizeof(float)) == 0);
      }
    }
}

TEST_CASE("simd winograd: tiles are chosen from shape and accuracy") {
  const auto kind = [](const ConvPlan& p, Accuracy a) {
    const auto plan = choose_winograd(p, a);
    return plan ? plan->tiling[0] : Tiling::whole;   // whole: the direct engine
  };
  CHECK(kind(cube(48, 64, 64), Accuracy::strict) == Tiling::whole);
  CHECK(kind(cube(48, 64, 64), Accuracy::standard) == Tiling::f2k3);
  CHECK(kind(cube(48, 64, 64), Accuracy::fast) == Tiling::f4k3);
  CHECK(kind(cube(6, 128, 128), Accuracy::fast) == Tiling::f2k3);   // as many points as with larger tiles
  CHECK(kind(cube(24, 64, 64, 5), Accuracy::standard) == Tiling::whole);
  CHECK(kind(cube(24, 64, 64, 5), Accuracy::fast) == Tiling::f4k5);
  ConvPlan thin = cube(24, 64, 64, 5);
  thin.window.input[0] = thin.window.output[0] = 2;
  CHECK(kind(thin, Accuracy::fast) == Tiling::f2k5);   // half of a larger tile would be outside
  CHECK(kind(cube(48, 1, 32), Accuracy::fast) == Tiling::whole);   // transforms would cost more than they save
  CHECK(kind(cube(48, 64, 64, 7), Accuracy::fast) == Tiling::whole);
  ConvPlan strided = cube(48, 64, 64);
  strided.window.stride = {3, 3, 3}, strided.window.output = {16, 16, 16};
  CHECK(kind(strided, Accuracy::fast) == Tiling::whole);
  ConvPlan spread = cube(48, 64, 64);
  spread.window.dilation = spread.window.padding = {2, 2, 2};
  CHECK(kind(spread, Accuracy::fast) == Tiling::whole);
  ConvPlan flat = cube(256, 64, 64);
  flat.window.input[0] = flat.window.output[0] = flat.window.kernel[0] = 1, flat.window.padding[0] = 0;
  const auto plan = choose_winograd(flat, Accuracy::fast);
  REQUIRE(plan);
  CHECK((plan->tiling == std::array{Tiling::whole, Tiling::f6k3, Tiling::f6k3}));
  CHECK((choose_winograd(cube(48, 64, 64), Accuracy::fast)->tiling == std::array{Tiling::f4k3, Tiling::f4k3, Tiling::f4k3}));
}

TEST_CASE("simd winograd: where weights outweigh voxels, smaller tiles or none, the more so if they are packed every time") {
  const auto kind = [](const ConvPlan& p, Accuracy a, bool packed_once) {
    const auto plan = choose_winograd(p, a, packed_once);
    return plan ? plan->tiling[2] : Tiling::whole;
  };
  CHECK(kind(cube(2, 320, 320), Accuracy::fast, true) == Tiling::whole);
  CHECK(kind(cube(3, 320, 320), Accuracy::fast, true) == Tiling::whole);
  CHECK(kind(cube(4, 320, 320), Accuracy::fast, true) == Tiling::f2k3);
  CHECK(kind(cube(4, 320, 320), Accuracy::fast, false) == Tiling::whole);
  CHECK(kind(cube(8, 64, 64), Accuracy::fast, true) == Tiling::f2k3);   // a third of the memory
  CHECK(kind(cube(12, 64, 64), Accuracy::fast, true) == Tiling::f4k3);
  CHECK(kind(cube(12, 64, 64, 5), Accuracy::fast, true) == Tiling::f4k5);
  CHECK(kind(cube(6, 64, 64, 5), Accuracy::fast, true) == Tiling::f2k5);
  CHECK(kind(cube(24, 64, 64), Accuracy::fast, true) == Tiling::f4k3);
  CHECK(kind(cube(8, 64, 64), Accuracy::fast, false) == Tiling::f2k3);
  CHECK(kind(cube(24, 64, 64), Accuracy::fast, false) == Tiling::f4k3);
}

TEST_CASE("simd winograd: scratch memory has a bound, whatever the channels") {
  for (const Isa isa : isas())
    for (const Index from : {1, 8, 32, 128, 512})
      for (const Index to : {1, 8, 32, 128, 512})
        for (const Tiling t : kThree) {
          ConvPlan plan = cube(96, from, to);
          plan.isa = isa;
          CAPTURE(text(isa, " ", from, " to ", to));
          CHECK(winograd_scratch_bytes({plan, {t, t, t}}) <= 56 << 20);
        }
}

TEST_CASE("simd winograd: small images have work for many threads") {
  for (const Isa isa : isas())
    for (const Tiling t : kThree) {
      ConvPlan plan = cube(32, 32, 32);
      plan.isa = isa;
      CAPTURE(text(isa));
      CHECK(WinogradCut({plan, {t, t, t}}, tiles(isa, 32)).slots >= 15);
      plan = cube(32, 8, 8), plan.isa = isa;
      CHECK(WinogradCut({plan, {t, t, t}}, tiles(isa, 8)).slots >= 13);
    }
}
