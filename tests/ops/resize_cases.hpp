// Cases of the ops that change the grid: upsampling, average pooling, pixel shuffle.
#pragma once
#include <ctseg/ops/average_pool.hpp>
#include <ctseg/ops/pixel_shuffle.hpp>
#include <ctseg/ops/upsample.hpp>

#include "support/op_case.hpp"

namespace ctseg::test {

/// By a factor of 1 to 3 along each axis, or to any size, also a smaller one.
struct MakeUpsample {
  template <AnySpec S> OpCase<S> operator()(S, Draw& draw) const {
    UpsampleOp<S> op{.mode = draw.pick({UpsampleMode::linear, UpsampleMode::nearest, UpsampleMode::nearest_exact})};
    op.align_corners = op.mode == UpsampleMode::linear && draw.chance(2);
    const bool sized = draw.chance(2);
    for (Index& f : op.factor.value) f = draw.pick<Index>({2, 1, 3});
    for (Index& e : op.size.value) e = sized ? 1 + draw.below(15) : 0;
    const auto x = draw.template shape<S::kDim>(draw.channels(11));
    return {.name = text("upsample ", x, " by ", op.factor, " to ", op.size, ", mode ", static_cast<int>(op.mode),
                         op.align_corners ? ", align_corners" : ""),
            .op = op,
            .inputs = {activations<S>(x)},
            .linear = true};
  }
};
/// 2/2, overlapping 3/2, 2/1, gaps 1/2, and one flat axis.
struct MakeAveragePool {
  template <AnySpec S> OpCase<S> operator()(S, Draw& draw) const {
    AveragePoolOp<S> op;
    const Index kind = draw.below(5);
    if (kind == 1) op = {.kernel = 3, .stride = 2};
    if (kind == 2) op = {.kernel = 2, .stride = 1};
    if (kind == 3) op = {.kernel = 1, .stride = 2};
    if (kind == 4) op.kernel.value[0] = op.stride.value[0] = 1;
    const auto x = draw.template shape<S::kDim>(draw.channels(11), 3);
    return {.name = text("average pool ", op.kernel, "/", op.stride, " ", x),
            .op = op,
            .inputs = {activations<S>(x)},
            .linear = true};
  }
};
struct MakeAdaptivePool {
  template <AnySpec S> OpCase<S> operator()(S, Draw& draw) const {
    AdaptiveAveragePoolOp<S> op;
    for (Index& e : op.size.value) e = draw.pick<Index>({4, 1, 2, 3, 5, 6});
    const auto x = draw.template shape<S::kDim>(draw.channels(11));
    return {.name = text("adaptive pool ", x, " to ", op.size), .op = op, .inputs = {activations<S>(x)}, .linear = true};
  }
};
struct MakePixelShuffle {
  template <AnySpec S> OpCase<S> operator()(S, Draw& draw) const {
    const PixelShuffleOp<S> op{draw.template pick<Index>({2, 1, 3})};
    Index parts = 1;
    for (int d = 0; d < S::kDim; ++d) parts *= op.factor;
    const auto x = draw.template shape<S::kDim>(parts * draw.template pick<Index>({4, 1, 2, 3}));
    return {.name = text("pixel shuffle ", x, " by ", op.factor), .op = op, .inputs = {activations<S>(x)}, .linear = true};
  }
};

}   // namespace ctseg::test
