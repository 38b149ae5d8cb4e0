// What every op must pass, from its case alone: derivatives by differences, dx assigned and dw added, the adjoint of linear
// ops, the other precisions, and any number of threads.
#pragma once
#include <doctest/doctest.h>

#include "op_run.hpp"

namespace ctseg::test {

/// Central differences at two steps, extrapolated. Where the steps disagree lies a kink: such an entry proves nothing.
struct Difference {
  double value;
  bool trusted;
};
template <class F> Difference difference(double& at, double scale, F f) {
  const double start = at;
  const auto central = [&](double h) {
    at = start + h;
    const double above = f();
    at = start - h;
    const double below = f();
    at = start;
    return (above - below) / (2 * h);
  };
  const double wide = central(2e-5), narrow = central(1e-5);
  return {(4 * narrow - wide) / 3, std::abs(wide - narrow) <= 1e-6 * std::max(std::abs(narrow), scale)};
}

/// Relative error of 1e-6 at most, against the entry or a hundredth of the largest of its tensor. A tensor that is all noise
/// (the gradient of a bias in front of a norm is 0) is held against a thousandth of the largest of all.
template <AnySpec S> class GradientCheck {
  static_assert(std::is_same_v<typename S::T, double>);

 public:
  GradientCheck(const OpCase<S>& c, OpRun<S>& run, double largest) : case_(c), run_(run), least_(0.1 * largest) {}

  void argument(Index count, auto&& value, auto&& exact) {
    double largest = std::max(1e-3, least_);
    for (Index i = 0; i < count; ++i) largest = std::max(largest, std::abs(exact(i)));
    const Index tried = std::min<Index>(count, kMost);
    for (Index k = 0; k < tried; ++k) {
      const Index i = count <= kMost ? k : random_.below(count);
      compare(value(i), exact(i), largest);
    }
    if (count > kMost) direction(count, value, exact);
  }
  void finish() const {
    INFO(case_.name << ": " << skipped_ << " of " << tried_ << " entries lie at a kink");
    CHECK(skipped_ <= (case_.kinks ? tried_ / 15 + 2 : 0));
    CHECK(tried_ > 0);
  }

 private:
  static constexpr Index kMost = 24;
  double loss() {
    run_.forward();
    return run_.projection();
  }
  void compare(double& at, double exact, double largest) {
    ++tried_;
    const Difference numeric = difference(at, 1e-2 * largest, [&] { return loss(); });
    if (!numeric.trusted) {
      ++skipped_;
      return;
    }
    const double error = std::abs(numeric.value - exact) / std::max({std::abs(numeric.value), std::abs(exact), 1e-2 * largest});
    INFO(case_.name << ": difference " << numeric.value << ", backward " << exact);
    REQUIRE(error <= 1e-6);
  }
  /// All entries of a large argument at once, along one random direction.
  void direction(Index count, auto&& value, auto&& exact) {
    std::vector<double> start, along;
    double slope = 0, size = least_ * least_;
    for (Index i = 0; i < count; ++i) {
      start.push_back(value(i)), along.push_back(random_.normal());
      slope += exact(i) * along.back();
      size += exact(i) * exact(i);
    }
    double step = 0;
    const Difference numeric = difference(step, 0.1 * std::sqrt(size), [&] {
      for (Index i = 0; i < count; ++i)
        value(i) = start[static_cast<std::size_t>(i)] + step * along[static_cast<std::size_t>(i)];
      return loss();
    });
    for (Index i = 0; i < count; ++i) value(i) = start[static_cast<std::size_t>(i)];
    if (!numeric.trusted && case_.kinks) return;   // many entries move at once, so this one meets kinks easily
    INFO(case_.name << ": along a direction: difference " << numeric.value << ", backward " << slope);
    REQUIRE(std::abs(numeric.value - slope) <= 1e-6 * std::max(std::abs(slope), 0.1 * std::sqrt(size)));
  }

  const OpCase<S>& case_;
  OpRun<S>& run_;
  double least_;
  RandomStream random_{{.seed = 99}};
  int tried_ = 0, skipped_ = 0;
};

template <AnySpec S> void check_gradients(const OpCase<S>& c, Context<Cpu>& ctx, std::uint64_t seed) {
  OpRun<S> run(c, ctx, {.seed = seed}), moved(c, ctx, {.seed = seed});
  run.forward();
  run.backward();
  REQUIRE_MESSAGE(run.guards_intact(), c.name << " wrote outside of its channels");
  double largest = 0;
  for (std::size_t k = 0; k < run.x.size(); ++k)
    for (Index i = 0; i < (run.is_labels(k) ? 0 : run.x[k].elements()); ++i)
      largest = std::max(largest, std::abs(run.dx[k].template at<double>(i)));
  for (const auto& values : run.dw)
    for (double v : values) largest = std::max(largest, std::abs(v - 1));
  GradientCheck<S> check(c, moved, largest);
  for (std::size_t k = 0; k < run.x.size(); ++k)
    if (!run.is_labels(k))
      check.argument(
          run.x[k].elements(), [&](Index i) -> double& { return moved.x[k].template at<double>(i); },
          [&](Index i) { return run.dx[k].template at<double>(i); });
  for (std::size_t k = 0; k < run.w.size(); ++k)
    if (!c.weights[k].statistic)
      check.argument(
          std::ssize(run.w[k]), [&](Index i) -> double& { return moved.w[k][static_cast<std::size_t>(i)]; },
          [&](Index i) { return run.dw[k][static_cast<std::size_t>(i)] - 1; });   // it started at 1
  check.finish();
}

/// Backward without a wanted dx leaves it alone; frozen weights change nothing else.
template <AnySpec S> void check_unwanted(const OpCase<S>& c, Context<Cpu>& ctx) {
  OpRun<S> all(c, ctx, {}), weights_only(c, ctx, {}), inputs_only(c, ctx, {});
  weights_only.inputs_frozen = true;
  inputs_only.frozen = true;
  for (OpRun<S>* run : {&all, &weights_only, &inputs_only}) run->forward(), run->backward();
  CHECK(weights_only.dw == all.dw);
  for (std::size_t k = 0; k < all.dx.size(); ++k) {
    CHECK(inputs_only.dx[k].packed() == all.dx[k].packed());
    for (std::byte b : weights_only.dx[k].packed()) REQUIRE(b == std::byte{0xff});
  }
}

/// <A x, y> = <x, A' y>.
template <AnySpec S> void check_adjoint(const OpCase<S>& c, Context<Cpu>& ctx, std::uint64_t seed) {
  OpRun<S> run(c, ctx, {.seed = seed});
  run.forward();
  run.backward();
  double right = 0, size = 0;
  for (std::size_t k = 0; k < run.x.size(); ++k)
    for (Index i = 0; i < run.x[k].elements(); ++i) {
      const double term = run.x[k].template at<double>(i) * run.dx[k].template at<double>(i);
      right += term, size += std::abs(term);
    }
  INFO(c.name << ": " << run.projection() << " and " << right);
  CHECK(std::abs(run.projection() - right) <= 1e-13 * size);
}

/// ||a - b|| / ||b||, over all values of a tensor.
struct Distance {
  double apart = 0, size = 0;
  void add(double a, double b) { apart += (a - b) * (a - b), size += b * b; }
  bool within(double tolerance) const {
    return std::isfinite(apart) && std::sqrt(apart) <= tolerance * std::sqrt(size) + 1e-12;
  }
  double value() const { return std::sqrt(apart / size); }
};
template <AnySpec S, AnySpec D>
void check_precision(const OpCase<S>& c, const OpCase<D>& in_double, Context<Cpu>& ctx, double tolerance) {
  OpRun<S> run(c, ctx, {.grid = true});
  OpRun<D> exact(in_double, ctx, {.grid = true});
  run.forward(), run.backward();
  exact.forward(), exact.backward();
  REQUIRE(run.info.shape == exact.info.shape);
  REQUIRE_MESSAGE(run.guards_intact(), c.name << " wrote outside of its channels");
  using T = typename S::T;
  using Acc = typename S::Acc;
  const auto number = [](Room<S::kDim>& room, Index i) {
    return room.info().dtype == dtype_of<T>() ? OpRun<S>::number(room.template at<T>(i)) : double(room.template at<Acc>(i));
  };
  const std::string type = text(dtype_of<T>());
  const auto compare = [&](Room<S::kDim>& a, Room<S::kDim>& b, const std::string& what) {
    Distance d;
    for (Index i = 0; i < a.elements(); ++i) d.add(number(a, i), b.template at<double>(i));
    INFO(c.name << ", " << type << ", " << what << ": relative distance " << d.value() << ", allowed " << tolerance);
    CHECK(d.within(tolerance));
  };
  compare(run.y, exact.y, "y");
  if (c.kinks && sizeof(T) == 2) return;   // rounding moves values across a kink, and there the derivative jumps
  for (std::size_t k = 0; k < run.x.size(); ++k)
    if (!run.is_labels(k)) compare(run.dx[k], exact.dx[k], "dx");
  Distance d;   // of all weights together: one alone may be all noise
  for (std::size_t k = 0; k < run.w.size(); ++k)
    for (std::size_t i = 0; i < run.dw[k].size(); ++i) d.add(double(run.dw[k][i]) - 1, exact.dw[k][i] - 1);
  INFO(c.name << ", " << type << ", dw: relative distance " << d.value() << ", allowed " << tolerance);
  CHECK(d.within(tolerance));
}

/// 1, 2 and 4 threads, and 1 again on a packed layout of the same values: the same bits.
template <AnySpec S> void check_threads(const OpCase<S>& c) {
  Context<Cpu> contexts[] = {Context<Cpu>({.threads = 1}), Context<Cpu>({.threads = 2}), Context<Cpu>({.threads = 4})};
  std::vector<std::vector<std::byte>> first;
  const auto results = [&](Context<Cpu>& ctx, bool packed) {
    OpRun<S> run(c, ctx, {.seed = 5, .packed = packed});
    run.forward(), run.backward();
    REQUIRE_MESSAGE(run.guards_intact(), c.name << " wrote outside of its channels");
    std::vector<std::vector<std::byte>> all = {run.y.packed()};
    for (auto& room : run.dx) all.push_back(room.packed());
    for (auto& values : run.dw) {
      const auto bytes = std::as_bytes(std::span(values));
      all.emplace_back(bytes.begin(), bytes.end());
    }
    return all;
  };
  const auto expected = results(contexts[0], false);
  INFO(c.name);
  CHECK((results(contexts[1], false) == expected));
  CHECK((results(contexts[2], false) == expected));
  CHECK((results(contexts[2], true) == expected));
}

/// How an op is tried: `make(spec, draw)` returns a case.
struct FamilyOptions {
  int rounds = 60;
  double float_tolerance = 2e-6, bf16_tolerance = 2e-2;
};
template <int Dim, class Make> void check_family(Make make, const FamilyOptions& o = {}) {
  using D = Spec<double, Dim, Cpu>;
  using F = Spec<float, Dim, Cpu>;
  using B = Spec<bf16, Dim, Cpu>;
  Context<Cpu> ctx({.threads = 1});
  for (int round = 0; round < o.rounds; ++round) {
    const Draw draw({.seed = static_cast<std::uint64_t>(round), .op = 1});
    Draw a = draw, b = draw, c = draw;
    const OpCase<D> in_double = make(D{}, a);
    const OpCase<F> in_float = make(F{}, b);
    const OpCase<B> in_bf16 = make(B{}, c);
    CAPTURE(round);
    check_gradients(in_double, ctx, static_cast<std::uint64_t>(round) + 1);
    check_unwanted(in_float, ctx);
    if (in_double.linear) check_adjoint(in_double, ctx, static_cast<std::uint64_t>(round) + 1);
    check_precision(in_float, in_double, ctx, o.float_tolerance);
    check_precision(in_bf16, in_double, ctx, o.bf16_tolerance);
  }
  for (std::uint64_t round = 100; round < 102; ++round) {
    Draw a({.seed = round}, CaseSize::threads), b = a;
    const auto large = make(F{}, a);
    CAPTURE(round);
    check_threads(large);
    check_precision(large, make(D{}, b), ctx, 10 * o.float_tolerance);
  }
}

}   // namespace ctseg::test
