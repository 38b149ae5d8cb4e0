// Cases of the losses.
#pragma once
#include <ctseg/ops/dice_ce.hpp>

#include "support/op_case.hpp"

namespace ctseg::test {

struct MakeDiceCe {
  template <AnySpec S> OpCase<S> operator()(S, Draw& draw) const {
    const DiceCeOptions o{.dice_weight = draw.chance(4) ? 0.f : 1.f,
                          .ce_weight = draw.chance(4) ? 0.f : 0.5f,
                          .smooth_numerator = draw.pick({1e-5f, 0.5f}),
                          .include_background = draw.pick({true, false}),
                          .batch = draw.pick({false, true})};
    const auto x = draw.template shape<S::kDim>(2 + draw.below(4), 2);
    OpCase<S> c{.name = text("dice_ce ", x),
                .op = DiceCeOp<S>{o},
                .inputs = {activations<S>(x), {x.with_channels(1), draw.pick({Dtype::u8, Dtype::u16})}}};
    c.labels = x.c;
    return c;
  }
};

}   // namespace ctseg::test
