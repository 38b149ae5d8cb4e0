// The other losses on the card against the CPU's in double: hardest voxels, centre lines, and ops on labels.
#include <doctest/doctest.h>

#include <ctseg/loss/cldice.hpp>
#include <ctseg/loss/cuda/cldice.hpp>
#include <ctseg/loss/cuda/distance.hpp>
#include <ctseg/loss/cuda/labels.hpp>
#include <ctseg/loss/cuda/top_k.hpp>
#include <ctseg/loss/distance.hpp>
#include <ctseg/loss/labels.hpp>
#include <ctseg/loss/top_k.hpp>

#include "op_numbers.hpp"

using namespace ctseg;
using namespace ctseg::test;

namespace {

Numbers random_labels(Index count, Index classes, std::uint64_t seed = 9) {
  Numbers out;
  for (const double v : random_numbers<double>(count, seed, 0, 1)) out.push_back(std::floor(v * static_cast<double>(classes)));
  return out;
}
/// make(S{}) is the op.
template <class T, class Make> void compare(Make make, const NumbersCase& c, double y = 2e-6, double dx = 3e-6) {
  static Context<Cpu> cpu({.threads = 1});
  static Context<Cuda> card;
  const NumbersResult wanted = OpNumbers<Spec<double, 3, Cpu>>(cpu)(make(Spec<double, 3, Cpu>{}), c);
  const NumbersResult got = OpNumbers<Spec<T, 3, Cuda>>(card)(make(Spec<T, 3, Cuda>{}), c);
  CHECK(distance(got.y, wanted.y) < y);
  for (std::size_t k = 0; k < got.dx.size(); ++k) CHECK(distance(got.dx[k], wanted.dx[k]) < dx);
}
template <class T> NumbersCase loss_case(const Shape<3>& x, Dtype labels = Dtype::u8) {
  return {.inputs = {{x, random_numbers<T>(x.elements(), 1, -3, 3)},
                     {x.with_channels(1), random_labels(x.n * x.voxels(), std::max<Index>(x.c, 2)), 0, false, labels}},
          .dy = {1.5}};
}

}   // namespace

TEST_CASE("the hardest voxels") {
  for (const Index classes : {1, 2, 3, 7, 140})
    for (const double percent : {0.1, 10., 60., 100.}) {
      TopKOptions o{.percent = percent};
      const auto make = [&](auto s) { return TopKOp<decltype(s)>{o}; };
      compare<float>(make, loss_case<float>({2, classes, {6, 5, 4}}));
      for (Index c = 0; c < classes; ++c) o.class_weights.push_back(0.5 + 0.25 * static_cast<double>(c % 4));
      o.ignore_label = 1;
      compare<float>(make, loss_case<float>({2, classes, {6, 5, 4}}, Dtype::u16));
      compare<bf16>(make, loss_case<bf16>({1, classes, {3, 5, 4}}), 1e-5, 1e-2);
    }
}

TEST_CASE("of equally hard voxels the first in memory count") {
  NumbersCase c = loss_case<float>({2, 3, {11, 10, 10}});   // several blocks
  for (std::size_t i = 0; i < c.inputs[0].values.size(); ++i)
    c.inputs[0].values[i] = static_cast<double>(i % 3) * static_cast<double>(i / 30 % 5);
  for (const double percent : {1., 13., 50., 90.}) {
    const auto make = [&](auto s) { return TopKOp<decltype(s)>{{.percent = percent}}; };
    compare<float>(make, c);
  }
}

TEST_CASE("a bad label spoils the loss of the hardest voxels") {
  Context<Cuda> card;
  NumbersCase c = loss_case<float>({1, 3, {4, 4, 4}});
  c.inputs[1].values[5] = 9;
  CHECK(std::isnan(OpNumbers<Spec<float, 3, Cuda>>(card)(TopKOp<Spec<float, 3, Cuda>>{}, c).y[0]));
}

TEST_CASE("soft erosion and dilation, and whose gradient it is") {
  for (const Shape<3>& x : {Shape<3>{2, 3, {4, 5, 3}}, {1, 1, {1, 6, 5}}, {1, 2, {1, 1, 4}}})
    for (const bool dilate : {false, true}) {
      const auto make = [&](auto s) { return SoftMorphologyOp<decltype(s)>{dilate}; };
      NumbersCase c{.inputs = {{x, random_numbers<bf16>(x.elements(), 1)}}, .dy = random_numbers<bf16>(x.elements(), 2)};
      compare<float>(make, c);
      compare<bf16>(make, c, 1e-9, 1e-2);
      for (double& v : c.inputs[0].values) v = std::floor(v * 2);   // equals
      compare<float>(make, c);
      c.mode = Mode::infer, c.dy.clear();
      compare<float>(make, c);
    }
}

TEST_CASE("the overlap of centre lines") {
  for (const Shape<3>& x : {Shape<3>{2, 3, {4, 5, 3}}, {1, 1, {11, 12, 10}}}) {
    NumbersCase c{.inputs = {}, .dy = {0.7}};
    for (std::uint64_t k = 0; k < 4; ++k) c.inputs.push_back({x, random_numbers<float>(x.elements(), k, 0, 1)});
    const auto make = [&](auto s) { return CenterlineDiceOp<decltype(s)>{{.smooth = 1e-3}}; };
    compare<float>(make, c);
    for (NumbersInput& in : c.inputs) in.values = random_numbers<bf16>(x.elements(), 3, 0, 1);
    c.inputs[2].gradient = false;
    compare<bf16>(make, c, 1e-5, 1e-2);
  }
}

TEST_CASE("labels at another size, as regions, as values") {
  for (const Dtype type : {Dtype::u8, Dtype::u16}) {
    const Shape<3> x{2, 1, {5, 4, 6}};
    const NumbersCase c{.inputs = {{x, random_labels(x.elements(), 6), 0, false, type}}};
    compare<float>([](auto s) { return ResizeLabelsOp<decltype(s)>{{3, 4, 7}}; }, c, 1e-12);
    compare<float>([](auto s) { return RegionsOp<decltype(s)>{{{1, 2, 3}, {2}, {5, 0}}, {}}; }, c, 1e-12);
    compare<float>([](auto s) { return RegionsOp<decltype(s)>{{{1, 2, 3}, {2}}, 4}; }, c, 1e-12);
    std::vector<Index> many;
    for (Index k = 100; k < 140; ++k) many.push_back(k);
    many.push_back(3);
    compare<float>([&](auto s) { return RegionsOp<decltype(s)>{{{0}, many}, 5}; }, c, 1e-12);
    compare<float>([](auto s) { return OneHotOp<decltype(s)>{6, false}; }, c, 1e-12);
    compare<bf16>([](auto s) { return OneHotOp<decltype(s)>{7, true}; }, c, 1e-12);
    const NumbersCase wide{.inputs = {{x.with_channels(3), random_labels(3 * x.elements(), 2), 0, false, type}}};
    compare<float>([](auto s) { return OneHotOp<decltype(s)>{3, true}; }, wide, 1e-12);
  }
  Context<Cuda> card;
  const NumbersCase bad{.inputs = {{{1, 1, {1, 1, 2}}, {1, 4}, 0, false, Dtype::u8}}};
  const Numbers y = OpNumbers<Spec<float, 3, Cuda>>(card)(OneHotOp<Spec<float, 3, Cuda>>{2, false}, bad).y;
  CHECK(y[1] == 1);
  CHECK(std::isnan(y[2]));
}

TEST_CASE("distance losses: exact distances to the boundaries of labels and network") {
  const auto blobs = [](NumbersCase c, Index classes) {   // runs of both sides; one class nowhere, the last image full of one
    const Shape<3>& x = c.inputs[0].shape;
    auto& labels = c.inputs[1].values;
    for (std::size_t i = 0; i < labels.size(); ++i) {
      const auto place = static_cast<Index>(i) % x.voxels();
      labels[i] = classes > 2 && labels[i] == 1 ? 0 : (place / 7 % 3 == 0 || place % 5 < 2) ? labels[i] : 0;
      if (x.n > 2 && static_cast<Index>(i) / x.voxels() == 2) labels[i] = 1;
    }
    return c;
  };
  for (const Shape<3>& x :
       {Shape<3>{3, 2, {5, 6, 9}}, {1, 1, {4, 3, 11}}, {2, 3, {1, 12, 7}}, {1, 7, {6, 1, 5}}, {1, 140, {3, 2, 4}}})
    for (const bool boundary : {false, true})
      for (const bool sigmoid : {false, true}) {
        DistanceLossOptions o{.boundary = boundary};
        o.common = {.alpha = sigmoid ? 2. : 1.5,
                    .include_background = sigmoid,
                    .sigmoid = sigmoid,
                    .logarithm = !sigmoid && !boundary,
                    .spacing_mm = {1, 0.75, 2.5}};
        const auto make = [&](auto s) { return DistanceLossOp<decltype(s)>{o}; };
        compare<float>(make, blobs(loss_case<float>(x), x.c), 5e-6, 1e-5);
        compare<bf16>(make, blobs(loss_case<bf16>(x, Dtype::u16), x.c), 5e-6, 1e-2);
      }
  Context<Cuda> card;
  NumbersCase bad = loss_case<float>({1, 3, {4, 4, 4}});
  bad.inputs[1].values[5] = 9;
  CHECK(std::isnan(OpNumbers<Spec<float, 3, Cuda>>(card)(DistanceLossOp<Spec<float, 3, Cuda>>{}, bad).y[0]));
}
