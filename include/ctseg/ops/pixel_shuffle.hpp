// Channels become voxels: upsampling whose weights a convolution in front of it learns.
#pragma once
#include "op.hpp"

namespace ctseg {

struct Shuffling;   // Kernel<Shuffling, S>: forward(ctx, factor, x, y), backward(ctx, factor, dy, dx)

/// y[c, h f + i, w f + j] = x[c f^2 + i f + j, h, w]: the channel order of PyTorch's PixelShuffle. In 3-D, offset (i, j, k)
/// along z, y, x comes from channel c f^3 + i f^2 + j f + k: the order of MONAI's SubpixelUpsample.
/// Shapes    x [N, C f^Dim, D, H, W] -> y [N, C, D f, H f, W f]
/// Gradient  dx assigned: the way back. Reads neither x nor y again.
/// Cost      a copy: reads x, writes y; keeps nothing.
/// Errors    bad_argument for a factor outside 1 .. 64; shape_mismatch if f^Dim does not divide the channels.
/// PyTorch   F.pixel_shuffle(x, factor); 3-D: monai.networks.utils.pixelshuffle(x, 3, factor)
/// Source    Shi et al., arXiv:1609.05158.
template <AnySpec S> struct PixelShuffleOp {
  Index factor = 2;

  std::string_view name() const { return "PixelShuffle"; }
  Inferred<S> infer(const Facts<S>& f) const {
    if (factor < 1 || factor > 64)
      throw Error(Code::bad_argument, "pixel_shuffle", text("factor ", factor, "; must be 1 to 64."));
    Shape<S::kDim> y = f.x();
    Index parts = 1;
    for (Index& e : y.space) e *= factor, parts *= factor;
    if (y.c % parts != 0)
      throw Error(Code::shape_mismatch, "pixel_shuffle",
                  text("input ", f.x(), " has ", y.c, " channels; a factor of ", factor, " needs a multiple of ", parts, "."));
    y.c /= parts;
    return {.shape = y};
  }
  void forward(const Forward<S>& f) const { Kernel<Shuffling, S>::forward(f.ctx, factor, f.x(), f.y()); }
  void backward(const Backward<S>& b) const {
    if (b.wants()) Kernel<Shuffling, S>::backward(b.ctx, factor, b.dy(), b.dx());
  }
};

}   // namespace ctseg
