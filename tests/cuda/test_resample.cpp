// Ops that change the grid, on the card: interpolation, average pooling, padding, pixel shuffle; against the CPU's.
#include <doctest/doctest.h>

#include <ctseg/ops/average_pool.hpp>
#include <ctseg/ops/pad.hpp>
#include <ctseg/ops/upsample.hpp>

#include "op_twin.hpp"

namespace {

using namespace ctseg;
using namespace ctseg::test;

/// Packs of 16 bytes and single values, ranges of channels, two images; and in 2-D. make: with all axes alike.
template <class Make> void check_everywhere(const Make& make, double tolerance, Index parts = 1) {
  Context<Cuda> ctx({.threads = 1});
  const auto check = [&]<class T>(T) {
    for (const Index channels : {1, 3, 8})
      for (const Margins margins : {Margins{0, 0}, Margins{8, 8}, Margins{1, 0}})
        check_op<T, 3>(ctx, make, {Shape<3>{2, channels * parts, {3, 4, 5}}}, {.tolerance = tolerance, .margins = margins});
    if (parts == 1) check_op<T, 2>(ctx, make, {Shape<2>{2, 8, {5, 4}}}, {.tolerance = tolerance});
  };
  check(float{}), check(bf16{}), check(half{});
}

TEST_CASE("card: nearest neighbours and padding move values") {
  check_everywhere([]<class S>(S) { return UpsampleOp<S>{.factor = 2}; }, 0);
  check_everywhere([]<class S>(S) { return UpsampleOp<S>{.size = 7, .mode = UpsampleMode::nearest_exact}; }, 0);
  for (const PadMode mode : {PadMode::replicate, PadMode::reflect, PadMode::constant})
    check_everywhere(
        [mode]<class S>(S) {
          PadOp<S> op{.mode = mode, .value = 1.5f};
          op.low.fill(2), op.high.fill(1);
          return op;
        },
        0);
}

TEST_CASE("card: linear interpolation") {
  check_everywhere([]<class S>(S) { return UpsampleOp<S>{.factor = 2, .mode = UpsampleMode::linear}; }, 1e-6);
  check_everywhere([]<class S>(S) { return UpsampleOp<S>{.size = 7, .mode = UpsampleMode::linear, .align_corners = true}; }, 1e-6);
  check_everywhere([]<class S>(S) { return UpsampleOp<S>{.size = 2, .mode = UpsampleMode::linear}; }, 1e-6);
}

TEST_CASE("card: average pooling") {
  check_everywhere([]<class S>(S) { return AveragePoolOp<S>{}; }, 1e-6);
  check_everywhere([]<class S>(S) { return AveragePoolOp<S>{.kernel = 3, .stride = 1}; }, 1e-6);
  check_everywhere([]<class S>(S) { return AveragePoolOp<S>{.kernel = 1, .stride = 2}; }, 0);   // voxels that nobody reads
  check_everywhere([]<class S>(S) { return AdaptiveAveragePoolOp<S>{.size = 2}; }, 1e-6);
}

TEST_CASE("card: means over many voxels, in passes") {
  Context<Cuda> ctx({.threads = 1});
  const auto global = []<class S>(S) { return AdaptiveAveragePoolOp<S>{.size = 1}; };
  for (const Index channels : {3, 16})
    for (const Margins margins : {Margins{0, 0}, Margins{8, 8}}) {
      check_op<float, 3>(ctx, global, {Shape<3>{2, channels, {9, 10, 7}}}, {.tolerance = 1e-6, .margins = margins});   // 3 passes
      check_op<bf16, 3>(ctx, global, {Shape<3>{1, channels, {3, 5, 9}}}, {.tolerance = 1e-6, .margins = margins});     // 2
      check_op<half, 2>(ctx, global, {Shape<2>{2, channels, {11, 13}}}, {.tolerance = 1e-6, .margins = margins});
    }
}

TEST_CASE("card: tables longer than the arguments of one launch") {
  Context<Cuda> ctx({.threads = 1});
  check_op<float, 2>(ctx, []<class S>(S) { return UpsampleOp<S>{.factor = 2, .mode = UpsampleMode::linear}; },
                     {Shape<2>{1, 1, {3, 500}}}, {.tolerance = 1e-6});
}

TEST_CASE("card: pixel shuffle") {
  check_everywhere([]<class S>(S) { return PixelShuffleOp<S>{2}; }, 0, 8);
  Context<Cuda> ctx({.threads = 1});
  check_op<bf16, 2>(ctx, []<class S>(S) { return PixelShuffleOp<S>{3}; }, {Shape<2>{2, 18, {3, 5}}});
}

}   // namespace
