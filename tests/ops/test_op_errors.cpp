// Shapes and options that cannot work are refused by infer, with numbers: nothing has been allocated then.
#include <doctest/doctest.h>

#include <ctseg/nn/functional.hpp>
#include <ctseg/nn/layers.hpp>
#include <ctseg/ops/cpu.hpp>

using namespace ctseg;

using S = Spec<float, 3, Cpu>;
using X = Shape<3>;

/// The error that recording `f` on a tape of shapes gives; such a tape never allocates.
template <class F> static std::string error_of(Code code, F f) {
  Tape<S> tape(Mode::train);
  try {
    f(tape);
  } catch (const Error& e) {
    CHECK(e.code() == code);
    CHECK(tape.bytes() == 0);
    return e.what();
  }
  return "no error";
}

TEST_CASE("conv errors") {
  const Conv<S> conv({.in_channels = 1, .out_channels = 4, .kernel = 3, .padding = Axes<3>(0)});
  CHECK(error_of(Code::shape_mismatch,
                 [&](auto& t) {
                   conv(t.input(X{2, 3, {8, 9, 10}}));
                 }) ==
        "conv: input has 3 channels, layer expects in_channels = 1 (input [2,3,8,9,10] as N,C,D,H,W). Hint: set "
        "ConvOptions::in_channels = 3.");
  CHECK(error_of(Code::shape_mismatch,
                 [&](auto& t) {
                   conv(t.input(X{1, 1, {8, 2, 10}}));
                 }) ==
        "conv: input [1,1,8,2,10] with padding 0 is too small for a kernel of 3 along spatial axis 1. Hint: larger patches, or "
        "fewer levels.");
  const Conv<S> transposed({.in_channels = 2, .out_channels = 1, .kernel = 1, .padding = Axes<3>(1), .transposed = true});
  CHECK(error_of(Code::shape_mismatch, [&](auto& t) {
          transposed(t.input(X{1, 2, {2, 4, 4}}));
        }).starts_with("conv_transpose: input [1,2,2,4,4]"));
  CHECK(error_of(Code::bad_argument, [&](auto& t) {
          conv(t.input(X{1, 1, {8, 8, 8}}, Dtype::u8));
        }) == "input: input 0 is [1,1,8,8,8] u8, expected activations of f32.");
  CHECK_THROWS_WITH_AS((Conv<S>({.kernel = 0})), "conv: kernel 0x0x0, stride 1x1x1; both must be 1 or more.", Error);
  CHECK_THROWS_AS((Conv<S>({.stride = {1, 0, 1}})), Error);
  CHECK_THROWS_AS((Conv<S>({.in_channels = 0})), Error);
  CHECK_THROWS_WITH_AS((Conv<S>({.dilation = {1, 0, 1}})),
                       "conv: dilation 1x0x1; must be 1 or more. Hint: 1 is a kernel without gaps.", Error);
  for (const auto& [in, out, groups] : std::vector<std::array<Index, 3>>{{4, 6, 4}, {6, 4, 4}, {4, 4, 0}, {4, 4, -2}})
    for (bool transposed : {false, true})
      CHECK_THROWS_AS((Conv<S>({.in_channels = in, .out_channels = out, .transposed = transposed, .groups = groups})), Error);
  CHECK_THROWS_WITH_AS((Conv<S>({.in_channels = 4, .out_channels = 6, .groups = 4})),
                       "conv: 4 groups of 4 input and 6 output channels; groups must be 1 or more and divide both. Hint: 1 "
                       "connects all channels.",
                       Error);
  const Conv<S> dilated({.dilation = 3, .padding = Axes<3>(0)});
  CHECK(error_of(Code::shape_mismatch,
                 [&](auto& t) {
                   dilated(t.input(X{1, 1, {7, 6, 7}}));
                 }) ==
        "conv: input [1,1,7,6,7] with padding 0 is too small for a kernel of 3 with dilation 3 along spatial axis 1. Hint: "
        "larger patches, or fewer levels.");
  CHECK_THROWS_WITH_AS((Axes<3>{1, 2}), "axes: 2 numbers for 3 axes. Hint: give one for all, or one each.", Error);
}

TEST_CASE("norm errors") {
  const Norm<S> norm({.channels = 4});
  CHECK(error_of(Code::shape_mismatch, [&](auto& t) {
          norm(t.input(X{1, 3, {4, 4, 4}}));
        }) == "norm: input has 3 channels, layer expects 4 (input [1,3,4,4,4]). Hint: set NormOptions::channels.");
  CHECK(
      error_of(Code::shape_mismatch,
               [&](auto& t) {
                 norm(t.input(X{2, 4, {1, 1, 1}}));
               }) ==
      "norm: input [2,4,1,1,1] has one value per channel, training needs two or more. Hint: larger patches, or fewer levels.");
  const Norm<S> batch({.channels = 4, .kind = NormKind::batch});
  CHECK(error_of(Code::shape_mismatch, [&](auto& t) {
          batch(t.input(X{2, 4, {1, 1, 1}}));
        }) == "no error");   // two images: two values
  CHECK(error_of(Code::shape_mismatch, [&](auto& t) {
          batch(t.input(X{1, 4, {1, 1, 1}}));
        }).starts_with("norm: input [1,4,1,1,1] has one value"));
  const Norm<S> group({.channels = 4, .kind = NormKind::group, .groups = 2});
  CHECK(error_of(Code::shape_mismatch, [&](auto& t) {
          group(t.input(X{1, 4, {1, 1, 1}}));
        }) == "no error");   // two channels: two values
  const NormOp<S> three{.kind = NormKind::group, .affine = false, .groups = 3};
  CHECK(error_of(Code::shape_mismatch,
                 [&](auto& t) {
                   t.append(three, {t.input(X{1, 4, {2, 2, 2}})});
                 }) ==
        "norm: input has 4 channels, which 3 groups do not divide (input [1,4,2,2,2]). Hint: set NormOptions::groups to a "
        "divisor of 4.");
  CHECK_THROWS_WITH_AS((Norm<S>({.channels = 4, .kind = NormKind::group, .groups = 3})),
                       "norm: 3 groups do not divide 4 channels. Hint: set NormOptions::groups to a divisor.", Error);
  CHECK(error_of(Code::shape_mismatch, [&](auto& t) {
          norm(t.input(X{1, 4, {2, 2, 2}}), t.input(X{1, 4, {2, 2, 3}}));
        }) == "norm: cannot add [1,4,2,2,3] to the norm of [1,4,2,2,2]; both must be the same.");
  const Block<S> block({.conv = {.in_channels = 1, .out_channels = 4}});
  CHECK(error_of(Code::shape_mismatch, [&](auto& t) {
          const auto x = t.input(X{1, 1, {2, 2, 2}});
          block(x, x);
        }) == "norm: cannot add [1,1,2,2,2] to the norm of [1,4,2,2,2]; both must be the same.");
  CHECK(error_of(Code::bad_argument, [&](auto& t) {
          const auto x = t.input(X{1, 4, {2, 2, 2}});
          t.append(norm.op(), {x, x, x}, {norm.gamma, norm.beta});
        }) == "norm: 3 inputs; must be x, or x and what is added to it.");
  Tape<S> infer(Mode::infer);
  batch(infer.input(X{1, 4, {1, 1, 1}}));   // nothing is learned from it
  norm(infer.input(X{1, 4, {1, 1, 1}}));
}

TEST_CASE("pool, concat, add, pad, dropout errors") {
  CHECK(error_of(Code::shape_mismatch, [](auto& t) {
          max_pool(t.input(X{1, 4, {1, 6, 6}}));
        }) == "max_pool: input [1,4,1,6,6] has an axis shorter than the window 2x2x2. Hint: larger patches, or fewer levels.");
  CHECK(error_of(Code::unsupported, [](auto& t) {
          max_pool(t.input(X{1, 4, {9, 9, 9}}), {.kernel = 7});
        }) == "max_pool: kernel 7x7x7 has more than 256 taps.");
  for (Index wrong : {0, -1}) {
    CHECK(error_of(Code::bad_argument, [&](auto& t) {
            max_pool(t.input(X{1, 4, {9, 9, 9}}), {.kernel = 2, .stride = wrong});
          }) != "no error");
    CHECK(error_of(Code::bad_argument, [&](auto& t) {
            max_pool(t.input(X{1, 4, {9, 9, 9}}), {.kernel = wrong});
          }) != "no error");
  }
  CHECK(error_of(Code::shape_mismatch,
                 [](auto& t) {
                   concat(t.input(X{1, 4, {4, 4, 4}}), t.input(X{1, 4, {4, 5, 4}}));
                 }) ==
        "concat: cannot join [1,4,4,4,4] and [1,4,4,5,4]. Hint: the network's input must be divisible by its total stride.");
  CHECK(error_of(Code::shape_mismatch, [](auto& t) {
          add(t.input(X{1, 4, {4, 4, 4}}), t.input(X{1, 3, {4, 4, 4}}));
        }) == "add: cannot add [1,3,4,4,4] f32 to [1,4,4,4,4] f32; both must be the same.");
  CHECK(error_of(Code::bad_argument, [](auto& t) {
          replicate_pad(t.input(X{1, 4, {4, 4, 4}}), {.low = {0, -1, 0}});
        }) == "pad: pads -1 and 0 along spatial axis 1; must be 0 to 1048576.");
  for (float p : {1.f, -0.1f, NAN})
    CHECK(error_of(Code::bad_argument, [p](auto& t) { dropout(t.input(X{1, 1, {2, 2, 2}}), p); }) != "no error");
}

TEST_CASE("upsample, average pool, multiply, slice, pixel shuffle errors") {
  const X x{1, 4, {4, 6, 4}};
  CHECK(error_of(Code::bad_argument, [&](auto& t) { upsample(t.input(x), {.factor = 0}); }) ==
        "upsample: factor 0x0x0, size 0x0x0; factors must be 1 or more, sizes 0 (by the factor) or more.");
  CHECK(error_of(Code::bad_argument, [&](auto& t) { upsample(t.input(x), {.size = {3, -1, 3}}); }) != "no error");
  CHECK(error_of(Code::bad_argument, [&](auto& t) { upsample(t.input(x), {.align_corners = true}); }) ==
        "upsample: align_corners is for UpsampleMode::linear alone.");
  CHECK(error_of(Code::shape_mismatch, [&](auto& t) { average_pool(t.input(x), {.kernel = 5}); }) ==
        "average_pool: input [1,4,4,6,4] has an axis shorter than the window 5x5x5. Hint: larger patches, or fewer levels.");
  CHECK(error_of(Code::bad_argument, [&](auto& t) { average_pool(t.input(x), {.stride = 0}); }) != "no error");
  CHECK(error_of(Code::bad_argument, [&](auto& t) {
          adaptive_average_pool(t.input(x), {2, 0, 2});
        }) == "adaptive_average_pool: size 2x0x2; must be 1 or more along every axis.");
  CHECK(error_of(Code::shape_mismatch, [&](auto& t) { multiply(t.input(x), t.input(x.with_channels(2))); }) ==
        "multiply: cannot multiply [1,4,4,6,4] by [1,2,4,6,4]; must be the same, or [1,1,4,6,4].");
  for (const auto& range : {std::pair<Index, Index>{-1, 2}, {3, 2}, {0, 0}, {4, 1}})
    CHECK(error_of(Code::shape_mismatch, [&](auto& t) { slice_channels(t.input(x), range.first, range.second); }) !=
          "no error");
  const Index huge = Index{1} << 62;
  CHECK(error_of(Code::bad_argument, [&](auto& t) { upsample(t.input(x), {.factor = huge + 1}); }) ==
        "axes: 4611686018427387905; must be at most 1048576.");
  CHECK(error_of(Code::bad_argument, [&](auto& t) { pad(t.input(x), {.low = {0, 0, huge}}); }) != "no error");
  CHECK(error_of(Code::shape_mismatch, [&](auto& t) { pixel_shuffle(t.input(x), 2); }) ==
        "pixel_shuffle: input [1,4,4,6,4] has 4 channels; a factor of 2 needs a multiple of 8.");
  CHECK(error_of(Code::bad_argument, [&](auto& t) { pixel_shuffle(t.input(x), 0); }) != "no error");
  CHECK(error_of(Code::shape_mismatch,
                 [&](auto& t) {
                   pad(t.input(x), {.low = {4, 0, 0}, .mode = PadMode::reflect});
                 }) ==
        "pad: reflects 4 and 0 voxels along spatial axis 0 of [1,4,4,6,4]; must be below 4. Hint: PadMode::replicate has no "
        "limit.");
}

TEST_CASE("dice_ce errors, and where an error happened") {
  CHECK(error_of(Code::shape_mismatch, [](auto& t) {
          dice_ce(t.input(X{1, 2, {4, 4, 4}}), t.input(X{1, 1, {4, 4, 5}}, Dtype::u8));
        }) == "dice_ce: labels are [1,1,4,4,5], logits [1,2,4,4,4] ask for [1,1,4,4,4].");
  CHECK(error_of(Code::shape_mismatch,
                 [](auto& t) {
                   dice_ce(t.input(X{1, 1, {4, 4, 4}}), t.input(X{1, 1, {4, 4, 4}}, Dtype::u8));
                 }) ==
        "dice_ce: logits [1,1,4,4,4] have 1 channel, softmax needs 2 or more. Hint: out_channels = 2 for one structure and "
        "background.");
  CHECK(error_of(Code::bad_argument, [](auto& t) {
          dice_ce(t.input(X{1, 2, {4, 4, 4}}), t.input(X{1, 1, {4, 4, 4}}));
        }) == "input: input 1 is [1,1,4,4,4] f32, expected labels of u8 or u16.");
  CHECK(error_of(Code::unsupported, [](auto& t) {
          dice_ce(t.input(X{1, 513, {4, 4, 4}}), t.input(X{1, 1, {4, 4, 4}}, Dtype::u16));
        }) != "no error");
  CHECK(error_of(Code::shape_mismatch, [](auto& t) {
          const auto outer = t.scope("encoder"), inner = t.scope("pool");
          max_pool(t.input(X{1, 1, {1, 1, 1}}));
        }).starts_with("encoder/pool: max_pool: input [1,1,1,1,1]"));
  CHECK(error_of(Code::shape_mismatch, [](auto& t) {
          t.input(X{1, 1, {0, 1, 1}});
        }) == "input: shape [1,1,0,1,1] has an extent of 0; every extent must be 1 or more.");
  CHECK(error_of(Code::bad_argument, [](auto& t) {
          Tape<S> other(Mode::train);
          add(t.input(X{1, 1, {2, 2, 2}}), other.input(X{1, 1, {2, 2, 2}}));
        }) == "Add: an input belongs to another tape.");
}
