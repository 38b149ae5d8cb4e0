// Paths of the direct engine that few shapes take: lists of taps, edges that read zeros, vectors that overlap, swapped weight
// gradients. Random odd shapes against plain double loops, with channels apart, on every instruction set.
#include <cstring>

#include "ops/simd_checks.hpp"

using namespace ctseg;
using namespace ctseg::simd;
using namespace ctseg::simd::test;

namespace {

struct Draw {
  Numbers next{11};
  Index operator()(Index first, Index last) {
    return std::min(last, first + static_cast<Index>((next() + 1) / 2 * static_cast<float>(last - first + 1)));
  }
};

void check_all(const ConvWindow& w, const Sizes& s) {
  for (const Isa isa : isas()) {
    CAPTURE(text(isa));
    for (const Side side : {Side::output, Side::input}) {
      CAPTURE(side == Side::output);
      for (const bool flipped : {false, true}) check_gather(make_plan(w, side, s, isa), s, flipped, !flipped);
      check_gradient(make_plan(w, side, s, isa), s);
    }
  }
}

/// 50 windows, kernel no larger than the input and its padding, with channels from these ranges.
void check_random(Draw& draw, std::array<Index, 2> from, std::array<Index, 2> to) {
  int done = 0;
  for (int i = 0; done < 50 && i < 1000; ++i) {
    ConvWindow w;
    const std::array<Index, 3> input{draw(1, 5), draw(1, 6), draw(1, 37)};
    const Geometry g{draw(1, 3), draw(1, 3), draw(0, 2), draw(1, 2)};
    if (g.padding >= g.kernel * g.dilation || !make_window(w, input, g)) continue;
    const Sizes s{draw(1, 2), draw(from[0], from[1]), draw(to[0], to[1]), draw(0, 3), draw(0, 3)};
    CAPTURE(text(input[0], " ", input[1], " ", input[2], " kernel ", g.kernel, " stride ", g.stride, " padding ", g.padding));
    CAPTURE(text("dilation ", g.dilation, ", ", s.from, " to ", s.to, " channels"));
    check_all(w, s);
    ++done;
  }
  CHECK(done == 50);
}

}   // namespace

TEST_CASE("simd direct: few channels into many, 50 random shapes") {
  Draw draw{{1}};
  check_random(draw, {1, 4}, {5, 40});
}
TEST_CASE("simd direct: many channels into few, 50 random shapes") {
  Draw draw{{2}};
  check_random(draw, {16, 40}, {1, 5});
}
TEST_CASE("simd direct: few channels into few, 50 random shapes") {
  Draw draw{{3}};
  check_random(draw, {1, 8}, {1, 8});
}
TEST_CASE("simd direct: channels that fill no whole vector, 50 random shapes") {
  Draw draw{{4}};
  check_random(draw, {15, 34}, {9, 63});
}

TEST_CASE("simd direct: sizes that are fetched ahead, edges of more channels than there are zeros, long rows of lists") {
  check_all({{2, 3, 61}, {2, 3, 61}, {1, 3, 3}, {1, 1, 1}, {0, 1, 1}, {1, 1, 1}}, {1, 1040, 17, 3, 5});
  check_all({{10, 26, 30}, {10, 26, 30}, {1, 1, 1}, {1, 1, 1}, {0, 0, 0}, {1, 1, 1}}, {1, 7, 26, 2, 3});
  check_all({{1, 40, 58}, {1, 20, 29}, {1, 2, 2}, {1, 2, 2}, {0, 0, 0}, {1, 1, 1}}, {1, 33, 41, 0, 7});
  check_all({{1, 3, 700}, {1, 3, 700}, {1, 3, 3}, {1, 1, 1}, {0, 1, 1}, {1, 1, 1}}, {1, 3, 16, 0, 1});
  check_all({{7, 7, 20}, {7, 7, 20}, {7, 7, 7}, {1, 1, 1}, {3, 3, 3}, {1, 1, 1}}, {1, 1, 9});
}

TEST_CASE("simd direct: the same bits for 1, 2 and 4 threads") {
  const auto result = [](const ConvPlan& plan, int threads) {
    ThreadPool pool(threads);
    Numbers next{9};
    const auto floats = [&](Index count) {
      std::vector<float> v(static_cast<std::size_t>(count));
      for (float& f : v) f = next();
      return v;
    };
    const auto x = floats(voxels(plan.source_extent()) * plan.from), w = floats(plan.window.taps() * plan.from * plan.to);
    auto y = floats(voxels(plan.result_extent()) * plan.to), packed = floats(gather_packed_bytes(plan) / 4);
    auto scratch = floats(weight_gradient_scratch_bytes(plan) / 4), dw = w;
    gather_pack(pool, plan, {w.data(), false, packed.data()});
    gather(pool, plan, {x.data(), plan.from, packed.data(), nullptr, y.data(), plan.to});
    weight_gradient(pool, plan, {x.data(), plan.from, y.data(), plan.to, dw.data(), scratch.data()});
    y.insert(y.end(), dw.begin(), dw.end());
    return y;
  };
  struct Shape3 {
    Index from, to, kernel, stride, padding;
  };
  for (const Shape3& s : std::vector<Shape3>{
           {1, 32, 3, 1, 1}, {32, 2, 1, 1, 0}, {32, 26, 1, 1, 0}, {40, 24, 2, 2, 0}, {16, 33, 3, 2, 1}, {4, 4, 3, 1, 1}})
    for (const Side side : {Side::output, Side::input})
      for (const Isa isa : {detect_isa(), Isa::scalar16}) {
        ConvWindow w;
        REQUIRE(make_window(w, {18, 17, 20}, {s.kernel, s.stride, s.padding}));
        const ConvPlan plan = make_plan(w, side, {1, s.from, s.to}, isa);
        const auto one = result(plan, 1);
        for (const int threads : {2, 4}) {
          const auto more = result(plan, threads);
          CHECK(std::memcmp(one.data(), more.data(), one.size() * sizeof(float)) == 0);
        }
      }
}
