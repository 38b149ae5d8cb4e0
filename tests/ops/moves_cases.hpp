// Cases of the ops that move values: pooling, concatenation, slices, sum, product, padding, dropout, softmax.
#pragma once
#include <ctseg/ops/concat.hpp>
#include <ctseg/ops/dropout.hpp>
#include <ctseg/ops/multiply.hpp>
#include <ctseg/ops/pad.hpp>
#include <ctseg/ops/pool.hpp>
#include <ctseg/ops/slice.hpp>
#include <ctseg/ops/softmax.hpp>

#include "support/op_case.hpp"

namespace ctseg::test {

/// 2/2, overlapping 3/2 and 2/1, and one flat axis.
struct MakePool {
  template <AnySpec S> OpCase<S> operator()(S, Draw& draw) const {
    MaxPoolOp<S> op;
    const Index kind = draw.below(4);
    if (kind == 1) op = {.kernel = 3, .stride = 2};
    if (kind == 2) op = {.kernel = 2, .stride = 1};
    if (kind == 3) op.kernel.value[0] = op.stride.value[0] = 1;
    const auto x = draw.template shape<S::kDim>(draw.channels(11), 3);
    return {.name = text("pool ", op.kernel, "/", op.stride, " ", x), .op = op, .inputs = {activations<S>(x)}, .kinks = true};
  }
};
struct MakeConcat {
  template <AnySpec S> OpCase<S> operator()(S, Draw& draw) const {
    const auto x = draw.template shape<S::kDim>(1);
    OpCase<S> c{.name = text("concat ", x), .op = ConcatOp<S>{}, .inputs = {}, .linear = true};
    for (Index k = draw.pick<Index>({2, 1, 3}); k > 0; --k)
      c.inputs.push_back(activations<S>(x.with_channels(draw.channels(5))));
    return c;
  }
};
struct MakeAdd {
  template <AnySpec S> OpCase<S> operator()(S, Draw& draw) const {
    const auto x = activations<S>(draw.template shape<S::kDim>(draw.channels(9)));
    return {.name = text("add ", x),
            .op = AddOp<S>{draw.template pick<typename S::Acc>({1, -0.375f})},
            .inputs = {x, x},
            .linear = true};
  }
};
/// As many channels in the second as in the first, or one.
struct MakeMultiply {
  template <AnySpec S> OpCase<S> operator()(S, Draw& draw) const {
    const auto x = draw.template shape<S::kDim>(draw.channels(9));
    const auto gate = x.with_channels(draw.pick({x.c, Index{1}}));
    return {
        .name = text("multiply ", x, " by ", gate), .op = MultiplyOp<S>{}, .inputs = {activations<S>(x), activations<S>(gate)}};
  }
};
struct MakeSlice {
  template <AnySpec S> OpCase<S> operator()(S, Draw& draw) const {
    const auto x = draw.template shape<S::kDim>(draw.channels(9));
    SliceOp<S> op{.first = draw.below(x.c)};
    op.count = draw.pick({(x.c - op.first + 1) / 2, Index{1}, x.c - op.first});
    return {
        .name = text("slice ", x, " from ", op.first, ", ", op.count), .op = op, .inputs = {activations<S>(x)}, .linear = true};
  }
};
struct MakePad {
  template <AnySpec S> OpCase<S> operator()(S, Draw& draw) const {
    PadOp<S> op{.mode = draw.pick({PadMode::replicate, PadMode::reflect, PadMode::constant})};
    for (Index& p : op.low) p = draw.pick<Index>({1, 0, 2});
    for (Index& p : op.high) p = draw.pick<Index>({1, 0, 2});
    if (op.mode == PadMode::constant && draw.below(2)) op.value = -1.5f;
    const auto x = draw.template shape<S::kDim>(draw.channels(5), op.mode == PadMode::reflect ? 3 : 1);
    return {.name = text("pad ", x, ", mode ", static_cast<int>(op.mode)),
            .op = op,
            .inputs = {activations<S>(x)},
            .linear = op.value == 0};
  }
};
struct MakeDropout {
  template <AnySpec S> OpCase<S> operator()(S, Draw& draw) const {
    const DropoutOp<S> op{draw.pick({0.5f, 0.25f}), draw.pick({false, true})};
    const auto x = draw.template shape<S::kDim>(draw.channels(7));
    return {.name = text(op.name(), " ", x),
            .op = op,
            .inputs = {activations<S>(x)},
            .mode = draw.chance(4) ? Mode::infer : Mode::train,
            .linear = true};
  }
};
struct MakeSoftmax {
  template <AnySpec S> OpCase<S> operator()(S, Draw& draw) const {
    const auto x = draw.template shape<S::kDim>(draw.channels(11));
    return {.name = text("softmax ", x), .op = SoftmaxOp<S>{}, .inputs = {activations<S>(x)}};
  }
};

}   // namespace ctseg::test
