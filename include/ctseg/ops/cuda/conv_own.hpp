// Convolutions by kernels of this project, for the shapes where a library of general convolutions moves more bytes than it
// must: networks' first layers, transposed convolutions, 1x1x1 heads. One of them, the gathered product, can do any window.
#pragma once
#include "../conv.hpp"
#include "array.hpp"
#include "runtime.hpp"

namespace ctseg::cuda {

/// What all of these launchers are given. Arrays may be channel ranges of wider ones (pitch > c). Weights, biases and their
/// gradients are float in device memory, in the CPU's order: w [taps, Cin, Cout], b [Cout]. Nothing is prepared beforehand:
/// weights are rounded to the arrays' type on their way into a tile.
/// Numerics  bf16 and half: exact products, sums in float, rounded once. float: float throughout, or TF32 products if asked.
///           Gradients of weights are sums of float partial sums, these added in double; every order follows shapes alone.
struct OwnConv {
  ConvProblem problem;
  Array x, y;   // y: y in forward, dy in the gradients
  const float* w = nullptr;
  const float* bias = nullptr;   // may be null
  bool tf32 = false;
};
/// Where gradients go. dw and db are added to, each may be null.
struct OwnConvGradient {
  float *dw = nullptr, *db = nullptr;
  std::byte* scratch = nullptr;   // of ..._scratch bytes
};

// Any window: y[v] = b + sum over taps of x[u] w[tap], as a product of matrices whose left factor is gathered from x. A strided
// data gradient or a transposed convolution is one such product per class of voxels that meet the same taps (k2s2: 8 classes
// of one tap; k3s2: 8 of 1, 2, 4 or 8); all classes of a place are computed by one block, so x comes from memory once.

/// Up to 125 taps, strides of a product up to 8, fewer than 2^31 rows. The launchers refuse others: Code::unsupported.
bool gather_supports(const ConvProblem&);
void gather_forward(Stream, const OwnConv&);
/// x is dx, assigned.
void gather_data_gradient(Stream, const OwnConv&);
Index gather_gradient_scratch(const ConvProblem&);
void gather_weight_gradient(Stream, const OwnConv&, const OwnConvGradient&);

// First layers: 1 to 4 input channels, a window of up to 5^3 taps, stride 1 or 2, no dilation.

/// A CT window: values are clipped to [low, high] and scaled to [0, 1].
struct HuWindow {
  float low = -1000, high = 1000;
};

/// shared_bytes: of a block, DeviceTraits<Cuda>::shared_bytes.
bool first_layer_supports(const ConvProblem&, int shared_bytes);
/// x may be int16, in Hounsfield units, which `hu` turns into network input (padding is 0 after that); else it is of y's type.
void first_layer_forward(Stream, const OwnConv&, const HuWindow& hu = {});
Index first_layer_gradient_scratch(const ConvProblem&);
void first_layer_weight_gradient(Stream, const OwnConv&, const OwnConvGradient&, const HuWindow& hu = {});

/// True where one of these is expected to beat a library: k = s transposed convolutions, k3s2 ones, 1x1x1 with at most 64
/// channels on either side, first layers. Expected, not measured yet.
enum class OwnEngine { none, first_layer, gather };
OwnEngine own_engine(const ConvProblem&, int shared_bytes);

}   // namespace ctseg::cuda
