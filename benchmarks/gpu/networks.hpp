// The five networks that are measured on a card, and held against the CPU's there.
#pragma once
#include <ctseg/models/basic_unet.hpp>
#include <ctseg/models/plain_conv_unet.hpp>
#include <ctseg/models/residual_unet.hpp>
#include <ctseg/models/unet.hpp>
#include <ctseg/models/vnet.hpp>

#include <string>

namespace ctseg::bench {

inline constexpr const char* kNetworks = "basic_unet,residual_unet,vnet,plain_conv_unet,unet";

inline bool listed(const std::string& list, const std::string& name) {
  return ("," + list + ",").find("," + name + ",") != std::string::npos;
}

/// visit(name, make) for those that are listed; make() is the network. `divisor` 1: as published; more: that much narrower.
template <AnySpec S, class Visit> void for_networks(const std::string& list, Index divisor, Visit visit) {
  const auto one = [&](const char* name, auto make) {
    if (listed(list, name)) visit(name, make);
  };
  const auto narrow = [&](std::vector<Index> channels) {
    for (Index& c : channels) c = std::max<Index>(c / divisor, 4);
    return channels;
  };
  one("basic_unet", [&] {
    BasicUNetOptions o;
    for (Index& c : o.features) c = std::max<Index>(c / divisor, 4);
    return BasicUNet<S>(o);
  });
  one("residual_unet", [&] {
    auto o = nodule_unet();
    o.out_channels = 2, o.channels = narrow(o.channels);
    return ResidualUNet<S>(o);
  });
  one("vnet", [&] {
    return VNet<S>({.dropout_prob_down = 0,
                    .dropout_prob_up = {0, 0},
                    .dropout_prob_shallow = 0,
                    .width = std::max<Index>(16 / divisor, 2)});
  });
  one("plain_conv_unet", [&] { return PlainConvUNet<S>({.features_per_stage = narrow({32, 64, 128, 256, 320, 320})}); });
  one("unet", [&] { return UNet<S>({.out_channels = 2, .features = narrow({64, 128, 256, 512, 1024})}); });
}

}   // namespace ctseg::bench
