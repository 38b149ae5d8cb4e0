// Convolutions that end in one to four channels, by scattering: rows in pieces, boxes at every border, windows that leave
// results without a partner, on every instruction set against plain double loops; and which layers go this way.
#include <cstring>

#include "ops/simd_checks.hpp"

using namespace ctseg;
using namespace ctseg::simd;
using namespace ctseg::simd::test;

namespace {

struct Shape3 {
  std::array<Index, 3> input;
  Geometry geometry;
  Side side = Side::output;   // of the results
  Index from = 16, to = 1, images = 1;
};
ConvPlan plan_of(const Shape3& s, Isa isa) {
  ConvWindow w;
  REQUIRE(make_window(w, s.input, s.geometry));
  return {w, s.side, s.images, s.from, s.to, isa};
}

void check(const Shape3& s) {
  for (const Isa isa : isas()) {
    CAPTURE(text(isa));
    CAPTURE(text(s.input[0], " ", s.input[1], " ", s.input[2], " kernel ", s.geometry.kernel, " stride ", s.geometry.stride));
    const ConvPlan plan = plan_of(s, isa);
    if (isa == Isa::scalar16) CHECK(scatters(plan));   // others may have vectors that are full anyway
    for (const bool flipped : {false, true})
      check_gather(plan, {s.images, s.from, s.to, 3, flipped ? 2 : 0}, flipped, !flipped);
  }
}

std::vector<float> result_of(const ConvPlan& plan, int threads) {
  Numbers next{5};
  const auto floats = [&](Index count) {
    std::vector<float> v(static_cast<std::size_t>(count));
    for (float& f : v) f = next();
    return v;
  };
  const auto x = floats(plan.images * voxels(plan.source_extent()) * plan.from);
  const auto w = floats(plan.window.taps() * plan.from * plan.to);
  auto packed = floats(gather_packed_bytes(plan) / 4), y = floats(plan.images * voxels(plan.result_extent()) * plan.to);
  ThreadPool pool(threads);
  gather_pack(pool, plan, {w.data(), false, packed.data()});
  gather(pool, plan, {.x = x.data(), .x_pitch = plan.from, .packed = packed.data(), .y = y.data(), .y_pitch = plan.to});
  return y;
}

}   // namespace

TEST_CASE("simd scatter: one to four channels, two images, boxes that do and do not divide the image") {
  for (const Index to : {1, 2, 3, 4}) {
    check({{9, 19, 23}, {3, 1, 1}, Side::output, 19, to, 2});
    check({{17, 35, 9}, {3, 2, 1}, Side::input, 21, to});
    check({{8, 10, 6}, {2, 2, 0}, Side::input, 33, to});
  }
}
TEST_CASE("simd scatter: strides, dilations and paddings that leave voxels out") {
  check({{7, 8, 29}, {3, 3, 2}, Side::input, 17, 2});
  check({{9, 9, 13}, {3, 1, 4, 2}, Side::output, 18, 3});   // results beyond the image
  check({{9, 9, 13}, {3, 2, 3, 2}, Side::input, 18, 1});    // phases without a tap
  check({{13, 12, 21}, {2, 5, 0}, Side::input, 40, 2});     // results that no source reaches
  check({{1, 1, 40}, {5, 1, 2}, Side::output, 20, 2});
  check({{1, 3, 3}, {3, 1, 1}, Side::output, 100, 4, 3});
}
TEST_CASE("simd scatter: rows longer than the products that are kept") {
  check({{2, 3, 1400}, {3, 1, 1}, Side::output, 5, 1});
  check({{1, 2, 260}, {5, 1, 2}, Side::output, 6, 2});
  check({{1, 3, 2001}, {3, 2, 1}, Side::input, 5, 1});
}
TEST_CASE("simd scatter: the same bits for 1, 2 and 4 threads") {
  for (const Isa isa : isas())
    for (const Shape3& s :
         {Shape3{{18, 40, 21}, {3, 1, 1}, Side::output, 16, 2, 2}, Shape3{{18, 41, 21}, {3, 2, 1}, Side::input, 16, 3}}) {
      const auto one = result_of(plan_of(s, isa), 1);
      for (const int threads : {2, 4}) {
        const auto more = result_of(plan_of(s, isa), threads);
        CHECK(std::memcmp(one.data(), more.data(), one.size() * sizeof(float)) == 0);
      }
    }
}
TEST_CASE("simd scatter: taken where it saves, and cut into tasks enough") {
  const auto takes = [](const Shape3& s) { return scatters(plan_of(s, Isa::scalar16)); };
  CHECK(takes({{8, 8, 8}, {3, 1, 1}, Side::output, 32, 2}));
  CHECK(takes({{8, 8, 8}, {3, 2, 1}, Side::input, 64, 1}));
  CHECK_FALSE(takes({{8, 8, 8}, {3, 2, 1}, Side::output, 64, 1}));   // seven of eight products would lead nowhere
  CHECK_FALSE(takes({{8, 8, 8}, {3, 1, 1}, Side::output, 1, 1}));    // more additions than products
  CHECK_FALSE(takes({{8, 8, 8}, {3, 1, 1}, Side::output, 64, 5}));
  CHECK_FALSE(takes({{8, 8, 8}, {1, 1, 0}, Side::output, 64, 2}));
  const ScatterCut cut(plan_of({{64, 64, 64}, {3, 1, 1}, Side::output, 32, 2}, Isa::scalar16), tiles(Isa::scalar16, 54));
  CHECK(cut.boxes() >= 16);
}
