// Random cases of the ops that change the grid: upsampling, average pooling, pixel shuffle.
#pragma once
#include <ctseg/ops/average_pool.hpp>
#include <ctseg/ops/pixel_shuffle.hpp>
#include <ctseg/ops/upsample.hpp>

#include "moves_cases.hpp"

namespace ctseg::test {

/// By a factor of 1 to 3 along each axis, or to any size, also a smaller one.
struct MakeUpsample {
  template <AnySpec S> OpCase<S> operator()(S, RandomStream& random, bool large) const {
    constexpr UpsampleMode modes[] = {UpsampleMode::nearest, UpsampleMode::nearest_exact, UpsampleMode::linear};
    UpsampleOp<S> op{.mode = modes[random.below(3)]};
    op.align_corners = op.mode == UpsampleMode::linear && random.below(2) == 0;
    const bool sized = random.below(2) == 0;
    for (Index& f : op.factor.value) f = 1 + random.below(large ? 2 : 3);
    for (Index& e : op.size.value) e = sized ? 1 + random.below(large ? 15 : 7) : 0;
    const auto x = random_shape<S::kDim>(random, large, 1 + random.below(11));
    return {.name = text("upsample ", x, " by ", op.factor, " to ", op.size, ", mode ", static_cast<int>(op.mode),
                         op.align_corners ? ", align_corners" : ""),
            .op = op,
            .inputs = {activations<S>(x)},
            .linear = true};
  }
};
/// 2/2, overlapping 3/2, 2/1, gaps 1/2, and one flat axis.
struct MakeAveragePool {
  template <AnySpec S> OpCase<S> operator()(S, RandomStream& random, bool large) const {
    AveragePoolOp<S> op;
    const Index kind = random.below(5);
    if (kind == 1) op = {.kernel = 3, .stride = 2};
    if (kind == 2) op = {.kernel = 2, .stride = 1};
    if (kind == 3) op = {.kernel = 1, .stride = 2};
    if (kind == 4) op.kernel.value[0] = op.stride.value[0] = 1;
    const auto x = random_shape<S::kDim>(random, large, 1 + random.below(11), 3);
    return {.name = text("average pool ", op.kernel, "/", op.stride, " ", x),
            .op = op,
            .inputs = {activations<S>(x)},
            .linear = true};
  }
};
struct MakeAdaptivePool {
  template <AnySpec S> OpCase<S> operator()(S, RandomStream& random, bool large) const {
    AdaptiveAveragePoolOp<S> op;
    for (Index& e : op.size.value) e = 1 + random.below(6);
    const auto x = random_shape<S::kDim>(random, large, 1 + random.below(11));
    return {.name = text("adaptive pool ", x, " to ", op.size), .op = op, .inputs = {activations<S>(x)}, .linear = true};
  }
};
struct MakePixelShuffle {
  template <AnySpec S> OpCase<S> operator()(S, RandomStream& random, bool large) const {
    const PixelShuffleOp<S> op{1 + random.below(3)};
    Index parts = 1;
    for (int d = 0; d < S::kDim; ++d) parts *= op.factor;
    const auto x = random_shape<S::kDim>(random, large, parts * (1 + random.below(3)));
    return {.name = text("pixel shuffle ", x, " by ", op.factor), .op = op, .inputs = {activations<S>(x)}, .linear = true};
  }
};

}   // namespace ctseg::test
