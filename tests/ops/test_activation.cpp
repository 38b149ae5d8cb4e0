// Every kind of kActivationKinds, with every way to give its parameter.
#include "norm_cases.hpp"
#include "support/op_checks.hpp"

using namespace ctseg;
using namespace ctseg::test;

TEST_CASE("elu of float: vectors agree with double, from its tail to its ends") {
  using S = Spec<float, 2, Cpu>;
  for (const Isa isa : kIsas) {
    if (!available(isa)) continue;
    Context<Cpu> ctx({.threads = 1, .isa = isa});
    Tensor<float, 2> x({.n = 1, .c = 13, .space = {1, 401}}), y(x.shape());
    for (Index i = 0; i < x.shape().elements(); ++i) {
      const double t = static_cast<double>(i) / static_cast<double>(x.shape().elements());
      x.data()[i] = static_cast<float>(i % 2 ? -1e-6 * std::exp(19 * t) : -100 + 120 * t);
    }
    x.data()[0] = NAN, x.data()[20] = -INFINITY, x.data()[21] = INFINITY;
    Kernel<Pointwise, S>::forward(ctx, elu(2), x.view(), {}, y.view());
    double apart = 0;
    for (Index i = 0; i < x.shape().elements(); ++i) {
      const double v = double{x.data()[i]}, expected = v > 0 ? v : 2 * std::expm1(v);
      if (i == 0 || i == 21) continue;
      apart = std::max(apart, std::abs(double{y.data()[i]} - expected) / std::abs(expected));
    }
    CHECK(is_nan(y.data()[0]));
    CHECK(y.data()[20] == -2);
    CHECK(y.data()[21] == INFINITY);
    MESSAGE(text(isa) << ": relative error " << apart);
    CHECK(apart < 4e-7);
  }
}

TEST_CASE("activations: derivatives, precisions, threads") {
  for (ActivationKind kind : kActivationKinds)
    for (bool shared : {true, false}) check_family<3>(MakeActivation{kind, shared});
}

TEST_CASE("activations: values at points worked out by hand") {
  using S = Spec<double, 2, Cpu>;
  const double slopes[] = {0.25, -2};
  const Weights<S> w{slopes, 2, nullptr};
  const auto at = [&](Activation a, double x, Index c = 0) {
    double value = 0;
    with_activation<S>(a, w, [&](auto f) { value = f.value(x, c); });
    return value;
  };
  CHECK(at({}, -3) == -3);
  CHECK(at(relu(), -3) == 0);
  CHECK(at(relu(), 3) == 3);
  CHECK(at(leaky_relu(), -2) == doctest::Approx(-0.02).epsilon(1e-7));
  CHECK(at(leaky_relu(0.5f), -2) == -1);
  CHECK(at(elu(), -1) == doctest::Approx(std::exp(-1.0) - 1).epsilon(1e-15));
  CHECK(at(elu(2), -1e-9) == doctest::Approx(-2e-9).epsilon(1e-8));   // expm1, not exp - 1
  CHECK(at(sigmoid(), 0) == 0.5);
  CHECK(at(sigmoid(), -800) == 0);
  CHECK(at(sigmoid(), 800) == 1);
  CHECK(at(gelu(), 0) == 0);
  CHECK(at(gelu(), 1) == doctest::Approx(0.8413447460685429).epsilon(1e-14));   // Phi(1)
  CHECK(at(gelu(), -1) == doctest::Approx(-0.15865525393145707).epsilon(1e-14));
  CHECK(at(gelu(), -10) == doctest::Approx(-7.61985302416052e-23).epsilon(1e-12));   // the tail keeps its digits
  CHECK(at(prelu(), -4, 0) == -1);
  CHECK(at(prelu(), -4, 1) == 8);
  for (ActivationKind kind : kActivationKinds) CHECK(std::isnan(at({kind, 0.1f}, NAN)));
}

TEST_CASE("activations have a name each, and prelu checks its slopes") {
  using S = Spec<float, 2, Cpu>;
  std::vector<std::string> names;
  for (ActivationKind kind : kActivationKinds) names.emplace_back(ActivationOp<S>{{kind, 0}}.name());
  std::ranges::sort(names);
  CHECK(std::ranges::adjacent_find(names) == names.end());
  const ValueInfo<2> x{{1, 5, {3, 3}}, Dtype::f32};
  const float slopes[] = {1, 2, 3};
  const Weights<S> w{slopes, 3, nullptr};
  CHECK_THROWS_WITH_AS((ActivationOp<S>{prelu()}.infer({{&x, 1}, {&w, 1}})), "prelu: 3 slopes for 5 channels; must be 1 or 5.",
                       Error);
  CHECK_THROWS_AS((ActivationOp<S>{prelu()}.infer({{&x, 1}, {}})), Error);
}
