// Winograd's tiles through the op: groups, transposed, 2-D, paddings wider than the kernel needs; forward and both gradients of
// float against double, for every accuracy.
#include "conv_cases.hpp"
#include "support/op_run.hpp"

#include <doctest/doctest.h>

using namespace ctseg;
using namespace ctseg::test;

namespace {

struct Values {
  std::vector<double> y{}, dx{}, dw{};
  int choice = 0;   // 3 bits of instruction set, 7 each of tiles for forward, data gradient, weight gradient
};

template <class T, int Dim, class Make> Values values(Make make, const Shape<Dim>& shape, Accuracy accuracy) {
  using S = Spec<T, Dim, Cpu>;
  Context<Cpu> ctx({.threads = 2, .accuracy = accuracy});
  OpCase<S> c = conv_case_of<S>(make(S{}), shape, true);
  c.mode = Mode::train;
  OpRun<S> run(c, ctx, {.seed = 6, .grid = true});
  run.forward();
  run.backward();
  REQUIRE(run.guards_intact());
  Values v{.choice = run.info.choice};
  for (Index i = 0; i < run.y.elements(); ++i) v.y.push_back(double(run.y.template at<T>(i)));
  for (Index i = 0; i < run.x[0].elements(); ++i) v.dx.push_back(double(run.dx[0].template at<T>(i)));
  for (const auto& weights : run.dw) v.dw.insert(v.dw.end(), weights.begin(), weights.end());
  return v;
}

double apart(const std::vector<double>& a, const std::vector<double>& b) {
  double most = 0, largest = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    most = std::max(most, std::abs(a[i] - b[i]));
    largest = std::max(largest, std::abs(b[i]));
  }
  return a.size() == b.size() && largest > 0 ? most / largest : 1;
}

template <int Dim, class Make> void check(Make make, const Shape<Dim>& shape) {
  const Values want = values<double, Dim>(make, shape, Accuracy::strict);
  for (const Accuracy accuracy : {Accuracy::strict, Accuracy::standard, Accuracy::fast}) {
    CAPTURE(text(accuracy));
    const Values got = values<float, Dim>(make, shape, accuracy);
    const double limit = accuracy == Accuracy::fast ? 5e-5 : 2e-6;
    const bool forward = (got.choice >> 3 & 255) != 0, back = (got.choice >> 11 & 255) != 0, weights = got.choice >> 19 != 0;
    CHECK((forward && back && weights) >= (accuracy == Accuracy::fast));
    CHECK((forward || back || weights) <= (accuracy != Accuracy::strict));
    CHECK(apart(got.y, want.y) < limit);
    CHECK(apart(got.dx, want.dx) < limit);
    CHECK(apart(got.dw, want.dw) < limit);
  }
}

}   // namespace

TEST_CASE("Conv by Winograd's tiles is double's: groups") {
  check<3>([]<class S>(S) { return ConvOp<S>{.in_channels = 64, .out_channels = 48, .groups = 2}; },
           {.n = 2, .c = 64, .space = {12, 9, 11}});
}
TEST_CASE("Conv by Winograd's tiles is double's: transposed with stride 1") {
  check<3>([]<class S>(S) { return ConvOp<S>{.in_channels = 33, .out_channels = 40, .transposed = true}; },
           {.n = 1, .c = 33, .space = {12, 13, 15}});
}
TEST_CASE("Conv by Winograd's tiles is double's: two dimensions") {
  check<2>([]<class S>(S) { return ConvOp<S>{.in_channels = 48, .out_channels = 33}; }, {.n = 2, .c = 48, .space = {37, 30}});
}
TEST_CASE("Conv by Winograd's tiles is double's: more padding than the kernel reaches") {
  check<3>([]<class S>(S) { return ConvOp<S>{.in_channels = 48, .out_channels = 48, .padding = 3}; },
           {.n = 1, .c = 48, .space = {16, 15, 21}});
}
