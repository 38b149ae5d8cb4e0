// What upsampling, average pooling, padding, products, slices, pixel shuffle and group norm compute: small cases worked out by
// hand from PyTorch's definitions.
#include <ctseg/ops/norm.hpp>

#include "moves_cases.hpp"
#include "resize_cases.hpp"
#include "support/op_reference.hpp"

using namespace ctseg;
using namespace ctseg::test;

using S2 = Spec<double, 2, Cpu>;
using S3 = Spec<double, 3, Cpu>;

namespace {
/// y in logical order (N, C, ...), for inputs in logical order.
template <AnySpec S, class O>
std::vector<double> result(const O& op, std::vector<Shape<S::kDim>> shapes, const std::vector<std::vector<double>>& values) {
  Context<Cpu> ctx({.threads = 1});
  OpCase<S> c{.name = "values", .op = op, .inputs = {}};
  for (const auto& s : shapes) c.inputs.push_back(activations<S>(s));
  OpRun<S> run(c, ctx, {});
  for (std::size_t k = 0; k < shapes.size(); ++k) {
    const auto view = run.x[k].view().template as<double>();
    Volume5 x(shapes[k]);
    REQUIRE(x.v.size() == values[k].size());
    x.v = values[k];
    x.each([&](Index n, Index channel, Index z, Index y, Index w) {
      view.at(n, (z * x.h + y) * x.w + w)[channel] = x(n, channel, z, y, w);
    });
  }
  run.forward();
  return volume_of(run.y.view().template as<double>()).v;
}
std::vector<double> count(int n) {   // 0, 1, 2, ...
  std::vector<double> out(static_cast<std::size_t>(n));
  for (std::size_t i = 0; i < out.size(); ++i) out[i] = static_cast<double>(i);
  return out;
}
void check_values(const std::vector<double>& got, const std::vector<double>& wanted) {
  REQUIRE(got.size() == wanted.size());
  for (std::size_t i = 0; i < got.size(); ++i) {
    CAPTURE(i);
    CHECK(got[i] == doctest::Approx(wanted[i]).epsilon(1e-14));
  }
}
using Many = std::vector<double>;
}   // namespace

TEST_CASE("upsample: values of PyTorch's modes") {
  const Shape<2> row{1, 1, {1, 3}};
  const Axes<2> five = {1, 5};
  using U = UpsampleOp<S2>;
  CHECK((result<S2>(U{.size = five, .mode = UpsampleMode::nearest}, {row}, {{1, 2, 3}}) == Many{1, 1, 2, 2, 3}));
  CHECK((result<S2>(U{.size = five, .mode = UpsampleMode::nearest_exact}, {row}, {{1, 2, 3}}) == Many{1, 1, 2, 3, 3}));
  CHECK((result<S2>(U{.size = {1, 2}, .mode = UpsampleMode::nearest}, {row}, {{1, 2, 3}}) == Many{1, 2}));
  CHECK((result<S2>(U{.size = {1, 2}, .mode = UpsampleMode::nearest_exact}, {row}, {{1, 2, 3}}) == Many{1, 3}));
  check_values(result<S2>(U{.size = five, .mode = UpsampleMode::linear}, {row}, {{1, 2, 3}}), {1, 1.4, 2, 2.6, 3});
  check_values(result<S2>(U{.size = five, .mode = UpsampleMode::linear, .align_corners = true}, {row}, {{1, 2, 3}}),
               {1, 1.5, 2, 2.5, 3});
  const Shape<2> square{1, 1, {2, 2}};
  check_values(result<S2>(U{.mode = UpsampleMode::linear}, {square}, {{1, 2, 3, 4}}),
               {1, 1.25, 1.75, 2, 1.5, 1.75, 2.25, 2.5, 2.5, 2.75, 3.25, 3.5, 3, 3.25, 3.75, 4});
  check_values(result<S2>(U{.size = 1, .mode = UpsampleMode::linear, .align_corners = true}, {square}, {{1, 2, 3, 4}}), {1});
  check_values(result<S2>(U{.size = 1, .mode = UpsampleMode::linear}, {square}, {{1, 2, 3, 4}}), {2.5});
  using V = UpsampleOp<S3>;
  check_values(result<S3>(V{.factor = {1, 2, 1}}, {{1, 2, {1, 2, 2}}}, {count(8)}),
               {0, 1, 0, 1, 2, 3, 2, 3, 4, 5, 4, 5, 6, 7, 6, 7});
  check_values(
      result<S3>(V{.size = {3, 2, 2}, .mode = UpsampleMode::linear, .align_corners = true}, {{1, 1, {2, 2, 2}}}, {count(8)}),
      {0, 1, 2, 3, 2, 3, 4, 5, 4, 5, 6, 7});
}

TEST_CASE("average pools: values") {
  check_values(result<S2>(AveragePoolOp<S2>{}, {{1, 1, {3, 5}}}, {count(15)}),
               {3, 5});   // the last row and column are left out
  check_values(result<S2>(AveragePoolOp<S2>{.kernel = {1, 3}, .stride = {1, 2}}, {{1, 1, {1, 5}}}, {{1, 2, 6, 4, 5}}), {3, 5});
  check_values(result<S3>(AveragePoolOp<S3>{}, {{1, 2, {2, 2, 2}}}, {count(16)}), {3.5, 11.5});
  check_values(result<S2>(AdaptiveAveragePoolOp<S2>{{1, 3}}, {{1, 1, {1, 5}}}, {{1, 2, 3, 7, 9}}), {1.5, 4, 8});
  check_values(result<S2>(AdaptiveAveragePoolOp<S2>{{1, 4}}, {{1, 1, {1, 2}}}, {{1, 2}}), {1, 1, 2, 2});
  check_values(result<S3>(AdaptiveAveragePoolOp<S3>{}, {{2, 1, {1, 3, 2}}}, {count(12)}), {2.5, 8.5});
  Context<Cpu> ctx({.threads = 1});   // a global mean of many voxels in float
  using F = Spec<float, 3, Cpu>;
  OpCase<F> c{.name = "global", .op = AdaptiveAveragePoolOp<F>{}, .inputs = {activations<F>({1, 1, {64, 64, 64}})}};
  OpRun<F> run(c, ctx, {});
  double mean = 0;
  for (Index i = 0; i < run.x[0].elements(); ++i) {
    run.x[0].at<float>(i) += 1000;
    mean += double{run.x[0].at<float>(i)} / double(run.x[0].elements());
  }
  run.forward();
  CHECK(double{run.y.at<float>(0)} == doctest::Approx(mean).epsilon(1e-6));
}

TEST_CASE("pad: reflect and constant") {
  const PadOp<S2> reflect{.low = {2, 1}, .high = {1, 2}, .mode = PadMode::reflect};
  check_values(result<S2>(reflect, {{1, 1, {3, 3}}}, {count(9)}),
               {7, 6, 7, 8, 7, 6, 4, 3, 4, 5, 4, 3, 1, 0, 1, 2, 1, 0, 4, 3, 4, 5, 4, 3, 7, 6, 7, 8, 7, 6, 4, 3, 4, 5, 4, 3});
  const PadOp<S2> constant{.low = {0, 2}, .high = {1, 0}, .mode = PadMode::constant, .value = -7};
  check_values(result<S2>(constant, {{1, 1, {2, 1}}}, {{1, 2}}), {-7, -7, 1, -7, -7, 2, -7, -7, -7});
  const PadOp<S3> deep{.low = {1, 0, 0}, .high = {0, 0, 1}, .mode = PadMode::constant};
  check_values(result<S3>(deep, {{1, 1, {1, 1, 2}}}, {{1, 2}}), {0, 0, 0, 1, 2, 0});
}

TEST_CASE("multiply, slice, pixel shuffle: values") {
  const Shape<2> two{1, 2, {1, 2}}, one{1, 1, {1, 2}};
  CHECK((result<S2>(MultiplyOp<S2>{}, {two, two}, {{1, 2, 3, 4}, {5, 6, 7, 8}}) == Many{5, 12, 21, 32}));
  CHECK((result<S2>(MultiplyOp<S2>{}, {two, one}, {{1, 2, 3, 4}, {5, 6}}) == Many{5, 12, 15, 24}));
  CHECK((result<S2>(SliceOp<S2>{1, 2}, {{1, 4, {1, 2}}}, {count(8)}) == Many{2, 3, 4, 5}));
  CHECK((result<S2>(PixelShuffleOp<S2>{2}, {{1, 8, {1, 2}}}, {count(16)}) ==
         Many{0, 2, 1, 3, 4, 6, 5, 7, 8, 10, 9, 11, 12, 14, 13, 15}));
  CHECK((result<S2>(PixelShuffleOp<S2>{3}, {{1, 9, {1, 1}}}, {count(9)}) == count(9)));
  CHECK((result<S3>(PixelShuffleOp<S3>{2}, {{1, 16, {1, 1, 1}}}, {count(16)}) == count(16)));   // offsets in order z, y, x
  CHECK((result<S3>(PixelShuffleOp<S3>{2}, {{1, 8, {2, 1, 1}}}, {count(16)}) ==
         Many{0, 2, 4, 6, 8, 10, 12, 14, 1, 3, 5, 7, 9, 11, 13, 15}));
}

TEST_CASE("group norm: channels of a group share mean and variance, images do not") {
  const NormOp<S2> op{.kind = NormKind::group, .affine = false, .eps = 0, .groups = 2};
  const double a = 1 / std::sqrt(5.0), b = 3 * a;   // of 0, 2, 4, 6 and of 1, 3, 5, 7: mean 3 or 4, variance 5
  check_values(result<S2>(op, {{1, 4, {1, 2}}}, {{0, 2, 4, 6, 107, 101, 105, 103}}), {-b, -a, a, b, b, -b, a, -a});
  const NormOp<S2> layer{.kind = NormKind::group, .affine = false, .eps = 0, .groups = 1};
  check_values(result<S2>(layer, {{2, 2, {1, 2}}}, {{0, 2, 4, 6, 17, 11, 15, 13}}), {-b, -a, a, b, b, -b, a, -a});
}
