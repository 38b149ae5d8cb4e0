// Boxes, turned axes and the rules of sampling, each against its definition voxel by voxel.
#include <doctest/doctest.h>

#include <cstdint>
#include <ctseg/image/moves.hpp>
#include <ctseg/image/sampling_rules.hpp>
#include <numeric>
#include <vector>

using namespace ctseg;

namespace {

template <class T> std::vector<T> numbered(Index count) {
  std::vector<T> v(static_cast<std::size_t>(count));
  for (std::size_t i = 0; i < v.size(); ++i) v[i] = static_cast<T>(i * 2654435761u >> 3);
  return v;
}

/// All 48 orders of the axes of one volume.
template <class T> void check_gather(const moves::Extents& extent) {
  const Index stride[3] = {extent[1] * extent[2], extent[2], 1}, count = stride[0] * extent[0];
  const std::vector<T> from = numbered<T>(count);
  for (const auto& axes : {std::array<std::size_t, 3>{0, 1, 2}, {0, 2, 1}, {1, 0, 2}, {1, 2, 0}, {2, 0, 1}, {2, 1, 0}})
    for (std::size_t flips = 0; flips < 8; ++flips) {
      moves::Steps s{};
      const T* first = from.data();
      for (std::size_t d = 0; d < 3; ++d) {
        const bool flip = flips >> d & 1;
        s.size[d] = extent[axes[d]];
        s.step[d] = flip ? -stride[axes[d]] : stride[axes[d]];
        first += flip ? (s.size[d] - 1) * stride[axes[d]] : 0;
      }
      s.stride = {s.size[1] * s.size[2] + 3, s.size[2]};   // rows follow each other, planes leave a gap
      std::vector<T> to(static_cast<std::size_t>(s.stride[0] * s.size[0]), T(1));
      moves::gather(first, s, to.data());
      Index wrong = 0;
      for (Index z = 0; z < s.size[0]; ++z) {
        for (Index y = 0; y < s.size[1]; ++y)
          for (Index x = 0; x < s.size[2]; ++x)
            wrong += to[static_cast<std::size_t>(z * s.stride[0] + y * s.stride[1] + x)] !=
                     first[z * s.step[0] + y * s.step[1] + x * s.step[2]];
        for (Index gap = 0; gap < 3; ++gap)
          wrong += to[static_cast<std::size_t>(z * s.stride[0] + s.size[1] * s.size[2] + gap)] != T(1);
      }
      CHECK_MESSAGE(wrong == 0, sizeof(T) << " bytes, axes " << axes[0] << axes[1] << axes[2] << ", flips " << flips);
    }
}

TEST_CASE("axes in any order, run either way: voxels of every width, tiles whole, cut and single") {
  for (const moves::Extents& extent : {moves::Extents{64, 66, 80}, {17, 3, 35}, {1, 20, 9}, {5, 1, 1}, {2, 70, 16}}) {
    check_gather<std::uint8_t>(extent);
    check_gather<std::uint16_t>(extent);
    check_gather<float>(extent);
    check_gather<double>(extent);
  }
  std::vector<float> row = numbered<float>(3000), back(row.size());   // longer than the buffer
  moves::gather(row.data() + 2999, {{1, 1, 3000}, {0, 0, -1}, {3000, 3000}}, back.data());
  CHECK(back == std::vector<float>(row.rbegin(), row.rend()));
}

TEST_CASE("a box inside, across each side, and wholly beyond: a value, or the edge") {
  const moves::Extents n{3, 4, 5};
  const std::vector<int> from = numbered<int>(60);
  for (const std::optional<int>& outside : {std::optional<int>(-7), std::optional<int>()})
    for (const Index z : {-4, -1, 0, 2, 9})
      for (const Index y : {-5, -2, 1, 3, 7})
        for (const Index x : {-9, -3, 0, 1, 4, 5, 12}) {
          const moves::BoxCut box{n, {z, y, x}, {2, 3, 4}};
          std::vector<int> to(24), expected;
          moves::copy_box(from.data(), box, outside, to.data());
          for (Index i = z; i < z + 2; ++i)
            for (Index j = y; j < y + 3; ++j)
              for (Index k = x; k < x + 4; ++k) {
                const Index a = std::clamp<Index>(i, 0, 2), b = std::clamp<Index>(j, 0, 3), c = std::clamp<Index>(k, 0, 4);
                const bool inside = a == i && b == j && c == k;
                expected.push_back(inside || !outside ? from[static_cast<std::size_t>((a * 4 + b) * 5 + c)] : *outside);
              }
          CHECK(to == expected);
        }
}

TEST_CASE("nearest by the ratio in float: the indices of torch.nn.functional.interpolate, where whole numbers say otherwise") {
  CHECK(sampling::nearest_index({2, 82}, 41) == 0);   // 41 * (2 / 82) in float is below 1
  CHECK(sampling::nearest_index({2, 80}, 40) == 1);
  int pairs = 0;   // that torch 2.15 maps otherwise than i * n / m
  for (Index n = 1; n < 300; ++n)
    for (Index m = 1; m < 300; ++m) {
      bool differs = false;
      for (Index i = 0; i < m; ++i) differs = differs || sampling::nearest_index({n, m}, i) != i * n / m;
      pairs += differs;
    }
  CHECK(pairs == 1694);
}

TEST_CASE("area spans cover the axis and are no longer than they are said to be") {
  for (Index n = 1; n < 20; ++n)
    for (Index m = 1; m < 20; ++m) {
      CHECK(sampling::area_span({n, m}, 0).begin == 0);
      CHECK(sampling::area_span({n, m}, m - 1).end == n);
      for (Index i = 0; i < m; ++i) {
        const sampling::Span s = sampling::area_span({n, m}, i);
        CHECK(s.count() >= 1);
        CHECK(s.count() <= sampling::longest_span({n, m}));
        if (i > 0) CHECK(s.begin <= sampling::area_span({n, m}, i - 1).end);
      }
    }
}

TEST_CASE("the label with the most weight; of equals the nearest, else the smallest; or the largest that has enough") {
  sampling::Tally<std::uint8_t, float> two, three;
  for (const int label : {7, 7, 2, 2, 2, 2, 7, 7}) two.add(static_cast<std::uint8_t>(label), 0.125f);
  for (const int label : {7, 7, 7, 7, 2, 2, 2, 5}) three.add(static_cast<std::uint8_t>(label), 0.125f);
  CHECK(int{two.heaviest(7, 1e-6f)} == 7);
  CHECK(int{two.heaviest(2, 1e-6f)} == 2);
  CHECK(int{two.heaviest(9, 1e-6f)} == 2);
  CHECK(int{two.with_at_least(0.5f)} == 7);
  CHECK(int{three.heaviest(5, 1e-6f)} == 7);   // the nearest has less
  CHECK(int{three.with_at_least(0.6f)} == 0);
  three.add(2, 0.125f + 1e-7f);   // equal but for rounding
  CHECK(int{three.heaviest(7, 1e-6f)} == 7);
}

}   // namespace
