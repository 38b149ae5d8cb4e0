// A network's last 1x1x1 convolution and its loss as one op on the card: where it is taken, and that losses and gradients are
// those of the two ops on the CPU.
#include <doctest/doctest.h>

#include <ctseg/cuda.hpp>
#include <ctseg/loss/deep_supervision.hpp>
#include <ctseg/loss/focal.hpp>
#include <ctseg/loss/loss.hpp>
#include <ctseg/loss/nnunet.hpp>
#include <ctseg/loss/tversky.hpp>
#include <ctseg/nn/layers.hpp>
#include <ctseg/nn/run.hpp>
#include <ctseg/ops/cpu.hpp>

using namespace ctseg;

namespace {

struct HeadOptions {
  Index images = 1, classes = 2, channels = 8;
  Index ignored = -1, top = 0;   // labels: below top; 0: all classes
  bool bias = true;
};

/// Loss and all gradients of a 3x3x3 convolution, the head and a loss, as one step of a plan.
template <AnySpec S> struct Outcome {
  std::string op;
  double loss = 0;
  std::vector<double> gradients;

  template <class L> Outcome(const HeadOptions& o, const L& loss_of) {
    Context<typename S::Device> ctx({.threads = 1, .seed = 3});
    Conv<S> body({.in_channels = 1, .out_channels = o.channels});
    Conv<S> head({.in_channels = o.channels, .out_channels = o.classes, .kernel = 1, .bias = o.bias});
    RandomStream random({.seed = 4});
    std::vector<Parameter<S>*> all = {&body.weight, &body.bias, &head.weight};
    if (o.bias) all.push_back(&head.bias);
    for (auto* p : all)
      for (float& w : p->edit()) w = static_cast<float>(random.normal()) / 4;

    Shape<S::kDim> shape{o.images, 1, {}};
    shape.space.fill(S::kDim == 3 ? 5 : 11);
    Tape<S> tape(Mode::train, ctx.traits());
    const Var<S> x = tape.input(shape), labels = tape.input(shape, Dtype::u8);
    const Var<S> y = with_head(loss_of(head(body(x)), labels));
    op = tape.nodes()[at(y.id)].op->name();
    const Plan<S> plan(tape, {.loss = y});
    Run<S> run(plan, ctx);
    Tensor<typename S::T, S::kDim> image(shape);
    Tensor<std::uint8_t, S::kDim> truth(shape);
    const Index top = o.top > 0 ? o.top : std::max<Index>(2, o.classes);
    for (Index i = 0; i < shape.elements(); ++i) {
      image.data()[i] = typename S::T(static_cast<float>(std::round(random.normal() * 16) / 16));
      truth.data()[i] = static_cast<std::uint8_t>(o.ignored >= 0 && i % 5 == 2 ? o.ignored : (i * i + i / 3) % top);
    }
    from_host<S>(ctx, std::as_const(image).view(), run.input(x));
    from_host<S>(ctx, std::as_const(truth).view(), run.template input_as<std::uint8_t>(labels));
    Gradients<S> g(all);
    run.forward();
    loss = run.scalar(y);
    run.backward(g, 3);
    for (auto* p : all) {
      if constexpr (Memory<typename S::Device>::kOnHost)
        gradients.insert(gradients.end(), g.of(*p).begin(), g.of(*p).end());
      else
        for (const float v : g.download(*p)) gradients.push_back(double(v));
    }
  }
};

double apart(const std::vector<double>& a, const std::vector<double>& b) {
  REQUIRE(a.size() == b.size());
  double far = 0, most = 1e-30;
  for (std::size_t i = 0; i < a.size(); ++i) far = std::max(far, std::abs(a[i] - b[i])), most = std::max(most, std::abs(a[i]));
  return far / most;
}

/// The same on both; on the card as one op, or as what the CPU has.
template <int Dim = 3, class L> void check(bool joined, const HeadOptions& o, const L& loss) {
  CAPTURE(o.classes);
  CAPTURE(o.images);
  CAPTURE(Dim);
  const Outcome<Spec<float, Dim, Cpu>> host(o, loss);
  const Outcome<Spec<float, Dim, Cuda>> card(o, loss);
  CHECK(host.op != "Conv+Loss");
  CHECK((card.op == "Conv+Loss") == joined);
  CHECK(card.loss == doctest::Approx(host.loss).epsilon(1e-5));
  CHECK(apart(host.gradients, card.gradients) < 1e-5);
}

}   // namespace

TEST_CASE("head and loss as one op: 1 to 26 classes, 2-D and 3-D, one image and two") {
  for (const Index classes : {1, 2, 3, 14, 26})
    for (const Index images : {1, 2}) {
      const bool joined = classes > 1 && classes <= 8;
      check<3>(joined, {.images = images, .classes = classes}, dice_ce());
      check<2>(joined, {.images = images, .classes = classes}, dice_ce());
    }
}

TEST_CASE("head and loss as one op: losses, ignored voxels, no bias") {
  check(true, {.images = 2, .classes = 3, .ignored = 255}, dice_ce({.batch = true, .ignore_label = 255}));
  check(true, {.classes = 3, .ignored = 3}, nnunet_dice_ce({.ignore_label = 3}));
  check(true, {.images = 2, .classes = 3, .bias = false}, dice_ce({.include_background = false, .squared_pred = true}));
  check(true, {.classes = 4, .channels = 6}, dice_ce({.jaccard = true, .class_weights = {1, 2, 0.5, 3}}));
  check(true, {.classes = 3}, dice_ce({.dice_weight = 0}));
  check(true, {.classes = 3}, dice_ce({.ce_weight = 0}));
  check(true, {.classes = 3}, tversky_loss());
  check(true, {.classes = 3}, focal_loss({.gamma = 0, .use_softmax = true}));
}

TEST_CASE("two ops stay two: other losses, heads of other forms, several readers") {
  check(false, {.classes = 3}, dice_ce({.label_smoothing = 0.1}));
  check(false, {.classes = 3}, dice_focal());
  check(false, {.classes = 3}, focal_loss({.gamma = 0}));   // of sigmoids
  check(false, {.classes = 2, .channels = 65}, dice_ce());
  check(false, {.classes = 3}, sum_of(dice_ce(), tversky_loss()));
  check(false, {.classes = 3}, [](auto logits, auto labels) { return dice_ce()(leaky_relu(logits), labels); });
}

TEST_CASE("head and loss as one op in bf16: within its rounding of the two") {
  using B = Spec<bf16, 3, Cuda>;
  const HeadOptions o{.images = 2, .classes = 3, .channels = 16};
  const Outcome<B> joined(o, dice_ce());
  const Outcome<B> apart_ops(
      o, [](auto logits, auto labels) { return logits.tape->append(WeightedSumOp<B>{{1}}, {dice_ce()(logits, labels)}); });
  CHECK(joined.op == "Conv+Loss");
  CHECK(apart_ops.op == "WeightedSum");
  CHECK(joined.loss == doctest::Approx(apart_ops.loss).epsilon(2e-3));
  CHECK(apart(apart_ops.gradients, joined.gradients) < 2e-2);
}

TEST_CASE("a label that is no class is refused when the loss is read") {
  CHECK_THROWS_WITH((Outcome<Spec<float, 3, Cuda>>({.classes = 3, .top = 6}, dice_ce())),
                    doctest::Contains("a label is 5, which is no class of the logits"));
  CHECK_THROWS_WITH((Outcome<Spec<float, 3, Cpu>>({.classes = 3, .top = 6}, dice_ce())),
                    doctest::Contains("the logits have 3 classes"));
}

TEST_CASE("deep supervision joins every head") {
  const auto outcome = []<AnySpec S>() {
    Context<typename S::Device> ctx({.threads = 1, .seed = 3});
    Conv<S> body({.in_channels = 1, .out_channels = 4}), fine({.in_channels = 4, .out_channels = 3, .kernel = 1}),
        coarse({.in_channels = 4, .out_channels = 3, .kernel = 1});
    std::vector<Parameter<S>*> all = {&body.weight, &body.bias, &fine.weight, &fine.bias, &coarse.weight, &coarse.bias};
    RandomStream random({.seed = 4});
    for (auto* p : all)
      for (float& w : p->edit()) w = static_cast<float>(random.normal());
    Tape<S> tape(Mode::train, ctx.traits());
    const Shape<3> shape{1, 1, {4, 4, 8}};
    const Var<S> x = tape.input(shape), labels = tape.input(shape, Dtype::u8), h = body(x);
    const Var<S> y = deep_supervision(dice_ce())(std::vector<Var<S>>{fine(h), coarse(max_pool(h))}, labels);
    const auto joined =
        std::count_if(tape.nodes().begin(), tape.nodes().end(), [](const Node<S>& n) { return n.op->name() == "Conv+Loss"; });
    const Plan<S> plan(tape, {.loss = y});
    Run<S> run(plan, ctx);
    Tensor<float, 3> image(shape);
    Tensor<std::uint8_t, 3> truth(shape);
    for (Index i = 0; i < shape.elements(); ++i)
      image.data()[i] = static_cast<float>(random.normal()), truth.data()[i] = static_cast<std::uint8_t>(i % 3);
    from_host<S>(ctx, std::as_const(image).view(), run.input(x));
    from_host<S>(ctx, std::as_const(truth).view(), run.template input_as<std::uint8_t>(labels));
    Gradients<S> g(all);
    run.forward();
    const double loss = run.scalar(y);
    run.backward(g);
    std::vector<double> sums;
    for (auto* p : all) {
      const auto values = [&] {
        if constexpr (Memory<typename S::Device>::kOnHost)
          return std::vector<float>(g.of(*p).begin(), g.of(*p).end());
        else
          return g.download(*p);
      }();
      sums.insert(sums.end(), values.begin(), values.end());
    }
    return std::tuple(joined, loss, sums);
  };
  const auto [none, loss, sums] = outcome.operator()<Spec<float, 3, Cpu>>();
  const auto [two, card_loss, card_sums] = outcome.operator()<Spec<float, 3, Cuda>>();
  CHECK(none == 0);
  CHECK(two == 2);
  CHECK(card_loss == doctest::Approx(loss).epsilon(1e-5));
  CHECK(apart(sums, card_sums) < 1e-5);
}
