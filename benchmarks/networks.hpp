// The networks that are measured as a whole and layer by layer, by name, each with the size that it is measured on. peers/serve.py
// builds the same ones in PyTorch. Dropout is 0: its random numbers would differ, and losses could not be compared.
#pragma once
#include <string_view>

#include <ctseg/models/basic_unet.hpp>
#include <ctseg/models/plain_conv_unet.hpp>
#include <ctseg/models/residual_unet.hpp>
#include <ctseg/models/unet.hpp>
#include <ctseg/models/vnet.hpp>

namespace ctseg::bench {

inline constexpr const char* kNetworks[] = {"basic_unet", "residual_unet", "unet", "vnet", "plain_conv_unet", "unet_2d"};

/// f(net, shape of its input); false where there is none of that name.
template <class F> bool with_network(std::string_view name, F f) {
  using S2 = Spec<float, 2, Cpu>;
  using S3 = Spec<float, 3, Cpu>;
  constexpr auto cube = [](Index n) { return Shape<3>{1, 1, {n, n, n}}; };
  if (name == "basic_unet")
    f(BasicUNet<S3>(), cube(96));
  else if (name == "residual_unet")
    f(ResidualUNet<S3>(nodule_unet()), Shape<3>{1, 1, {64, 256, 256}});
  else if (name == "unet")
    f(UNet<S3>(liver_unet()), cube(96));
  else if (name == "vnet")
    f(VNet<S3>({.dropout_prob_down = 0, .dropout_prob_up = {0, 0}, .dropout_prob_shallow = 0}), cube(96));
  else if (name == "plain_conv_unet")
    f(PlainConvUNet<S3>(), cube(128));
  else if (name == "unet_2d")
    f(UNet<S2>(), Shape<2>{1, 1, {512, 512}});
  else
    return false;
  return true;
}

}   // namespace ctseg::bench
