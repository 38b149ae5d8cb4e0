// Losses against MONAI's, value and gradient: every one that losses.safetensors has, and nothing else.
#include <set>

#include <ctseg/loss/cldice.hpp>
#include <ctseg/loss/cross_entropy.hpp>
#include <ctseg/loss/deep_supervision.hpp>
#include <ctseg/loss/dice.hpp>
#include <ctseg/loss/distance.hpp>
#include <ctseg/loss/focal.hpp>
#include <ctseg/loss/generalized_dice.hpp>
#include <ctseg/loss/loss.hpp>
#include <ctseg/loss/nnunet.hpp>
#include <ctseg/loss/top_k.hpp>
#include <ctseg/loss/tversky.hpp>

#include "parity/loss_parity.hpp"

using namespace ctseg;
using namespace ctseg::test;

namespace {
constexpr Index kIgnored = 255;

/// MONAI converts to float for these, whatever it is given.
constexpr double kFloat = 1e-6;

/// On logits at three resolutions.
template <AnySpec S, class L> Loss<S> deep(L loss, SupervisionMode mode) {
  return [loss, mode](Var<S> x, Var<S> labels) {
    const auto at = [&](Axes<S::kDim> size) { return adaptive_average_pool(x, size); };
    if constexpr (S::kDim == 2)
      return deep_supervision(loss, {.mode = mode})(std::vector<Var<S>>{x, at({{3, 4}}), at({{1, 2}})}, labels);
    else
      return deep_supervision(loss, {.mode = mode})(std::vector<Var<S>>{x, at({{2, 1, 3}}), at({{1, 1, 2}})}, labels);
  };
}

template <AnySpec S> Losses<S> classes() {
  const std::vector<double> w = {0.5, 1, 2};
  return {
      {"dice", dice_loss()},
      {"dice_batch", dice_loss({.batch = true})},
      {"dice_foreground", dice_loss({.include_background = false})},
      {"dice_squared", dice_loss({.squared_pred = true}), kFloat},   // the norm of the labels is
      {"dice_jaccard", dice_loss({.jaccard = true})},
      {"dice_jaccard_squared", dice_loss({.squared_pred = true, .jaccard = true}), kFloat},
      {"dice_weights", dice_loss({.class_weights = w})},
      {"dice_foreground_weights", dice_loss({.include_background = false, .class_weights = w})},
      {"dice_sigmoid", dice_loss({.sigmoid = true})},
      {"dice_smooth", dice_loss({.smooth_numerator = 0.5, .smooth_denominator = 2})},
      {"dice_ce", dice_ce()},
      {"dice_ce_weights", dice_ce({.class_weights = w})},
      {"dice_ce_all",
       dice_ce({.dice_weight = 0.25,
                .ce_weight = 1.5,
                .include_background = false,
                .batch = true,
                .squared_pred = true,
                .class_weights = w,
                .label_smoothing = 0.1}),
       kFloat},
      {"dice_ce_jaccard", dice_ce({.jaccard = true})},
      {"ce", cross_entropy_loss()},
      {"ce_weights", cross_entropy_loss({.class_weights = w})},
      {"ce_smoothing", cross_entropy_loss({.class_weights = w, .label_smoothing = 0.2})},
      {"generalized_square", generalized_dice_loss(), kFloat},   // the weights are
      {"generalized_simple", generalized_dice_loss({.w_type = VolumeWeight::simple}), kFloat},
      {"generalized_uniform", generalized_dice_loss({.w_type = VolumeWeight::uniform})},
      {"generalized_batch", generalized_dice_loss({.batch = true}), kFloat},
      {"generalized_foreground", generalized_dice_loss({.include_background = false}), kFloat},
      {"tversky", tversky_loss()},
      {"tversky_37", tversky_loss({.alpha = 0.3, .beta = 0.7})},
      {"tversky_batch", tversky_loss({.alpha = 0.7, .beta = 0.3, .include_background = false, .batch = true})},
      {"focal", focal_loss(), kFloat},
      {"focal_alpha", focal_loss({.gamma = 1.5, .alpha = {0.25}}), kFloat},
      {"focal_softmax", focal_loss({.use_softmax = true}), kFloat},
      {"focal_softmax_alpha", focal_loss({.gamma = 1, .alpha = {0.75}, .use_softmax = true, .class_weights = w}), kFloat},
      {"focal_alphas", focal_loss({.alpha = {0.25, 0.5, 0.75}, .class_weights = w}), kFloat},
      {"focal_foreground", focal_loss({.include_background = false}), kFloat},
      {"dice_focal", dice_focal({.dice_weight = 0.5, .focal_weight = 2}), kFloat},
      {"dice_focal_all", dice_focal({.dice = {.include_background = false, .class_weights = w}, .gamma = 3, .alpha = {0.25}}),
       kFloat},
      {"generalized_focal", generalized_dice_focal(), kFloat},
      {"nnunet", nnunet_dice_ce()},
      {"nnunet_batch", nnunet_dice_ce({.batch_dice = true})},
      {"nnunet_background", nnunet_dice_ce({.do_bg = true})},
      {"top_k", top_k_loss()},
      {"top_k_half", top_k_loss({.percent = 50, .class_weights = w})},
      {"deep_exp", deep<S>(dice_ce(), SupervisionMode::exp), kFloat},
      {"deep_same", deep<S>(dice_loss(), SupervisionMode::same), kFloat},
      {"deep_two", deep<S>(dice_loss(), SupervisionMode::two), kFloat},
      {"deep_nnunet", deep<S>(nnunet_dice_ce(), SupervisionMode::nnunet)},
  };
}

template <AnySpec S> Losses<S> ignored() {
  return {
      {"dice", dice_loss({.ignore_label = kIgnored})},
      {"ce", cross_entropy_loss({.ignore_label = kIgnored})},
      {"ce_all", cross_entropy_loss({.class_weights = {0.5, 1, 2}, .label_smoothing = 0.1, .ignore_label = kIgnored})},
      {"tversky", tversky_loss({.alpha = 0.3, .beta = 0.7, .ignore_label = kIgnored})},
      {"focal", focal_loss({.ignore_label = kIgnored}), kFloat},
      {"nnunet", nnunet_dice_ce({.ignore_label = kIgnored})},
      {"top_k", top_k_loss({.percent = 40, .ignore_label = kIgnored})},
  };
}

template <AnySpec S> Losses<S> binary() {
  return {
      {"dice", dice_loss()},
      {"dice_ce", dice_ce()},
      {"dice_ce_weight", dice_ce({.include_background = false, .class_weights = {3}})},
      {"dice_focal", dice_focal({.alpha = {0.25}}), kFloat},
      {"tversky", tversky_loss({.alpha = 0.3, .beta = 0.7})},
      {"generalized", generalized_dice_loss(), kFloat},
      {"focal", focal_loss({.alpha = {0.25}}), kFloat},
      {"bce", binary_cross_entropy_loss()},
      {"half_half",
       dice_bce({.dice_weight = 0.5, .bce_weight = 0.5, .dice = {.smooth_numerator = 1e-6, .smooth_denominator = 1e-6}})},
  };
}

template <AnySpec S> Losses<S> channels() {
  return {
      {"dice", dice_loss({.sigmoid = true})},
      {"dice_foreground", dice_loss({.include_background = false, .sigmoid = true})},
      {"generalized", generalized_dice_loss({.sigmoid = true}), kFloat},
      {"tversky", tversky_loss({.sigmoid = true})},
      {"focal", focal_loss({.alpha = {0.25}}), kFloat},
      {"bce_weights", binary_cross_entropy_loss({.positive_weights = {0.5, 1, 2}})},
      {"dice_bce", dice_bce({.dice_weight = 0.5, .bce_weight = 2})},
      {"dice_focal", dice_focal({.dice = {.sigmoid = true}}), kFloat},
      {"nnunet", nnunet_dice_bce({.batch_dice = true})},
  };
}

template <AnySpec S> Losses<S> channels_ignored() {
  return {
      {"dice", dice_loss({.sigmoid = true, .ignore_label = kIgnored})},
      {"bce", binary_cross_entropy_loss({.ignore_label = kIgnored})},
  };
}

template <AnySpec S> Losses<S> shapes() {
  return {
      {"hausdorff", hausdorff_loss(), kFloat},
      {"hausdorff_1", hausdorff_loss({.alpha = 1, .include_background = true}), kFloat},
      {"hausdorff_log", hausdorff_loss({.logarithm = true}), kFloat},
      {"boundary", boundary_loss(), kFloat},
      {"boundary_foreground", boundary_loss({.include_background = false}), kFloat},
      {"cldice", cldice_loss(), kFloat},   // gradients of the file
      {"cldice_5", cldice_loss({.iterations = 5, .include_background = false}), kFloat},
      {"dice_cldice", dice_cldice({.alpha = 0.3, .cldice = {.iterations = 2}}), kFloat},
  };
}
template <AnySpec S> Losses<S> shapes_binary() {
  return {{"hausdorff", hausdorff_loss(), kFloat}, {"boundary", boundary_loss(), kFloat}, {"cldice", cldice_loss(), kFloat}};
}
template <AnySpec S> Losses<S> shapes_channels() {
  return {{"hausdorff", hausdorff_loss({.include_background = true, .sigmoid = true}), kFloat},
          {"boundary", boundary_loss({.sigmoid = true}), kFloat},
          {"cldice", cldice_loss({.iterations = 1, .sigmoid = true}), kFloat}};
}

template <AnySpec S> void check_all(double tolerance) {
  check_losses<S>("classes", classes<S>(), tolerance);
  check_losses<S>("ignored", ignored<S>(), tolerance);
  check_losses<S>("binary", binary<S>(), tolerance);
  check_losses<S>("channels", channels<S>(), tolerance);
  check_losses<S>("channels_ignored", channels_ignored<S>(), tolerance);
  check_losses<S>("shapes", shapes<S>(), tolerance);
  check_losses<S>("shapes_binary", shapes_binary<S>(), tolerance);
  check_losses<S>("shapes_channels", shapes_channels<S>(), tolerance);
}
}   // namespace

TEST_CASE("losses equal MONAI's, 2-D in double") { check_all<Spec<double, 2, Cpu>>(1e-12); }
TEST_CASE("losses equal MONAI's, 3-D in double") { check_all<Spec<double, 3, Cpu>>(1e-12); }
TEST_CASE("losses equal MONAI's, 3-D in float") { check_all<Spec<float, 3, Cpu>>(2e-6); }
