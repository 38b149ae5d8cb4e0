// Losses as values: what fit and one's own loops call with logits and labels. Here is Dice with cross entropy; docs/losses.md
// lists the others, which are in the headers beside this one and not in ctseg.hpp.
#pragma once
#include "segmentation_loss.hpp"

namespace ctseg {

struct DiceCeLoss {
  DiceCeOptions options;
  template <AnySpec S> Var<S> operator()(Var<S> logits, Var<S> labels) const { return dice_ce(logits, labels, options); }
  Index largest_label(Index channels) const { return options.ignore_label ? 65535 : std::max<Index>(channels, 2) - 1; }
};
/// Soft Dice plus cross entropy (of one channel: binary cross entropy); see DiceCeOp for formula, numerics and errors.
/// Shapes    logits [N, C, D, H, W], raw; labels u8 or u16 [N, 1, D, H, W] -> [1, 1, 1, 1, 1]
/// PyTorch   monai.losses.DiceCELoss(softmax=True, to_onehot_y=True); lambda_dice is dice_weight, lambda_ce ce_weight,
///           smooth_nr smooth_numerator, smooth_dr smooth_denominator, weight class_weights.
inline DiceCeLoss dice_ce(const DiceCeOptions& options = {}) { return {options}; }

/// Any loss: a callable of (logits, labels) that records ops and returns a value of shape [1, 1, ...]. It needs no backward of
/// its own, and several are summed by add(a, b, weight). One that says `static constexpr bool kTakesHeads = true` is also
/// called with (std::vector of logits, labels), finest first: deep_supervision() makes such a one of any.
template <AnySpec S> class Loss {
  struct Base {
    virtual ~Base() = default;
    virtual Var<S> operator()(const std::vector<Var<S>>&, Var<S>) const = 0;
    virtual Index largest_label(Index channels) const = 0;
  };
  template <class F> struct Holder final : Base {
    explicit Holder(F g) : f(std::move(g)) {}
    Var<S> operator()(const std::vector<Var<S>>& heads, Var<S> labels) const override {
      if constexpr (kTakesHeads<F>)
        if (heads.size() > 1) return f(heads, labels);
      return f(heads.front(), labels);
    }
    Index largest_label(Index channels) const override { return largest_label_of(f, channels); }
    F f;
  };
  template <class F> static constexpr bool kFits = std::is_invocable_r_v<Var<S>, const F&, Var<S>, Var<S>>;
  template <class F> static constexpr bool kTakesHeads = requires { requires F::kTakesHeads; };

 public:
  template <class F>
  requires(!std::same_as<F, Loss>) Loss(F f) {
    static_assert(kFits<F>, "ctseg: a loss is called with (Var<S> logits, Var<S> labels) and returns a Var<S>");
    if constexpr (kFits<F>) self_ = std::make_shared<const Holder<F>>(std::move(f));
    takes_heads_ = kTakesHeads<F>;
  }
  Var<S> operator()(Var<S> logits, Var<S> labels) const { return (*self_)({logits}, labels); }
  /// Of the logits of several heads, finest first; a loss that does not take them looks at the finest alone.
  Var<S> operator()(const std::vector<Var<S>>& heads, Var<S> labels) const { return (*self_)(heads, labels); }
  bool takes_heads() const { return takes_heads_; }
  /// What a label may be at most, for logits with so many channels; a callable with a function of this name says so itself.
  Index largest_label(Index channels) const { return self_->largest_label(channels); }

 private:
  std::shared_ptr<const Base> self_;
  bool takes_heads_ = false;
};

#ifdef CTSEG_PREBUILT   // linked to ctseg::prebuilt, which holds these
CTSEG_PREBUILT template class Loss<Spec<float, 2, Cpu>>;
CTSEG_PREBUILT template Loss<Spec<float, 2, Cpu>>::Loss(DiceCeLoss);
CTSEG_PREBUILT template class Loss<Spec<float, 3, Cpu>>;
CTSEG_PREBUILT template Loss<Spec<float, 3, Cpu>>::Loss(DiceCeLoss);
#endif

}   // namespace ctseg
