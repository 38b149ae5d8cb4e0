// Shapes, views, tensors and memory.
#include <doctest/doctest.h>

#include <ctseg/core/tensor.hpp>

using namespace ctseg;

TEST_CASE("a tensor is indexed in logical order and lies channels-last") {
  Tensor<float, 3> t({.n = 2, .c = 3, .space = {4, 5, 6}});
  for (Index i = 0; i < t.shape().elements(); ++i) CHECK(t.data()[i] == 0);
  for (Index i = 0; i < t.shape().elements(); ++i) t.data()[i] = static_cast<float>(i);
  Index at = 0;
  for (Index n = 0; n < 2; ++n)
    for (Index z = 0; z < 4; ++z)
      for (Index y = 0; y < 5; ++y)
        for (Index x = 0; x < 6; ++x)
          for (Index c = 0; c < 3; ++c) REQUIRE(t(n, c, z, y, x) == static_cast<float>(at++));
  const Tensor<float, 3> moved = std::move(t);
  CHECK(moved(1, 2, 3, 4, 5) == static_cast<float>(2 * 3 * 4 * 5 * 6 - 1));
  Tensor<double, 2> plane({.c = 2, .space = {3, 4}});
  plane(0, 1, 2, 3) = 5;
  CHECK(plane.data()[(2 * 4 + 3) * 2 + 1] == 5);
  CHECK(Tensor<float, 2>().shape().elements() == 0);
}

TEST_CASE("a view of a channel range steps by the pitch of the whole") {
  Tensor<float, 2> t({.n = 2, .c = 5, .space = {3, 4}});
  for (Index i = 0; i < t.shape().elements(); ++i) t.data()[i] = static_cast<float>(i);
  const View<float, 2> range = t.view().channels(1, 3);
  CHECK(range.shape == Shape<2>{2, 3, {3, 4}});
  CHECK(range.pitch == 5);
  CHECK(range.rows() == 24);
  CHECK_FALSE(range.contiguous());
  CHECK(t.view().contiguous());
  for (Index n = 0; n < 2; ++n)
    for (Index y = 0; y < 3; ++y)
      for (Index x = 0; x < 4; ++x)
        for (Index c = 0; c < 3; ++c) {
          REQUIRE(range.at(n, y * 4 + x)[c] == t(n, c + 1, y, x));
          REQUIRE(range.row((n * 3 + y) * 4 + x)[c] == t(n, c + 1, y, x));
        }
  const View<float, 2> inner = range.channels(2, 1);
  CHECK(inner.row(0)[0] == t(0, 3, 0, 0));
  CHECK(inner.pitch == 5);
}

TEST_CASE("a view of unknown scalar refuses the wrong one") {
  Tensor<float, 2> t({.space = {2, 3}});
  const AnyView<2> any = t.view();
  CHECK(any.dtype == Dtype::f32);
  CHECK(any.as<const float>().data == t.data());
  CHECK_THROWS_WITH_AS(any.as<double>(), "view: the value is f32 [1,1,2,3], not f64.", Error);
  CHECK_THROWS_AS(any.as<std::uint16_t>(), Error);
  CHECK_FALSE(static_cast<bool>(AnyView<2>{}));
}

TEST_CASE("checked refuses extents of zero and counts that overflow, and names the shape") {
  CHECK(checked(Shape<3>{1, 1, {1, 1, 1}}, "t").elements() == 1);
  CHECK_THROWS_WITH_AS(checked(Shape<3>{1, 2, {0, 4, 5}}, "t"),
                       "t: shape [1,2,0,4,5] has an extent of 0; every extent must be 1 or more.", Error);
  CHECK_THROWS_AS(checked(Shape<2>{-1, -1, {3, 3}}, "t"), Error);
  CHECK_THROWS_AS(checked(Shape<2>{1, 0, {3, 3}}, "t"), Error);
  const Index big = Index{1} << 31;
  CHECK_THROWS_WITH_AS(checked(Shape<2>{2, 1, {big, big}}, "t"),
                       "t: shape [2,1,2147483648,2147483648] has more elements than can be counted.", Error);
  CHECK_THROWS_AS(checked(Shape<3>{big, big, {big, big, big}}, "t"), Error);
  CHECK_THROWS_AS((Tensor<float, 2>({.n = 1, .c = 1, .space = {3, 0}})), Error);
  try {
    Tensor<double, 3> huge({.n = 1, .c = 1, .space = {1 << 20, 1 << 20, 1 << 10}});   // can be counted, is not there
    FAIL("expected an error");
  } catch (const Error& e) {
    CHECK(e.code() == Code::out_of_memory);
  }
}

TEST_CASE("memory starts on a cache line, keeps its address, and is cut in whole lines") {
  Memory<Cpu> memory(100);
  CHECK(memory.bytes() == 128);
  CHECK(reinterpret_cast<std::uintptr_t>(memory.data()) % 64 == 0);
  const std::byte* address = memory.data();
  Memory<Cpu> moved = std::move(memory);
  CHECK(moved.data() == address);
  CHECK(Memory<Cpu>().data() == nullptr);
  Bytes bytes{moved.data()};
  CHECK(reinterpret_cast<std::byte*>(take<double>(bytes, 3)) == address);
  CHECK(reinterpret_cast<std::byte*>(take<float>(bytes, 1)) == address + 64);
  CHECK(bytes_of<float>(17) == 128);
  CHECK(bytes_of(Dtype::bf16, 32) == 64);
}

TEST_CASE("texts") {
  CHECK(text(Shape<3>{1, 2, {3, 4, 5}}) == "[1,2,3,4,5]");
  CHECK(text(ValueInfo<2>{{1, 2, {3, 4}}, Dtype::bf16}) == "[1,2,3,4] bf16");
  CHECK(text("a ", 3, " b ", 0.5, std::size_t{7}) == "a 3 b 0.57");
  const Error e(Code::io, "here", "it failed");
  CHECK(std::string(e.what()) == "here: it failed");
  CHECK(e.code() == Code::io);
}
