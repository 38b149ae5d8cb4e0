// A network as a value that files can hold: its options, and which class they build.
#pragma once
#include <variant>

#include "../models/attention_unet.hpp"
#include "../models/basic_unet.hpp"
#include "../models/dynunet.hpp"
#include "../models/plain_conv_unet.hpp"
#include "../models/residual_encoder_unet.hpp"
#include "../models/residual_unet.hpp"
#include "../models/segresnet.hpp"
#include "../models/unet.hpp"
#include "../models/vnet.hpp"

namespace ctseg {

/// The options of every network there is; which type they have says which network.
template <int Dim> using NetworkOptions =
    std::variant<BasicUNetOptions, UNetOptions, ResidualUNetOptions<Dim>, DynUNetOptions<Dim>, PlainConvUNetOptions<Dim>,
                 ResidualEncoderUNetOptions<Dim>, SegResNetOptions, VNetOptions, AttentionUnetOptions<Dim>>;

/// A network without its weights: `NetworkConfig c = NetworkOptions<3>(BasicUNetOptions{.out_channels = 2});`
using NetworkConfig = std::variant<NetworkOptions<2>, NetworkOptions<3>>;

/// What options build, and what files call it. kLeast is the smallest extent of an input, where divisor() does not say.
template <class Options> struct NetworkOf;
template <> struct NetworkOf<BasicUNetOptions> {
  static constexpr const char* kName = "BasicUNet";
  static constexpr Index kLeast = 16;
  template <AnySpec S> using Net = BasicUNet<S>;
};
template <> struct NetworkOf<UNetOptions> {
  static constexpr const char* kName = "UNet";
  static constexpr Index kLeast = 1;
  template <AnySpec S> using Net = UNet<S>;
};
template <int Dim> struct NetworkOf<ResidualUNetOptions<Dim>> {
  static constexpr const char* kName = "ResidualUNet";
  static constexpr Index kLeast = 1;
  template <AnySpec S> using Net = ResidualUNet<S>;
};
template <int Dim> struct NetworkOf<DynUNetOptions<Dim>> {
  static constexpr const char* kName = "DynUNet";
  static constexpr Index kLeast = 1;
  template <AnySpec S> using Net = DynUNet<S>;
};
template <int Dim> struct NetworkOf<PlainConvUNetOptions<Dim>> {
  static constexpr const char* kName = "PlainConvUNet";
  static constexpr Index kLeast = 1;
  template <AnySpec S> using Net = PlainConvUNet<S>;
};
template <int Dim> struct NetworkOf<ResidualEncoderUNetOptions<Dim>> {
  static constexpr const char* kName = "ResidualEncoderUNet";
  static constexpr Index kLeast = 1;
  template <AnySpec S> using Net = ResidualEncoderUNet<S>;
};
template <> struct NetworkOf<SegResNetOptions> {
  static constexpr const char* kName = "SegResNet";
  static constexpr Index kLeast = 1;
  template <AnySpec S> using Net = SegResNet<S>;
};
template <> struct NetworkOf<VNetOptions> {
  static constexpr const char* kName = "VNet";
  static constexpr Index kLeast = 1;
  template <AnySpec S> using Net = VNet<S>;
};
template <int Dim> struct NetworkOf<AttentionUnetOptions<Dim>> {
  static constexpr const char* kName = "AttentionUnet";
  static constexpr Index kLeast = 1;
  template <AnySpec S> using Net = AttentionUnet<S>;
};

/// f(options of the network), whatever it is.
template <class Config, class F> decltype(auto) visit_options(Config& config, F f) {
  return std::visit([&](auto& of_dim) -> decltype(auto) { return std::visit(f, of_dim); }, config);
}

inline int dim_of(const NetworkConfig& config) { return config.index() == 0 ? 2 : 3; }
inline std::string name_of(const NetworkConfig& config) {
  return visit_options(config, [](const auto& o) { return NetworkOf<std::decay_t<decltype(o)>>::kName; });
}
inline Index in_channels_of(const NetworkConfig& config) {
  return visit_options(config, [](const auto& o) { return o.in_channels; });
}
inline Index out_channels_of(const NetworkConfig& config) {
  return visit_options(config, [](const auto& o) { return o.out_channels; });
}
/// "BasicUNet, 3-D, 1 -> 2 channels"
inline std::string text(const NetworkConfig& config) {
  return text(name_of(config), ", ", dim_of(config), "-D, ", in_channels_of(config), " -> ", out_channels_of(config),
              " channels");
}

}   // namespace ctseg
