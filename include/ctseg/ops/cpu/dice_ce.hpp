// Dice and cross entropy on the CPU: two walks over the logits, one for the sums, one for the gradient.
#pragma once
#include "../dice_ce.hpp"
#include "softmax.hpp"

namespace ctseg {

template <class T, int Dim> struct Kernel<DiceCrossEntropy, Spec<T, Dim, Cpu>> {
  using S = Spec<T, Dim, Cpu>;
  using Acc = typename S::Acc;

  struct LossMemory {
    Index saved, scratch;
  };
  /// saved: intersections, then totals, [N, C] each. scratch: the partial sums of one image; cross entropy is the last column.
  static LossMemory memory(const Shape<Dim>& x) {
    return {bytes_of<double>(2 * x.n * x.c),
            cpu::partial_bytes<double>(x.voxels(), 2 * x.c + 1) + bytes_of<double>(2 * x.c + 1)};
  }

  static void forward(const DiceCeOptions& o, const Forward<S>& f) {
    const In<S> x = f.x();
    const Index classes = x.shape.c, voxels = x.shape.voxels(), width = 2 * classes + 1;
    Bytes saved = f.saved, scratch = f.scratch;
    double* intersection = take<double>(saved, 2 * x.shape.n * classes);
    double* total = intersection + x.shape.n * classes;
    double* sums = take<double>(scratch, width);
    double* partials = take<double>(scratch, cpu::RowBlocks(voxels).count * width);
    double cross_entropy = 0;
    for (Index n = 0; n < x.shape.n; ++n) {
      std::fill_n(sums, width, 0.0);
      cpu::sum_rows(f.ctx, voxels, width, partials, sums, [&](Index first, Index last, double* sum) {
        with_labels(f.inputs[1], [&](auto labels) { add_sums(x, labels, n * voxels + first, n * voxels + last, sum); });
      });
      std::copy_n(sums, classes, intersection + n * classes);
      std::copy_n(sums + classes, classes, total + n * classes);
      cross_entropy += sums[2 * classes];
    }
    if (o.batch) merge_images(x.shape, intersection, total);
    double dice = 0;
    for (Index k = 0; k < x.shape.n * classes; ++k)
      if (k % classes > 0 || o.include_background)
        dice += 1 - (2 * intersection[k] + o.smooth_numerator) / (total[k] + o.smooth_denominator);
    dice /= static_cast<double>(x.shape.n * (classes - (o.include_background ? 0 : 1)));
    const double ce = cross_entropy / static_cast<double>(x.rows());
    f.output.template as<Acc>().data[0] = static_cast<Acc>(o.dice_weight * dice + o.ce_weight * ce);
  }

  /// With g[c] the loss's derivative by p[c]: dlogit[c] = p[c] * (g[c] - sum(p * g)) for Dice, p[c] - q[c] for cross entropy.
  static void backward(const DiceCeOptions& o, const Backward<S>& b) {
    const In<S> x = b.x();
    const Out<S> dx = b.dx();
    const Index classes = x.shape.c, voxels = x.shape.voxels();
    Bytes saved = b.saved;
    const double* intersection = take<double>(saved, 2 * x.shape.n * classes);
    const double* total = intersection + x.shape.n * classes;
    const double seed = static_cast<double>(b.output_gradient.template as<const Acc>().data[0]);
    const double pairs = static_cast<double>((o.batch ? 1 : x.shape.n) *
                                             (classes - (o.include_background ? 0 : 1)));   // sums of a batch serve all
    const double dice = seed * o.dice_weight / pairs, ce = seed * o.ce_weight / static_cast<double>(x.rows());
    with_labels(b.inputs[1], [&](auto labels) {
      cpu::for_rows(b.ctx, x.rows(), [&](Index first, Index last) {
        double p[kMostClasses];
        for (Index r = first; r < last; ++r) {
          cpu::softmax(x.row(r), classes, p);
          const Index at = r / voxels * classes, label = labels.row(r)[0];
          const auto g = [&](Index c) {
            if (c == 0 && !o.include_background) return 0.0;
            const double denominator = total[at + c] + o.smooth_denominator;
            const double numerator = 2 * intersection[at + c] + o.smooth_numerator;
            return dice * (numerator - (c == label ? 2 * denominator : 0)) / (denominator * denominator);
          };
          double mean = 0;
          for (Index c = 0; c < classes; ++c) mean += p[c] * g(c);
          for (Index c = 0; c < classes; ++c)
            dx.row(r)[c] = T(static_cast<Acc>(p[c] * (g(c) - mean) + ce * (p[c] - (c == label))));
        }
      });
    });
  }

 private:
  template <class F> static void with_labels(const AnyView<Dim>& labels, F f) {
    if (labels.dtype == Dtype::u8)
      f(labels.template as<const std::uint8_t>());
    else
      f(labels.template as<const std::uint16_t>());
  }

  template <class L> static void add_sums(In<S> x, View<const L, Dim> labels, Index first, Index last, double* sum) {
    const Index classes = x.shape.c;
    double p[kMostClasses];
    for (Index r = first; r < last; ++r) {
      const double log_sum = cpu::softmax(x.row(r), classes, p);
      const Index label = labels.row(r)[0];
      if (label >= classes)
        throw Error(
            Code::bad_input, "dice_ce",
            text("label ", label, " at voxel ", r % x.shape.voxels(), " of image ", r / x.shape.voxels(), "; the logits have ",
                 classes, " classes, 0 .. ", classes - 1, ". Hint: set out_channels = ", label + 1, ", or map the labels."));
      sum[label] += p[label];
      for (Index c = 0; c < classes; ++c) sum[classes + c] += p[c];
      sum[classes + label] += 1;
      sum[2 * classes] += log_sum - static_cast<double>(Acc(x.row(r)[label]));
    }
  }

  /// Every image gets the sums of the batch: the mean over (n, c) is then the mean over c.
  static void merge_images(const Shape<Dim>& x, double* intersection, double* total) {
    for (double* sums : {intersection, total})
      for (Index c = 0; c < x.c; ++c) {
        double sum = 0;
        for (Index n = 0; n < x.n; ++n) sum += sums[n * x.c + c];
        for (Index n = 0; n < x.n; ++n) sums[n * x.c + c] = sum;
      }
  }
};

}   // namespace ctseg
