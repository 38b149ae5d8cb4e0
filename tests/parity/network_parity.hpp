// A whole network against the library it comes from: outputs, loss, gradients, running statistics and a short training, from
// the files that network_fixtures.py describes. With -s the test prints how far everything is apart.
#pragma once
#include "parity/fixture.hpp"

#include <ctseg/nn/run.hpp>

namespace ctseg::test {

/// values: of the largest output. agreement: share of voxels with the same best class. gradients: relative L2, per parameter.
struct NetworkLimits {
  double values = 1e-4, agreement = 0.9999, gradients = 1e-3, curve = 1e-3;
};

template <AnySpec S, class Net> class NetworkParity {
 public:
  using T = typename S::T;

  NetworkParity(const std::string& name, Net net, const NetworkLimits& limits)
      : fixture_("networks/" + name), net_(std::move(net)), limits_(limits), ctx_({.threads = 1}) {
    CHECK(fixture_.metadata("made_with").starts_with("torch "));
    fill();
    x_ = fixture_.tensor<T, S::kDim>("x");
    single_ = fixture_.has("labels");
    for (std::size_t i = 0; i == 0 || fixture_.has(text("labels.", i)); ++i)
      labels_.push_back(fixture_.tensor<std::uint8_t, S::kDim>(single_ ? "labels" : text("labels.", i)));
  }

  void check() {
    check_inference();
    check_gradients();
    check_curve();
  }

 private:
  /// What the layers start with and a hash of name and position: draw() of network_fixtures.py.
  static void draw(const std::string& key, Parameter<S>& p) {
    std::uint32_t start = 2166136261U;
    for (const char letter : key) start = (start ^ static_cast<unsigned char>(letter)) * 16777619U;
    const auto to = p.edit();
    for_file_order(p, [&](Index memory, Index file) {
      std::uint32_t h = (start + static_cast<std::uint32_t>(file)) * 0x9E3779B9U;
      h = (h ^ (h >> 16)) * 0x85EBCA6BU;
      h = (h ^ (h >> 13)) * 0xC2B2AE35U;
      const double u = std::ldexp(double(h ^ (h >> 16)), -32) - 0.5;
      auto& w = to[static_cast<std::size_t>(memory)];
      w = static_cast<typename S::Acc>(static_cast<float>(p.fan_in() > 0 ? u * 2 / std::sqrt(static_cast<double>(p.fan_in()))
                                                                         : static_cast<double>(w) + 0.3 * u));
    });
  }
  /// All of the file's weights, and no other: names that differ fail here. A file without weights has gradients under all
  /// names.
  void fill() {
    std::size_t used = 0, all = 0;
    const auto names = fixture_.names();
    drawn_ = std::none_of(names.begin(), names.end(), [](const std::string& key) { return key.starts_with("weight."); });
    visit(net_, [&](const std::string& key, Parameter<S>& p) {
      if (drawn_) {
        used += p.role() == Role::trained ? 1 : 0;
        REQUIRE(fixture_.has((p.role() == Role::trained ? "grad." : "after.") + key));
        return draw(key, p);
      }
      REQUIRE(fixture_.extents("weight." + key) == p.shape());
      const auto from = fixture_.values("weight." + key);
      const auto to = p.edit();
      for_file_order(p, [&](Index memory, Index file) {
        to[static_cast<std::size_t>(memory)] = static_cast<typename S::Acc>(from[static_cast<std::size_t>(file)]);
      });
      ++used;
    });
    for (const auto& key : fixture_.names()) all += key.starts_with(drawn_ ? "grad." : "weight.") ? 1 : 0;
    REQUIRE(used == all);
  }

  /// Finest first: net.forward_deep(x), a vector, where a network has deep supervision; else net.forward(x).
  std::vector<Var<S>> outputs(Var<S> x) const {
    if constexpr (requires { net_.forward_deep(x); })
      if (!single_) return net_.forward_deep(x);
    return {net_.forward(x)};
  }
  struct Recorded {
    Var<S> x, loss;
    std::vector<Var<S>> y, labels;
  };
  /// Eager tapes get the values at once; shapes-only tapes get their shapes.
  Recorded record(Tape<S>& tape, bool eager) const {
    Recorded r;
    r.x = eager ? tape.input(x_.view()) : tape.input(x_.shape());
    r.y = outputs(r.x);
    REQUIRE(r.y.size() == labels_.size());
    for (std::size_t i = 0; i < r.y.size(); ++i) {
      r.labels.push_back(eager ? tape.input(labels_[i].view()) : tape.input(labels_[i].shape(), Dtype::u8));
      const Var<S> loss = dice_ce(r.y[i], r.labels[i]);
      r.loss = i == 0 ? loss : add(r.loss, loss, static_cast<typename S::Acc>(std::ldexp(1.0, -static_cast<int>(i))));
    }
    return r;
  }

  template <class U> void put(const Tensor<U, S::kDim>& from, View<U, S::kDim> to) {
    Kernel<Elementwise, S>::copy(ctx_, from.view(), to);
  }

  void compare(const std::string& key, In<S> y) const {
    const auto expected = fixture_.tensor<T, S::kDim>(key);
    REQUIRE(y.shape == expected.shape());
    Apart apart;
    Index same = 0;
    for (Index r = 0; r < y.rows(); ++r) {
      const T *a = y.row(r), *b = expected.view().row(r);
      for (Index c = 0; c < y.shape.c; ++c) apart.add(double(a[c]), double(b[c]));
      same += std::max_element(a, a + y.shape.c) - a == std::max_element(b, b + y.shape.c) - b ? 1 : 0;
    }
    const double agreement = static_cast<double>(same) / static_cast<double>(y.rows());
    INFO(key << ": " << apart.apart << " apart, largest " << apart.largest << "; agreement " << agreement);
    CHECK(apart.apart <= limits_.values * apart.largest);
    CHECK(agreement >= limits_.agreement);
  }

  /// By a plan, which shares memory and prepares weights.
  void check_inference() {
    Tape<S> tape(Mode::infer, ctx_.traits());
    const Var<S> x = tape.input(x_.shape()), y = net_.forward(x);
    const Plan<S> plan(tape, {.outputs = {y}});
    Run<S> run(plan, ctx_);
    put(x_, run.input(x));
    run.forward();
    compare(fixture_.has("infer") ? "infer" : single_ ? "y" : "y.0", run.output(y));
  }

  void check_gradients() {
    Tape<S> tape(Mode::train, ctx_);
    const Recorded r = record(tape, true);
    for (std::size_t i = 0; i < r.y.size(); ++i) compare(single_ ? "y" : text("y.", i), r.y[i].value());
    CHECK(r.loss.scalar() == doctest::Approx(fixture_.values("loss")[0]).epsilon(limits_.values));

    Gradients<S> gradients(parameters_of<S>(net_));
    tape.backward(r.loss, gradients);
    double all = 0;   // squares of all gradients: that of a bias in front of a norm is noise
    for (const auto& key : fixture_.names())
      if (key.starts_with("grad."))
        for (const double g : fixture_.values(key)) all += g * g;
    visit(net_, [&](const std::string& key, Parameter<S>& p) {
      if (p.role() != Role::trained || !fixture_.has("grad." + key)) return;
      const auto exact = fixture_.values("grad." + key);
      const Index every = std::ssize(exact) == p.size() ? 1 : 97;
      REQUIRE(std::ssize(exact) == (p.size() + every - 1) / every);
      double apart = 0, own = 0;
      for_file_order(p, [&](Index memory, Index file) {
        if (file % every != 0) return;
        const double e = exact[static_cast<std::size_t>(file / every)],
                     d = double(gradients.of(p)[static_cast<std::size_t>(memory)]) - e;
        apart += d * d, own += e * e;
      });
      INFO("gradient of " << key << ": " << std::sqrt(apart) << " apart of " << std::sqrt(own) << ", all " << std::sqrt(all));
      CHECK(std::sqrt(apart) <= limits_.gradients * std::max(std::sqrt(own), 5e-4 * std::sqrt(all)));
    });
    visit(net_, [&](const std::string& key, Parameter<S>& p) {
      if (p.role() != Role::averaged) return;
      const auto after = fixture_.values("after." + key);
      for (std::size_t i = 0; i < after.size(); ++i)
        CHECK(double(p.values()[i]) - p.average_rate() * double(gradients.of(p)[i]) ==
              doctest::Approx(after[i]).epsilon(limits_.values));
    });
  }

  /// By a plan, as fit does it.
  void check_curve() {
    Tape<S> tape(Mode::train, ctx_.traits());
    const Recorded r = record(tape, false);
    const Plan<S> plan(tape, {.loss = r.loss});
    Run<S> run(plan, ctx_);
    const auto parameters = parameters_of<S>(net_);
    AdamW<S> adam(parameters, {});
    Gradients<S> gradients(parameters);
    double worst = 0;
    const auto curve = fixture_.values("curve");
    for (const double expected : curve) {
      put(x_, run.input(r.x));
      for (std::size_t i = 0; i < labels_.size(); ++i) put(labels_[i], run.template input_as<std::uint8_t>(r.labels[i]));
      run.forward();
      worst = std::max(worst, std::abs(run.scalar(r.loss) - expected) / std::abs(expected));
      gradients.zero();
      run.backward(gradients);
      adam.step(ctx_, gradients);
    }
    INFO("loss curve: " << worst << " apart over " << curve.size() << " steps, " << curve.front() << " to " << curve.back());
    CHECK(curve.size() >= 20);
    CHECK(worst <= limits_.curve);
  }

  Fixture fixture_;
  Net net_;
  NetworkLimits limits_;
  Context<Cpu> ctx_;
  Tensor<T, S::kDim> x_;
  std::vector<Tensor<std::uint8_t, S::kDim>> labels_;
  bool single_ = true, drawn_ = false;
};

/// Holds `net`, whose options match the module that was recorded, against tests/parity/networks/NAME.safetensors.
template <AnySpec S, class Net> void check_network(const std::string& name, Net net, const NetworkLimits& limits = {}) {
  INFO(name);
  NetworkParity<S, Net>(name, std::move(net), limits).check();
}

}   // namespace ctseg::test
