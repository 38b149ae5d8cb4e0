// Cases of convolution and transposed convolution.
#pragma once
#include <cmath>

#include <ctseg/ops/conv.hpp>

#include "support/op_case.hpp"

namespace ctseg::test {

template <AnySpec S> OpCase<S> conv_case_of(const ConvOp<S>& op, const Shape<S::kDim>& x, bool bias) {
  const double bound = 1 / std::sqrt(static_cast<double>(op.in_channels / op.groups * op.kernel.product()));
  const auto y = op.infer_shape(x);
  const auto meetings = static_cast<double>((op.transposed ? x : y).voxels() * x.n * op.kernel.product());
  return {.name = text(op.name(), " ", x, " to ", op.out_channels, ", kernel ", op.kernel, ", stride ", op.stride, ", padding ",
                       op.padding, ", output padding ", op.output_padding, ", dilation ", op.dilation, ", ", op.groups,
                       " groups", bias ? ", bias" : ""),
          .op = op,
          .inputs = {{x, dtype_of<typename S::T>()}},
          .weights = {{op.kernel.product() * op.in_channels / op.groups * op.out_channels, -bound, bound},
                      {bias ? op.out_channels : 0}},
          .linear = !bias,
          .flop = 2 * meetings * static_cast<double>(op.in_channels / op.groups * op.out_channels)};
}

/// Half of the cases have dilations of 1 to 3, a third has 2 or 3 groups, and with one channel each they are depthwise.
template <AnySpec S> void spread(ConvOp<S>& op, Draw& draw) {
  if (draw.chance(2))
    for (Index& d : op.dilation.value) d = 1 + draw.below(3);
  if (draw.chance(3)) op.groups = 2 + draw.below(2);
  op.in_channels *= op.groups, op.out_channels *= op.groups;
}

/// Kernels 3, 1, 2 and {1, 3, 3}; strides 1 and 2; no, half and full padding; few odd channels.
template <AnySpec S> ConvOp<S> random_conv(Draw& draw) {
  ConvOp<S> op{
      .in_channels = draw.channels(4), .out_channels = draw.channels(6), .kernel = draw.template pick<Index>({3, 1, 2})};
  if (draw.chance(5)) op.kernel = 3, op.kernel.value[0] = 1;
  if (draw.chance(5)) op.out_channels += 16;   // wider than a vector
  for (std::size_t d = 0; d < S::kDim; ++d) {
    op.stride.value[d] = 1 + draw.below(2);
    op.padding.value[d] = draw.pick({op.kernel.value[d] / 2, Index{0}, op.kernel.value[d] - 1});
  }
  spread(op, draw);
  for (std::size_t d = 0; d < S::kDim; ++d)   // so that three voxels are enough
    op.padding.value[d] += ((op.dilation.value[d] - 1) * (op.kernel.value[d] - 1) + 1) / 2;
  return op;
}
struct MakeConv {
  template <AnySpec S> OpCase<S> operator()(S, Draw& draw) const {
    const ConvOp<S> op = random_conv<S>(draw);
    return conv_case_of<S>(op, draw.template shape<S::kDim>(op.in_channels, 3), draw.pick({true, false}));
  }
};
/// k2 s2, k3 s2 p1 with output padding 1, and anything else that is legal.
struct MakeConvTransposed {
  template <AnySpec S> OpCase<S> operator()(S, Draw& draw) const {
    ConvOp<S> op{.in_channels = draw.channels(4), .out_channels = draw.channels(5), .transposed = true};
    const Index kind = draw.below(3);
    if (kind == 0) op.kernel = 2, op.stride = 2, op.padding = 0;
    if (kind == 1) op.kernel = 3, op.stride = 2, op.padding = 1, op.output_padding = 1;
    if (kind == 2)
      for (std::size_t d = 0; d < S::kDim; ++d) {
        op.kernel.value[d] = 1 + draw.below(3);
        op.stride.value[d] = 1 + draw.below(2);
        op.padding.value[d] = draw.below(op.kernel.value[d]) / 2;
        op.output_padding.value[d] = draw.below(op.stride.value[d]);
      }
    spread(op, draw);
    return conv_case_of<S>(op, draw.template shape<S::kDim>(op.in_channels, 2), draw.pick({true, false}));
  }
};

}   // namespace ctseg::test
