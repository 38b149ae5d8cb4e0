// Winograd's tiles for kernels of three with stride 2, by phases: random odd shapes on every instruction set against plain
// double loops, strides that differ between axes, and the choice of tiles.
#include <cstring>

#include "ops/simd_checks.hpp"

using namespace ctseg;
using namespace ctseg::simd;
using namespace ctseg::simd::test;

namespace {

struct Draw {
  Numbers next;
  Index operator()(Index first, Index last) {
    return std::min(last, first + static_cast<Index>((next() + 1) / 2 * static_cast<float>(last - first + 1)));
  }
};

/// A window whose axes have these tilings.
ConvWindow window_of(const std::array<Tiling, 3>& tiling, const std::array<Index, 3>& input, Index padding) {
  ConvWindow w{.input = input};
  for (std::size_t d = 0; d < 3; ++d) {
    w.kernel[d] = taps_of(tiling[d]), w.stride[d] = stride_of(tiling[d]);
    w.padding[d] = w.kernel[d] == 1 ? 0 : padding;
    w.output[d] = (input[d] + 2 * w.padding[d] - w.kernel[d]) / w.stride[d] + 1;
  }
  return w;
}

void check(const std::array<Tiling, 3>& tiling, const std::array<Index, 3>& input, const Sizes& s, Index padding = 1) {
  const ConvWindow w = window_of(tiling, input, padding);
  CAPTURE(text(input[0], " ", input[1], " ", input[2], " ", text(tiling), " padding ", padding, ", ", s.from, " to ", s.to));
  if (w.output[0] < 1 || w.output[1] < 1 || w.output[2] < 1) return;
  for (const Isa isa : isas()) {
    CAPTURE(text(isa));
    const ConvPlan plan = make_plan(w, Side::output, s, isa);
    REQUIRE(winograd_fits(plan, tiling));
    for (const bool flipped : {false, true}) check_gather(plan, s, flipped, !flipped, tiling);
  }
}

std::vector<float> result_of(const WinogradPlan& p, int threads) {
  const auto floats = [](Index n) { return std::vector<float>(static_cast<std::size_t>(n)); };
  auto x = floats(voxels(p.conv.source_extent()) * p.conv.from), y = floats(voxels(p.conv.result_extent()) * p.conv.to);
  auto w = floats(27 * p.conv.from * p.conv.to), u = floats(winograd_packed_bytes(p) / 4);
  auto scratch = floats(winograd_scratch_bytes(p) / 4);
  Numbers next{9};
  for (auto* v : {&x, &w})
    for (float& f : *v) f = next();
  ThreadPool pool(threads);
  winograd_pack(pool, p, {.w = w.data(), .packed = u.data()});
  winograd(pool, p, {.x = x.data(), .x_pitch = p.conv.from, .packed = u.data(), .y = y.data(), .y_pitch = p.conv.to},
           scratch.data());
  return y;
}

}   // namespace

TEST_CASE("simd phases: 200 random shapes, axes without a stride among them") {
  Draw draw{{7}};
  constexpr Tiling kOthers[] = {Tiling::whole, Tiling::f2k3, Tiling::f4k3};
  for (int i = 0; i < 200; ++i) {
    std::array<Tiling, 3> tiling{};
    for (Tiling& t : tiling) t = draw(0, 4) == 0 ? kOthers[draw(0, 2)] : draw(0, 1) == 0 ? Tiling::f2s2 : Tiling::f4s2;
    if (tiling == std::array<Tiling, 3>{}) continue;
    CAPTURE(i);
    check(tiling, {draw(1, 10), draw(1, 10), draw(1, 21)}, {draw(1, 2), draw(1, 20), draw(1, 20), draw(0, 3), draw(0, 3)},
          draw(0, 2));
  }
}
TEST_CASE("simd phases: long rows, channels in groups, tiles shared by all tasks") {
  for (const Tiling t : {Tiling::f2s2, Tiling::f4s2}) {
    check({t, t, t}, {5, 6, 150}, {1, 37, 5});
    check({t, t, t}, {20, 9, 12}, {2, 70, 40, 1, 2});
  }
}
TEST_CASE("simd phases: the same bits for 1, 2 and 4 threads") {
  for (const Isa isa : {detect_isa(), Isa::scalar16})
    for (const Index from : {24, 160})
      for (const Tiling t : {Tiling::f2s2, Tiling::f4s2}) {
        const WinogradPlan plan{make_plan(window_of({t, t, t}, {17, 18, 19}, 1), Side::output, {1, from, 40}, isa), {t, t, t}};
        const auto one = result_of(plan, 1);
        for (const int threads : {2, 4}) {
          const auto more = result_of(plan, threads);
          CHECK(std::memcmp(one.data(), more.data(), one.size() * sizeof(float)) == 0);
        }
      }
}
TEST_CASE("simd phases: tiles are chosen from shape and accuracy, and remembered") {
  const auto plan_of = [](Side side, Index from, Index to) {
    const Tiling t = Tiling::f4s2;
    return make_plan(window_of({t, t, t}, {32, 32, 32}, 1), side, {1, from, to}, Isa::scalar16);
  };
  const auto kind = [](const ConvPlan& p, Accuracy a) {
    const auto plan = choose_winograd(p, a);
    return plan ? plan->tiling[2] : Tiling::whole;   // whole: the direct engine
  };
  CHECK(kind(plan_of(Side::output, 64, 128), Accuracy::strict) == Tiling::whole);
  CHECK(kind(plan_of(Side::output, 64, 128), Accuracy::standard) == Tiling::f2s2);
  CHECK(kind(plan_of(Side::output, 64, 128), Accuracy::fast) == Tiling::f4s2);
  CHECK(kind(plan_of(Side::output, 1, 32), Accuracy::fast) == Tiling::whole);
  CHECK(kind(plan_of(Side::input, 128, 64), Accuracy::fast) == Tiling::whole);   // transposed: it did not pay
  CHECK_FALSE(choose_winograd_weights(plan_of(Side::output, 64, 128), Accuracy::fast));
  const auto plan = choose_winograd(plan_of(Side::output, 128, 128), Accuracy::fast);
  REQUIRE(plan);
  for (std::size_t d = 0; d < 3; ++d) CHECK(tiling_of(plan->conv, d, code_of(plan->tiling[d])) == plan->tiling[d]);
}
