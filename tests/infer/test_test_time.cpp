// Mirroring, ensembles and scales held against their definitions written out in loops, and PyTorch's and MONAI's values.
#include "parity/fixture_file.hpp"

#include <ctseg/infer/test_time.hpp>
#include <ctseg/models/basic_unet.hpp>
#include <ctseg/ops/cpu.hpp>

using namespace ctseg;
using S = Spec<float, 3, Cpu>;

namespace {

Tensor<float, 3> noise(const Shape<3>& shape, std::uint64_t seed = 1) {
  Tensor<float, 3> t(shape);
  RandomStream random({seed});
  for (Index i = 0; i < shape.elements(); ++i) t.data()[i] = static_cast<float>(random.normal());
  return t;
}

/// Three logits of two channels that depend on the place, so that nothing is the same after turning.
/// make_prediction_fixtures.py has the same formula.
struct Crooked {
  float strength = 1;
  std::vector<float> out{};   // a tensor would not copy
  Index calls = 0;

  In<S> operator()(In<S> x) {
    ++calls;
    out.resize(static_cast<std::size_t>(3 * x.rows()));
    const auto [d, h, w] = x.shape.space;
    for (Index r = 0; r < x.rows(); ++r) {
      const float a = x.row(r)[0], b = x.row(r)[1];
      const auto k = static_cast<float>(r % w) + 2 * static_cast<float>(r / w % h) + 3 * static_cast<float>(r / w / h % d);
      out.data()[3 * r] = strength * (a * 0.1f * k - b);
      out.data()[3 * r + 1] = a * b + 0.05f * k;
      out.data()[3 * r + 2] = strength * a * a - 0.02f * k * b;
    }
    return {out.data(), x.shape.with_channels(3), 3};
  }
};

template <class T> Tensor<T, 3> turned(const View<const T, 3>& x, const std::array<bool, 3>& flips) {
  Tensor<T, 3> out(x.shape);
  const auto [d, h, w] = x.shape.space;
  for (Index n = 0; n < x.shape.n; ++n)
    for (Index z = 0; z < d; ++z)
      for (Index y = 0; y < h; ++y)
        for (Index i = 0; i < w; ++i)
          for (Index c = 0; c < x.shape.c; ++c)
            out(n, c, z, y, i) =
                x.at(n, ((flips[0] ? d - 1 - z : z) * h + (flips[1] ? h - 1 - y : y)) * w + (flips[2] ? w - 1 - i : i))[c];
  return out;
}
std::vector<float> values(In<S> x) { return {x.data, x.data + x.shape.elements()}; }
double apart(In<S> found, const Tensor<float, 3>& want) {
  REQUIRE(found.shape == want.shape());
  double worst = 0;
  for (Index i = 0; i < want.shape().elements(); ++i)
    worst = std::max(worst, std::abs(double{found.data[i]} - double{want.data()[i]}));
  return worst;
}

}   // namespace

TEST_CASE("mirrored: nnU-Net's mean of logits over all mirror images, summed in its order") {
  Context<Cpu> ctx{{.threads = 2}};
  const auto x = noise({2, 2, {5, 4, 7}});
  Crooked net;
  // axes, and the order of nnU-Net's sum: single axes, pairs, all
  const std::vector<std::pair<std::vector<int>, std::vector<std::array<bool, 3>>>> cases = {
      {{}, {{0, 0, 0}, {1, 0, 0}, {0, 1, 0}, {0, 0, 1}, {1, 1, 0}, {1, 0, 1}, {0, 1, 1}, {1, 1, 1}}},
      {{2, 1}, {{0, 0, 0}, {0, 1, 0}, {0, 0, 1}, {0, 1, 1}}},
      {{0}, {{0, 0, 0}, {1, 0, 0}}}};
  for (const auto& [axes, order] : cases) {
    std::vector<float> sum(static_cast<std::size_t>(x.view().rows() * 3), 0.f);
    for (const auto& flips : order) {
      const auto in = turned<float>(x.view(), flips);
      const auto back = turned<float>(net(in), flips);
      for (std::size_t i = 0; i < sum.size(); ++i) sum[i] += back.data()[i];
    }
    for (float& v : sum) v /= static_cast<float>(order.size());
    net.calls = 0;
    auto predict = mirrored<S>(ctx, net, {.axes = axes});
    CHECK(values(predict(x)) == sum);
    CHECK(values(predict(x)) == sum);   // nothing stays from the call before
    CHECK(net.calls == 2 * std::ssize(order));
  }
  CHECK_THROWS_WITH_AS(mirrored<S>(ctx, net, {.axes = {3}}), doctest::Contains("axis 3"), Error);
  CHECK_THROWS_WITH_AS(mirrored<S>(ctx, net, {.axes = {1, 1}}), doctest::Contains("at most once"), Error);
}

TEST_CASE("wrappers stay callables: mirrored folds in the order of averages, the same bits for any number of threads") {
  const auto x = noise({1, 2, {6, 5, 9}});
  std::vector<std::vector<float>> all;
  for (const int threads : {1, 2, 4}) {
    Context<Cpu> ctx{{.threads = threads}};
    auto folds = ensemble<S>(ctx, std::vector<Crooked>{{1}, {0.5f}, {2}}, {.average = Scores::softmax});
    auto predict = mirrored<S>(ctx, folds);
    all.push_back(values(predict(x)));
  }
  CHECK(all[0] == all[1]);
  CHECK(all[0] == all[2]);
  for (std::size_t i = 0; i < all[0].size(); i += 3) REQUIRE(all[0][i] + all[0][i + 1] + all[0][i + 2] == doctest::Approx(1));
}

TEST_CASE("an ensemble of networks; what is refused") {
  Context<Cpu> ctx{{.threads = 1, .seed = 3}};
  const Shape<3> windows{1, 1, {16, 16, 16}};
  std::vector<BasicUNet<S>> nets;
  for (std::uint64_t seed : {1, 2}) {
    nets.emplace_back(BasicUNetOptions{.out_channels = 3, .features = {4, 4, 4, 4, 4, 4}});
    nets.back().initialize(Context<Cpu>{{.threads = 1, .seed = seed}});
  }
  std::vector<Predictor<BasicUNet<S>>> folds;
  for (const auto& net : nets) folds.emplace_back(ctx, net, windows);
  const auto x = noise(windows);
  const std::vector<float> a = values(folds[0](x)), b = values(folds[1](x));
  auto both = ensemble<S>(ctx, std::move(folds), {.weights = {3, 1}});
  const std::vector<float> mean = values(both(x));
  for (std::size_t i = 0; i < mean.size(); ++i) REQUIRE(mean[i] == (3 * a[i] + b[i]) / 4);

  auto scales = multi_scale<S>(ctx, [&](const Shape<3>& shape) { return Predictor<BasicUNet<S>>(ctx, nets[0], shape); },
                               {.scales = {1, 1.5}, .divisor = 16});
  CHECK(scales(x).shape == windows.with_channels(3));
  CHECK(values(scales(x)) != a);

  CHECK_THROWS_WITH_AS(ensemble<S>(ctx, std::vector<Crooked>{}), doctest::Contains("0 members"), Error);
  CHECK_THROWS_WITH_AS(ensemble<S>(ctx, std::vector<Crooked>(2), {.weights = {1}}), doctest::Contains("1 weights"), Error);
  CHECK_THROWS_AS(ensemble<S>(ctx, std::vector<Crooked>(2), {.weights = {1, -1}}), Error);
  const auto one = [](const Shape<3>&) { return Crooked{}; };
  CHECK_THROWS_WITH_AS(multi_scale<S>(ctx, one, {.scales = {0}}), doctest::Contains("a scale of 0"), Error);
  CHECK_THROWS_AS(multi_scale<S>(ctx, one, {.scales = {}}), Error);
  const auto small = noise({1, 3, {2, 2, 2}});
  auto wrong = mirrored<S>(ctx, [&](In<S>) { return In<S>(small.view()); });
  CHECK_THROWS_WITH_AS(wrong(x), doctest::Contains("[1,3,2,2,2]"), Error);
}

TEST_CASE("16-bit networks: sums are float, rounded once") {
  using S16 = Spec<bf16, 3, Cpu>;
  Context<Cpu> ctx{{.threads = 1}};
  Tensor<bf16, 3> x({1, 1, {2, 3, 4}});
  for (Index i = 0; i < 24; ++i) x.data()[i] = bf16(static_cast<float>(i) / 7);
  Index call = 0;
  Tensor<bf16, 3> out(x.shape());
  const auto predict = [&](In<S16> w) {
    for (Index i = 0; i < 24; ++i) out.data()[i] = bf16(static_cast<float>(w.data[i]) + 0.01f * static_cast<float>(call));
    ++call;
    return In<S16>(out.view());
  };
  auto two = mirrored<S16>(ctx, predict, {.axes = {2}});
  const In<S16> mean = two(x);
  for (Index i = 0; i < 24; ++i) {
    const auto v = static_cast<float>(x.data()[i]);
    REQUIRE(static_cast<float>(mean.data[i]) == static_cast<float>(bf16((v + static_cast<float>(bf16(v + 0.01f))) / 2)));
  }
}

TEST_CASE("PyTorch, nnU-Net and MONAI: mirrored, ensembles, scales, in logits and probabilities") {
  const test::Fixture f("prediction");
  Context<Cpu> ctx{{.threads = 2}};
  const auto x = f.tensor<float, 3>("windows");
  Crooked net;
  CHECK(apart(net(x), f.tensor<float, 3>("plain")) < 1e-5);
  CHECK(apart(mirrored<S>(ctx, net)(x), f.tensor<float, 3>("mirrored.nnunet")) < 1e-5);
  CHECK(apart(mirrored<S>(ctx, net, {.axes = {0, 2}})(x), f.tensor<float, 3>("mirrored.nnunet.02")) < 1e-5);
  CHECK(apart(mirrored<S>(ctx, net, {.average = Scores::softmax})(x), f.tensor<float, 3>("mirrored.softmax")) < 1e-6);
  const std::vector<Crooked> folds{{1}, {0.5f}};
  CHECK(apart(ensemble<S>(ctx, folds, {.average = Scores::sigmoid})(x), f.tensor<float, 3>("ensemble.sigmoid")) < 1e-6);
  CHECK(apart(ensemble<S>(ctx, folds, {.weights = {1, 3}})(x), f.tensor<float, 3>("ensemble.weighted")) < 1e-5);
  std::vector<Shape<3>> made;
  auto scales = multi_scale<S>(ctx, [&](const Shape<3>& shape) { return made.push_back(shape), Crooked{}; },
                               {.scales = {1, 0.5, 1.5}, .divisor = 2});
  CHECK(apart(scales(x), f.tensor<float, 3>("scales")) < 1e-5);
  CHECK(apart(scales(x), f.tensor<float, 3>("scales")) < 1e-5);
  REQUIRE(made.size() == 3);
  CHECK(made[1].space == std::array<Index, 3>{4, 4, 6});
  CHECK(made[2].space == std::array<Index, 3>{12, 10, 16});
}
