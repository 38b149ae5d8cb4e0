// Losses made of losses: sums, regions, deep supervision; and that plans run them as tapes do.
#include <ctseg/loss/cldice.hpp>
#include <ctseg/loss/deep_supervision.hpp>
#include <ctseg/loss/distance.hpp>
#include <ctseg/loss/focal.hpp>
#include <ctseg/loss/top_k.hpp>
#include <ctseg/loss/tversky.hpp>
#include <ctseg/models/basic_unet.hpp>

#include "loss/values.hpp"
#include "support/plan_checks.hpp"

using namespace ctseg;
using namespace ctseg::test;

namespace {
using S = Spec<float, 2, Cpu>;
using D = Spec<double, 2, Cpu>;

template <class F> std::string error_of(Code code, F f) {
  try {
    f();
  } catch (const Error& e) {
    CHECK(e.code() == code);
    return e.what();
  }
  return "no error";
}
}   // namespace

TEST_CASE("weights of deep supervision") {
  using W = std::vector<double>;
  CHECK(supervision_weights({}, 6) == W{1, 0.5, 0.25, 0.125, 0.0625, 0.0625});
  CHECK(supervision_weights({.mode = SupervisionMode::same}, 3) == W{1, 1, 1});
  CHECK(supervision_weights({.mode = SupervisionMode::two}, 3) == W{1, 0.5, 0.5});
  CHECK(supervision_weights({.mode = SupervisionMode::nnunet}, 4) == W{1 / 1.75, 0.5 / 1.75, 0.25 / 1.75, 0});
  CHECK(supervision_weights({.mode = SupervisionMode::nnunet}, 1) == W{1});
  CHECK(supervision_weights({.weights = {3, 2, 1}}, 2) == W{3, 2});
  CHECK(error_of(Code::bad_argument, [] { supervision_weights({.weights = {3}}, 2); }) ==
        "deep_supervision: 2 heads and 1 weights; must be a head at least, and a weight for each.");
  CHECK(error_of(Code::bad_argument, [] { supervision_weights({}, 0); }) != "no error");
  CHECK(error_of(Code::bad_argument, [] {
          supervision_weights({.weights = {1, -1}}, 2);
        }) == "deep_supervision: a weight is -1; must be 0 or more.");
}

TEST_CASE("labels at other sizes are those of the nearest voxel") {
  Context<Cpu> ctx({.threads = 1});
  Tape<D> tape(Mode::train, ctx);
  Tensor<std::uint16_t, 2> labels({2, 1, {5, 6}});
  for (Index i = 0; i < 60; ++i) labels.data()[i] = static_cast<std::uint16_t>(1000 + i);
  const auto in = tape.input(labels.view()), out = resize_labels(in, {2, 4});
  const auto y = tape.value(out).as<const std::uint16_t>();
  REQUIRE(y.shape == Shape<2>{2, 1, {2, 4}});
  const Index rows[] = {1, 3}, columns[] = {0, 2, 3, 5};   // floor(2.5 (o + 1/2)), floor(1.5 (o + 1/2))
  for (Index n = 0; n < 2; ++n)
    for (Index r = 0; r < 2; ++r)
      for (Index c = 0; c < 4; ++c) CHECK(*y.at(n, 4 * r + c) == 1000 + 30 * n + 6 * rows[r] + columns[c]);
  CHECK(resize_labels(in, {5, 6}).id == in.id);
}

TEST_CASE("regions: channels of 0 and 1 that may overlap") {
  const std::vector<double> x = {1, -1, 0.5, 2, -0.25, 0, 3, 1};
  const std::vector<std::vector<Index>> regions = {{1, 2}, {2}};
  const auto loss = region_loss(dice_bce(), {.regions = regions});
  CHECK(value_of<D>(loss, {1, 2, {2, 2}}, x, {0, 1, 2, 3}) ==
        value_of<D>(dice_bce(), {1, 2, {2, 2}}, x, {0, 0, 1, 0, 1, 1, 0, 0}));
  const auto ignoring = region_loss(dice_bce({.dice = {.ignore_label = 9}}), {.regions = regions, .ignore_label = 9});
  CHECK(value_of<D>(ignoring, {1, 2, {2, 2}}, x, {0, 1, 2, 9}) ==
        doctest::Approx(value_of<D>(loss, {1, 2, {1, 3}}, {1, -1, 0.5, 2, -0.25, 0}, {0, 1, 2})).epsilon(1e-14));
  CHECK(Loss<D>(loss).largest_label(2) == 65535);
  const auto refused = [&](const Loss<D>& other) {
    return error_of(Code::bad_argument, [&] { value_of<D>(other, {1, 2, {2, 2}}, x, {0, 1, 2, 9}); });
  };
  const auto inner = dice_bce({.dice = {.ignore_label = 9}});
  CHECK(refused(region_loss(inner, {.regions = regions})) ==
        "region_loss: the loss ignores label 9, the regions none: it would count as background. Hint: give both the same "
        "ignore_label.");
  CHECK(refused(region_loss(sum_of(boundary_loss({.sigmoid = true}), inner), {.regions = regions, .ignore_label = 8}))
            .starts_with("region_loss: the loss ignores label 9, the regions label 8"));
  CHECK(refused(region_loss(dice_bce(), {.regions = {{1}, {}}})) == "regions: region 1 has no labels; name one or more.");
  CHECK(refused(region_loss(dice_bce(), {.regions = {{1}, {-3}}})) == "regions: region 1 has label -3; labels are 0 .. 65535.");
  CHECK(refused(region_loss(dice_bce(), {.regions = regions, .ignore_label = 1})) ==
        "regions: ignore_label = 1; must be 2 .. 65535, because channels hold 0 and 1.");
  CHECK(error_of(Code::bad_argument, [&] {
          value_of<D>(region_loss(dice_bce(), {}), {1, 2, {2, 2}}, x, {0, 1, 2, 3});
        }) == "regions: no regions; name the labels of one or more.");
}

TEST_CASE("a sum of losses is the sum of their values") {
  const std::vector<double> x = {1, -1, 0.5, 2, -0.25, 0, 3, 1};
  const std::vector<int> q = {0, 1, 1, 0};
  const auto value = [&](const Loss<D>& loss) { return value_of<D>(loss, {1, 2, {2, 2}}, x, q); };
  CHECK(value(sum_of(dice_loss(), boundary_loss(), {.second = 0.01})) ==
        doctest::Approx(value(dice_loss()) + 0.01 * value(boundary_loss())).epsilon(1e-14));
  CHECK(value(sum_of(sum_of(dice_loss(), top_k_loss()), focal_loss(), {.first = 0.25})) ==
        doctest::Approx(0.25 * (value(dice_loss()) + value(top_k_loss())) + value(focal_loss())).epsilon(1e-14));
  const auto own = [](auto logits, auto labels) { return dice_loss()(logits, labels); };   // says nothing of labels
  CHECK(value(sum_of(own, dice_loss())) == doctest::Approx(2 * value(dice_loss())).epsilon(1e-14));
  CHECK(Loss<D>(sum_of(own, dice_loss())).largest_label(3) == 2);
  CHECK(Loss<D>(deep_supervision(dice_ce({.ignore_label = 255}))).largest_label(3) == 65535);
  CHECK(Loss<D>(cldice_loss()).largest_label(1) == 1);
  CHECK(value(dice_cldice({.alpha = 0})) ==
        doctest::Approx(value(dice_loss({.smooth_numerator = 1, .smooth_denominator = 1}))).epsilon(1e-14));
}

TEST_CASE("what losses refuse") {
  const std::vector<double> x = {1, -1, 0.5, 2, -0.25, 0, 3, 1};
  const auto refused = [&](Code code, const Loss<D>& loss, const std::vector<int>& q) {
    return error_of(code, [&] { value_of<D>(loss, {1, 2, {2, 2}}, x, q); });
  };
  const std::vector<int> good = {0, 1, 1, 0}, two = {0, 1, 2, 0}, wide = {0, 1, 2, 0, 1, 1, 0, 0};
  CHECK(refused(Code::bad_input, dice_loss(), two) ==
        "dice_loss: label 2 at voxel 2 of image 0; the logits have 2 classes, 0 .. 1. Hint: set out_channels = 3, or map the "
        "labels.");
  CHECK(
      refused(Code::bad_input, dice_bce(), wide) ==
      "dice_bce: label 2 at voxel 1 of image 0; each of the 2 channels of the logits asks for 0 or 1. Hint: map the labels, or "
      "set ignore_label.");
  CHECK(refused(Code::bad_input, top_k_loss(), two).starts_with("top_k_loss: label 2 at voxel 2"));
  CHECK(refused(Code::bad_input, cldice_loss(), two).starts_with("one_hot: label 2 at voxel 2"));
  CHECK(refused(Code::bad_input, hausdorff_loss(), two).starts_with("hausdorff_loss: label 2 at voxel 2"));
  CHECK(refused(Code::shape_mismatch, dice_focal(), wide).starts_with("dice_focal: labels [1,2,2,2] have a channel per class"));
  CHECK(refused(Code::shape_mismatch, cldice_loss(), {0, 1, 1, 0, 1, 1, 0, 0})
            .starts_with("one_hot: labels [1,2,2,2] have a channel per class, softmax asks for class indices"));
  CHECK(refused(Code::bad_argument, hausdorff_loss({.alpha = 400}), good) ==
        "hausdorff_loss: alpha = 400 of distances up to 2.82843; their power must stay below 1e30.");
  CHECK(refused(Code::bad_argument, tversky_loss({.alpha = 1e308, .beta = 1e308}), good) ==
        "tversky_loss: a factor of the overlap is -inf; must be a number.");
  for (const double alpha : {-0.5, 1.5, std::nan("")})
    CHECK(error_of(Code::bad_argument, [&] { dice_cldice({.alpha = alpha}); }) ==
          text("dice_cldice: alpha = ", alpha, "; must be 0 to 1."));
  CHECK(refused(Code::bad_argument, focal_loss({.alpha = {1, 2, 3}}), good) ==
        "focal_loss: 3 weights for 2 channels; must be none, 1 or one per channel.");
  CHECK(refused(Code::bad_argument, focal_loss({.gamma = -1}), good) ==
        "focal_loss: a weight or smoothing is -1 (gamma); must be 0 or more.");
  CHECK(refused(Code::bad_argument, dice_loss({.class_weights = {1, -2}}), good) ==
        "dice_loss: a class weight is -2; must be 0 or more.");
  CHECK(refused(Code::bad_argument, dice_ce({.label_smoothing = 1.5}), good) ==
        "dice_ce: label_smoothing = 1.5; must be 0 to 1.");
  CHECK(refused(Code::bad_argument, top_k_loss({.percent = 0}), good) ==
        "top_k_loss: percent = 0; must be above 0 and at most 100.");
  CHECK(refused(Code::bad_argument, hausdorff_loss({.alpha = -1}), good) == "hausdorff_loss: alpha = -1; must be 0 or more.");
  CHECK(refused(Code::bad_argument, boundary_loss({.spacing_mm = {1, 0, 1}}), good) ==
        "boundary_loss: spacing_mm = 1 x 0 x 1; must be 0.000001 to 1000000 mm.");
  CHECK(refused(Code::bad_argument, cldice_loss({.iterations = -1}), good) ==
        "cldice_loss: iterations = -1; must be 0 to 100.");
  CHECK(refused(Code::bad_argument, cldice_loss({.smooth = -1}), good) == "cldice_loss: a smoothing is -1; must be 0 or more.");
  CHECK(refused(Code::bad_argument, sum_of(dice_loss(), dice_loss(), {.second = HUGE_VAL}), good) ==
        "weighted_sum: a weight is inf; must be a number.");
}

TEST_CASE("a plan runs every loss as a tape does") {
  const Loss<S> losses[] = {dice_cldice(),
                            sum_of(hausdorff_loss(), boundary_loss()),
                            top_k_loss(),
                            dice_focal(),
                            region_loss(dice_bce(), {.regions = {{1, 2}, {2}, {0}}}),
                            [](Var<S> x, Var<S> labels) {
                              return deep_supervision(dice_ce())(
                                  std::vector<Var<S>>{x, average_pool(x), average_pool(x, {.kernel = 4, .stride = 4})}, labels);
                            }};
  Context<Cpu> ctx({.threads = 2});
  BasicUNet<S> net({.in_channels = 1, .out_channels = 3, .features = {4, 4, 4, 4, 4, 4}});
  net.initialize(ctx);
  const Sample<S> sample({2, 1, {32, 32}}, 3, 7);
  for (const auto& loss : losses) {
    Tape<S> eager(Mode::train, ctx), shapes(Mode::train, ctx.traits());
    const auto value = loss(net.forward(eager.input(sample.x.view())), eager.input(sample.labels.view()));
    Gradients<S> a(parameters_of<S>(net)), b(parameters_of<S>(net));
    eager.backward(value, a);
    const auto x = shapes.input(sample.x.shape()), labels = shapes.input(sample.labels.shape(), Dtype::u8);
    const auto planned = loss(net.forward(x), labels);
    const Plan<S> plan(shapes, {.loss = planned});
    Run<S> run(plan, ctx);
    sample.fill(run, x, labels);
    run.forward();
    run.backward(b);
    CHECK(run.scalar(planned) == value.scalar());
    CHECK(same_bits<float>(read_only(a).flat(), read_only(b).flat()));
    double size = 0;
    for (const float g : read_only(a).flat()) size += std::abs(double{g});
    CHECK(size > 0);
  }
}
