// Random cases of the ops that move values: pooling, concatenation, slices, sum, product, padding, dropout, softmax.
#pragma once
#include <ctseg/ops/concat.hpp>
#include <ctseg/ops/multiply.hpp>
#include <ctseg/ops/pad.hpp>
#include <ctseg/ops/slice.hpp>

#include "support/op_checks.hpp"
#include "support/op_reference.hpp"

namespace ctseg::test {

template <AnySpec S> ValueInfo<S::kDim> activations(const Shape<S::kDim>& s) { return {s, dtype_of<typename S::T>()}; }

/// 2/2, overlapping 3/2 and 2/1, and one flat axis.
struct MakePool {
  template <AnySpec S> OpCase<S> operator()(S, RandomStream& random, bool large) const {
    MaxPoolOp<S> op;
    const Index kind = random.below(4);
    if (kind == 1) op = {.kernel = 3, .stride = 2};
    if (kind == 2) op = {.kernel = 2, .stride = 1};
    if (kind == 3) op.kernel.value[0] = op.stride.value[0] = 1;
    const auto x = random_shape<S::kDim>(random, large, 1 + random.below(11), 3);
    return {.name = text("pool ", op.kernel, "/", op.stride, " ", x), .op = op, .inputs = {activations<S>(x)}, .kinks = true};
  }
};
struct MakeConcat {
  template <AnySpec S> OpCase<S> operator()(S, RandomStream& random, bool large) const {
    const auto x = random_shape<S::kDim>(random, large, 1);
    OpCase<S> c{.name = text("concat ", x), .op = ConcatOp<S>{}, .inputs = {}, .linear = true};
    for (Index k = 0; k < 1 + random.below(3); ++k) c.inputs.push_back(activations<S>(x.with_channels(1 + random.below(5))));
    return c;
  }
};
struct MakeAdd {
  template <AnySpec S> OpCase<S> operator()(S, RandomStream& random, bool large) const {
    const auto x = activations<S>(random_shape<S::kDim>(random, large, 1 + random.below(9)));
    return {.name = text("add ", x), .op = AddOp<S>{random.below(2) ? 1.f : -0.375f}, .inputs = {x, x}, .linear = true};
  }
};
/// As many channels in the second as in the first, or one.
struct MakeMultiply {
  template <AnySpec S> OpCase<S> operator()(S, RandomStream& random, bool large) const {
    const auto x = random_shape<S::kDim>(random, large, 1 + random.below(9));
    const auto gate = random.below(2) ? x : x.with_channels(1);
    return {
        .name = text("multiply ", x, " by ", gate), .op = MultiplyOp<S>{}, .inputs = {activations<S>(x), activations<S>(gate)}};
  }
};
struct MakeSlice {
  template <AnySpec S> OpCase<S> operator()(S, RandomStream& random, bool large) const {
    const auto x = random_shape<S::kDim>(random, large, 1 + random.below(9));
    SliceOp<S> op{.first = random.below(x.c)};
    op.count = 1 + random.below(x.c - op.first);
    return {
        .name = text("slice ", x, " from ", op.first, ", ", op.count), .op = op, .inputs = {activations<S>(x)}, .linear = true};
  }
};
struct MakePad {
  template <AnySpec S> OpCase<S> operator()(S, RandomStream& random, bool large) const {
    PadOp<S> op;
    for (Index& p : op.low) p = random.below(3);
    for (Index& p : op.high) p = random.below(3);
    constexpr PadMode modes[] = {PadMode::replicate, PadMode::reflect, PadMode::constant};
    op.mode = modes[random.below(3)];
    if (op.mode == PadMode::constant && random.below(2)) op.value = -1.5f;
    const auto x = random_shape<S::kDim>(random, large, 1 + random.below(5), op.mode == PadMode::reflect ? 3 : 1);
    return {.name = text("pad ", x, ", mode ", static_cast<int>(op.mode)),
            .op = op,
            .inputs = {activations<S>(x)},
            .linear = op.value == 0};
  }
};
struct MakeDropout {
  template <AnySpec S> OpCase<S> operator()(S, RandomStream& random, bool large) const {
    const DropoutOp<S> op{random.below(2) ? 0.5f : 0.25f, random.below(2) == 0};
    const auto x = random_shape<S::kDim>(random, large, 1 + random.below(7));
    return {.name = text(op.name(), " ", x),
            .op = op,
            .inputs = {activations<S>(x)},
            .mode = random.below(4) ? Mode::train : Mode::infer,
            .linear = true};
  }
};
struct MakeSoftmax {
  template <AnySpec S> OpCase<S> operator()(S, RandomStream& random, bool large) const {
    const auto x = random_shape<S::kDim>(random, large, 1 + random.below(11));
    return {.name = text("softmax ", x), .op = SoftmaxOp<S>{}, .inputs = {activations<S>(x)}};
  }
};

}   // namespace ctseg::test
