// Parameters: order in files, identity, versions, gradients, first values.
#include <doctest/doctest.h>

#include <ctseg/nn/init.hpp>
#include <ctseg/nn/layers.hpp>
#include <ctseg/ops/cpu.hpp>

using namespace ctseg;

using S = Spec<float, 3, Cpu>;

/// PyTorch's order, counted out: conv is [Cout][Cin / groups][z][y][x], transposed [Cin][Cout / groups][z][y][x]; memory is
/// [group][z][y][x][Cin / groups][Cout / groups].
static void check_order(WeightLayout layout, Index groups) {
  const Index in = 3, out = 2, kz = 2, ky = 3, kx = 4;   // channels of one group
  const bool transposed = layout == WeightLayout::conv_transposed;
  const std::vector<Index> shape = {groups * (transposed ? in : out), transposed ? out : in, kz, ky, kx};
  const Parameter<S> p({.shape = shape, .layout = layout, .groups = groups});
  std::vector<Index> file_of(static_cast<std::size_t>(p.size()), -1);
  for_file_order(p, [&](Index memory, Index file) { file_of[static_cast<std::size_t>(memory)] = file; });
  for (Index o = 0; o < groups * out; ++o)
    for (Index i = 0; i < groups * in; ++i)
      for (Index z = 0; z < kz; ++z)
        for (Index y = 0; y < ky; ++y)
          for (Index x = 0; x < kx; ++x) {
            if (o / out != i / in) continue;   // of different groups
            const Index memory = ((((i / in * kz + z) * ky + y) * kx + x) * in + i % in) * out + o % out;
            const Index first = transposed ? i * out + o % out : o * in + i % in;
            REQUIRE(file_of[static_cast<std::size_t>(memory)] == ((first * kz + z) * ky + y) * kx + x);
          }
}

TEST_CASE("file order is PyTorch's") {
  for (Index groups : {1, 3}) {
    check_order(WeightLayout::conv, groups);
    check_order(WeightLayout::conv_transposed, groups);
  }
  // By hand: conv [2, 2, 1, 1, 2], memory [x][in][out]: the file holds o0i0x0 o0i0x1 o0i1x0 o0i1x1 o1...
  const Parameter<S> p({.shape = {2, 2, 1, 1, 2}, .layout = WeightLayout::conv});
  std::vector<Index> files;
  for_file_order(p, [&](Index, Index file) { files.push_back(file); });
  CHECK((files == std::vector<Index>{0, 4, 2, 6, 1, 5, 3, 7}));
  const Parameter<S> plain({.shape = {5}});
  for_file_order(plain, [](Index memory, Index file) { CHECK(memory == file); });
}

TEST_CASE("layers give their parameters PyTorch's shape and fan-in") {
  const Conv<S> conv({.in_channels = 3, .out_channels = 5, .kernel = {1, 3, 3}}),
      up({.in_channels = 3, .out_channels = 5, .kernel = 2, .transposed = true});
  CHECK((conv.weight.shape() == std::vector<Index>{5, 3, 1, 3, 3}));
  CHECK((up.weight.shape() == std::vector<Index>{3, 5, 2, 2, 2}));
  CHECK(conv.weight.fan_in() == 27);
  CHECK(up.weight.fan_in() == 40);   // extent 1 times the kernel, also here
  CHECK(conv.bias.fan_in() == 0);
  const Conv<S> grouped({.in_channels = 6, .out_channels = 4, .kernel = {1, 3, 3}, .groups = 2}),
      grouped_up({.in_channels = 6, .out_channels = 4, .kernel = 2, .transposed = true, .groups = 2});
  CHECK((grouped.weight.shape() == std::vector<Index>{4, 3, 1, 3, 3}));
  CHECK((grouped_up.weight.shape() == std::vector<Index>{6, 2, 2, 2, 2}));
  CHECK(grouped.weight.fan_in() == 27);
  CHECK(grouped_up.weight.fan_in() == 16);
  CHECK_THROWS_AS((Parameter<S>({.shape = {4, 1}, .layout = WeightLayout::conv, .groups = 3})), Error);
  CHECK_FALSE(Conv<S>({.bias = false}).bias.present());
}

TEST_CASE("a parameter keeps its address when moved, counts its changes, and a copy is another one") {
  Parameter<S> p({.shape = {3}, .fill = 2});
  const float* address = p.values().data();
  const Weights<S> before = p;
  CHECK(*before.version == 0);
  p.edit()[1] = 5;
  CHECK(*before.version == 1);
  Parameter<S> moved = std::move(p);
  CHECK(moved.values().data() == address);
  Parameter<S> copy = moved;
  CHECK(copy.values().data() != address);
  CHECK(copy.values()[1] == 5);
  copy.edit()[1] = 7;
  CHECK(moved.values()[1] == 5);
  CHECK_THROWS_AS((Parameter<S>({.shape = {3, 0}})), Error);
  CHECK_FALSE(Parameter<S>().present());
  CHECK(Parameter<S>().edit().empty());
}

TEST_CASE("gradients are one flat buffer, found by parameter; others are frozen") {
  Parameter<S> a({.shape = {3}}), b({.shape = {2, 2}}), c({.shape = {1}}), absent;
  Gradients<S> g({&b, &a});
  CHECK(g.flat().size() == 7);
  g.of(a)[2] = 1, g.of(b)[3] = 2;
  CHECK(g.of(a).size() == 3);
  CHECK(g.of(c).empty());
  CHECK(g.of(absent).empty());
  float sum = 0;
  for (float v : g.flat()) sum += v;
  CHECK(sum == 3);
  g.zero();
  CHECK(g.of(a)[2] == 0);
}

TEST_CASE("initial weights: repeatable, within PyTorch's bounds, norms untouched") {
  const BlockOptions<3> options{.conv = {.in_channels = 4, .out_channels = 16}, .activation = prelu()};
  Block<S> a(options), b(options), other(options);
  initialize_default(a, 5), initialize_default(b, 5), initialize_default(other, 6);
  const double bound = 1 / std::sqrt(4.0 * 27);
  double largest = 0, sum = 0, square = 0, bias = 0;
  for (std::size_t i = 0; i < a.conv.weight.values().size(); ++i) {
    const double v = a.conv.weight.values()[i];
    CHECK(a.conv.weight.values()[i] == b.conv.weight.values()[i]);
    largest = std::max(largest, std::abs(v)), sum += v, square += v * v;
  }
  const auto count = static_cast<double>(a.conv.weight.size());
  CHECK(largest <= bound);
  CHECK(largest > 0.98 * bound);
  CHECK(std::abs(sum / count) < 0.1 * bound);
  CHECK(square / count == doctest::Approx(bound * bound / 3).epsilon(0.1));
  CHECK(a.conv.weight.values()[0] != other.conv.weight.values()[0]);
  for (float v : a.conv.bias.values()) bias = std::max(bias, std::abs(double{v}));
  CHECK((bias > 0.5 * bound && bias <= bound));
  for (float v : a.norm.gamma.values()) CHECK(v == 1);
  for (float v : a.norm.beta.values()) CHECK(v == 0);
  CHECK(a.norm.slope.values()[0] == 0.25f);
  CHECK(parameter_count(a) == 4 * 16 * 27 + 16 + 32 + 1);
}

TEST_CASE("He's first weights: normal with variance 2 / ((1 + a^2) fan_in), biases 0, norms untouched") {
  for (const bool transposed : {false, true}) {
    Block<S> a({.conv = {.in_channels = 16, .out_channels = 8, .transposed = transposed}, .activation = prelu()}), b = a;
    for (float& v : a.conv.bias.edit()) v = 1;
    initialize_he(a, 5, 0.5), initialize_he(b, 5, 0.5);
    const double variance = 2 / (1.25 * 27 * (transposed ? 8 : 16));   // PyTorch's fan-in: extent 1 times the kernel
    double square = 0, fourth = 0;
    for (std::size_t i = 0; i < a.conv.weight.values().size(); ++i) {
      const double v = a.conv.weight.values()[i];
      CHECK(a.conv.weight.values()[i] == b.conv.weight.values()[i]);
      square += v * v, fourth += v * v * v * v;
    }
    const auto count = static_cast<double>(a.conv.weight.size());
    CHECK(square / count == doctest::Approx(variance).epsilon(0.1));
    CHECK(fourth / count == doctest::Approx(3 * variance * variance).epsilon(0.2));   // a normal's, not a uniform's
    for (float v : a.conv.bias.values()) CHECK(v == 0);
    for (float v : a.norm.gamma.values()) CHECK(v == 1);
    CHECK(a.norm.slope.values()[0] == 0.25f);
  }
}
