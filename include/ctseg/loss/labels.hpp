// Ops on labels: at another size, as regions, as values. They have labels or values without gradient.
#pragma once
#include "segmentation_loss.hpp"

namespace ctseg {

struct LabelMoves;   // Kernel<LabelMoves, S>

/// Labels at another size by the nearest voxel: voxel o reads floor((o + 1/2) in / out), in integers.
/// Shapes    labels u8 or u16 [N, C, D, H, W] -> the same type [N, C, size]
/// PyTorch   F.interpolate(labels, size=size, mode="nearest-exact"), which rounds in / out to float
template <AnySpec S> struct ResizeLabelsOp {
  std::array<Index, S::kDim> size{};

  std::string_view name() const { return "ResizeLabels"; }
  Inferred<S> infer(const Facts<S>& f) const {
    Shape<S::kDim> y = f.labels(0);
    y.space = size;
    return {.shape = checked(y, "resize_labels"), .dtype = f.inputs[0].dtype};
  }
  void forward(const Forward<S>& f) const { Kernel<LabelMoves, S>::resize(f.ctx, f.inputs[0], f.output); }
  void backward(const Backward<S>&) const {}
};
template <AnySpec S> Var<S> resize_labels(Var<S> labels, std::type_identity_t<std::array<Index, S::kDim>> size) {
  return labels.shape().space == size ? labels : labels.tape->append(ResizeLabelsOp<S>{size}, {labels});
}

/// One channel of 0 and 1 per region: channel k is 1 where the label is in regions[k]. Regions may overlap, as the whole tumour
/// holds its core. Voxels of ignore_label keep it in every channel.
/// Shapes    labels u8 or u16 [N, 1, D, H, W] -> the same type [N, regions, D, H, W]
/// Errors    bad_argument without regions, for a region without labels, for a label that is not 0 .. 65535 and for an ignored
///           one below 2, which could not be told from what channels hold; shape_mismatch for labels of several channels.
template <AnySpec S> struct RegionsOp {
  std::vector<std::vector<Index>> regions;
  std::optional<Index> ignore_label{};

  std::string_view name() const { return "Regions"; }
  Inferred<S> infer(const Facts<S>& f) const {
    const Shape<S::kDim>& labels = f.labels(0);
    if (regions.empty()) throw Error(Code::bad_argument, "regions", "no regions; name the labels of one or more.");
    for (std::size_t k = 0; k < regions.size(); ++k) {
      if (regions[k].empty())
        throw Error(Code::bad_argument, "regions", text("region ", k, " has no labels; name one or more."));
      for (const Index label : regions[k])
        if (label < 0 || label > 65535)
          throw Error(Code::bad_argument, "regions", text("region ", k, " has label ", label, "; labels are 0 .. 65535."));
    }
    if (ignore_label && (*ignore_label < 2 || *ignore_label > 65535))
      throw Error(Code::bad_argument, "regions",
                  text("ignore_label = ", *ignore_label, "; must be 2 .. 65535, because channels hold 0 and 1."));
    if (labels.c != 1)
      throw Error(Code::shape_mismatch, "regions",
                  text("labels are ", labels, "; regions are made of one channel of classes."));
    return {.shape = labels.with_channels(std::ssize(regions)), .dtype = f.inputs[0].dtype};
  }
  void forward(const Forward<S>& f) const { Kernel<LabelMoves, S>::regions(f.ctx, *this, f.inputs[0], f.output); }
  void backward(const Backward<S>&) const {}
};
template <AnySpec S>
Var<S> label_regions(Var<S> labels, std::vector<std::vector<Index>> regions, std::optional<Index> ignore_label = {}) {
  return labels.tape->append(RegionsOp<S>{std::move(regions), ignore_label}, {labels});
}

/// Labels as values 0 and 1 for every channel of logits.
/// Shapes    labels u8 or u16: [N, 1, D, H, W] with classes (channels = 1: 0 or 1), or [N, channels, D, H, W] of 0 and 1 ->
///           [N, channels, D, H, W] of T
/// Errors    bad_input for a label that is not a class; those of SegmentationLossOp.
template <AnySpec S> struct OneHotOp {
  Index channels = 2;
  bool sigmoid = true;   // false: channels exclude each other, so labels are class indices

  std::string_view name() const { return "OneHot"; }
  Inferred<S> infer(const Facts<S>& f) const {
    const Shape<S::kDim> y = f.labels(0).with_channels(channels);
    check_loss(terms(), checked(y, "one_hot"), f.labels(0));
    return {.shape = y};
  }
  void forward(const Forward<S>& f) const { Kernel<LabelMoves, S>::one_hot(f.ctx, terms(), f.inputs[0], f.y()); }
  void backward(const Backward<S>&) const {}

 private:
  SegmentationLossOptions terms() const { return {.name = "one_hot", .overlap = {.weight = 1, .sigmoid = sigmoid}}; }
};

/// The label that a loss ignores, where it says so.
template <class L> std::optional<Index> ignored_by(const L& loss) {
  if constexpr (requires { loss.ignore_label(); })
    return loss.ignore_label();
  else if constexpr (requires { loss.options.ignore_label; })
    return loss.options.ignore_label;
  else if constexpr (requires { loss.a, loss.b; })
    return ignored_by(loss.a) ? ignored_by(loss.a) : ignored_by(loss.b);
  else
    return {};
}

struct RegionOptions {
  std::vector<std::vector<Index>> regions{};   // the labels of each, one per channel of the logits
  std::optional<Index> ignore_label{};         // the loss's own
};
template <class L> struct RegionLoss {
  L loss;
  RegionOptions options;
  template <AnySpec S> Var<S> operator()(Var<S> logits, Var<S> labels) const {
    if (const auto ignored = ignored_by(loss); ignored && ignored != options.ignore_label)
      throw Error(Code::bad_argument, "region_loss",
                  text("the loss ignores label ", *ignored, ", the regions ",
                       options.ignore_label ? text("label ", *options.ignore_label) : std::string("none"),
                       ": it would count as background. Hint: give both the same ignore_label."));
    return loss(logits, label_regions(labels, options.regions, options.ignore_label));
  }
  Index largest_label(Index) const { return 65535; }   // labels of no region are background
};
/// A loss on regions, from labels with one channel of classes as samplers have them:
/// region_loss(dice_bce(), {.regions = {{1, 2, 3}, {2, 3}, {3}}}).
/// Errors    bad_argument if the loss ignores a label and the regions do not; those of RegionsOp.
template <class L> RegionLoss<L> region_loss(L loss, const RegionOptions& options) { return {std::move(loss), options}; }

}   // namespace ctseg

#include "cpu/labels.hpp"
