// Dice and cross entropy against formulas written out over probabilities, and against numbers published for the losses.
#include "loss_cases.hpp"
#include "support/op_checks.hpp"
#include "support/op_reference.hpp"

using namespace ctseg;
using namespace ctseg::test;

namespace {
double reference(const DiceCeOptions& o, const Volume5& x, const std::vector<Index>& labels) {   // labels in order n, z, y, x
  Volume5 p = x, q = x;
  double ce = 0, dice = 0, terms = 0;
  std::size_t at = 0;
  for (Index n = 0; n < x.n; ++n)
    for (Index z = 0; z < x.d; ++z)
      for (Index y = 0; y < x.h; ++y)
        for (Index w = 0; w < x.w; ++w, ++at) {
          double sum = 0;
          for (Index c = 0; c < x.c; ++c) sum += std::exp(x(n, c, z, y, w));
          for (Index c = 0; c < x.c; ++c)
            p(n, c, z, y, w) = std::exp(x(n, c, z, y, w)) / sum, q(n, c, z, y, w) = labels[at] == c;
          for (Index c = 0; c < x.c; ++c)
            ce -= (q(n, c, z, y, w) * (1 - o.label_smoothing) + o.label_smoothing / static_cast<double>(x.c)) *
                  std::log(p(n, c, z, y, w));
        }
  for (Index n = 0; n < (o.batch ? 1 : x.n); ++n)
    for (Index c = o.include_background ? 0 : 1; c < x.c; ++c, terms += 1) {
      double meet = 0, total = 0;
      x.each([&](Index i, Index channel, Index z, Index y, Index w) {
        if (channel != c || (!o.batch && i != n)) return;
        const double one = p(i, c, z, y, w);
        meet += one * q(i, c, z, y, w), total += (o.squared_pred ? one * one : one) + q(i, c, z, y, w);
      });
      if (o.jaccard) total = 2 * (total - meet);
      dice += 1 - (2 * meet + double{o.smooth_numerator}) / (total + double{o.smooth_denominator});
    }
  return double{o.dice_weight} * dice / terms + double{o.ce_weight} * ce / static_cast<double>(labels.size());
}

using S = Spec<double, 2, Cpu>;

/// Loss of two-channel logits whose softmax is [1-p, p].
double two_channels(const DiceCeOptions& o) {
  const double p[] = {0.9, 0.2, 0.7, 0.1};
  const std::uint8_t y[] = {1, 0, 1, 0};
  Context<Cpu> ctx({.threads = 1});
  OpCase<S> c{.name = "golden", .op = DiceCeOp<S>{o}, .inputs = {activations<S>({1, 2, {1, 4}}), {{1, 1, {1, 4}}, Dtype::u8}}};
  c.labels = 2;
  OpRun<S> run(c, ctx, {});
  for (Index i = 0; i < 4; ++i) {
    run.x[0].at<double>(2 * i) = 0, run.x[0].at<double>(2 * i + 1) = std::log(p[i] / (1 - p[i]));
    run.x[1].at<std::uint8_t>(i) = y[i];
  }
  run.forward();
  return run.y.at<double>(0);
}
}   // namespace

TEST_CASE("dice_ce 2-D: derivatives, precisions, threads") { check_family<2>(MakeDiceCe{}, {.bf16_tolerance = 3e-2}); }
TEST_CASE("dice_ce 3-D: derivatives, precisions, threads") { check_family<3>(MakeDiceCe{}, {.bf16_tolerance = 3e-2}); }

TEST_CASE("sums over voxels 2-D: derivatives, precisions, threads") {
  check_family<2>(MakeSegmentationLoss{}, {.bf16_tolerance = 3e-2});
}
TEST_CASE("sums over voxels 3-D: derivatives, precisions, threads") {
  check_family<3>(MakeSegmentationLoss{}, {.bf16_tolerance = 3e-2});
}

TEST_CASE("dice_ce equals its formula") {
  Context<Cpu> ctx({.threads = 1});
  for (std::uint64_t round = 0; round < 40; ++round) {
    Draw draw({.seed = round}, round % 3 == 0 ? CaseSize::threads : CaseSize::odd);
    const auto c = MakeDiceCe{}(S{}, draw);
    OpRun<S> run(c, ctx, {.seed = round});
    run.forward();
    std::vector<Index> labels;
    for (Index i = 0; i < run.x[1].elements(); ++i)
      labels.push_back(c.inputs[1].dtype == Dtype::u8 ? run.x[1].at<std::uint8_t>(i) : run.x[1].at<std::uint16_t>(i));
    CHECK(run.y.at<double>(0) ==
          doctest::Approx(reference(c.op.get<DiceCeOp<S>>()->options, volume_of(run.x[0].view().as<double>()), labels))
              .epsilon(1e-13));
  }
}

TEST_CASE("dice_ce gives the published numbers") {
  CHECK(two_channels({.ce_weight = 0, .include_background = false}) == doctest::Approx(0.179486719).epsilon(1e-8));
  CHECK(two_channels({.dice_weight = 0}) == doctest::Approx(0.197634882).epsilon(1e-8));
  CHECK(two_channels({.include_background = false}) == doctest::Approx(0.377121601).epsilon(1e-8));
  // With background: the mean of 0.179486719 and of the same formula for 1 - p: 1 - (2 * 1.7 + s) / (2.1 + 2 + s).
  CHECK(two_channels({.ce_weight = 0}) == doctest::Approx((0.179486719 + 1 - 3.40001 / 4.10001) / 2).epsilon(1e-8));
}

TEST_CASE("dice_ce: an empty class costs nothing, extreme logits stay finite, a label that is no class is an error") {
  Context<Cpu> ctx({.threads = 2});
  OpCase<S> c{.name = "labels",
              .op = DiceCeOp<S>{{.ce_weight = 0}},
              .inputs = {activations<S>({2, 3, {20, 20}}), {{2, 1, {20, 20}}, Dtype::u16}}};
  c.labels = 2;
  OpRun<S> run(c, ctx, {});
  for (Index i = 0; i < 800; ++i)
    for (Index k = 0; k < 3; ++k) run.x[0].at<double>(3 * i + k) = k == run.x[1].at<std::uint16_t>(i) ? 2000 : -2000;
  run.forward(), run.backward();
  CHECK(run.y.at<double>(0) == doctest::Approx(0));
  for (Index i = 0; i < 2400; ++i) REQUIRE(std::isfinite(run.dx[0].at<double>(i)));
  run.x[1].at<std::uint16_t>(400 + 123) = 300;
  try {
    run.forward();
    FAIL("expected an error");
  } catch (const Error& e) {
    CHECK(e.code() == Code::bad_input);
    CHECK(std::string(e.what()) ==
          "dice_ce: label 300 at voxel 123 of image 1; the logits have 3 classes, 0 .. 2. Hint: set out_channels = 301, or map "
          "the labels.");
  }
}
