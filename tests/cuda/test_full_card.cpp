// A card without room: cases of a training give way, oldest first, and what cannot be had at all is an error with the numbers.
#include <doctest/doctest.h>

#include <cstdlib>

#include <ctseg/cuda.hpp>
#include <ctseg/data/cuda/patch_sampler.hpp>

using namespace ctseg;

namespace {

Case filled(float value) {
  const Grid grid{{.x = 16, .y = 16, .z = 16}, Affine<Ras>(Eigen::Matrix4d::Identity())};
  Case c{text("case ", value), Volume<float>(grid), Volume<std::uint8_t>(grid)};
  std::fill_n(c.image.data(), grid.voxels(), value);
  std::fill_n(c.label.data(), grid.voxels(), std::uint8_t{1});
  return c;
}
/// Of the emulated card, for as long as it lives.
struct FreeBytes {
  explicit FreeBytes(Index bytes) {
    const cuda::MemoryFacts now = cuda::memory_facts();
    ::setenv("CTSEG_EMULATED_MEMORY", std::to_string(now.total - now.free + bytes).c_str(), 1);
  }
  ~FreeBytes() { ::unsetenv("CTSEG_EMULATED_MEMORY"); }
};

}   // namespace

TEST_CASE("cases give way on a full card, oldest first, and come back") {
  if (!cuda::emulated()) return;
  Context<Cuda> ctx({.threads = 1});
  const std::array<Case, 3> all{filled(1), filled(2), filled(3)};
  DeviceCases cases(ctx, Index{1} << 30);
  const auto first = [&](std::size_t k) { return ctx.read(cases.get(ctx, k, all[k]).image); };
  CHECK(first(0) == 1);
  CHECK(first(1) == 2);
  const Index both = cases.bytes();
  const FreeBytes nearly_none(4096);
  CHECK(first(0) == 1);   // there still; case 1 is the older one now
  CHECK(cases.uploads() == 2);
  CHECK(first(2) == 3);
  CHECK(cases.bytes() == both);
  CHECK(first(0) == 1);
  CHECK(cases.uploads() == 3);
  CHECK(first(1) == 2);
  CHECK(cases.uploads() == 4);
  CHECK(first(0) == 1);
  CHECK(cases.uploads() == 4);
}

TEST_CASE("a card that has no room for one case says how much was asked for and how much is free") {
  if (!cuda::emulated()) return;
  Context<Cuda> ctx({.threads = 1});
  const Case one = filled(1);
  DeviceCases cases(ctx, Index{1} << 30);
  const FreeBytes nearly_none(4096);
  try {
    cases.get(ctx, 0, one);
    FAIL("taken");
  } catch (const Error& error) {
    CHECK(error.code() == Code::out_of_memory);
    CHECK(std::string(error.what()).find("cannot allocate 1 MiB; of the card's ") != std::string::npos);
  }
}
