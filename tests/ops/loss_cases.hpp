// Cases of the losses.
#pragma once
#include <ctseg/ops/dice_ce.hpp>
#include <ctseg/ops/segmentation_loss.hpp>

#include "support/op_case.hpp"

namespace ctseg::test {

struct MakeDiceCe {
  template <AnySpec S> OpCase<S> operator()(S, Draw& draw) const {
    const DiceCeOptions o{.dice_weight = draw.chance(4) ? 0.f : 1.f,
                          .ce_weight = draw.chance(4) ? 0.f : 0.5f,
                          .smooth_numerator = draw.pick({1e-5f, 0.5f}),
                          .include_background = draw.pick({true, false}),
                          .batch = draw.pick({false, true}),
                          .squared_pred = draw.chance(4),
                          .jaccard = draw.chance(4),
                          .label_smoothing = draw.pick({0.0, 0.1})};
    const auto x = draw.template shape<S::kDim>(2 + draw.below(4), 2);
    OpCase<S> c{.name = text("dice_ce ", x),
                .op = DiceCeOp<S>{o},
                .inputs = {activations<S>(x), {x.with_channels(1), draw.pick({Dtype::u8, Dtype::u16})}}};
    c.labels = x.c;
    return c;
  }
};

/// Terms of every kind, on labels of every kind, with ignored ones.
struct MakeSegmentationLoss {
  template <AnySpec S> OpCase<S> operator()(S, Draw& draw) const {
    const auto x = draw.template shape<S::kDim>(1 + draw.below(5), 2);
    const bool wide = x.c > 1 && draw.chance(3), ignores = draw.chance(2);
    const Index classes = wide ? 2 : std::max<Index>(x.c, 2);
    const auto weights = [&] {
      std::vector<double> w(draw.chance(2) ? static_cast<std::size_t>(x.c) : 0);
      for (std::size_t i = 0; i < w.size(); ++i) w[i] = 0.5 + 0.25 * static_cast<double>(i);
      return w;
    };
    SegmentationLossOptions o{
        .overlap = {.weight = draw.pick({1.0, 0.0, 0.5}),
                    .sigmoid = wide || draw.chance(3),
                    .include_background = !draw.chance(3),
                    .batch = draw.chance(2),
                    .squared_pred = draw.chance(3),
                    .negative = draw.chance(3),
                    .ratio = draw.pick(
                        {OverlapRatioOptions{}, OverlapRatioOptions{2, -2, 2, 2}, OverlapRatioOptions{1, 0.125, 0.25, 0.625}}),
                    .smooth_numerator = draw.pick({1e-5, 0.5}),
                    .volume_weight = draw.pick({VolumeWeight::none, VolumeWeight::none, VolumeWeight::square,
                                                VolumeWeight::simple, VolumeWeight::uniform}),
                    .class_weights = weights()},
        .voxel = {.weight = draw.pick({1.0, 0.0, 0.25}),
                  .sigmoid = wide || draw.chance(2),
                  .include_background = !draw.chance(3),
                  .weighted_mean = draw.chance(2),
                  .gamma = draw.pick({2.0, 0.0, 1.0, 1.5, 3.0}),
                  .label_smoothing = draw.pick({0.0, 0.125}),
                  .positive = weights(),
                  .negative = weights()}};
    if (ignores) o.ignore_label = classes;
    OpCase<S> c{.name = text("segmentation_loss ", x),
                .op = SegmentationLossOp<S>{o},
                .inputs = {activations<S>(x), {wide ? x : x.with_channels(1), draw.pick({Dtype::u8, Dtype::u16})}}};
    c.labels = classes + ignores;
    return c;
  }
};

}   // namespace ctseg::test
