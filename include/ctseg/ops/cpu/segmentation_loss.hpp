// Losses made of sums over voxels, on the CPU: one walk over the logits for the sums, one for the gradient. Between them the
// overlap term becomes two numbers per class and image: its slopes by sum p q and by sum p.
#pragma once
#include "loss_row.hpp"

namespace ctseg {

template <class T, int Dim> struct Kernel<SegmentationLosses, Spec<T, Dim, Cpu>> {
  using S = Spec<T, Dim, Cpu>;
  using Acc = typename S::Acc;

  struct LossMemory {
    Index saved, scratch;
  };
  /// saved: slopes by M, slopes by P, [N, C] each, then the voxel term's divisor. scratch: M, P, Q of all images, two sums of
  /// the voxel term behind each, and the partial sums of one image.
  static LossMemory memory(const Shape<Dim>& x) {
    return {bytes_of<double>(2 * x.n * x.c + 1),
            cpu::partial_bytes<double>(x.voxels(), width(x.c)) + bytes_of<double>(x.n * width(x.c))};
  }

  static void forward(const SegmentationLossOptions& o, const Forward<S>& f) {
    const In<S> x = f.x();
    const Index classes = x.shape.c, voxels = x.shape.voxels(), images = x.shape.n;
    Bytes saved = f.saved, scratch = f.scratch;
    double* slopes = take<double>(saved, 2 * images * classes + 1);
    double* sums = take<double>(scratch, images * width(classes));
    double* partials = take<double>(scratch, cpu::RowBlocks(voxels).count * width(classes));
    const cpu::Targets<Dim> targets(o, f.inputs[1], classes);
    std::fill_n(sums, images * width(classes), 0.0);
    for (Index n = 0; n < images; ++n)
      cpu::sum_rows(f.ctx, voxels, width(classes), partials, sums + n * width(classes),
                    [&](Index first, Index last, double* sum) {
                      add_sums(o, x, targets, {n * voxels + first, n * voxels + last}, sum);
                    });
    std::array<double, 2> voxel{};   // loss, divisor
    for (Index n = 0; n < images; ++n)
      for (std::size_t k = 0; k < 2; ++k) voxel[k] += sums[n * width(classes) + 3 * classes + static_cast<Index>(k)];
    // Every process has the loss of all, of which fit takes the mean: so its slopes count as often as there are processes.
    ProcessGroup* const group = f.ctx.statistics_group();
    const double processes = group ? group->size() : 1;
    if (group) group->sum(voxel);
    slopes[2 * images * classes] = voxel[1] / processes;
    double loss = voxel[1] > 0 ? o.voxel.weight * voxel[0] / voxel[1] : 0;
    if (o.overlap.weight != 0 && o.overlap.batch) add_images(x.shape, sums, group);
    loss += close_overlap(o.overlap, x.shape, sums, slopes);
    if (o.overlap.batch)
      for (Index i = 0; i < 2 * images * classes; ++i) slopes[i] *= processes;
    f.output.template as<Acc>().data[0] = static_cast<Acc>(loss);
  }

  /// With g[c] the loss's derivative by p[c]: dlogit[c] = p[c] * (g[c] - sum(p * g)) for the softmax, p * (1 - p) * g for the
  /// sigmoid.
  static void backward(const SegmentationLossOptions& o, const Backward<S>& b) {
    const In<S> x = b.x();
    const Out<S> dx = b.dx();
    const Index classes = x.shape.c, voxels = x.shape.voxels(), pairs = x.shape.n * classes;
    Bytes saved = b.saved;
    const double* slopes = take<double>(saved, 2 * pairs + 1);
    const double seed = static_cast<double>(b.output_gradient.template as<const Acc>().data[0]);
    const double count = slopes[2 * pairs], share = count > 0 ? seed * o.voxel.weight / count : 0;
    const cpu::Targets<Dim> targets(o, b.inputs[1], classes);
    const cpu::VoxelTerm<T> term(o.voxel, classes);
    const bool overlap_sigmoid = o.overlap.sigmoid || classes == 1;
    cpu::for_rows(b.ctx, x.rows(), [&](Index first, Index last) {
      double p[kMostClasses], d[kMostClasses];
      cpu::VoxelLabels q;
      for (Index r = first; r < last; ++r) {
        std::fill_n(d, classes, 0.0);
        if (targets.read(r, q)) {
          double log_sum = 0;
          if (o.overlap.weight > 0) {
            log_sum = cpu::probabilities(x.row(r), classes, overlap_sigmoid, p);
            const double* slope = slopes + r / voxels * classes;
            add_overlap_slopes(o.overlap, {slope, slope + pairs, p, q}, classes, seed, d);
          }
          if (o.voxel.weight > 0) {
            if (!term.sigmoid() && (o.overlap.weight == 0 || overlap_sigmoid)) log_sum = cpu::softmax(x.row(r), classes, p);
            term.add_derivatives(x.row(r), q, p, log_sum, share, d);
          }
        }
        for (Index c = 0; c < classes; ++c) dx.row(r)[c] = T(static_cast<Acc>(d[c]));
      }
    });
  }

 private:
  static Index width(Index classes) { return 3 * classes + 2; }

  struct Rows {
    Index first, last;
  };
  /// sum: M, P and Q of every class, then the voxel term's loss and divisor.
  static void add_sums(const SegmentationLossOptions& o, In<S> x, const cpu::Targets<Dim>& targets, Rows rows, double* sum) {
    const Index classes = x.shape.c;
    const cpu::VoxelTerm<T> term(o.voxel, classes);
    const bool sigmoid = o.overlap.sigmoid || classes == 1;
    double p[kMostClasses];
    cpu::VoxelLabels q;
    for (Index r = rows.first; r < rows.last; ++r) {
      if (!targets.read(r, q)) continue;
      double log_sum = 0;
      if (o.overlap.weight > 0) {
        log_sum = cpu::probabilities(x.row(r), classes, sigmoid, p);
        add_overlap(o.overlap, q, p, classes, sum);
      }
      if (o.voxel.weight > 0) {
        if (!term.sigmoid() && (o.overlap.weight == 0 || sigmoid)) log_sum = cpu::softmax(x.row(r), classes, p);
        const auto [loss, count] = term.share(x.row(r), q, p, log_sum);
        sum[3 * classes] += loss, sum[3 * classes + 1] += count;
      }
    }
  }

  static void add_overlap(const OverlapTermOptions& o, const cpu::VoxelLabels& q, const double* p, Index classes, double* sum) {
    if (q.one >= 0) {
      double* const predicted = sum + classes;
      if (o.squared_pred)
        for (Index c = 0; c < classes; ++c) predicted[c] += p[c] * p[c];
      else
        for (Index c = 0; c < classes; ++c) predicted[c] += p[c];
      sum[q.one] += p[q.one], sum[2 * classes + q.one] += 1;
      return;
    }
    for (Index c = 0; c < classes; ++c) {
      if (q(c) < 0) continue;
      sum[classes + c] += o.squared_pred ? p[c] * p[c] : p[c];
      if (q(c) > 0) sum[c] += p[c], sum[2 * classes + c] += 1;
    }
  }

  struct OverlapVoxel {
    const double *by_meet, *by_p, *p;
    const cpu::VoxelLabels& q;
  };
  static void add_overlap_slopes(const OverlapTermOptions& o, const OverlapVoxel& v, Index classes, double seed, double* d) {
    for (Index c = 0; c < classes; ++c) d[c] = seed * v.by_p[c] * (o.squared_pred ? 2 * v.p[c] : 1);
    if (v.q.one >= 0)
      d[v.q.one] += seed * v.by_meet[v.q.one];
    else
      for (Index c = 0; c < classes; ++c) d[c] = v.q(c) < 0 ? 0 : d[c] + v.q(c) * seed * v.by_meet[c];
    if (o.sigmoid || classes == 1) {
      for (Index c = 0; c < classes; ++c) d[c] *= v.p[c] * (1 - v.p[c]);
      return;
    }
    double mean = 0;
    for (Index c = 0; c < classes; ++c) mean += v.p[c] * d[c];
    for (Index c = 0; c < classes; ++c) d[c] = v.p[c] * (d[c] - mean);
  }

  /// M, P and Q of all images, and of all processes that share them, with the first image.
  static void add_images(const Shape<Dim>& x, double* sums, ProcessGroup* group) {
    for (Index i = 0; i < 3 * x.c; ++i)
      for (Index n = 1; n < x.n; ++n) sums[i] += sums[n * width(x.c) + i];
    if (group) group->sum(std::span(sums, static_cast<std::size_t>(3 * x.c)));
  }
  /// The overlap term's value from the sums of each image, or of all (batch); leaves its slopes.
  static double close_overlap(const OverlapTermOptions& o, const Shape<Dim>& x, double* sums, double* slopes) {
    const Index classes = x.c, pairs = x.n * classes, skipped = classes > 1 && !o.include_background ? 1 : 0;
    std::fill_n(slopes, 2 * pairs, 0.0);
    if (o.weight == 0) return 0;
    const Index rounds = o.batch ? 1 : x.n;
    double loss = 0;
    for (Index n = 0; n < rounds; ++n) {
      const ClassSums image{sums + n * width(classes), slopes + n * classes, slopes + pairs + n * classes, skipped, classes};
      loss += o.volume_weight == VolumeWeight::none ? each_class(o, image) : all_classes(o, image);
    }
    const double terms = static_cast<double>(rounds * (o.volume_weight == VolumeWeight::none ? classes - skipped : 1));
    for (Index i = 0; i < 2 * pairs; ++i) slopes[i] *= o.weight / terms;
    for (Index n = rounds; n < x.n; ++n)
      for (Index c = 0; c < classes; ++c)
        slopes[n * classes + c] = slopes[c], slopes[pairs + n * classes + c] = slopes[pairs + c];
    return o.weight * loss / terms;
  }

  /// M, P and Q of one image's classes first .. classes - 1, and where the slopes go.
  struct ClassSums {
    const double* sums;
    double *by_meet, *by_p;
    Index first, classes;
    double meet(Index c) const { return sums[c]; }
    double predicted(Index c) const { return sums[classes + c]; }
    double labelled(Index c) const { return sums[2 * classes + c]; }
  };
  struct Ratio {
    double numerator, denominator;
    bool clipped;
    Ratio(const OverlapTermOptions& o, double above, double below)
        : numerator(above + o.smooth_numerator),
          denominator(std::max(below + o.smooth_denominator, o.least_denominator)),
          clipped(below + o.smooth_denominator < o.least_denominator) {}
    double value(const OverlapTermOptions& o) const { return (o.negative ? 0 : 1) - numerator / denominator; }
    /// Of the value, where a variable moves numerator and denominator by these.
    double slope(double above, double below) const {
      return ((clipped ? 0 : below * numerator / denominator) - above) / denominator;
    }
  };
  static double each_class(const OverlapTermOptions& o, const ClassSums& s) {
    const OverlapRatioOptions& k = o.ratio;
    double loss = 0;
    for (Index c = s.first; c < s.classes; ++c) {
      const double weight = s.classes - s.first > 1 ? cpu::loss_weight(o.class_weights, c) : 1;
      const Ratio ratio(o, k.numerator * s.meet(c),
                        k.meet * s.meet(c) + k.predicted * s.predicted(c) + k.labelled * s.labelled(c));
      loss += weight * ratio.value(o);
      s.by_meet[c] = weight * ratio.slope(k.numerator, k.meet);
      s.by_p[c] = weight * ratio.slope(0, k.predicted);
    }
    return loss;
  }
  /// Generalized: the weight of an empty class would be infinite; it gets the largest of the others.
  static double all_classes(const OverlapTermOptions& o, const ClassSums& s) {
    const OverlapRatioOptions& k = o.ratio;
    const auto own = [&](Index c) {
      const double v = s.labelled(c);
      if (o.volume_weight == VolumeWeight::uniform) return 1.0;
      return v == 0 ? 0.0 : o.volume_weight == VolumeWeight::square ? 1 / (v * v) : 1 / v;
    };
    double largest = 0, above = 0, below = 0;
    for (Index c = s.first; c < s.classes; ++c) largest = std::max(largest, own(c));
    const auto weight = [&](Index c) { return own(c) > 0 ? own(c) : largest; };
    for (Index c = s.first; c < s.classes; ++c) {
      above += weight(c) * k.numerator * s.meet(c);
      below += weight(c) * (k.meet * s.meet(c) + k.predicted * s.predicted(c) + k.labelled * s.labelled(c));
    }
    const Ratio ratio(o, above, below);
    for (Index c = s.first; c < s.classes; ++c) {
      s.by_meet[c] = ratio.slope(weight(c) * k.numerator, weight(c) * k.meet);
      s.by_p[c] = ratio.slope(0, weight(c) * k.predicted);
    }
    return ratio.value(o);
  }
};

}   // namespace ctseg
