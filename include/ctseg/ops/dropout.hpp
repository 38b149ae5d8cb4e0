// Dropout: the random key of the op draws the mask, and draws it again in backward and in recomputation.
#pragma once
#include "../core/finite.hpp"
#include "op.hpp"

namespace ctseg {

struct Dropping;   // Kernel<Dropping, S>: apply(ctx, op, key, from, to)

/// Training: zero with probability p, else y = x / (1 - p); otherwise y = x. channelwise drops whole (image, channel) maps.
/// Shapes    x [N, C, D, H, W] -> y the same.
/// Numerics  number i of the op's random key decides value i (channelwise: map i): the same mask for any number of threads.
/// Gradient  dx assigned, through the same mask, which is drawn again. Reads neither x nor y again.
/// Cost      one random number per value, in both directions; reads x, writes y (or in place); keeps nothing.
/// Errors    bad_argument unless 0 <= p < 1.
/// PyTorch   F.dropout(x, p, training=True); channelwise: F.dropout3d(x, p, training=True)
/// Source    Srivastava et al., JMLR 2014; channels: Tompson et al., arXiv:1411.4280.
template <AnySpec S> struct DropoutOp {
  float p = 0.5f;
  bool channelwise = false;

  std::string_view name() const { return channelwise ? "ChannelDropout" : "Dropout"; }
  Inferred<S> infer(const Facts<S>& f) const {
    check_options();
    return {.shape = f.x(), .sharing = Sharing::in_place, .again = Again::from_inputs};
  }
  void check_options() const {
    if (!is_finite(p) || p < 0 || p >= 1)
      throw Error(Code::bad_argument, "dropout", text("p = ", double{p}, "; must be at least 0 and below 1."));
  }
  void forward(const Forward<S>& f) const { Kernel<Dropping, S>::apply(f.ctx, effective(f.mode), f.key, f.x(), f.y()); }
  void backward(const Backward<S>& b) const {
    if (b.wants()) Kernel<Dropping, S>::apply(b.ctx, effective(b.mode), b.key, b.dy(), b.dx());
  }

 private:
  DropoutOp effective(Mode mode) const { return {mode == Mode::train ? p : 0.f, channelwise}; }
};

}   // namespace ctseg
