// Cases of the ops that losses are made of beside SegmentationLossOp.
#pragma once
#include <ctseg/loss/cldice.hpp>
#include <ctseg/loss/distance.hpp>
#include <ctseg/loss/top_k.hpp>
#include <ctseg/loss/weighted_sum.hpp>

#include "support/op_case.hpp"

namespace ctseg::test {

struct MakeTopK {
  template <AnySpec S> OpCase<S> operator()(S, Draw& draw) const {
    const auto x = draw.template shape<S::kDim>(1 + draw.below(4), 2);
    const Index classes = std::max<Index>(x.c, 2);
    TopKOptions o{.percent = draw.pick({10.0, 1.0, 50.0, 100.0})};
    if (draw.chance(2)) o.class_weights.assign(static_cast<std::size_t>(x.c), 0.75);
    const bool ignores = draw.chance(2);
    if (ignores) o.ignore_label = classes;
    OpCase<S> c{.name = text("top_k ", x),
                .op = TopKOp<S>{o},
                .inputs = {activations<S>(x), {x.with_channels(1), draw.pick({Dtype::u8, Dtype::u16})}},
                .kinks = true};
    c.labels = classes + ignores;
    return c;
  }
};

struct MakeDistanceLoss {
  bool boundary;
  template <AnySpec S> OpCase<S> operator()(S, Draw& draw) const {
    const auto x = draw.template shape<S::kDim>(1 + draw.below(4), 2);
    const bool wide = x.c > 1 && draw.chance(3);
    const HausdorffOptions o{.alpha = draw.pick({2.0, 1.0, 0.5}),
                             .include_background = draw.pick({false, true}),
                             .sigmoid = wide || draw.chance(3),
                             .logarithm = draw.chance(3),
                             .spacing_mm = {1, 0.75, draw.pick({1.0, 2.5})}};
    OpCase<S> c{.name = text("distance ", x),
                .op = DistanceLossOp<S>{{.common = o, .boundary = boundary}},
                .inputs = {activations<S>(x), {wide ? x : x.with_channels(1), draw.pick({Dtype::u8, Dtype::u16})}},
                .kinks = !boundary};   // where p passes 1/2
    c.labels = wide ? 2 : std::max<Index>(x.c, 2);
    return c;
  }
};

struct MakeMorphology {
  bool dilate;
  template <AnySpec S> OpCase<S> operator()(S, Draw& draw) const {
    const auto x = draw.template shape<S::kDim>(draw.channels(3));
    return {.name = text(dilate ? "dilate " : "erode ", x),
            .op = SoftMorphologyOp<S>{dilate},
            .inputs = {activations<S>(x)},
            .kinks = true};
  }
};

struct MakeCenterlineDice {
  template <AnySpec S> OpCase<S> operator()(S, Draw& draw) const {
    const auto x = activations<S>(draw.template shape<S::kDim>(draw.channels(3), 2));
    const double room = 8 + 4 * std::sqrt(static_cast<double>(x.shape.elements()));   // sums of random numbers come close to 0
    return {.name = text("centerline dice ", x.shape),
            .op = CenterlineDiceOp<S>{{.smooth_numerator = room, .smooth_denominator = room}},
            .inputs = {x, x, x, x}};
  }
};

struct MakeWeightedSum {
  template <AnySpec S> OpCase<S> operator()(S, Draw& draw) const {
    const auto x = activations<S>(draw.template shape<S::kDim>(draw.channels(3)));
    OpCase<S> c{.name = text("weighted sum ", x.shape), .op = WeightedSumOp<S>{{0.5}}, .inputs = {x}, .linear = true};
    if (draw.chance(2)) c.op = WeightedSumOp<S>{{0.5, -1, 2}}, c.inputs = {x, x, x};
    return c;
  }
};

}   // namespace ctseg::test
