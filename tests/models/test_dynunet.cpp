// DynUNet: MONAI's parameter count, names, sizes and heads.
#include "network_checks.hpp"

#include <ctseg/models/dynunet.hpp>

using namespace ctseg;
using namespace ctseg::test;

using F2 = Spec<float, 2, Cpu>;
using F3 = Spec<float, 3, Cpu>;

TEST_CASE("DynUNet has MONAI's parameter count") {
  CHECK(parameter_count(DynUNet<F3>()) == 31189410);
  CHECK(parameter_count(DynUNet<F3>({.deep_supervision = true, .deep_supr_num = 3})) == 31189410 + (65 + 129 + 257) * 2);
}

TEST_CASE("DynUNet has the names of MONAI's state_dict, in its order") {
  const auto pair = [](const std::string& prefix) {
    std::vector<std::string> names;
    for (const char* leaf :
         {"conv1.conv.weight", "conv2.conv.weight", "norm1.weight", "norm1.bias", "norm2.weight", "norm2.bias"})
      names.push_back(prefix + leaf);
    return names;
  };
  const auto append = [](std::vector<std::string>& to, const std::vector<std::string>& more) {
    to.insert(to.end(), more.begin(), more.end());
  };
  std::vector<std::string> names;
  append(names, pair("input_block."));
  append(names, {"input_block.conv3.conv.weight", "input_block.norm3.weight", "input_block.norm3.bias"});
  append(names, pair("downsamples.0."));
  append(names, {"downsamples.0.conv3.conv.weight", "downsamples.0.norm3.weight", "downsamples.0.norm3.bias"});
  append(names, pair("bottleneck."));   // neither size nor channels change: x itself is the shortcut
  for (const std::string up : {"upsamples.0.", "upsamples.1."}) {
    append(names, {up + "transp_conv.conv.weight", up + "transp_conv.conv.bias"});
    append(names, pair(up + "conv_block."));
  }
  append(names, {"output_block.conv.conv.weight", "output_block.conv.conv.bias", "deep_supervision_heads.0.conv.conv.weight",
                 "deep_supervision_heads.0.conv.conv.bias"});
  CHECK(names_of(DynUNet<F3>(
            {.strides = {1, 2, 1}, .filters = {2, 3, 3}, .deep_supervision = true, .res_block = true, .trans_bias = true})) ==
        names);
}

TEST_CASE("DynUNet: as many heads as asked for, all of full size") {
  using Shapes = std::vector<Shape<3>>;
  DynUNetOptions<3> options{.out_channels = 3, .strides = {1, {1, 2, 2}, 2, 2}, .filters = {2, 2, 3, 3}};
  const Shape<3> x{1, 1, {8, 16, 8}}, y = x.with_channels(3);
  CHECK((deep_shapes(DynUNet<F3>(options), x) == Shapes{y}));
  options.deep_supervision = true;
  CHECK((deep_shapes(DynUNet<F3>(options), x) == Shapes{y, y}));
  options.deep_supr_num = 2;
  CHECK((deep_shapes(DynUNet<F3>(options), x) == Shapes{y, y, y}));
  for (const Index heads : {0, 3}) {
    options.deep_supr_num = heads;
    CHECK(bad_argument([&] { DynUNet<F3>{options}; }) ==
          text("dynunet: deep_supr_num = ", heads, "; must be at least 1 and below 3, the number of decoder levels."));
  }
}

TEST_CASE("kernels of a decoder stage are those of the encoder stage below") {
  const DynUNet<F3> net({.kernel_size = {{1, 3, 3}, {3, 3, 1}, 3}, .filters = {2, 3, 4}});
  visit(net, [](const std::string& name, const Parameter<F3>& p) {
    using Extents = std::vector<Index>;
    if (name == "upsamples.0.conv_block.conv1.conv.weight") CHECK((p.shape() == Extents{3, 6, 3, 3, 3}));
    if (name == "upsamples.1.conv_block.conv1.conv.weight") CHECK((p.shape() == Extents{2, 4, 3, 3, 1}));
  });
}

TEST_CASE("DynUNet says what does not fit") {
  const DynUNet<F2> net({.strides = {1, 2, 3}, .filters = {2, 2, 2}});
  CHECK_THROWS_WITH_AS(DynUNet<F2>({.norm = NormKind::group}), doctest::Contains("no option for its groups"), Error);
  CHECK(refusal(net, {1, 1, {12, 18}}) == "no error");
  CHECK(refusal(net, {1, 1, {12, 20}}) ==
        "dynunet: input [1,1,12,20] is not a multiple of 6x6. Hint: pad it to 12x24 or crop it to 12x18.");
  using Net = DynUNet<F2>;
  CHECK(bad_argument([] { Net({.filters = {2, 2}}); }) == "dynunet: 2 stages; three are the least.");
  CHECK(bad_argument([] { Net({.activation = prelu()}); }).find("MONAI shares") != std::string::npos);
  CHECK(bad_argument([] {
          Net({.strides = {1, 2, 5}, .filters = {2, 2, 2}});
        }) == "dynunet: stage 2 has kernel 3x3 and stride 5x5; strides must be at most kernel + 1, and 2 with res_block.");
  CHECK(bad_argument([] {
          Net({.strides = {1, 2, 3}, .filters = {2, 2, 2}, .res_block = true});
        }).find("stride 3x3") != std::string::npos);
  CHECK(bad_argument([] {
          Net({.strides = {1, 2, 2}, .upsample_kernel_size = {2, 3}});
        }).find("upsample_kernel_size must be") != std::string::npos);
}

TEST_CASE("DynUNet: dropout works, with and without residual blocks") {
  check_dropout<DynUNet<F2>>({.filters = {3, 4, 4}}, {1, 1, {16, 16}}, 13);
  check_dropout<DynUNet<F2>>({.filters = {3, 4, 4}, .res_block = true}, {1, 1, {16, 16}}, 16);
}

TEST_CASE("batch norms of DynUNet fold into its convolutions") {
  check_folding<DynUNet<F2>>({.filters = {3, 4, 4}, .res_block = true}, {1, 1, {16, 16}}, 13);
}
