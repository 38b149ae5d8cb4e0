// A block's forms: without a norm, with a residual value, with slopes per channel, and what its parameters are called.
#include <doctest/doctest.h>

#include <ctseg/core/tensor.hpp>
#include <ctseg/nn/init.hpp>
#include <ctseg/nn/layers.hpp>
#include <ctseg/ops/cpu.hpp>

using namespace ctseg;
using S = Spec<double, 2, Cpu>;

namespace {
std::vector<std::string> names(const Block<S>& block) {
  std::vector<std::string> all;
  visit(block, [&](const std::string& name, const auto&) { all.push_back(name); });
  return all;
}
Block<S> block(BlockOptions<2> o) {
  o.conv.in_channels = o.conv.out_channels = 3;
  Block<S> made(o);
  initialize_default(made, 7);
  return made;
}
double difference(Var<S> a, Var<S> b) {
  REQUIRE(a.shape() == b.shape());
  double most = 0;
  for (Index r = 0; r < a.value().rows(); ++r)
    for (Index c = 0; c < a.shape().c; ++c) most = std::max(most, std::abs(a.value().row(r)[c] - b.value().row(r)[c]));
  return most;
}
struct Values {
  Context<Cpu> ctx{{.threads = 1}};
  Tape<S> tape{Mode::train, ctx};
  Var<S> x = value(1), y = value(2);
  Var<S> value(std::uint64_t seed) {
    Tensor<double, 2> t({.n = 1, .c = 3, .space = {4, 5}});
    for (Index i = 0; i < 60; ++i) t.view().data[i] = std::sin(double(i * i) + double(seed));
    return tape.input(t.view());
  }
};
}   // namespace

TEST_CASE("A block adds its second value before the activation") {
  for (const bool fused : {true, false}) {
    Values v;
    const auto b = block({.activation = relu(), .fused = fused});
    auto plain = block({.activation = {}});
    CHECK(difference(b(v.x, v.y), relu(add(plain(v.x), v.y))) < 1e-12);
    CHECK(difference(b(v.x), relu(plain(v.x))) < 1e-12);
  }
}

TEST_CASE("A block refuses a dropout that is no probability, which would drop nothing in silence") {
  for (const float p : {NAN, -0.5f, 1.f})
    CHECK_THROWS_WITH_AS(block({.dropout = p}), doctest::Contains("must be at least 0 and below 1"), Error);
}

TEST_CASE("A block without a norm is its convolution and activation") {
  Values v;
  const auto b = block({.norm = NormKind::none, .activation = prelu_per_channel()});
  CHECK((names(b) == std::vector<std::string>{"conv.weight", "conv.bias", "adn.A.weight"}));
  CHECK(b.norm.slope.size() == 3);
  CHECK(difference(b(v.x), prelu(b.conv(v.x), b.norm.slope)) == 0);
  CHECK_THROWS_WITH_AS((void)b.norm(v.x), doctest::Contains("only a Block takes that"), Error);
}

TEST_CASE("A block without a norm is one op in inference, on the bits of its ops") {
  using F = Spec<float, 3, Cpu>;
  Context<Cpu> ctx{{.threads = 2}};
  Tensor<float, 3> x({.n = 2, .c = 3, .space = {4, 5, 7}}), r({.n = 2, .c = 18, .space = {4, 5, 7}});
  for (Index i = 0; i < 2 * 3 * 140; ++i) x.view().data[i] = std::sin(float(i * i));
  for (Index i = 0; i < 2 * 18 * 140; ++i) r.view().data[i] = std::cos(float(i * i));
  for (const Activation& a : {prelu_per_channel(), relu(), gelu(), Activation{}})
    for (const bool adds : {false, true}) {
      const auto values = [&](bool fused) {
        Block<F> b({.conv = {.in_channels = 3, .out_channels = 18}, .norm = NormKind::none, .activation = a, .fused = fused});
        initialize_default(b, 7);
        Tape<F> tape(Mode::infer, ctx);
        const auto in = tape.input(x.view()), added = tape.input(r.view());
        const auto y = adds ? b(in, added) : b(in);
        const bool one_op = fused && (adds || a.kind != ActivationKind::identity);
        CHECK((tape.nodes()[2].op->name() == "Conv+Norm+Act") == one_op);
        return std::vector<float>(y.value().data, y.value().data + y.shape().elements());
      };
      CHECK((values(true) == values(false)));
    }
}

TEST_CASE("nnU-Net's dropout takes whole channels away in front of the norm") {
  Values v;
  const auto b = block({.activation = {}, .dropout = 0.5f, .dropout_first = true, .dropout_channels = true}),
             plain = block({.activation = {}});
  const Var<S> exact = plain(v.x);
  int dropped = 0, kept = 0;
  for (int draw = 0; draw < 8; ++draw) {
    const Var<S> y = b(v.x);
    for (Index c = 0; c < 3; ++c) {
      double beta = 0, same = 0;   // apart from what the norm makes of zeros, and of everything doubled
      for (Index r = 0; r < y.value().rows(); ++r) {
        beta = std::max(beta, std::abs(y.value().row(r)[c]));
        same = std::max(same, std::abs(y.value().row(r)[c] - exact.value().row(r)[c]));
      }
      dropped += beta < 1e-12 ? 1 : 0, kept += same < 1e-3 ? 1 : 0;
    }
  }
  CHECK(dropped + kept == 24);
  CHECK(std::min(dropped, kept) > 4);
  CHECK(block({.eps = 0.5f}).norm.op().eps == 0.5f);
}

TEST_CASE("Names of a block's parameters are MONAI's, or those that the model gives") {
  const auto b = block({.norm = NormKind::batch, .activation = prelu()});
  CHECK((names(b) == std::vector<std::string>{"conv.weight", "conv.bias", "adn.N.weight", "adn.N.bias", "adn.N.running_mean",
                                              "adn.N.running_var", "adn.A.weight"}));
  std::vector<std::string> own;
  Block<S>::each(b, BlockNames{"a.", "b.", "c."}, [&](const std::string& name, const auto&) { own.push_back(name); });
  CHECK((own ==
         std::vector<std::string>{"a.weight", "a.bias", "b.weight", "b.bias", "b.running_mean", "b.running_var", "c.weight"}));
}

TEST_CASE("An activation layer has as many slopes as asked for") {
  Values v;
  CHECK(ActivationLayer<S>(relu(), 3).slope.size() == 0);
  CHECK(ActivationLayer<S>(prelu(), 3).slope.size() == 1);
  const ActivationLayer<S> each(prelu_per_channel(), 3);
  CHECK(each.slope.size() == 3);
  CHECK(difference(each(v.x), leaky_relu(v.x, 0.25f)) < 1e-12);
}
