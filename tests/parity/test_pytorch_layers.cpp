// Layers against PyTorch.
#include "parity/fixture.hpp"

using namespace ctseg;
using namespace ctseg::test;

template <class T> static void check_layers(double tolerance) {
  using S = Spec<T, 3, Cpu>;
  check_fixture<S>(
      "conv",
      Conv<S>({.in_channels = 3, .out_channels = 5, .kernel = {1, 3, 3}, .stride = {1, 2, 1}, .padding = Axes<3>{0, 1, 1}}),
      tolerance);
  for (const PadMode mode : {PadMode::replicate, PadMode::reflect})
    check_fixture<S>(mode == PadMode::reflect ? "conv_reflect" : "conv_replicate",
                     Conv<S>({.in_channels = 2,
                              .out_channels = 3,
                              .kernel = {1, 3, 5},
                              .stride = {1, 2, 1},
                              .padding = Axes<3>{1, 1, 2},
                              .padding_mode = mode}),
                     tolerance);
  check_fixture<S>("conv_transposed",
                   Conv<S>({.in_channels = 3, .out_channels = 4, .stride = 2, .output_padding = 1, .transposed = true}),
                   tolerance);
  check_fixture<S>("instance_norm", Norm<S>({.channels = 5}), tolerance);
  check_fixture<S>("batch_norm", Norm<S>({.channels = 5, .kind = NormKind::batch}), tolerance);
}

TEST_CASE("layers equal PyTorch's in double") { check_layers<double>(2e-6); }   // the fixtures are floats
TEST_CASE("layers equal PyTorch's in float") { check_layers<float>(1e-5); }
