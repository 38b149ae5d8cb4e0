// Instance, group and batch normalisation, with an optional sum and activation behind it: one pass over memory instead of
// three.
#pragma once
#include "activation.hpp"

namespace ctseg {

struct Normalization;   // Kernel<Normalization, S>

/// none: of a Block that has no norm; its values stay as they are.
enum class NormKind { instance, batch, group, none };

/// y = act((x - mean) / sqrt(variance + eps) * gamma + beta + r), statistics per image and channel (instance), per channel
/// (batch), or per image and group of C / groups consecutive channels (group). r is an optional second input: a residual.
/// Shapes    x [N, C, D, H, W], r the same or absent -> y the same.
/// Weights   gamma, beta [C] where affine; batch: then running mean, running variance [C]; prelu: last its slopes
/// Numerics  biased variance; batch in training moves the running variance by the unbiased one; outside training batch uses the
///           running statistics. Sums are formed in tiles around their means and merged in double.
/// Gradient  dx, dr assigned; dgamma, dbeta, dslope added; running statistics get (running - batch), which the optimizer
///           follows. Reads x and r again, and saved statistics.
/// Cost      reads x twice (inference of batch: once) and r once, writes y; backward reads x, r and dy twice, writes dx and
///           dr. Keeps x, r, mean and 1 / sigma per image and channel (batch: per channel).
/// Errors    shape_mismatch for other channels, channels that groups does not divide, an r unlike x, or one value per statistic
///           in training; bad_argument for a wrong number of weights or inputs.
/// PyTorch   nn.InstanceNorm3d(C, affine=True), nn.GroupNorm(groups, C), nn.BatchNorm3d(C, momentum=0.1), eps = 1e-5; then
///           act(y + r)
/// Source    Ioffe and Szegedy, arXiv:1502.03167; Ulyanov et al., arXiv:1607.08022; Wu and He, arXiv:1803.08494; merging: Chan
///           et al., 1979.
template <AnySpec S> struct NormOp {
  NormKind kind = NormKind::instance;
  bool affine = true;
  float eps = 1e-5f;
  Activation activation{};
  Index groups = 1;   // of group norm: 1 is layer norm over channels and voxels, C is instance norm

  std::string_view name() const {
    return kind == NormKind::batch ? "BatchNorm" : kind == NormKind::group ? "GroupNorm" : "InstanceNorm";
  }

  Index batches(const Shape<S::kDim>& x) const { return kind == NormKind::batch ? 1 : x.n; }   // images apart, or all as one
  Index width(Index channels) const {
    return kind == NormKind::group ? channels / groups : 1;
  }                                                           // channels that share statistics
  std::size_t running_at() const { return affine ? 2 : 0; }   // where the running statistics are among the weights
  std::size_t slopes_at() const { return running_at() + (kind == NormKind::batch ? 2 : 0); }
  /// True where statistics do not come from x: the pass needs no other before it.
  bool uses_running(Mode mode) const { return kind == NormKind::none || (kind == NormKind::batch && mode == Mode::infer); }

  Inferred<S> infer(const Facts<S>& f) const {
    if (kind == NormKind::none)
      throw Error(Code::bad_argument, "norm", "kind is none. Hint: only a Block takes that; leave the Norm out.");
    return infer_in_block(f);
  }
  Inferred<S> infer_in_block(const Facts<S>& f) const {
    const auto& x = f.x();
    if (f.inputs.size() > 2)
      throw Error(Code::bad_argument, "norm", text(f.inputs.size(), " inputs; must be x, or x and what is added to it."));
    if (f.inputs.size() == 2 && f.x(1) != x)
      throw Error(Code::shape_mismatch, "norm", text("cannot add ", f.x(1), " to the norm of ", x, "; both must be the same."));
    const std::size_t wanted = slopes_at() + (activation.kind == ActivationKind::prelu ? 1 : 0);
    if (f.w.size() != wanted)
      throw Error(Code::bad_argument, "norm", text(f.w.size(), " weights given, these options need ", wanted, "."));
    for (std::size_t k = 0; k < slopes_at(); ++k)
      if (f.w[k].size() != x.c)
        throw Error(Code::shape_mismatch, "norm",
                    text("input has ", x.c, " channels, layer expects ", f.w[k].size(), " (input ", x,
                         "). Hint: set NormOptions::channels."));
    check_slopes<S>(activation, f.w.subspan(slopes_at()), x.c);
    if (kind == NormKind::group && (groups < 1 || x.c % groups != 0))
      throw Error(Code::shape_mismatch, "norm",
                  text("input has ", x.c, " channels, which ", groups, " groups do not divide (input ", x,
                       "). Hint: set NormOptions::groups to a divisor of ", x.c, "."));
    if (f.mode == Mode::train && kind != NormKind::none && x.elements() == batches(x) * (x.c / width(x.c)))
      throw Error(
          Code::shape_mismatch, "norm",
          text("input ", x, " has one value per channel, training needs two or more. Hint: larger patches, or fewer levels."));
    const auto bytes = Kernel<Normalization, S>::memory(*this, x);
    return {.shape = x,
            .saved = bytes.saved,
            .forward_scratch = bytes.forward_scratch,
            .backward_scratch = bytes.backward_scratch,
            .reads_inputs = true,
            .sharing = Sharing::in_place,
            .again = Again::from_inputs};
  }
  void forward(const Forward<S>& f) const { Kernel<Normalization, S>::forward(*this, f); }
  void backward(const Backward<S>& b) const { Kernel<Normalization, S>::backward(*this, b); }
};

}   // namespace ctseg
