// Batch norm folded into convolutions: the same output from plain convolutions.
#include "support/plan_checks.hpp"

#include <ctseg/models/basic_unet.hpp>
#include <ctseg/models/residual_unet.hpp>
#include <ctseg/models/unet.hpp>
#include <ctseg/nn/fold.hpp>
#include <ctseg/nn/predictor.hpp>

using namespace ctseg;
using namespace ctseg::test;

using F3 = Spec<float, 3, Cpu>;
using D2 = Spec<double, 2, Cpu>;

/// Statistics, scales and shifts that a training could have left.
template <class Net> static void trained(Net& net) {
  RandomStream random({.seed = 3});
  Context<Cpu> ctx({.threads = 1, .seed = 2});
  net.initialize(ctx);
  visit(net, [&](const std::string& name, auto& p) {
    const bool variance = name.ends_with("running_var");
    if (p.layout() != WeightLayout::plain) return;
    for (auto& v : p.edit())
      v = static_cast<std::remove_cvref_t<decltype(v)>>(variance ? random.uniform(0.3, 3)
                                                                 : double{v} + random.uniform(-0.5, 0.5));
  });
}

template <AnySpec S, class Net> static std::vector<double> infer(const Net& net, const Shape<S::kDim>& shape) {
  Context<Cpu> ctx({.threads = 1});
  Predictor<Net> predictor(ctx, net, shape);
  const auto x = random_tensor<typename S::T>(shape, 5);
  const In<S> y = predictor(x.view());
  std::vector<double> all;
  for (Index r = 0; r < y.rows(); ++r) all.insert(all.end(), y.row(r), y.row(r) + y.shape.c);
  return all;
}

template <AnySpec S, class Net> static void check_folded(Net net, Index blocks, const Shape<S::kDim>& shape, double tolerance) {
  trained(net);
  const auto before = infer<S>(net, shape);
  const Net copy = net;
  CHECK(fold_batch_norm(net) == blocks);
  const auto after = infer<S>(net, shape);
  double apart = 0, largest = 0;
  for (std::size_t i = 0; i < before.size(); ++i)
    apart = std::max(apart, std::abs(before[i] - after[i])), largest = std::max(largest, std::abs(before[i]));
  INFO(apart << " apart, largest " << largest);
  CHECK(largest > 0.01);
  CHECK(apart <= tolerance * largest);
  visit(net, [&](const std::string& name, const auto& p) {   // plain convolutions and slopes are left
    CHECK((name.ends_with("weight") || name.ends_with("bias")));
    CHECK(p.role() == Role::trained);
    CHECK(name.find("adn.N") == std::string::npos);
    CHECK(name.find("norm.") == std::string::npos);
  });
  CHECK(fold_batch_norm(net) == 0);
  CHECK(infer<S>(copy, shape) == before);   // a copy keeps its own
}

TEST_CASE("folded networks give the output they gave") {
  check_folded<F3>(BasicUNet<F3>({.features = {4, 4, 6, 6, 8, 4}, .norm = NormKind::batch}), 18, {1, 1, {17, 16, 20}}, 1e-5);
  check_folded<F3>(UNet<F3>({.out_channels = 2, .features = {4, 6, 8}, .bias = false}), 10, {2, 1, {8, 12, 16}}, 1e-5);
  check_folded<F3>(ResidualUNet<F3>({.channels = {3, 4, 6}, .strides = {2, 2}, .num_res_units = 2, .norm = NormKind::batch}), 9,
                   {1, 1, {8, 8, 12}}, 1e-5);
  check_folded<D2>(UNet<D2>({.features = {4, 6, 8}}), 10, {1, 1, {8, 12}}, 1e-12);
}

/// The second block's value is added to its input, upsampled.
struct Groups {
  using Spec = D2;
  Block<D2> first{{.conv = {.in_channels = 4, .out_channels = 6, .bias = false, .groups = 2},
                   .norm = NormKind::batch,
                   .activation = prelu_per_channel()}};
  Block<D2> second{{.conv = {.in_channels = 6, .out_channels = 4, .kernel = 2, .stride = 2, .transposed = true, .groups = 2},
                    .norm = NormKind::batch,
                    .affine = false}};
  Block<D2> third{{.conv = {.in_channels = 4, .out_channels = 4}}};   // instance norm stays
  void initialize(const Context<Cpu>& ctx) { initialize_default(*this, ctx.seed()); }
  Var<D2> forward(Var<D2> x) const { return third(second(first(x), upsample(x))); }
  template <class Self, class F> static void each(Self& self, const std::string& prefix, F f) {
    Block<D2>::each(self.first, prefix + "first.", f);
    Block<D2>::each(self.second, prefix + "second.", f);
    Block<D2>::each(self.third, prefix + "third.", f);
  }
};

TEST_CASE("groups, transposed convolutions, norms without gamma, and slopes are folded alike") {
  Groups net;
  trained(net);
  const auto before = infer<D2>(net, {1, 4, {5, 6}});
  CHECK(fold_batch_norm(net) == 2);
  const auto after = infer<D2>(net, {1, 4, {5, 6}});
  for (std::size_t i = 0; i < before.size(); ++i) CHECK(after[i] == doctest::Approx(before[i]).epsilon(1e-10));
  std::vector<std::string> names;
  visit(net, [&](const std::string& name, const auto&) { names.push_back(name); });
  CHECK((names == std::vector<std::string>{"first.conv.weight", "first.conv.bias", "first.adn.A.weight", "second.conv.weight",
                                           "second.conv.bias", "third.conv.weight", "third.conv.bias", "third.adn.N.weight",
                                           "third.adn.N.bias"}));
}

/// Two blocks with the weights of one.
struct Tied : Groups {
  Tied() {
    second = first;
    second.conv.weight = first.conv.weight.share();
  }
  Var<D2> forward(Var<D2> x) const { return second(concat(slice_channels(first(x), 0, 2), slice_channels(x, 0, 2))); }
};

TEST_CASE("blocks that share weights get weights of their own, and an optimizer keeps the old ones") {
  Tied net;
  trained(net);
  const Parameter<D2> held = net.first.conv.weight.share();
  const std::vector<double> old(held.values().begin(), held.values().end());
  const auto before = infer<D2>(net, {1, 4, {5, 6}});
  CHECK(fold_batch_norm(net) == 2);
  const auto after = infer<D2>(net, {1, 4, {5, 6}});
  for (std::size_t i = 0; i < before.size(); ++i) CHECK(after[i] == doctest::Approx(before[i]).epsilon(1e-10));
  CHECK(std::equal(old.begin(), old.end(), held.values().begin()));
}
