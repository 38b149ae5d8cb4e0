// The paths of the SIMD convolution engine beside each other: bits that must not differ, and tables that must be alike.
#include <algorithm>
#include <cstring>
#include <vector>

#include <doctest/doctest.h>
#include <ctseg/ops/cpu/simd/conv.hpp>

using namespace ctseg;
using namespace ctseg::simd;

namespace {

using Floats = std::vector<float>;
Floats floats(Index count) { return Floats(static_cast<std::size_t>(count)); }
bool same_bits(const Floats& a, const Floats& b) { return std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0; }

/// f(0), f(1), ... into v.
template <class F> void fill(Floats& v, F f) {
  Index i = 0;
  for (float& x : v) x = static_cast<float>(f(i++));
}

struct Sizes {
  Index from, to, extent;
};

/// A 3 x 3 x 3 convolution: forward, data gradient and weight gradient.
struct Passes {
  Sizes size;
  Floats x, w, y, dx, dw;

  explicit Passes(const Sizes& s) : size(s) {
    const Index voxels = s.extent * s.extent * s.extent;
    x = dx = floats(voxels * s.from), y = floats(voxels * s.to), w = dw = floats(27 * s.from * s.to);
  }
  void run(Isa isa, int threads) {
    ThreadPool pool(threads);
    const std::array<Index, 3> extent{size.extent, size.extent, size.extent};
    const ConvWindow window{extent, extent, {3, 3, 3}, {1, 1, 1}, {1, 1, 1}};
    const ConvPlan plan{window, Side::output, 1, size.from, size.to, isa},
        back{window, Side::input, 1, size.to, size.from, isa};
    Floats packed = floats(gather_packed_bytes(plan) / 4), packed_back = floats(gather_packed_bytes(back) / 4);
    Floats scratch = floats(weight_gradient_scratch_bytes(plan) / 4);
    gather_pack(pool, plan, {w.data(), false, packed.data()});
    gather(pool, plan, {x.data(), size.from, packed.data(), nullptr, y.data(), size.to});
    gather_pack(pool, back, {w.data(), true, packed_back.data()});
    gather(pool, back, {y.data(), size.to, packed_back.data(), nullptr, dx.data(), size.from});
    weight_gradient(pool, plan, {x.data(), size.from, y.data(), size.to, dw.data(), scratch.data()});
  }
  bool same_as(const Passes& o) const { return same_bits(y, o.y) && same_bits(dx, o.dx) && same_bits(dw, o.dw); }
};

}   // namespace

TEST_CASE("simd paths: the same bits for 1, 2 and 4 threads") {
  for (const Sizes& size : std::vector<Sizes>{{8, 8, 20}, {96, 80, 6}, {160, 144, 3}, {1, 32, 12}})
    for (Isa isa : {detect_isa(), Isa::scalar16}) {
      Passes one(size);
      fill(one.x, [](Index i) { return float(i * 7919 % 1009) / 1009 - 0.5f; });
      fill(one.w, [](Index i) { return float(i * 6007 % 997) / 997 - 0.5f; });
      one.run(isa, 1);
      for (int threads : {2, 4}) {
        Passes more(size);
        more.x = one.x, more.w = one.w;
        more.run(isa, threads);
        CHECK(more.same_as(one));
      }
    }
}

TEST_CASE("simd paths: of small whole numbers all make the same bits") {
  for (const Sizes& size : std::vector<Sizes>{{3, 8, 7}, {5, 9, 6}, {2, 40, 14}, {33, 17, 4}}) {
    CAPTURE(size.to);
    Passes want(size);
    fill(want.x, [](Index i) { return i * 7 % 5 - 2; });
    fill(want.w, [](Index i) { return i * 5 % 7 % 3 - 1; });
    Passes start = want;
    want.run(Isa::scalar, 1);
    for (const Isa isa : kIsas) {
      CAPTURE(text(isa));
      if (!available(isa)) continue;
      Passes got = start;
      got.run(isa, 1);
      CHECK(got.same_as(want));
    }
  }
}

TEST_CASE("simd paths: scalar16 has the tiles of avx512 for every number of channels; a path of another processor is refused") {
#if defined(__x86_64__)
  for (Index channels = 1; channels <= 40; ++channels) {
    const TileTable &fast = tiles(Isa::avx512, channels), &plain = tiles(Isa::scalar16, channels);
    CHECK(fast.lanes == (channels > 8 ? 16 : 8));
    CHECK(plain.lanes == fast.lanes);
    for (Index vectors : {1, 2}) {
      REQUIRE(plain.wide(vectors).count == fast.wide(vectors).count);
      for (int i = 0; i < fast.wide(vectors).count; ++i)
        CHECK(plain.wide(vectors).shapes[i].rows == fast.wide(vectors).shapes[i].rows);
    }
  }
  CHECK_THROWS_WITH_AS(tiles(Isa::neon, 1), "convolution: this program has no neon path. Hint: scalar is everywhere.", Error);
#else
  CHECK_THROWS_WITH_AS(tiles(Isa::avx2, 1), "convolution: this program has no avx2 path. Hint: scalar is everywhere.", Error);
#endif
}
