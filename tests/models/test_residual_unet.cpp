// MONAI's UNet: parameter counts, names, sizes, options.
#include <map>

#include "support/plan_checks.hpp"

#include <ctseg/models/residual_unet.hpp>

using namespace ctseg;
using namespace ctseg::test;

using F2 = Spec<float, 2, Cpu>;
using F3 = Spec<float, 3, Cpu>;

TEST_CASE("parameter counts of the residual U-Net are the published ones") {
  CHECK(parameter_count(ResidualUNet<F3>(nodule_unet())) == 19219984);
  CHECK(parameter_count(ResidualUNet<F3>(nodule_unet_small())) == 4807968);
  CHECK(parameter_count(ResidualUNet<F3>(spleen_unet())) == 4808917);
}

static std::vector<std::string> names_of(const ResidualUNetOptions<2>& o) {
  std::vector<std::string> names;
  const ResidualUNet<F2> net(o);
  visit(net, [&](const std::string& name, const auto&) { names.push_back(name); });
  return names;
}

TEST_CASE("names of the residual U-Net are those of MONAI's state_dict, in its order") {
  const std::vector<std::string> residual =
      names_of({.channels = {2, 3, 4}, .strides = {2, 2}, .num_res_units = 2, .bias = false});
  CHECK((residual == std::vector<std::string>{"model.0.conv.unit0.conv.weight",
                                              "model.0.conv.unit0.adn.A.weight",
                                              "model.0.conv.unit1.conv.weight",
                                              "model.0.conv.unit1.adn.A.weight",
                                              "model.0.residual.weight",
                                              "model.1.submodule.0.conv.unit0.conv.weight",
                                              "model.1.submodule.0.conv.unit0.adn.A.weight",
                                              "model.1.submodule.0.conv.unit1.conv.weight",
                                              "model.1.submodule.0.conv.unit1.adn.A.weight",
                                              "model.1.submodule.0.residual.weight",
                                              "model.1.submodule.1.submodule.conv.unit0.conv.weight",
                                              "model.1.submodule.1.submodule.conv.unit0.adn.A.weight",
                                              "model.1.submodule.1.submodule.conv.unit1.conv.weight",
                                              "model.1.submodule.1.submodule.conv.unit1.adn.A.weight",
                                              "model.1.submodule.1.submodule.residual.weight",
                                              "model.1.submodule.2.0.conv.weight",
                                              "model.1.submodule.2.0.adn.A.weight",
                                              "model.1.submodule.2.1.conv.unit0.conv.weight",
                                              "model.1.submodule.2.1.conv.unit0.adn.A.weight",
                                              "model.2.0.conv.weight",
                                              "model.2.0.adn.A.weight",
                                              "model.2.1.conv.unit0.conv.weight"}));
  const std::vector<std::string> plain = names_of({.channels = {2, 3}, .strides = {2}, .norm = NormKind::batch, .bias = false});
  CHECK((plain == std::vector<std::string>{
                      "model.0.conv.weight", "model.0.adn.N.weight", "model.0.adn.N.bias", "model.0.adn.N.running_mean",
                      "model.0.adn.N.running_var", "model.0.adn.A.weight", "model.1.submodule.conv.weight",
                      "model.1.submodule.adn.N.weight", "model.1.submodule.adn.N.bias", "model.1.submodule.adn.N.running_mean",
                      "model.1.submodule.adn.N.running_var", "model.1.submodule.adn.A.weight", "model.2.conv.weight"}));
}

TEST_CASE("shapes of shortcuts: the unit's kernel where it strides, 1 where only channels change, none where nothing does") {
  std::map<std::string, std::vector<Index>> shapes;
  const ResidualUNet<F3> net({.channels = {4, 8}, .strides = {Axes<3>{1, 2, 2}}, .kernel_size = {1, 3, 5}, .num_res_units = 1});
  visit(net, [&](const std::string& name, const auto& p) { shapes[name] = p.shape(); });
  using Extents = std::vector<Index>;
  CHECK((shapes["model.0.residual.weight"] == Extents{4, 1, 1, 3, 5}));
  CHECK((shapes["model.1.submodule.residual.weight"] == Extents{8, 4, 1, 1, 1}));
  CHECK((shapes["model.2.0.conv.weight"] == Extents{12, 2, 3, 3, 3}));
  CHECK((shapes["model.2.1.conv.unit0.conv.weight"] == Extents{2, 2, 1, 3, 5}));
  CHECK(shapes.count("model.2.1.residual.weight") == 0);
}

TEST_CASE("the residual U-Net gives its size back where the strides divide it, and else says which sizes do") {
  const ResidualUNet<F3> net({.channels = {2, 2, 2}, .strides = {Axes<3>{1, 2, 2}, Axes<3>{2, 2, 3}}, .num_res_units = 1});
  CHECK((net.divisor() == std::array<Index, 3>{2, 4, 6}));
  Tape<F3> tape(Mode::train);
  const Shape<3> fits{2, 1, {6, 8, 12}};
  CHECK(net.forward(tape.input(fits)).shape() == fits.with_channels(2));
  CHECK_THROWS_WITH_AS(
      net.forward(tape.input(Shape<3>{1, 1, {7, 8, 12}})),
      "residual_unet: input [1,1,7,8,12] is not a multiple of 2x4x6. Hint: pad it to 8x8x12 or crop it to 6x8x12.", Error);
}

TEST_CASE("the residual U-Net refuses options that cannot be") {
  CHECK_THROWS_WITH_AS(ResidualUNet<F2>({.channels = {2, 3, 4}, .strides = {2}}),
                       "residual_unet: 3 channels and 1 strides; must be 2 channels or more and one stride less than channels.",
                       Error);
  CHECK_THROWS_WITH_AS(ResidualUNet<F2>({.up_kernel_size = 2}),
                       "residual_unet: kernel_size or up_kernel_size has an axis of 2; must be odd to keep sizes.", Error);
  CHECK_THROWS_WITH_AS(ResidualUNet<F2>({.num_res_units = -1}), "residual_unet: num_res_units is -1; must be 0 or more.",
                       Error);
}
