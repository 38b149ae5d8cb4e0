// What tests of several networks ask.
#pragma once
#include "support/plan_checks.hpp"

#include <ctseg/nn/fold.hpp>

namespace ctseg::test {

template <class Net> std::vector<std::string> names_of(const Net& net) {
  std::vector<std::string> names;
  visit(net, [&](const std::string& name, const auto&) { names.push_back(name); });
  return names;
}
/// What forward says about an input of that shape.
template <class Net> std::string refusal(const Net& net, const Shape<Net::Spec::kDim>& shape) {
  Tape<typename Net::Spec> tape(Mode::train);
  try {
    net.forward(tape.input(shape));
  } catch (const Error& e) {
    CHECK(e.code() == Code::shape_mismatch);
    return e.what();
  }
  return "no error";
}
template <class Make> std::string bad_argument(Make make) {
  try {
    make();
  } catch (const Error& e) {
    CHECK(e.code() == Code::bad_argument);
    return e.what();
  }
  return "no error";
}
/// Shapes of the logits, finest first, as deep supervision gets them.
template <class Net> std::vector<Shape<Net::Spec::kDim>> deep_shapes(const Net& net, const Shape<Net::Spec::kDim>& shape) {
  Tape<typename Net::Spec> tape(Mode::train);
  std::vector<Shape<Net::Spec::kDim>> shapes;
  for (const auto& y : net.forward_deep(tape.input(shape))) shapes.push_back(y.shape());
  return shapes;
}
/// The value of a fresh network in two runs of the same seed, and in inference.
template <class Net> struct Values {
  Net net;
  Tensor<typename Net::Spec::T, Net::Spec::kDim> x;
  Values(const typename Net::Options& o, const Shape<Net::Spec::kDim>& shape)
      : net(o), x(random_tensor<typename Net::Spec::T>(shape, 3)) {
    net.initialize(Context<Cpu>({.threads = 1, .seed = 8}));
  }
  std::vector<double> run(Mode mode, std::uint64_t seed) const {
    Context<Cpu> ctx({.threads = 1, .seed = seed});
    Tape<typename Net::Spec> tape(mode, ctx);
    const auto y = net.forward(tape.input(x.view()));
    std::vector<double> all;
    for (Index r = 0; r < y.value().rows(); ++r)
      for (Index c = 0; c < y.shape().c; ++c) all.push_back(double(y.value().row(r)[c]));
    return all;
  }
};

/// Dropout differs by seed, is repeatable, and silent in inference. As many as the reference has modules for it.
template <class Net> void check_dropout(typename Net::Options o, const Shape<Net::Spec::kDim>& shape, int count) {
  const Values<Net> without(o, shape);
  o.dropout = 0.3f;
  const Values<Net> with(o, shape);
  CHECK(with.run(Mode::train, 1) == with.run(Mode::train, 1));
  CHECK(with.run(Mode::train, 1) != with.run(Mode::train, 2));
  CHECK(with.run(Mode::infer, 1) == without.run(Mode::infer, 1));
  Tape<typename Net::Spec> tape(Mode::train);
  with.net.forward(tape.input(shape));
  for (const auto& node : tape.nodes()) count -= node.op->name().ends_with("Dropout") ? 1 : 0;
  CHECK(count == 0);
}

/// All batch norms fold into their convolutions, which changes nothing but rounding.
template <class Net> void check_folding(typename Net::Options o, const Shape<Net::Spec::kDim>& shape, Index blocks) {
  o.norm = NormKind::batch;
  Values<Net> values(o, shape);
  visit(values.net, [](const std::string& name, auto& p) {
    if (name.ends_with("norm.weight") || name.ends_with("running_mean") || name.ends_with("running_var"))
      for (auto& v : p.edit()) v += 0.4f;
  });
  const std::vector<double> before = values.run(Mode::infer, 1);
  CHECK(fold_batch_norm(values.net) == blocks);
  const std::vector<double> after = values.run(Mode::infer, 1);
  double apart = 0, largest = 0;
  for (std::size_t i = 0; i < before.size(); ++i) {
    apart = std::max(apart, std::abs(before[i] - after[i]));
    largest = std::max(largest, std::abs(before[i]));
  }
  CHECK(largest > 0);
  CHECK(apart <= 1e-5 * largest);
}

}   // namespace ctseg::test
