// Second names. A module of PyTorch that is listed in two places is in a state_dict twice: the blocks and encoders of nnU-Net's
// networks, all of MONAI's DynUNet. Networks here name each tensor once; files may have either.
#pragma once
#include <string>
#include <utility>
#include <vector>

#include "../core/error.hpp"

namespace ctseg::io::weights {

class SecondNames {
 public:
  /// has(name): whether the network has a tensor of that name. It tells which library's the network is.
  template <class Has> explicit SecondNames(Has has) : nnunet_(has("decoder.transpconvs.0.weight")) {
    int levels = 0;
    while (has(text("upsamples.", levels, ".transp_conv.conv.weight"))) ++levels;
    std::string nest = "skip_layers.";   // one level in the other
    for (int i = 0; i < levels; ++i, nest += "next_layer.") {
      dynunet_.push_back({i == 0 ? "input_block." : text("downsamples.", i - 1, "."), nest + "downsample."});
      dynunet_.push_back({text("upsamples.", levels - 1 - i, "."), nest + "upsample."});
      if (i > 0) dynunet_.push_back({text("deep_supervision_heads.", i - 1, "."), nest + "super_head."});
    }
    if (levels > 0) dynunet_.push_back({"bottleneck.", nest});
  }

  /// The second names of a tensor; none for networks of others.
  std::vector<std::string> of(const std::string& name) const {
    std::vector<std::string> out;
    for (const auto& [first, second] : dynunet_)
      if (name.starts_with(first)) out.push_back(second + name.substr(first.size()));
    return nnunet_ ? nnunet(name) : out;
  }

  /// Whose second name this may be.
  std::vector<std::string> firsts(const std::string& name) const {
    for (const auto& [first, second] : dynunet_)
      if (name.starts_with(second)) return {first + name.substr(second.size())};
    constexpr std::string_view kEncoder = "decoder.encoder.", kList = ".all_modules.";
    if (name.starts_with(kEncoder)) return {name.substr(8)};
    const std::size_t list = name.rfind(kList), leaf = list == std::string::npos ? list : name.find('.', list + kList.size());
    if (leaf == std::string::npos) return {};
    std::vector<std::string> out;
    for (const char* part : {".conv", ".norm", ".nonlin"}) out.push_back(name.substr(0, list) + part + name.substr(leaf));
    return out;
  }

 private:
  /// all_modules of its block (convolution, norm, no dropout between them), and both again in the decoder.
  static std::vector<std::string> nnunet(const std::string& name) {
    std::vector<std::string> out;
    for (const auto& [part, place] : {std::pair(".conv.", ".all_modules.0."), std::pair(".norm.", ".all_modules.1.")}) {
      const std::size_t at = name.rfind(part);
      if (at != std::string::npos && name.find('.', at + 6) == std::string::npos)
        out.push_back(name.substr(0, at) + place + name.substr(at + 6));
    }
    if (name.starts_with("encoder.")) {
      out.push_back("decoder." + name);
      if (out.size() == 2) out.push_back("decoder." + out[0]);
    }
    return out;
  }

  bool nnunet_;
  std::vector<std::pair<std::string, std::string>> dynunet_;   // beginnings of first and second names
};

}   // namespace ctseg::io::weights
