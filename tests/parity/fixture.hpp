// A layer held against a file that make_fixtures.py wrote: values, gradients, running statistics.
#pragma once
#include <doctest/doctest.h>

#include <cmath>
#include <limits>

#include <ctseg/nn/layers.hpp>
#include <ctseg/ops/cpu.hpp>
#include <ctseg/optim/adam.hpp>

#include "fixture_file.hpp"

namespace ctseg::test {

/// sum(y * y) / 2, whose gradient is y: what the fixtures were made with. An op from outside of the library.
template <AnySpec S> struct HalfSquareOp {
  std::string_view name() const { return "HalfSquare"; }
  Inferred<S> infer(const Facts<S>&) const {
    Inferred<S> out{.dtype = dtype_of<typename S::Acc>(), .reads_inputs = true};
    out.shape.space.fill(1);
    return out;
  }
  void forward(const Forward<S>& f) const {
    double sum = 0;
    for (Index r = 0; r < f.x().rows(); ++r)
      for (Index c = 0; c < f.x().shape.c; ++c) sum += double(f.x().row(r)[c]) * double(f.x().row(r)[c]) / 2;
    f.output.template as<typename S::Acc>().data[0] = static_cast<typename S::Acc>(sum);
  }
  void backward(const Backward<S>& b) const {
    if (b.wants()) Kernel<Elementwise, S>::copy(b.ctx, b.x(), b.dx());
  }
};

/// Largest difference against the largest value; infinite if a value is not finite.
struct Apart {
  double apart = 0, largest = 0;
  void add(double a, double b) {
    apart = std::isfinite(a) ? std::max(apart, std::abs(a - b)) : std::numeric_limits<double>::infinity();
    largest = std::max(largest, std::abs(b));
  }
};

template <AnySpec S, class Net> void check_fixture(const std::string& name, Net net, double tolerance) {
  const Fixture fixture(name);
  CHECK(fixture.metadata("made_with").starts_with("torch "));
  visit(net, [&](const std::string& key, Parameter<S>& p) {
    const auto from = fixture.values(key);
    REQUIRE(std::ssize(from) == p.size());
    const auto to = p.edit();
    for_file_order(p, [&](Index memory, Index file) {
      to[static_cast<std::size_t>(memory)] = static_cast<typename S::Acc>(from[static_cast<std::size_t>(file)]);
    });
  });
  const auto x = fixture.template tensor<typename S::T, S::kDim>("x"),
             expected = fixture.template tensor<typename S::T, S::kDim>("y");
  Context<Cpu> ctx({.threads = 1});
  Tape<S> tape(Mode::train, ctx);
  Var<S> y = tape.input(x.view());
  if constexpr (requires { net.forward(y); })
    y = net.forward(y);
  else
    y = net(y);
  REQUIRE(y.shape() == expected.shape());
  Apart values;
  for (Index r = 0; r < y.value().rows(); ++r)
    for (Index c = 0; c < y.shape().c; ++c) values.add(double(y.value().row(r)[c]), double(expected.view().row(r)[c]));
  INFO(name << ": y differs by " << values.apart << " of " << values.largest);
  CHECK(values.apart <= tolerance * values.largest);

  const auto parameters = parameters_of<S>(net);
  Gradients<S> gradients(parameters);
  tape.backward(tape.append(HalfSquareOp<S>{}, {y}), gradients);
  double largest = 0;   // of all gradients: those of a bias in front of a norm are noise
  for (const auto* p : parameters)
    if (p->role() == Role::trained)
      for (auto v : gradients.of(*p)) largest = std::max(largest, std::abs(double(v)));
  visit(net, [&](const std::string& key, Parameter<S>& p) {
    if (p.role() != Role::trained) return;
    const auto exact = fixture.values("grad." + key);
    Apart g;
    for_file_order(p, [&](Index memory, Index file) {
      g.add(double(gradients.of(p)[static_cast<std::size_t>(memory)]), exact[static_cast<std::size_t>(file)]);
    });
    INFO(name << ", gradient of " << key << " differs by " << g.apart << " of " << g.largest);
    CHECK(g.apart <= tolerance * std::max(g.largest, 1e-2 * largest));
  });
  AdamW<S> adam(parameters, {});
  adam.step(ctx, gradients);
  visit(net, [&](const std::string& key, Parameter<S>& p) {
    if (p.role() != Role::averaged) return;
    const auto after = fixture.values("after." + key);
    for (std::size_t i = 0; i < after.size(); ++i) CHECK(double(p.values()[i]) == doctest::Approx(after[i]).epsilon(tolerance));
  });
}

}   // namespace ctseg::test
