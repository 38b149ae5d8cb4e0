// Ops on labels on the card.
#pragma once
#include <vector>

#include "../../ops/cuda/array.hpp"
#include "../../ops/cuda/context.hpp"
#include "../../ops/segmentation_loss.hpp"

namespace ctseg {

struct LabelMoves;

namespace cuda {
/// The nearest voxel: o reads floor((o + 1/2) in / out).
void resize_labels(Stream, const Array& from, const Array& to);
/// Channel k of `to` is 1 where the label is in regions[k]; voxels of `ignored` (-1: none) keep it.
void label_regions(Stream, const std::vector<std::vector<Index>>& regions, Index ignored, const Array& from, const Array& to);
/// Values 0 and 1 for every channel of `to`; a label that is no class makes a NaN of them.
void one_hot(Stream, const Array& labels, const Array& to);
}   // namespace cuda

template <class T, int Dim> struct Kernel<LabelMoves, Spec<T, Dim, Cuda>> {
  using Any = AnyView<Dim>;

  static void resize(Context<Cuda>& ctx, const Any& from, const Any& to) {
    cuda::resize_labels(ctx.stream(), cuda::array_of(from), cuda::array_of(to));
  }
  template <class Regions> static void regions(Context<Cuda>& ctx, const Regions& o, const Any& from, const Any& to) {
    cuda::label_regions(ctx.stream(), o.regions, o.ignore_label.value_or(-1), cuda::array_of(from), cuda::array_of(to));
  }
  static void one_hot(Context<Cuda>& ctx, const SegmentationLossOptions&, const Any& from, View<T, Dim> y) {
    cuda::one_hot(ctx.stream(), cuda::array_of(from), cuda::array_of(y));
  }
};

}   // namespace ctseg
