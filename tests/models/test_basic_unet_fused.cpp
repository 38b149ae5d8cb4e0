// BasicUNet at work: fused blocks against separate ops, and dropout.
#include "support/plan_checks.hpp"

#include <ctseg/models/basic_unet.hpp>

using namespace ctseg;
using namespace ctseg::test;

using D2 = Spec<double, 2, Cpu>;
using D3 = Spec<double, 3, Cpu>;

/// Loss and gradients of a net.
template <AnySpec S> static std::pair<double, std::vector<double>> train_once(BasicUNet<S>& net, const Sample<S>& sample) {
  Context<Cpu> ctx({.threads = 1, .seed = 3});
  Tape<S> tape(Mode::train, ctx);
  Gradients<S> g(net.parameters());
  const auto loss = dice_ce(net.forward(tape.input(sample.x.view())), tape.input(sample.labels.view()));
  tape.backward(loss, g);
  return {loss.scalar(), {g.flat().begin(), g.flat().end()}};
}

template <AnySpec S> static void check_fused(const Shape<S::kDim>& shape, const Activation& activation, NormKind norm) {
  BasicUNetOptions o{.features = {4, 4, 6, 6, 8, 4}, .activation = activation, .norm = norm};
  BasicUNet<S> fused(o);
  o.fused = false;
  BasicUNet<S> parts(o);
  const Context<Cpu> seeds({.threads = 1, .seed = 8});
  fused.initialize(seeds), parts.initialize(seeds);
  const Sample<S> sample(shape, 2, 1);
  // Gradients lie in the order of addresses, so they are compared parameter by parameter.
  Context<Cpu> ctx({.threads = 1});
  Gradients<S> a(fused.parameters()), b(parts.parameters());
  Tape<S> first(Mode::train, ctx), second(Mode::train, ctx);
  const auto la = dice_ce(fused.forward(first.input(sample.x.view())), first.input(sample.labels.view()));
  const auto lb = dice_ce(parts.forward(second.input(sample.x.view())), second.input(sample.labels.view()));
  first.backward(la, a), second.backward(lb, b);
  CHECK(la.scalar() == doctest::Approx(lb.scalar()).epsilon(1e-12));
  const auto p = fused.parameters(), q = parts.parameters();
  REQUIRE(p.size() == q.size());
  double largest = 0, apart = 0;
  for (std::size_t k = 0; k < p.size(); ++k)
    for (std::size_t i = 0; i < a.of(*p[k]).size(); ++i) {
      largest = std::max(largest, std::abs(a.of(*p[k])[i]));
      apart = std::max(apart, std::abs(a.of(*p[k])[i] - b.of(*q[k])[i]));
    }
  CHECK(largest > 1e-3);
  CHECK(apart <= 1e-12 * std::max(largest, 1.0));
}

TEST_CASE("fused blocks equal separate ops in double, 2-D and 3-D") {
  check_fused<D2>({2, 1, {37, 33}}, leaky_relu(0.1f), NormKind::instance);
  check_fused<D2>({2, 1, {32, 32}}, prelu(), NormKind::batch);
  check_fused<D3>({1, 1, {17, 18, 33}}, elu(), NormKind::instance);
}

TEST_CASE("dropout works, differs by seed and is silent in inference") {
  const BasicUNetOptions options{.features = {4, 4, 6, 6, 8, 4}, .dropout = 0.2f};
  BasicUNet<D2> net(options), without({.features = options.features});
  const Context<Cpu> seeds({.threads = 1, .seed = 8});
  net.initialize(seeds), without.initialize(seeds);
  const Sample<D2> sample({1, 1, {32, 32}}, 2, 1);
  const auto [loss, gradients] = train_once(net, sample);
  CHECK(std::isfinite(loss));
  for (double g : gradients) REQUIRE(std::isfinite(g));
  CHECK(loss != train_once(without, sample).first);
  CHECK(loss == train_once(net, sample).first);
  Context<Cpu> ctx({.threads = 1});
  Tape<D2> a(Mode::infer, ctx), b(Mode::infer, ctx);
  CHECK(same_bits<D2>(net.forward(a.input(sample.x.view())).value(), without.forward(b.input(sample.x.view())).value()));
}
