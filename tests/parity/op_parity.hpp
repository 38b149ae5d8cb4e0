// Every op against PyTorch: forward, the gradients of inputs and weights, running statistics. The fixtures hold all digits of a
// double, so a double must agree to rounding; a float to 1e-5 of the largest value of a tensor. With -s the test prints how far
// each of them is apart.
#pragma once
#include <deque>
#include <filesystem>

#include "op_parity_cases.hpp"
#include "parity/fixture.hpp"
#include "support/op_run.hpp"

namespace ctseg::test {

inline constexpr double kMomentum = 0.1;   // PyTorch's, of running statistics

/// A case on its way: the ops' runs, and what the file says about them.
template <AnySpec S> class ParityRun {
 public:
  using T = typename S::T;
  using Acc = typename S::Acc;

  ParityRun(const Fixture& fixture, const ParityCase<S>& c, double tolerance)
      : fixture_(fixture), case_(c), tolerance_(tolerance), ctx_({.threads = 1}) {}

  void check() {
    forward();
    backward();
    compare(
        "y", [&](Index i) { return double(runs_.back().y.template at<T>(i)); }, runs_.back().y.info().shape);
    for (std::size_t k = 0; k < runs_.front().x.size(); ++k)
      if (!runs_.front().is_labels(k))
        compare(
            text("dx", k), [&](Index i) { return double(runs_.front().dx[k].template at<T>(i)); },
            runs_.front().dx[k].info().shape);
    for (std::size_t k = 0; k < weights_.size(); ++k) compare_weight(k);
    for (const auto& run : runs_) CHECK(run.guards_intact());
  }

 private:
  std::string key(const std::string& part) const { return case_.name + "/" + part; }
  bool has(const std::string& part) const { return fixture_.has(key(part)); }
  std::vector<double> values(const std::string& part) const { return fixture_.values(key(part)); }

  void forward() {
    std::vector<ValueInfo<S::kDim>> inputs;
    for (std::size_t k = 0; has(text("x", k)); ++k)
      inputs.push_back({fixture_.shape<S::kDim>(key(text("x", k))), labels(k).value_or(dtype_of<T>())});
    for (const AnyOp<S>& op : case_.ops) {
      const bool last = &op == &case_.ops.back();
      if (last) read_weights(op);
      op_cases_.push_back({.name = case_.name, .op = op, .inputs = inputs, .mode = case_.mode, .labels = 2});
      if (last)
        for (const auto& p : weights_) op_cases_.back().weights.push_back({p.size()});
      runs_.emplace_back(op_cases_.back(), ctx_, typename OpRun<S>::Options{});
      auto& run = runs_.back();
      if (runs_.size() == 1)
        for (std::size_t k = 0; k < inputs.size(); ++k) fill(run.x[k], values(text("x", k)));
      else
        move(runs_[runs_.size() - 2].y, run.x[0]);
      if (last)
        for (std::size_t k = 0; k < weights_.size(); ++k) std::ranges::copy(weights_[k].values(), run.w[k].begin());
      run.forward();
      inputs = {run.y.info()};
    }
  }
  void backward() {
    fill(runs_.back().dy, values("dy"));
    for (std::size_t r = runs_.size(); r-- > 0;) {
      runs_[r].backward();
      if (r > 0) move(runs_[r].dx[0], runs_[r - 1].dy);
    }
  }

  std::optional<Dtype> labels(std::size_t k) const {
    const Dtype d = fixture_.dtype(key(text("x", k)));
    return d == Dtype::u8 || d == Dtype::u16 ? std::optional(d) : std::nullopt;
  }

  /// A gap in the numbers is an absent weight.
  void read_weights(const AnyOp<S>& op) {
    const auto* block = op.template get<ConvNormActOp<S>>();
    const ConvOp<S>* conv = block ? &block->conv : op.template get<ConvOp<S>>();
    for (std::size_t k = 0; has(text("w", k)) || has(text("w", k + 1)); ++k) {
      weights_.emplace_back();
      if (!has(text("w", k))) continue;
      const bool kernel = conv && k == 0;
      weights_[k] = Parameter<S>({.shape = fixture_.extents(key(text("w", k))),
                                  .layout = !kernel            ? WeightLayout::plain
                                            : conv->transposed ? WeightLayout::conv_transposed
                                                               : WeightLayout::conv,
                                  .groups = kernel ? conv->groups : 1});
      const auto from = values(text("w", k));
      const auto to = weights_[k].edit();
      for_file_order(weights_[k], [&](Index memory, Index file) { to[at(memory)] = static_cast<Acc>(from[at(file)]); });
    }
  }

  static std::size_t at(Index i) { return static_cast<std::size_t>(i); }
  /// Where element i of N, voxels, C is in N, C, voxels.
  static std::size_t file_index(const Shape<S::kDim>& s, Index i) {
    const Index row = i / s.c, voxels = s.voxels();
    return at((row / voxels * s.c + i % s.c) * voxels + row % voxels);
  }
  static void fill(Room<S::kDim>& room, const std::vector<double>& from) {
    REQUIRE(std::ssize(from) == room.elements());
    for (Index i = 0; i < room.elements(); ++i) {
      const double v = from[file_index(room.info().shape, i)];
      if (room.info().dtype == Dtype::u8)
        room.template at<std::uint8_t>(i) = static_cast<std::uint8_t>(v);
      else if (room.info().dtype == Dtype::u16)
        room.template at<std::uint16_t>(i) = static_cast<std::uint16_t>(v);
      else
        room.template at<T>(i) = static_cast<T>(v);
    }
  }
  static void move(Room<S::kDim>& from, Room<S::kDim>& to) {
    for (Index i = 0; i < from.elements(); ++i) to.template at<T>(i) = from.template at<T>(i);
  }

  template <class F> void compare(const std::string& part, F value, const Shape<S::kDim>& shape) {
    REQUIRE(fixture_.shape<S::kDim>(key(part)) == shape);
    const auto exact = values(part);
    Apart apart;
    for (Index i = 0; i < shape.elements(); ++i) apart.add(value(i), exact[file_index(shape, i)]);
    report(part, apart, apart.largest);
  }
  /// The run's gradients started as 1. What follows a running statistic moves by its rate.
  void compare_weight(std::size_t k) {
    if (!weights_[k].present()) return;
    const auto& run = runs_.back();
    const bool statistic = has(text("after", k));
    const std::string part = text(statistic ? "after" : "dw", k);
    const auto exact = values(part);
    REQUIRE(std::ssize(exact) == weights_[k].size());
    Apart apart;
    for_file_order(weights_[k], [&](Index memory, Index file) {
      const double gradient = double(run.dw[k][at(memory)]) - 1;
      apart.add(statistic ? double(run.w[k][at(memory)]) - kMomentum * gradient : gradient, exact[at(file)]);
    });
    // A bias in front of a norm has no gradient: its noise is held against the gradients beside it.
    largest_gradient_ = std::max(largest_gradient_, apart.largest);
    report(part, apart, apart.largest > 1e-9 * largest_gradient_ ? apart.largest : largest_gradient_);
  }
  void report(const std::string& part, const Apart& a, double largest) {
    INFO(case_.ops.back()->name() << ", " << case_.name << ", " << part << ": " << a.apart << " apart, largest " << largest
                                  << ", share " << a.apart / largest);
    CHECK(a.apart <= tolerance_ * largest);
  }

  const Fixture& fixture_;
  const ParityCase<S>& case_;
  double tolerance_, largest_gradient_ = 0;
  Context<Cpu> ctx_;
  std::deque<OpCase<S>> op_cases_;   // runs hold their addresses
  std::deque<OpRun<S>> runs_;
  std::vector<Parameter<S>> weights_;
};

template <AnySpec S> void check_ops(double tolerance) {
  const Fixture fixture(text("ops_", S::kDim, "d"));
  for (const auto& c : parity_cases<S>()) {
    CAPTURE(c.name);
    const bool made = fixture.has(c.name + "/y");
    CHECK(made);
    if (made) ParityRun<S>(fixture, c, tolerance).check();
  }
}

/// Cases and fixtures are the same, every op has one, and every header of ops/ is known.
template <AnySpec S> void check_op_list() {
  const Fixture fixture(text("ops_", S::kDim, "d"));
  CHECK_MESSAGE(fixture.metadata("made_with").starts_with("torch "), "made with: ", fixture.metadata("made_with"));
  std::set<std::string> here, there, ops, offered, headers, known;
  for (const auto& c : parity_cases<S>()) {
    CHECK_MESSAGE(here.insert(c.name).second, "two cases are named ", c.name);
    for (const auto& op : c.ops) ops.emplace(op->name());
  }
  for (const auto& name : fixture.names()) there.insert(name.substr(0, name.find('/')));
  for (const auto& [header, names] : kOps) known.insert(header), offered.insert(names.begin(), names.end());
  for (const auto& entry : std::filesystem::directory_iterator(std::string(CTSEG_SOURCE_DIR) + "/include/ctseg/ops"))
    if (entry.is_regular_file()) headers.insert(entry.path().filename().string());
  const auto same = [](const std::set<std::string>& a, const std::set<std::string>& b, const std::string& what) {
    std::vector<std::string> odd;
    std::ranges::set_symmetric_difference(a, b, std::back_inserter(odd));
    for (const auto& name : odd) FAIL_CHECK(name << " is not on both sides: " << what);
    CHECK(odd.empty());
  };
  same(here, there, "cases of op_parity_cases.hpp, and of the fixtures");
  same(ops, offered, "ops of the cases, and of kOps");
  same(headers, known, "headers of include/ctseg/ops, and of kOps");
}

}   // namespace ctseg::test
