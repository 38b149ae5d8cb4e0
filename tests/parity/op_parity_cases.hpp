// What ctseg runs for each case of make_op_fixtures.py, under the same name, and which ops there are.
#pragma once
#include <map>
#include <set>
#include <string>
#include <vector>

#include <ctseg/nn/functional.hpp>

namespace ctseg::test {

/// Ops in a row, each on the value before it; the case's weights are those of the last one.
template <AnySpec S> struct ParityCase {
  std::string name;
  std::vector<AnyOp<S>> ops;
  Mode mode = Mode::train;
};
template <AnySpec S> using ParityCases = std::vector<ParityCase<S>>;

/// The last axes of three for z, y, x.
template <AnySpec S> std::array<Index, S::kDim> last(Index z, Index y, Index x) {
  const std::array<Index, 3> all = {z, y, x};
  std::array<Index, S::kDim> out;
  std::copy(all.end() - S::kDim, all.end(), out.begin());
  return out;
}

template <AnySpec S> void add_convolutions(ParityCases<S>& all) {
  using A = Axes<S::kDim>;
  const auto axes = [](Index z, Index y, Index x) { return A(last<S>(z, y, x)); };
  const auto add = [&](const char* name, const ConvOp<S>& op) { all.push_back({name, {op}}); };
  add("conv_1x1", {.in_channels = 3, .out_channels = 4, .kernel = 1, .padding = 0});
  add("conv_k3", {.in_channels = 2, .out_channels = 3});
  add("conv_anisotropic",
      {.in_channels = 2, .out_channels = 3, .kernel = axes(1, 3, 2), .stride = axes(2, 1, 2), .padding = axes(0, 1, 1)});
  add("conv_stride2", {.in_channels = 2, .out_channels = 3, .stride = 2});
  add("conv_dilation2", {.in_channels = 2, .out_channels = 2, .padding = 2, .dilation = 2});
  add("conv_groups2", {.in_channels = 4, .out_channels = 6, .groups = 2});
  add("conv_depthwise", {.in_channels = 3, .out_channels = 3, .groups = 3});
  add("conv_depthwise_twofold",
      {.in_channels = 3, .out_channels = 6, .kernel = axes(1, 3, 3), .padding = axes(0, 1, 1), .groups = 3});
  add("conv_no_bias", {.in_channels = 2, .out_channels = 3, .padding = 0});
  for (const PadMode mode : {PadMode::replicate, PadMode::reflect}) {
    const auto around = last<S>(1, 1, 2);
    const ConvOp<S> conv{.in_channels = 2, .out_channels = 3, .kernel = axes(1, 3, 5), .stride = axes(1, 2, 1), .padding = 0};
    all.push_back({mode == PadMode::reflect ? "conv_reflect" : "conv_replicate",
                   {PadOp<S>{.low = around, .high = around, .mode = mode}, conv}});
  }

  const auto transposed = [&](const char* name, ConvOp<S> op) {
    op.transposed = true;
    add(name, op);
  };
  transposed("conv_transposed_k2s2", {.in_channels = 3, .out_channels = 2, .kernel = 2, .stride = 2, .padding = 0});
  transposed("conv_transposed_k3s2", {.in_channels = 2, .out_channels = 3, .stride = 2, .output_padding = 1});
  transposed("conv_transposed_k4s3", {.in_channels = 2,
                                      .out_channels = 2,
                                      .kernel = axes(2, 4, 3),
                                      .stride = axes(1, 3, 2),
                                      .padding = axes(0, 1, 1),
                                      .output_padding = axes(0, 2, 1)});
  transposed("conv_transposed_dilation2", {.in_channels = 2,
                                           .out_channels = 2,
                                           .kernel = axes(2, 3, 2),
                                           .stride = axes(1, 2, 2),
                                           .output_padding = axes(0, 1, 0),
                                           .dilation = 2});
  transposed("conv_transposed_groups2",
             {.in_channels = 4, .out_channels = 6, .kernel = 2, .stride = 2, .padding = 0, .groups = 2});
  transposed("conv_transposed_no_bias", {.in_channels = 2, .out_channels = 3});
}

/// The parameters that the fixtures were made with.
inline Activation parity_activation(ActivationKind kind) {
  return {kind, kind == ActivationKind::leaky_relu ? 0.125f : kind == ActivationKind::elu ? 0.75f : 0.f};
}

template <AnySpec S> void add_norms_and_activations(ParityCases<S>& all) {
  for (const ActivationKind kind : kActivationKinds) {
    const std::string name(name_of(kind));
    const ActivationOp<S> op{parity_activation(kind)};
    const NormOp<S> norm{.activation = op.activation};
    all.push_back({name, {op}});
    all.push_back({"instance_norm_" + name, {norm}});
    if (kind != ActivationKind::prelu) continue;
    all.push_back({name + "_shared", {op}});
    all.push_back({"instance_norm_" + name + "_shared", {norm}});
  }
  all.push_back({"softmax", {SoftmaxOp<S>{}}});
  all.push_back({"softmax_large", {SoftmaxOp<S>{}}});

  for (const bool affine : {true, false}) {
    const std::string plain = affine ? "" : "_plain";
    const NormOp<S> batch{.kind = NormKind::batch, .affine = affine};
    all.push_back({"batch_norm_train" + plain, {batch}});
    all.push_back({"batch_norm_eval" + plain, {batch}, Mode::infer});
    all.push_back({"instance_norm" + plain, {NormOp<S>{.affine = affine}}});
    all.push_back({"group_norm" + plain, {NormOp<S>{.kind = NormKind::group, .affine = affine, .groups = 2}}});
  }
  all.push_back({"group_norm_one_group", {NormOp<S>{.kind = NormKind::group}}});

  const ConvOp<S> conv{.in_channels = 2, .out_channels = 3};
  all.push_back(
      {"block_instance_leaky_relu", {ConvNormActOp<S>{conv, {.activation = parity_activation(ActivationKind::leaky_relu)}}}});
  const ConvNormActOp<S> batch_relu{conv, {.kind = NormKind::batch, .activation = relu()}};
  all.push_back({"block_batch_relu", {batch_relu}});
  all.push_back({"block_batch_add_relu", {batch_relu}});   // of two inputs
  all.push_back({"instance_norm_add_prelu", {NormOp<S>{.activation = prelu()}}});
}

template <AnySpec S> void add_pools_and_resizes(ParityCases<S>& all) {
  using A = Axes<S::kDim>;
  const A flat = last<S>(2, 1, 2);
  const auto pool = [&](const std::string& name, const A& kernel, const A& stride) {
    all.push_back({"max_pool_" + name, {MaxPoolOp<S>{kernel, stride}}});
    all.push_back({"average_pool_" + name, {AveragePoolOp<S>{kernel, stride}}});
  };
  pool("2", 2, 2);
  pool("3s2", 3, 2);
  pool("flat", flat, flat);
  all.push_back({"max_pool_ties", {MaxPoolOp<S>{3, 2}}});
  all.push_back({"adaptive_average_pool_1", {AdaptiveAveragePoolOp<S>{1}}});
  all.push_back({"adaptive_average_pool", {AdaptiveAveragePoolOp<S>{last<S>(2, 3, 5)}}});

  const auto resize = [&](const std::string& name, UpsampleMode mode, bool aligned) {
    all.push_back({"upsample_" + name, {UpsampleOp<S>{.mode = mode, .align_corners = aligned}}});
    all.push_back({"upsample_" + name + "_anisotropic",
                   {UpsampleOp<S>{.factor = last<S>(1, 2, 3), .mode = mode, .align_corners = aligned}}});
    all.push_back(
        {"upsample_" + name + "_size", {UpsampleOp<S>{.size = last<S>(3, 3, 5), .mode = mode, .align_corners = aligned}}});
  };
  resize("nearest", UpsampleMode::nearest, false);
  resize("nearest_exact", UpsampleMode::nearest_exact, false);
  resize("linear", UpsampleMode::linear, false);
  resize("linear_aligned", UpsampleMode::linear, true);
  all.push_back({"pixel_shuffle", {PixelShuffleOp<S>{2}}});
  all.push_back({"pixel_shuffle_3", {PixelShuffleOp<S>{3}}});
}

template <AnySpec S> void add_moves_and_losses(ParityCases<S>& all) {
  all.push_back({"add", {AddOp<S>{}}});
  all.push_back({"add_scaled", {AddOp<S>{-0.375f}}});
  all.push_back({"multiply", {MultiplyOp<S>{}}});
  all.push_back({"multiply_gate", {MultiplyOp<S>{}}});
  all.push_back({"concat", {ConcatOp<S>{}}});
  all.push_back({"slice", {SliceOp<S>{.first = 1, .count = 2}}});

  const auto pad = [&](const char* name, PadMode mode, float value) {
    all.push_back({name, {PadOp<S>{.low = last<S>(1, 0, 2), .high = last<S>(1, 2, 1), .mode = mode, .value = value}}});
  };
  pad("pad_replicate", PadMode::replicate, 0);
  pad("pad_reflect", PadMode::reflect, 0);
  pad("pad_constant", PadMode::constant, 0);
  pad("pad_value", PadMode::constant, -1.5f);

  const auto loss = [&](const char* name, const DiceCeOptions& options) { all.push_back({name, {DiceCeOp<S>{options}}}); };
  loss("dice_ce", {});
  loss("dice_ce_batch", {.batch = true});
  loss("dice_ce_foreground", {.include_background = false});
  loss("dice_ce_foreground_batch", {.include_background = false, .batch = true});
  loss("dice_ce_dice_alone", {.ce_weight = 0});
  loss("dice_ce_ce_alone", {.dice_weight = 0});
  loss("dice_ce_weights", {.dice_weight = 0.25, .ce_weight = 1.5, .smooth_numerator = 0.5, .smooth_denominator = 2});
}

template <AnySpec S> ParityCases<S> parity_cases() {
  ParityCases<S> all;
  add_convolutions(all);
  add_norms_and_activations(all);
  add_pools_and_resizes(all);
  add_moves_and_losses(all);
  return all;
}

/// Every header of ops/ with the names of its ops. A new one fails the test until it is here, and a name until it has a case.
inline const std::map<std::string, std::set<std::string, std::less<>>> kOps = {
    {"activation.hpp", {std::begin(kActivationNames), std::end(kActivationNames)}},
    {"average_pool.hpp", {"AveragePool", "AdaptiveAveragePool"}},
    {"argmax.hpp", {}},   // labels have no gradient: tests/nn/test_argmax.cpp
    {"axes.hpp", {}},
    {"block.hpp", {"Conv+Norm+Act"}},
    {"concat.hpp", {"Concat"}},
    {"conv.hpp", {"Conv", "ConvTranspose"}},
    {"cpu.hpp", {}},
    {"dice_ce.hpp", {"DiceCE"}},
    {"dropout.hpp", {}},   // Dropout, ChannelDropout: other random numbers than PyTorch's, tests/ops compares statistics
    {"elementwise.hpp", {"Add"}},
    {"moments.hpp", {}},
    {"multiply.hpp", {"Multiply"}},
    {"norm.hpp", {"InstanceNorm", "BatchNorm", "GroupNorm"}},
    {"op.hpp", {}},
    {"pad.hpp", {"Pad"}},
    {"pixel_shuffle.hpp", {"PixelShuffle"}},
    {"pool.hpp", {"MaxPool"}},
    {"segmentation_loss.hpp", {}},   // named by the losses it makes, which test_monai_losses.cpp holds against MONAI's
    {"separable.hpp", {}},
    {"slice.hpp", {"Slice"}},
    {"softmax.hpp", {"Softmax"}},
    {"upsample.hpp", {"Upsample"}},
    {"window.hpp", {}},
};

}   // namespace ctseg::test
