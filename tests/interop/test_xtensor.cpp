// xtensor and ctseg on the same memory: what one writes the other reads, in the order both say.
#include <doctest/doctest.h>

#include <ctseg/interop/xtensor.hpp>

#include "../io/temp_folder.hpp"

#if __has_include(<xtensor/containers/xarray.hpp>)
#include <xtensor/containers/xarray.hpp>
#include <xtensor/generators/xbuilder.hpp>
#include <xtensor/misc/xmanipulation.hpp>
#include <xtensor/views/xview.hpp>
#else
#include <xtensor/xarray.hpp>
#include <xtensor/xbuilder.hpp>
#include <xtensor/xmanipulation.hpp>
#include <xtensor/xview.hpp>
#endif

using namespace ctseg;

namespace {

Tensor<float, 3> counted() {
  Tensor<float, 3> t({.n = 2, .c = 3, .space = {2, 4, 5}});
  for (Index i = 0; i < t.shape().elements(); ++i) t.data()[i] = static_cast<float>(i);
  return t;
}
Grid grid_of(Index z, Index y, Index x) {
  return {.shape = {.x = x, .y = y, .z = z}, .affine = Affine<Ras>(Eigen::Matrix4d::Identity())};
}
xt::xarray<float> numbers(std::vector<std::size_t> shape) {
  std::size_t count = 1;
  for (const std::size_t e : shape) count *= e;
  xt::xarray<float> a = xt::arange<float>(0, static_cast<float>(count));
  a.reshape(shape);
  return a;
}
bool has(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

/// Every value through both.
template <class X> void same(const Tensor<float, 3>& t, const X& x) {
  const auto& s = t.shape();
  for (Index n = 0; n < s.n; ++n)
    for (Index c = 0; c < s.c; ++c)
      for (Index i = 0; i < s.voxels(); ++i) {
        const Index z = i / (s.space[1] * s.space[2]), y = i / s.space[2] % s.space[1], w = i % s.space[2];
        REQUIRE(t(n, c, z, y, w) == x(n, c, z, y, w));
      }
}

}   // namespace

TEST_CASE("as_xtensor of a tensor is the same memory in logical order") {
  Tensor<float, 3> t = counted();
  auto x = as_xtensor(t);
  CHECK(x.dimension() == 5);
  CHECK(x.shape()[1] == 3);
  same(t, x);
  x(1, 2, 1, 3, 4) = -7;
  CHECK(t(1, 2, 1, 3, 4) == -7);
  t(0, 1, 0, 2, 3) = 9;
  CHECK(x(0, 1, 0, 2, 3) == 9);
  same(t, xt::xarray<float>(x));   // copying iterates by strides
  const auto& fixed = std::as_const(t);
  static_assert(std::is_const_v<std::remove_reference_t<decltype(as_xtensor(fixed)(0, 0, 0, 0, 0))>>);
  CHECK(as_xtensor(fixed)(0, 1, 0, 2, 3) == 9);
}

TEST_CASE("assigning to as_xtensor fills the tensor and keeps its layout") {
  Tensor<float, 3> t = counted();
  const xt::xarray<float> a = numbers({2, 3, 2, 4, 5});
  auto x = as_xtensor(t);
  x = a;
  same(t, a);
  CHECK(t.data()[1] == a(0, 1, 0, 0, 0));   // still channels-last
  x = x + a;
  CHECK(t(1, 2, 1, 3, 4) == 2 * a(1, 2, 1, 3, 4));
  auto copy = x;   // a second view of the same memory
  copy(0, 0, 0, 0, 0) = 77;
  CHECK(t(0, 0, 0, 0, 0) == 77);
  const xt::xarray<float> other = numbers({7, 2});
  CHECK_THROWS(x = other);
}

TEST_CASE("extents of one broadcast") {
  Tensor<float, 2> bias({.n = 1, .c = 3, .space = {1, 1}});
  for (Index c = 0; c < 3; ++c) bias(0, c, 0, 0) = static_cast<float>(c);
  for (const std::size_t axis : {0, 2, 3}) CHECK(as_xtensor(bias).strides()[axis] == 0);
  const xt::xarray<float> sum = xt::zeros<float>({2, 3, 4, 5}) + as_xtensor(bias);
  for (std::size_t c = 0; c < 3; ++c) CHECK(sum(1, c, 3, 4) == static_cast<float>(c));
}

TEST_CASE("as_xtensor of a channel range steps over the other channels") {
  Tensor<float, 3> t = counted();
  auto middle = as_xtensor(t.view().channels(1, 1));
  CHECK(middle.shape()[1] == 1);
  middle = xt::zeros<float>(middle.shape());
  for (Index i = 0; i < t.shape().elements(); ++i) REQUIRE(t.data()[i] == (i % 3 == 1 ? 0 : static_cast<float>(i)));
}

TEST_CASE("as_xtensor of a volume has order z, y, x") {
  Volume<std::int16_t> v(grid_of(2, 3, 4));
  v(1, 2, 3) = 5;
  auto x = as_xtensor(v);
  CHECK(x.shape()[0] == 2);
  CHECK(x(1, 2, 3) == 5);
  x(0, 1, 2) = 8;
  CHECK(v(0, 1, 2) == 8);
  CHECK(as_xtensor(std::as_const(v))(0, 1, 2) == 8);
}

TEST_CASE("view_of takes what already lies channels-last") {
  xt::xarray<float> nhwc = numbers({2, 4, 5, 3});
  auto logical = xt::transpose(nhwc, {0, 3, 1, 2});
  const View<float, 2> v = view_of<2>(logical);
  CHECK(v.shape == Shape<2>{2, 3, {4, 5}});
  CHECK(v.pitch == 3);
  CHECK(v.at(1, 3 * 5 + 4)[2] == logical(1, 2, 3, 4));
  v.row(0)[1] = -3;
  CHECK(nhwc(0, 0, 0, 1) == -3);
  CHECK(view_of<3>(std::as_const(nhwc = numbers({2, 1, 2, 3, 4}))).pitch == 1);   // one channel is channels-last
}

TEST_CASE("view_of a part: pitch, offset, and const") {
  xt::xarray<float> nhwc = numbers({2, 4, 5, 8});
  auto part = xt::view(nhwc, xt::all(), xt::all(), xt::all(), xt::range(2, 5));
  auto logical = xt::transpose(part, {0, 3, 1, 2});
  const auto v = view_of<2>(logical);
  CHECK(v.pitch == 8);
  CHECK(v.shape.c == 3);
  CHECK(v.row(1)[0] == nhwc(0, 0, 1, 2));
  auto second = xt::view(nhwc, xt::range(1, 2), xt::all(), xt::all(), xt::range(2, 3));   // [1, 4, 5, 1]
  auto image = xt::transpose(second, {0, 3, 1, 2});
  CHECK(view_of<2>(image).row(0)[0] == nhwc(1, 0, 0, 2));
  const xt::xarray<float> volume = numbers({2, 3, 4});
  static_assert(std::is_same_v<decltype(view_of<3>(volume)), View<const float, 3>>);
  CHECK(view_of<3>(volume).shape == Shape<3>{1, 1, {2, 3, 4}});
  CHECK(view_of<3>(volume).data == volume.data());
  Tensor<float, 3> t = counted();
  auto there = as_xtensor(t.view().channels(1, 2));
  CHECK(view_of<3>(there).data == t.data() + 1);   // there and back
  CHECK(view_of<3>(there).pitch == 3);
}

TEST_CASE("view_of refuses other strides and says which") {
  xt::xarray<float> nchw = numbers({2, 3, 4, 5});
  const std::string error = error_of([&] { (void)view_of<2>(nchw); });
  CHECK(has(error, "[2,3,4,5]"));
  CHECK(has(error, "strides [60,20,5,1]"));
  CHECK(has(error, "to_tensor"));
  xt::xarray<float, xt::layout_type::column_major> columns = xt::zeros<float>({4, 5});
  CHECK(has(error_of([&] { (void)view_of<2>(columns); }), "strides [1,4]"));
  xt::xarray<float> nhwc = numbers({2, 4, 5, 3});
  auto mirrored = xt::flip(nhwc, 3);
  auto mirrored_channels = xt::transpose(mirrored, {0, 3, 1, 2});
  CHECK(has(error_of([&] { (void)view_of<2>(mirrored_channels); }), "strides [60,-1,15,3]"));
  xt::xarray<float> image = numbers({4, 5});
  auto backwards = xt::flip(image, 1);
  CHECK(has(error_of([&] { (void)view_of<2>(backwards); }), "-1]"));
  auto cropped = xt::view(image, xt::all(), xt::range(1, 4));   // rows of 3 at a distance of 5
  CHECK(has(error_of([&] { (void)view_of<2>(cropped); }), "strides [5,1]"));
  auto every_other = xt::view(image, xt::all(), xt::range(0, 4, 2));   // 2 columns of pitch 2, rows at 5
  CHECK(has(error_of([&] { (void)view_of<2>(every_other); }), "strides [5,2]"));
  CHECK(has(error_of([&] { (void)view_of<3>(nchw); }), "has 4 axes; expected 5"));
}

TEST_CASE("to_tensor copies any expression in logical order") {
  const xt::xarray<float> a = numbers({2, 3, 2, 4, 5});
  same(to_tensor<float, 3>(a), a);
  same(to_tensor<float, 3>(a * 2.f), xt::xarray<float>(a * 2.f));
  const xt::xarray<float, xt::layout_type::column_major> columns = a;
  same(to_tensor<float, 3>(columns), a);
  same(to_tensor<float, 3>(xt::view(a, xt::all(), xt::range(0, 3, 2), xt::all(), xt::range(1, 3))),
       xt::xarray<float>(xt::view(a, xt::all(), xt::range(0, 3, 2), xt::all(), xt::range(1, 3))));
  const xt::xarray<std::int16_t> volume = {{{1, -2}, {3, 4}}};
  const Tensor<float, 3> one = to_tensor<float, 3>(volume);
  CHECK(one.shape() == Shape<3>{1, 1, {1, 2, 2}});
  CHECK(one(0, 0, 0, 0, 1) == -2);
  CHECK(has(error_of([&] { (void)to_tensor<float, 2>(a); }), "[2,3,2,4,5] has 5 axes; expected 4 as N,C,H,W, or 2"));
  CHECK(has(error_of([&] { (void)to_tensor<float, 2>(xt::xarray<float>(xt::zeros<float>({0, 3}))); }), "extent of 0"));
}

TEST_CASE("volume_from copies and holds the array against the grid") {
  const xt::xarray<float> a = numbers({2, 3, 4});
  const auto v = volume_from<std::int16_t>(a + 1.f, grid_of(2, 3, 4));
  CHECK(v(1, 2, 3) == 24);
  CHECK(v(0, 1, 0) == 5);
  CHECK(error_of([&] { (void)volume_from<float>(a, grid_of(4, 3, 2)); }) ==
        "volume_from: the array is [2,3,4], the grid [4,3,2] as z,y,x.");
}
