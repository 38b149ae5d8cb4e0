// The attention gate: what comes from below decides where a skip connection may speak.
//
//   gate  g ---- 1^3 convolution, norm ----+
//                                          + --- relu --- 1^3 convolution to one channel, norm --- sigmoid --+
//   skip  x ---- 1^3 convolution, norm ----+                                                                 |
//         |                                                                                                  v
//         +----------------------------------------------------------------------------------------------- times ---> y
#pragma once
#include "layers.hpp"

namespace ctseg {

struct AttentionGateOptions {
  Index gate_channels = 1, skip_channels = 1;
  Index inner_channels = 1;   // of the sum
  NormKind norm = NormKind::batch;
};

/// y = x * sigmoid(norm(psi * relu(norm(W_g * g) + norm(W_x * x)))): one factor of 0 to 1 for each voxel of the skip x.
/// Shapes    g [N, gate_channels, D, H, W], x [N, skip_channels, D, H, W] -> y as x. Both of one size: g comes upsampled.
/// Errors    shape_mismatch for two sizes; bad_argument for group norm.
/// Source    Oktay et al., Attention U-Net, arXiv:1804.03999; as MONAI's AttentionBlock.
template <AnySpec S> class AttentionGate {
 public:
  explicit AttentionGate(const AttentionGateOptions& o)
      : gate_(block(o.gate_channels, o.inner_channels, without_groups(o.norm, "attention_gate"), {})),
        skip_(block(o.skip_channels, o.inner_channels, o.norm, relu())),
        psi_(block(o.inner_channels, 1, o.norm, sigmoid())) {}

  Var<S> operator()(Var<S> gate, Var<S> skip) const { return multiply(skip, psi_(skip_(skip, gate_(gate)))); }

  template <class Self, class F> static void each(Self& self, const std::string& prefix, F f) {
    const auto add = [&](auto& block, const std::string& name) {   // none of the activations has parameters
      Block<S>::each(block, BlockNames{prefix + name + "0.conv.", prefix + name + "1.", ""}, f);
    };
    add(self.gate_, "W_g.");
    add(self.skip_, "W_x.");
    add(self.psi_, "psi.");
  }

 private:
  static Block<S> block(Index in, Index out, NormKind norm, const Activation& activation) {
    return Block<S>({.conv = {.in_channels = in, .out_channels = out, .kernel = 1}, .norm = norm, .activation = activation});
  }
  Block<S> gate_, skip_, psi_;
};

}   // namespace ctseg
