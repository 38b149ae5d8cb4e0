// Every op there is, by name, as a family of cases: what a benchmark or a parity test of another device goes through.
// tests/structure sees to it that no Make... of the case files is missing here.
#pragma once
#include "conv_cases.hpp"
#include "loss_cases.hpp"
#include "moves_cases.hpp"
#include "norm_cases.hpp"
#include "resize_cases.hpp"

namespace ctseg::test {

/// Calls f(name, make) for each; make(spec, draw) returns a case.
template <class F> void each_family(F f) {
  f("conv", MakeConv{});
  f("conv_transposed", MakeConvTransposed{});
  f("conv_norm_act", MakeBlock{});
  f("conv_norm_add_act", MakeBlock{true});
  f("instance_norm", MakeNorm{NormKind::instance});
  f("batch_norm", MakeNorm{NormKind::batch});
  f("group_norm", MakeNorm{NormKind::group});
  f("instance_norm_add", MakeNorm{NormKind::instance, true});
  f("relu", MakeActivation{ActivationKind::relu});
  f("leaky_relu", MakeActivation{ActivationKind::leaky_relu});
  f("prelu", MakeActivation{ActivationKind::prelu});
  f("elu", MakeActivation{ActivationKind::elu});
  f("gelu", MakeActivation{ActivationKind::gelu});
  f("sigmoid", MakeActivation{ActivationKind::sigmoid});
  f("softmax", MakeSoftmax{});
  f("max_pool", MakePool{});
  f("average_pool", MakeAveragePool{});
  f("adaptive_average_pool", MakeAdaptivePool{});
  f("upsample", MakeUpsample{});
  f("pixel_shuffle", MakePixelShuffle{});
  f("pad", MakePad{});
  f("concat", MakeConcat{});
  f("slice", MakeSlice{});
  f("add", MakeAdd{});
  f("multiply", MakeMultiply{});
  f("dropout", MakeDropout{});
  f("dice_ce", MakeDiceCe{});
}

}   // namespace ctseg::test
