// BasicUNet: the same parameters and names as MONAI's, any size, any rank.
#include <map>

#include "support/plan_checks.hpp"

#include <ctseg/models/basic_unet.hpp>

using namespace ctseg;
using namespace ctseg::test;

using F3 = Spec<float, 3, Cpu>;
using D2 = Spec<double, 2, Cpu>;

/// MONAI's state_dict, from its source's structure: modules in the order of their making.
static std::vector<std::string> monai_names() {
  std::vector<std::string> names;
  const auto two_conv = [&](const std::string& prefix) {
    for (const char* conv : {"conv_0", "conv_1"})
      for (const char* leaf : {".conv.weight", ".conv.bias", ".adn.N.weight", ".adn.N.bias"})
        names.push_back(prefix + conv + leaf);
  };
  two_conv("conv_0.");
  for (const char* level : {"1", "2", "3", "4"}) two_conv(std::string("down_") + level + ".convs.");
  for (const char* level : {"4", "3", "2", "1"}) {
    const std::string up = std::string("upcat_") + level;
    names.push_back(up + ".upsample.deconv.weight");
    names.push_back(up + ".upsample.deconv.bias");
    two_conv(up + ".convs.");
  }
  names.emplace_back("final_conv.weight");
  names.emplace_back("final_conv.bias");
  return names;
}

TEST_CASE("parameter counts are the published ones") {
  CHECK(parameter_count(BasicUNet<F3>()) == 5749410);
  CHECK(parameter_count(BasicUNet<F3>({.features = {32, 64, 128, 256, 512, 32}})) == 22625314);
}

TEST_CASE("names and shapes are those of MONAI's state_dict, in its order") {
  const BasicUNet<F3> net;
  std::vector<std::string> names;
  std::map<std::string, std::vector<Index>> shapes;
  visit(net, [&](const std::string& name, const auto& p) { names.push_back(name), shapes[name] = p.shape(); });
  CHECK(names == monai_names());
  using Extents = std::vector<Index>;
  CHECK((shapes["conv_0.conv_0.conv.weight"] == Extents{32, 1, 3, 3, 3}));
  CHECK((shapes["conv_0.conv_0.adn.N.weight"] == Extents{32}));
  CHECK((shapes["down_4.convs.conv_1.conv.weight"] == Extents{256, 256, 3, 3, 3}));
  CHECK((shapes["upcat_4.upsample.deconv.weight"] == Extents{256, 128, 2, 2, 2}));
  CHECK((shapes["upcat_4.convs.conv_0.conv.weight"] == Extents{128, 256, 3, 3, 3}));
  CHECK((shapes["upcat_1.upsample.deconv.weight"] == Extents{32, 32, 2, 2, 2}));   // the last one does not halve
  CHECK((shapes["upcat_1.convs.conv_0.conv.weight"] == Extents{32, 64, 3, 3, 3}));
  CHECK((shapes["final_conv.weight"] == Extents{2, 32, 1, 1, 1}));
}

TEST_CASE("names of batch norm, prelu and no bias") {
  std::vector<std::string> names;
  const BasicUNet<D2> net({.activation = prelu(), .norm = NormKind::batch, .bias = false});
  visit(net, [&](const std::string& name, const auto&) { names.push_back(name); });
  CHECK((std::vector<std::string>(names.begin(), names.begin() + 6) ==
         std::vector<std::string>{"conv_0.conv_0.conv.weight", "conv_0.conv_0.adn.N.weight", "conv_0.conv_0.adn.N.bias",
                                  "conv_0.conv_0.adn.N.running_mean", "conv_0.conv_0.adn.N.running_var",
                                  "conv_0.conv_0.adn.A.weight"}));
}

TEST_CASE("any size that does not shrink away gives its own size back") {
  const BasicUNet<F3> net({.out_channels = 5, .features = {2, 2, 4, 4, 4, 2}});
  for (const Shape<3>& s : {Shape<3>{1, 1, {33, 40, 35}}, Shape<3>{2, 1, {16, 16, 32}}, Shape<3>{1, 1, {47, 31, 32}},
                            Shape<3>{1, 1, {97, 101, 113}}}) {
    Tape<F3> tape(Mode::train);
    CHECK(net.forward(tape.input(s)).shape() == s.with_channels(5));
  }
  const auto error = [&](const Shape<3>& s) -> std::string {
    Tape<F3> tape(Mode::train);
    try {
      net.forward(tape.input(s));
    } catch (const Error& e) {
      CHECK(e.code() == Code::shape_mismatch);
      return e.what();
    }
    return "no error";
  };
  CHECK(
      error({1, 1, {12, 32, 32}}) ==
      "down_4: max_pool: input [1,4,1,4,4] has an axis shorter than the window 2x2x2. Hint: larger patches, or fewer levels.");
  CHECK(error({1, 1, {16, 16, 16}}) ==
        "down_4: norm: input [1,4,1,1,1] has one value per channel, training needs two or more. Hint: larger patches, or fewer "
        "levels.");
  CHECK(error({1, 3, {32, 32, 32}}).starts_with("conv_0: conv: input has 3 channels, layer expects in_channels = 1"));
}
