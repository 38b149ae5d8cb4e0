// Whether a network may run with Accuracy::fast, measured on a case: what the report says, and when the limits hold.
#include <doctest/doctest.h>

#include <ctseg/infer/accuracy.hpp>
#include <ctseg/models/basic_unet.hpp>
#include <ctseg/ops/cpu.hpp>

using namespace ctseg;

namespace {

Volume<float> noise(Xyz<Index> shape) {
  Volume<float> v({shape, Affine<Ras>(Eigen::Matrix4d::Identity())});
  RandomStream random({8});
  for (float& x : v.voxels()) x = static_cast<float>(random.uniform());
  return v;
}

template <int Dim> BasicUNet<Spec<float, Dim, Cpu>> network(Index classes = 3) {
  BasicUNet<Spec<float, Dim, Cpu>> net{{.out_channels = classes, .features = {16, 16, 32, 32, 32, 16}}};
  Context<Cpu> ctx({.threads = 1, .seed = 5});
  net.initialize(ctx);
  return net;
}

/// No norm and one logit, which nothing but rounding decides: a constant image makes a constant, the bias takes it off.
struct Knife {
  using S = ctseg::Spec<float, 3, Cpu>;
  using Spec = S;
  Conv<S> first{{.in_channels = 1, .out_channels = 32, .bias = false}},
      mix{{.in_channels = 32, .out_channels = 32, .bias = false}}, head{{.in_channels = 32, .out_channels = 1, .kernel = 1}};
  Var<S> forward(Var<S> x) const { return head(mix(first(x))); }
  template <class Self, class F> static void each(Self& self, const std::string& prefix, F f) {
    Conv<S>::each(self.first, prefix + "first.", f);
    Conv<S>::each(self.mix, prefix + "mix.", f);
    Conv<S>::each(self.head, prefix + "head.", f);
  }
};

}   // namespace

TEST_CASE("check_accuracy: the labels of both ways, counted as sliding_window_labels makes them") {
  const auto net = network<3>();
  const auto image = noise({37, 40, 33});
  const AccuracyCheckOptions<3> o{.window = {.window = 32, .overlap = 0.25}};
  const AccuracyReport r = check_accuracy({.threads = 2}, net, image, o);
  Context<Cpu> fast({.threads = 1, .accuracy = Accuracy::fast}), strict({.threads = 1, .accuracy = Accuracy::strict});
  const auto mine = sliding_window_labels(fast, net, image, o.window),
             theirs = sliding_window_labels(strict, net, image, o.window);
  Index differ = 0;
  for (std::size_t v = 0; v < mine.voxels().size(); ++v) differ += mine.voxels()[v] != theirs.voxels()[v];
  CHECK(r.voxels == image.grid().voxels());
  CHECK(r.differ == differ);
  CHECK(r.labels == overlap_table(mine, theirs, 3));
  CHECK(r.agreement() == doctest::Approx(1 - static_cast<double>(differ) / static_cast<double>(r.voxels)).epsilon(1e-12));
  CHECK(r.largest > 0);
  CHECK(r.max_difference > 1e-7 * r.largest);   // it did take another way
  CHECK(r.max_difference < 2e-4 * r.largest);
  CHECK(r.seconds > 0);
  CHECK(r.against_seconds > 0);
  CHECK(text(r).starts_with("fast against strict: "));
}

TEST_CASE("check_accuracy: limits, and what choose_accuracy makes of them") {
  const auto net = network<3>();
  const auto image = noise({32, 32, 32});
  AccuracyCheckOptions<3> o{.window = {.window = 32}, .least_agreement = 0.99, .least_dice = 0.9};
  const AccuracyReport r = check_accuracy({.threads = 2}, net, image, o);
  REQUIRE(r.agreement() >= 0.99);
  for (std::size_t l = 0; l < 3; ++l) REQUIRE(r.dice(l) >= 0.9);
  CHECK(r.holds);
  CHECK(choose_accuracy({.threads = 2}, net, image, o) == Accuracy::fast);
  o.least_agreement = 1.1;
  CHECK(choose_accuracy({.threads = 2}, net, image, o) == Accuracy::standard);
  o.least_agreement = 0.99, o.least_dice = 1.1;
  CHECK(choose_accuracy({.threads = 2}, net, image, o) == Accuracy::standard);
}

TEST_CASE("check_accuracy: a network whose logits are all near 0 is refused the fast way") {
  Knife net;
  initialize_default(net, 3);
  Volume<float> image = noise({32, 32, 32});
  std::fill(image.voxels().begin(), image.voxels().end(), 0.3f);
  Context<Cpu> strict({.threads = 1, .accuracy = Accuracy::strict});
  Predictor<Knife> predict(strict, net, image.tensor_shape());
  const float middle = predict({image.data(), image.tensor_shape(), 1}).row((16 * 32 + 16) * 32 + 16)[0];
  visit(net, [&](const std::string& name, auto& p) {
    if (name == "head.bias") p.edit()[0] -= middle;
  });
  const AccuracyReport r = check_accuracy({.threads = 2}, net, image, {.window = {.window = 32}});
  INFO(text(r));
  CHECK(r.labels.size() == 2);   // of one logit: above 0 or not
  CHECK(r.differ > 0);
  CHECK(r.labels[1].fp + r.labels[1].fn == r.differ);
  CHECK(!r.holds);
}

TEST_CASE("check_accuracy: slices of a 2-D network") {
  const auto net = network<2>();
  const auto image = noise({37, 40, 3});
  const AccuracyCheckOptions<2> o{.window = {.window = 32, .overlap = 0.25}};
  const AccuracyReport r = check_accuracy({.threads = 2}, net, image, o);
  Context<Cpu> fast({.threads = 1, .accuracy = Accuracy::fast}), strict({.threads = 1, .accuracy = Accuracy::strict});
  CHECK(r.labels == overlap_table(sliding_window_labels(fast, net, image, o.window),
                                  sliding_window_labels(strict, net, image, o.window), 3));
}

TEST_CASE("check_accuracy: logits that are not finite never hold; equal accuracies are refused") {
  const auto net = network<3>();
  auto image = noise({32, 32, 32});
  image.data()[5] = std::numeric_limits<float>::quiet_NaN();
  const AccuracyReport r =
      check_accuracy({.threads = 2}, net, image, {.window = {.window = 32}, .least_agreement = 0, .least_dice = 0});
  CHECK(!r.holds);
  CHECK_THROWS_WITH_AS(check_accuracy({}, net, image, {.accuracy = Accuracy::strict}),
                       "check_accuracy: would compare strict with itself.", Error);
}
