// Losses of four voxels whose values are known to nine digits, and what becomes of borders: nothing to find, nothing to count.
#include <ctseg/loss/cldice.hpp>
#include <ctseg/loss/cross_entropy.hpp>
#include <ctseg/loss/distance.hpp>
#include <ctseg/loss/focal.hpp>
#include <ctseg/loss/nnunet.hpp>
#include <ctseg/loss/top_k.hpp>
#include <ctseg/loss/tversky.hpp>

#include "loss/values.hpp"

using namespace ctseg;
using namespace ctseg::test;

namespace {
using S = Spec<double, 2, Cpu>;

const std::vector<double> kP = {0.9, 0.2, 0.7, 0.1};
const std::vector<int> kQ = {1, 0, 1, 0};
double logit(double p) { return std::log(p / (1 - p)); }

/// One channel, the sigmoid.
double one(const Loss<S>& loss) {
  std::vector<double> x;
  for (const double p : kP) x.push_back(logit(p));
  return value_of<S>(loss, {1, 1, {1, 4}}, x, kQ);
}
/// Two channels, the softmax [1 - p, p].
double two(const Loss<S>& loss) {
  std::vector<double> x;
  for (const double p : kP) x.insert(x.end(), {0, logit(p)});
  return value_of<S>(loss, {1, 2, {1, 4}}, x, kQ);
}
doctest::Approx published(double v) { return doctest::Approx(v).epsilon(3e-8); }   // nine digits were printed
}   // namespace

TEST_CASE("losses have the published values") {
  CHECK(one(dice_loss()) == published(0.179486719));
  CHECK(two(dice_loss({.include_background = false})) == published(0.179486719));
  CHECK(one(dice_loss({.squared_pred = true})) == published(0.044775986));
  CHECK(one(dice_loss({.jaccard = true})) == published(0.304347164));
  CHECK(one(tversky_loss({.alpha = 0.3, .beta = 0.7})) == published(0.187816306));
  CHECK(one(tversky_loss({.alpha = 0.7, .beta = 0.3})) == published(0.170983570));
  CHECK(one(binary_cross_entropy_loss()) == published(0.197634882));
  CHECK(two(cross_entropy_loss()) == published(0.197634882));
  CHECK(one(dice_ce()) == published(0.377121601));
  CHECK(one(dice_bce()) == published(0.377121601));
  CHECK(one(focal_loss()) == published(0.010783424));
  CHECK(one(focal_loss({.alpha = {0.25}})) == published(0.003943274));
  CHECK(
      one(dice_bce({.dice_weight = 0.5, .bce_weight = 0.5, .dice = {.smooth_numerator = 1e-6, .smooth_denominator = 1e-6}})) ==
      published(0.188561008));
  CHECK(two(generalized_dice_loss()) == published(0.174999125));
}

TEST_CASE("losses by hand") {
  // Dice of foreground is 3.20001 / 3.90001; nnU-Net's has the sign of a score.
  CHECK(two(nnunet_dice_ce()) == doctest::Approx(-3.20001 / 3.90001 + 0.19763488173).epsilon(1e-9));
  // The hardest of four voxels is p = 0.7, then 0.2 (wrong by 0.2).
  CHECK(two(top_k_loss({.percent = 25})) == doctest::Approx(-std::log(0.7)).epsilon(1e-12));
  CHECK(two(top_k_loss({.percent = 50})) == doctest::Approx(-(std::log(0.7) + std::log(0.8)) / 2).epsilon(1e-12));
  CHECK(two(top_k_loss()) == doctest::Approx(-std::log(0.7)).epsilon(1e-12));   // 10 % of four is none: one then
  // Both masks are 1 0 1 0, so both distances are 1 everywhere: the mean of 2 (p - q)^2.
  CHECK(two(hausdorff_loss()) == doctest::Approx(2 * (0.01 + 0.04 + 0.09 + 0.01) / 4).epsilon(1e-7));
  // Signed distance: 0 inside (1 - 1), 1 outside; its mean with p.
  CHECK(one(boundary_loss()) == doctest::Approx((0.2 + 0.1) / 4).epsilon(1e-7));
  CHECK(one(boundary_loss({.spacing_mm = {2, 1, 1}})) == doctest::Approx((2 * 0.3 - 1.6) / 4).epsilon(1e-7));
}

TEST_CASE("of equally hard voxels the first are chosen") {
  const LossOnNumbers<S> run(top_k_loss({.percent = 50}), {1, 2, {2, 2}}, {0, 1, 0, 1, 0, 1, 0, 1}, {0, 0, 1, 0});
  const double pull = 1 / (1 + std::exp(-1.0)) / 2;   // of two voxels
  for (Index v = 0; v < 4; ++v) CHECK(run.gradient().row(v)[0] == doctest::Approx(v < 2 ? -pull : 0).epsilon(1e-14));
}

TEST_CASE("ignored voxels count nowhere, and nothing left is 0") {
  const std::vector<double> x = {0.5, -1, 2, 0.25, -0.75, 1.5, 0.125, 3};
  const Loss<S> losses[] = {dice_ce({.ignore_label = 9}),
                            focal_loss({.ignore_label = 9}),
                            cross_entropy_loss({.ignore_label = 9}),
                            dice_focal({.dice = {.ignore_label = 9}}),
                            tversky_loss({.ignore_label = 9}),
                            dice_bce({.dice = {.ignore_label = 9}}),
                            generalized_dice_loss({.ignore_label = 9})};
  for (const auto& loss : losses) {
    const std::vector<double> moved = {0.5, -1, -7, 8, -0.75, 1.5, 5, -3};   // other logits where voxels are ignored
    CHECK(value_of<S>(loss, {1, 2, {1, 4}}, x, {0, 9, 1, 9}) == value_of<S>(loss, {1, 2, {1, 4}}, moved, {0, 9, 1, 9}));
    CHECK(value_of<S>(loss, {1, 2, {1, 4}}, x, {0, 9, 1, 9}) ==
          doctest::Approx(value_of<S>(loss, {1, 2, {1, 2}}, {0.5, -1, -0.75, 1.5}, {0, 1})).epsilon(1e-14));
    CHECK(value_of<S>(loss, {1, 2, {1, 4}}, x, {9, 9, 9, 9}) == doctest::Approx(0));
    CHECK(loss.largest_label(2) == 65535);
  }
  // Channel by channel: the second voxel's first channel.
  CHECK(value_of<S>(binary_cross_entropy_loss({.ignore_label = 9}), {1, 2, {1, 2}}, {0, 0, 50, 0}, {0, 1, 9, 1}) ==
        doctest::Approx(std::log(2.0)).epsilon(1e-14));
}

TEST_CASE("extreme logits give finite losses and gradients") {
  const std::vector<double> x = {1e4, -1e4, 1e4, -1e4, -1e4, 1e4, -1e4, 1e4};
  const std::vector<int> q = {0, 1, 0, 1};
  const Loss<S> losses[] = {dice_ce(),
                            dice_bce(),
                            focal_loss({.gamma = 0.5}),
                            focal_loss({.gamma = 0.5, .use_softmax = true}),
                            top_k_loss(),
                            hausdorff_loss(),
                            boundary_loss(),
                            cldice_loss(),
                            nnunet_dice_ce()};
  for (const auto& loss : losses) CHECK(all_finite_of<S>(loss, {1, 2, {2, 2}}, x, q));
}

TEST_CASE("a clipped denominator has no slope, and a NaN is the hardest voxel") {
  const std::vector<double> sure = {0, -30, 0, -30, 0, -30, 0, -30};
  const LossOnNumbers<S> run(nnunet_dice_ce({.ce_weight = 0, .smooth = 1e-9}), {1, 2, {2, 2}}, sure, {0, 0, 0, 0});
  CHECK(run.value() == doctest::Approx(-0.1));   // 1e-9 / 1e-8
  for (Index i = 0; i < 8; ++i) CHECK(run.gradient().data[i] == 0);
  CHECK(value_of<S>(top_k_loss({.percent = 25}), {1, 1, {2, 2}}, {9, std::nan(""), 1, 2}, kQ) == HUGE_VAL);
}

TEST_CASE("masks that are empty or full have no distance") {
  const std::vector<double> x = {2, 2, 2, 2};
  CHECK(value_of<S>(boundary_loss(), {1, 1, {2, 2}}, x, {0, 0, 0, 0}) == 0);
  CHECK(value_of<S>(boundary_loss(), {1, 1, {2, 2}}, x, {1, 1, 1, 1}) == 0);
  CHECK(value_of<S>(hausdorff_loss(), {1, 1, {2, 2}}, x, {1, 1, 1, 1}) == 0);
  CHECK(value_of<S>(hausdorff_loss(), {1, 1, {2, 2}}, x, {0, 0, 0, 0}) == 0);
}

TEST_CASE("one channel is never background") {
  for (const bool background : {true, false}) {
    CHECK(one(cldice_loss({.include_background = background})) == one(cldice_loss()));
    CHECK(one(hausdorff_loss({.include_background = background})) == one(hausdorff_loss()));
    CHECK(one(dice_focal({.dice = {.include_background = background}})) == one(dice_focal()));
  }
  CHECK(one(cldice_loss()) > 0.05);   // MONAI up to 1.5 has 0
}
