// Losses held against losses.safetensors, which make_loss_fixtures.py wrote.
#pragma once
#include <set>

#include <ctseg/loss/loss.hpp>

#include "loss/values.hpp"
#include "parity/fixture.hpp"

namespace ctseg::test {

template <AnySpec S> struct NamedLoss {
  std::string name;
  Loss<S> loss;
  double tolerance = 0;   // where MONAI has fewer digits than the test asks for
};
template <AnySpec S> using Losses = std::vector<NamedLoss<S>>;

/// Value and gradient of a loss.
template <AnySpec S> class LossRun {
 public:
  using T = typename S::T;

  LossRun(Context<Cpu>& ctx, const Loss<S>& loss, const Tensor<T, S::kDim>& x, const auto& labels)
      : weight_({.shape = {1, 1}}), tape_(Mode::train, ctx) {
    const auto in = tape_.input(x.view());
    logits_ = tape_.append(HookOp<S>{}, {in}, {weight_});
    loss_ = loss(logits_, tape_.input(labels.view()));
    Gradients<S> gradients({&weight_});
    tape_.backward(loss_, gradients);
  }
  Var<S> value() const { return loss_; }
  In<S> gradient() const { return tape_.gradient(logits_); }

 private:
  Parameter<S> weight_;
  Tape<S> tape_;
  Var<S> logits_, loss_;
};

/// The names of one kind of data in the file: DIM/KIND/NAME/y.
template <AnySpec S> std::set<std::string> fixture_losses(const Fixture& fixture, const std::string& before) {
  std::set<std::string> out;
  for (const auto& name : fixture.names())
    if (name.starts_with(before) && name.ends_with("/y"))
      out.insert(name.substr(before.size(), name.size() - before.size() - 2));
  return out;
}

template <AnySpec S> void check_losses(const std::string& kind, const Losses<S>& losses, double tolerance) {
  using T = typename S::T;
  static const Fixture fixture("losses");
  const std::string before = text(S::kDim, "d/") + kind + "/";
  const auto x = fixture.template tensor<T, S::kDim>(before + "x");
  const auto labels = fixture.template tensor<std::uint8_t, S::kDim>(before + "labels");
  std::set<std::string> left = fixture_losses<S>(fixture, before);
  Context<Cpu> ctx({.threads = 2});
  for (const NamedLoss<S>& one : losses) {
    const std::string& name = one.name;
    CAPTURE(before + name);
    if (left.erase(name) == 0) {
      FAIL_CHECK("the fixture does not have this loss");
      continue;
    }
    const LossRun<S> run(ctx, one.loss, x, labels);
    const double exact = fixture.values(before + name + "/y")[0], allowed = std::max(tolerance, one.tolerance);
    CHECK(run.value().scalar() == doctest::Approx(exact).epsilon(allowed));
    const auto gradient = fixture.template tensor<double, S::kDim>(before + name + "/dx");
    REQUIRE(run.gradient().shape == gradient.shape());
    Apart apart;
    for (Index r = 0; r < gradient.view().rows(); ++r)
      for (Index c = 0; c < gradient.shape().c; ++c)
        apart.add(static_cast<double>(run.gradient().row(r)[c]), gradient.view().row(r)[c]);
    INFO("gradient: " << apart.apart << " apart, largest " << apart.largest);
    CHECK(apart.apart <= allowed * apart.largest);
  }
  for (const auto& name : left) FAIL_CHECK("nobody computes " << before << name);
}

}   // namespace ctseg::test
