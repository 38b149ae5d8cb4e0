// A network whose answer is known: a UNet with weights set by hand, so that its logits are linear in the voxel, channel by
// channel. What goes wrong around a network shows as a wrong voxel.
#pragma once
#include <ctseg/recipe/any_model.hpp>

extern template ctseg::AnyModel ctseg::make_model<float, ctseg::Cpu>(const ctseg::NetworkConfig&);   // test_networks.cpp

/// logit c = slope c * x + offset c, for x >= 0.
struct Line {
  float slope, offset;
};

template <int Dim> ctseg::NetworkConfig line_config(std::size_t channels) {
  return ctseg::NetworkOptions<Dim>(ctseg::UNetOptions{
      .out_channels = static_cast<ctseg::Index>(channels), .features = {1, 1}, .norm = ctseg::NormKind::none});
}

template <int Dim> ctseg::AnyModel line_network(const std::vector<Line>& lines) {
  ctseg::AnyModel model = ctseg::make_model(line_config<Dim>(lines.size()));
  visit(model, [&](const std::string& name, auto& p) {
    const auto values = p.edit();
    const std::size_t middle = (Dim == 3 ? 27 : 9) / 2;
    if (name == "head.weight")
      for (std::size_t c = 0; c < lines.size(); ++c) values[c] = lines[c].slope;
    else if (name == "head.bias")
      for (std::size_t c = 0; c < lines.size(); ++c) values[c] = lines[c].offset;
    else if (name == "decoder_0.conv_0.conv.weight")
      values[2 * middle] = 1;   // of [skip, raised]
    else if (name.ends_with("conv.weight") && !name.starts_with("encoder_1"))
      values[middle] = 1;
  });
  return model;
}
