#include <doctest/doctest.h>

#include <ctseg/recipe/model_file.hpp>
#include <ctseg/train/fit.hpp>
#include <set>

using namespace ctseg;

template AnyModel ctseg::make_model<float, Cpu>(const NetworkConfig&);   // for all files of this program

namespace {

template <int Dim> std::vector<NetworkOptions<Dim>> small_networks() {
  return {BasicUNetOptions{.out_channels = 3, .features = {2, 2, 4, 4, 4, 2}},
          UNetOptions{.out_channels = 3, .features = {2, 4}},
          ResidualUNetOptions<Dim>{.out_channels = 3, .channels = {2, 4}, .strides = {2}, .num_res_units = 1},
          DynUNetOptions<Dim>{.out_channels = 3, .filters = {2, 2, 4}, .deep_supervision = true},
          PlainConvUNetOptions<Dim>{.out_channels = 3, .features_per_stage = {2, 4, 4}},
          ResidualEncoderUNetOptions<Dim>{.out_channels = 3, .features_per_stage = {2, 4}},
          SegResNetOptions{.out_channels = 3, .init_filters = 2, .blocks_down = {1, 1}, .blocks_up = {1}, .groups = 2},
          VNetOptions{.out_channels = 3, .width = 2},
          AttentionUnetOptions<Dim>{.out_channels = 3, .channels = {2, 4}, .strides = {2}}};
}

template <int Dim, class Options> void check_against(const AnyModel& model, const Options& o) {
  using S = Spec<float, Dim, Cpu>;
  const typename NetworkOf<Options>::template Net<S> net(o);
  CHECK(model.parameter_count() == parameter_count(net));
  CHECK(model_file::least_weights(o) <= static_cast<double>(parameter_count(net)));
  std::vector<std::string> own, wanted;
  visit(model, [&](const std::string& name, const auto&) { own.push_back(name); });
  visit(net, [&](const std::string& name, const auto&) { wanted.push_back(name); });
  CHECK(own == wanted);
}

}   // namespace

TEST_CASE_TEMPLATE("every network is behind one type, with its own names and sizes", Dim, std::integral_constant<int, 2>,
                   std::integral_constant<int, 3>) {
  constexpr int kDim = Dim::value;
  Context<Cpu> ctx{{.threads = 1}};
  std::set<std::string> names;
  for (const NetworkOptions<kDim>& options : small_networks<kDim>()) {
    const NetworkConfig config = options;
    AnyModel model = make_model(config);
    CAPTURE(model.name());
    names.insert(model.name());
    CHECK(model.dim() == kDim);
    CHECK(model.out_channels() == 3);
    CHECK(text(model.config()) == text(model.name(), ", ", kDim, "-D, 1 -> 3 channels"));
    std::visit([&](const auto& o) { check_against<kDim>(model, o); }, options);

    const WindowShape window{std::vector<Index>(kDim, 32), 2};
    model.check_window(window);
    CHECK(model.memory(window).total() > model.parameter_count() * 4);
    model.initialize(ctx);
    const bool fine = model.visit([&]<class Net>(const Net& net) {
      using S = typename Net::Spec;
      Predictor<Net> predict(ctx, net, {2, 1, Axes<S::kDim>(32).value});
      std::fill_n(predict.input().data, predict.input_shape().elements(), 0.5f);
      const In<S> out = predict();
      return out.shape == Shape<S::kDim>{2, 3, Axes<S::kDim>(32).value} &&
             all_finite(std::span(out.data, static_cast<std::size_t>(out.shape.elements())));
    });
    CHECK(fine);
  }
  CHECK(names.size() == std::variant_size_v<NetworkOptions<kDim>>);
}

TEST_CASE("a window that a network cannot take is refused with what it could") {
  const AnyModel vnet = make_model(NetworkOptions<3>(VNetOptions{.width = 2}));
  CHECK(vnet.divisor() == std::vector<Index>{16, 16, 16});
  CHECK_THROWS_WITH_AS(vnet.check_window({{96, 90, 96}}),
                       "VNet: input [1,1,96,90,96] is not a multiple of 16x16x16. Hint: pad it to 96x96x96 or crop it to "
                       "96x80x96.",
                       Error);
  CHECK_THROWS_WITH_AS(vnet.check_window({{96, 96}}), "VNet: a window of 2 axes for a network of 3.", Error);
  const AnyModel basic = make_model(NetworkOptions<2>(BasicUNetOptions{.features = {2, 2, 2, 2, 2, 2}}));
  CHECK_THROWS_WITH_AS(basic.check_window({{15, 32}}),
                       "BasicUNet: input [1,1,15,32] is too small; every axis needs 16 or more.", Error);
}

TEST_CASE("copies are deep, and a fold reaches the blocks") {
  Context<Cpu> ctx{{.threads = 1, .seed = 3}};
  const AnyModel empty = make_model(NetworkOptions<2>(UNetOptions{.features = {2, 4}}));
  AnyModel model = empty;
  model.initialize(ctx);
  const auto largest = [](const AnyModel& m) {
    float most = 0;
    visit(m, [&](const std::string& name, const auto& p) {
      if (name.ends_with("conv.weight"))
        for (const float v : p.values()) most = std::max(most, std::abs(v));
    });
    return most;
  };
  CHECK(largest(empty) == 0);
  CHECK(largest(model) > 0.1f);
  const Index before = model.parameter_count();
  CHECK(model.visit([](auto& net) { return fold_batch_norm(net); }) == 6);
  CHECK(model.parameter_count() < before);
}

TEST_CASE("fit trains a network that came from a switch as it trains any other") {
  const Grid grid{{.x = 20, .y = 20, .z = 20}, Affine<Ras>(Eigen::Matrix4d::Identity())};
  Case c{"bright", Volume<float>(grid), Volume<std::uint8_t>(grid)};
  for (Index i = 0; i < grid.voxels(); ++i) {
    c.label.data()[i] = i % 20 < 8;
    c.image.data()[i] = i % 20 < 8 ? 1.f : 0.f;
  }
  Context<Cpu> ctx{{.threads = 1, .seed = 1}};
  AnyModel model = make_model(NetworkOptions<3>(UNetOptions{.out_channels = 2, .features = {2, 4}}));
  model.initialize(ctx);
  model.visit([&]<class Net>(Net& net) {
    using S = typename Net::Spec;
    if constexpr (S::kDim == 3) {
      AdamW<S> adam{net.parameters(), {.learning_rate = 1e-2f}};
      const PatchSampler<S> patches({c}, {.patch = 16});
      const double first = fit(ctx, net, adam, patches, {.steps = 1}).loss;
      CHECK(fit(ctx, net, adam, patches, {.steps = 40}).loss < 0.8 * first);
    }
  });
}
